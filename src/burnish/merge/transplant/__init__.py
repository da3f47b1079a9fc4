"""Another model's tokenizer for a model: rows of shared tokens are kept, the others rebuilt from them. No training."""
