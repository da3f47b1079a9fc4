"""Burnish finishes a model after pre-training, and shows that the step worked."""

__version__ = "0.1.0"
