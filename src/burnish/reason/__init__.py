"""Teach a (multimodal) language model to reason: Hint-GRPO, and decoding calibrated against text bias."""
