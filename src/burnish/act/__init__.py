"""Agents that plan while they act, in worlds that do not wait."""
