"""Embedded data and models that the studies stand on. Imports core only."""
