"""Worlds that agents live in: the embedded simulation, and adapters to those outside."""
