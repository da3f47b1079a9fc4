"""Functional tokens against the same data without them: search, correction, voting and reinforcement in a small world."""
