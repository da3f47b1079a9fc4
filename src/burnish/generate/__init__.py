"""One model that plans, draws, reflects and corrects. Planned: this is the manifest."""

from burnish.core.method import Method, Paper

METHOD = Method(
    name="mint",
    label="MINT",
    capability="generate",
    paper=Paper(
        "Towards Enhanced Image Generation via Multi-modal Chain of Thought in Unified Generative Models",
        "arXiv",
        2025,
        "2503.01298",
    ),
    claim="planning, drawing, reflecting and correcting in one model",
)
