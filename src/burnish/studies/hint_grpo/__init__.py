"""Study of Hint-GRPO and calibrated decoding."""
