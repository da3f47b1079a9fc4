"""Align a vision-language model without human preferences. Planned: this is the manifest."""

from burnish.core.method import Method, Paper

METHOD = Method(
    name="shape",
    label="SHAPE",
    capability="align",
    paper=Paper(
        "SHAPE: Self-Improved Visual Preference Alignment by Iteratively Generating Holistic Winner",
        "arXiv",
        2025,
        "2503.04858",
    ),
    claim="aligns vision-language models without human preferences",
)
