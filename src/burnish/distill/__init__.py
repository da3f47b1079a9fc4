"""Distill a big video or image classifier into a small one. Planned: this is the manifest."""

from burnish.core.method import Method, Paper

METHOD = Method(
    name="sakd",
    label="SAKD",
    capability="distill",
    paper=Paper(
        "Sample-level Adaptive Knowledge Distillation for Action Recognition", "ACM Multimedia", 2025, "2504.00606"
    ),
    claim="a better student for a fraction of the training cost",
)
