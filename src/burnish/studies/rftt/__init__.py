"""Functional tokens against the same data without them: search, correction, votes, reinforcement in a small world."""
