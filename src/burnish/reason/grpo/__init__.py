"""What the methods that train on TRL's GRPO trainer share: its arguments, and rollouts that are ready before it scores.

Knows no method. A method samples and chooses its completions; TRL keeps the loss, the clipping and the distribution.
"""
