"""Study of Reinforced Model Merging."""
