"""Self-improved alignment: preference training on what a model agrees on with itself, against its controls."""
