"""Functional tokens: a model that searches over its own reasoning. Planned: this is the manifest."""

from burnish.core.method import Method, Paper

METHOD = Method(
    name="rftt",
    label="RFTT",
    capability="reason",
    paper=Paper(
        "Incentivizing LLM Reasoning via Reinforcement Learning with Functional Monte Carlo Tree Search",
        "ICLR",
        2026,
        "2502.13389",
    ),
    claim="functional tokens let a model search over its own reasoning",
)
