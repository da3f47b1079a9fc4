"""Hint-GRPO: reinforcement on questions with checkable answers that wastes fewer of them.

A question that no completion solves gives GRPO nothing to learn from; here it is tried again with the first steps of
its solution given. The pure parts need no recipe: ``steps``, ``hints``, ``schedule``, ``selection``;
``trainer.HintGRPOTrainer`` is TRL's trainer with hints, ``evaluate.hint_free_accuracy`` the test.
"""

from burnish.core.method import Method, Paper
from burnish.reason.hint_grpo.recipe import HintGRPORecipe

METHOD = Method(
    name="hint_grpo",
    label="Hint-GRPO",
    capability="reason",
    paper=Paper("Boosting MLLM Reasoning with Text-Debiased Hint-GRPO", "ICCV", 2025, "2503.23905"),
    claim="hints rescue the questions on which every sample fails",
    recipe=HintGRPORecipe,
    run="burnish.reason.hint_grpo.loop:reinforce",
    check="burnish.reason.hint_grpo.preflight:check",
    report="burnish.reason.hint_grpo.report:run_sections",
    study="burnish.studies.hint_grpo.study:STUDY",
    needs=("trl", "datasets", "math_verify"),
    extra="post",
    parallel="ranks",
)
