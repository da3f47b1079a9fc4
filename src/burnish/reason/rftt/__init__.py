"""RFTT: functional tokens, learnt from searched traces and reinforced over searches.

The pure parts need no recipe: ``grammar`` (which step may follow which, as data), ``trace``, ``tree`` and ``walk`` (the
search), ``splice`` and ``warmup`` (from trees to rows), ``advantages``, ``rewards``, ``voting``. ``generators`` are the
engines; ``trainer.RFTTTrainer`` is TRL's trainer over rollouts of a search.
"""

from burnish.core.method import Method, Paper
from burnish.reason.rftt.recipe import RFTTRecipe

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
    recipe=RFTTRecipe,
    run="burnish.reason.rftt.loop:teach",
    check="burnish.reason.rftt.preflight:check",
    report="burnish.reason.rftt.report:run_sections",
    study="burnish.studies.rftt.study:STUDY",
    needs=("trl", "datasets", "math_verify"),
    extra="post",
    parallel="ranks",
)
