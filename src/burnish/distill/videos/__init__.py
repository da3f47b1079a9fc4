"""Videos: which frames are wanted, and how these alone are decoded."""
