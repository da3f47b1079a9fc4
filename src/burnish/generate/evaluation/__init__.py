"""Public benchmarks of drawing: their prompts, their folders, their rules; the detector is the user's."""
