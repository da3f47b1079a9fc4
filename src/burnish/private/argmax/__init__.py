"""Which class has the largest score, found without seeing the scores; three ways with one contract."""
