"""The four steps of MINT's chain of thought as functions from states to states: plan, act, reflect, correct."""
