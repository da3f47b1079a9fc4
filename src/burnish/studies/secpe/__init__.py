"""Robust gain of prompt ensembles, agreement under encryption, and what privacy costs, on real and procedural texts."""
