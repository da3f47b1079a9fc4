"""What a world and a model of the Hint-GRPO study gave: plain numbers between experiment, claims and report."""

from __future__ import annotations

from burnish.core.cells import Record

LEVELS = 3
"""Of hints in training: none, a third of the steps, two thirds."""
AT_EQUAL_STEPS = "exhaustive, as many steps"
"""The published comparison: the exhaustive schedule with the number of steps that plain GRPO had, at several times its
tokens."""
KINDS = ("counter", "usual")
"""Of scenes: counter-examples (the room's usual thing is absent), and usual ones."""


class Worth(Record):
    """What an arm was worth when a budget was spent."""

    accuracy: float
    """Of the tests, without hints."""
    steps: int
    completions: int
    tokens: int
    """Generated, what was thrown away included."""
    utilisation: float
    """Share of questions with a non-zero advantage, mean over steps."""


class TrainingCell(Record):
    """One world of arithmetic: a base model and every arm trained on it."""

    world: int
    base: float
    """Accuracy before."""
    judged: str
    """The budget that the claims speak of, as it stands in ``arms``."""
    arms: dict[str, dict[str, Worth]]
    """By arm, then by budget of tokens. The arm at equal steps has the judged budget alone."""
    courses: dict[str, tuple[dict[str, float], ...]]
    """By arm, one a step: tokens so far, and the metrics that were logged in it."""
    seconds: float
    """Of CPU time."""

    def at_judged(self, arm: str) -> Worth:
        """What an arm was worth at the judged budget."""
        return self.arms[arm][self.judged]


class Chosen(Record):
    """The strength from held-out questions of the shifted mixture, and the accuracies it gives."""

    gamma: float
    counter: float
    usual: float


class BiasSeconds(Record):
    """CPU seconds."""

    training: float
    asking: float


class BiasCell(Record):
    """One vision-language model and all that it was asked."""

    seed: int
    gammas: tuple[float, ...]
    """Strengths, plain decoding first."""
    accuracy: dict[str, dict[str, tuple[float, ...]]]
    """By method (``calibrated``, ``noised``: VCD's contrast), then by kind of scene, one a strength."""
    vcd: dict[str, float]
    """By kind, as published (strength 1, cut-off .1)."""
    sampled: dict[str, dict[str, float]]
    """By temperature, then by kind: plain decoding."""
    follows: tuple[float, ...]
    """Share of counter-examples answered with the room's usual thing, one a strength."""
    meter: dict[str, dict[str, float]]
    """Shares of the text-bias meter, ``plain`` and ``calibrated``."""
    chosen: Chosen
    seconds: BiasSeconds

    def mixture(self, share: float, method: str = "calibrated") -> list[float]:
        """Accuracy at each strength where ``share`` of the questions are counter-examples."""
        counter, usual = (self.accuracy[method][kind] for kind in KINDS)
        return [share * mine + (1 - share) * other for mine, other in zip(counter, usual, strict=True)]

    def at(self, gamma: float) -> int:
        """The place of a strength."""
        return self.gammas.index(gamma)


def mixed(values: dict[str, float], share: float) -> float:
    """One pair of accuracies where ``share`` of the questions are counter-examples."""
    return share * values["counter"] + (1 - share) * values["usual"]
