"""Polynomials that stand for functions which ciphertexts cannot compute, and how to evaluate one in few levels."""
