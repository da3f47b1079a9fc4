"""Approximate arithmetic on encrypted vectors (CKKS) behind one small interface, whatever library does it."""
