"""Self-supervised encoders trained from scratch: SimCLR, BYOL, SimSiam, MoCo v3 and DINO, saved as Hugging Face models.

Shadow encoders for a dataset-ownership audit, the study's suspects, and any small encoder of one's own.
"""
