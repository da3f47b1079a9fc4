"""What a cell of the secpe study gave: plain numbers between experiment, claims and report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from burnish.core.cells import Record


class TaskCell(Record):
    """One task of one seed: texts drawn anew, heads fitted, prompts chosen, attacks, questions under encryption."""

    kind: Literal["task"] = "task"
    seed: int
    task: str
    real: bool
    """Whether its texts are, or procedural."""
    encoder: str
    classes: int
    prompts: int
    single: float
    """Accuracy, on clean test texts, of the prompt that was best on clean and noisy validation texts: the ensemble's
    own rule."""
    single_of_clean: float
    """Of the prompt that was best on the clean validation texts alone."""
    ensemble: float
    """Of the ensemble."""
    attacked_texts: int
    single_before: float
    """Accuracy on the texts that are attacked, before."""
    ensemble_before: float
    single_attacked: float
    """Of the single prompt, attacked itself."""
    single_of_clean_attacked: float
    """Of the one that was best on clean validation texts, attacked itself."""
    ensemble_attacked: float
    """Of the ensemble, attacked itself, by one who knows it: the adaptive attacker."""
    ensemble_on_single: float
    """Of the ensemble, on the texts that were made against the single prompt."""
    single_on_ensemble: float
    """The other way round."""
    single_queries: float
    ensemble_queries: float
    clear_asked: int
    """Test texts through the circuit on the clear back end."""
    clear_wrong: int
    """Of them: another label than the clear pipeline's, or none where the classes differ by eps or more."""
    flagged: float
    """Share of them that were said to be ambiguous."""
    near: float
    """Share of test texts closer than eps."""
    sealed_asked: int = 0
    """Test texts through SEAL."""
    sealed_wrong: int = 0
    one_seconds: float | None = None
    """CPU time of one question with one prompt: encryption, server, decryption; none where SEAL was not asked."""
    many_seconds: float | None = None
    """With all prompts."""
    encoder_one_seconds: float | None = None
    """Of the client's encoder before it, with one prompt."""
    encoder_many_seconds: float | None = None
    levels: int
    ring: int
    seconds: float
    """Of CPU time."""


class ArgmaxCell(Record):
    """One seed's timings of argmaxes on one back end, in one process."""

    kind: Literal["argmax"] = "argmax"
    seed: int
    ring: int
    eps: float
    pairs: dict[str, float]
    """CPU seconds of all pairs (c), by number of classes, from differences that the head emits to the answer."""
    right: bool
    """Whether every one of them gave the right class."""
    step: float
    """Seconds of one comparison with the choice of the larger and its rotation: what (a) and (b) repeat."""
    last: float
    """Seconds of the comparison with the maximum, which ends both."""
    seconds: float
    """Of CPU time."""

    def sequential(self, classes: int, refresh: float = 0.0) -> float:
        """Seconds of (a): a step for each class but one, and the last comparison; before each but the first a
        refresh."""
        return (classes - 1) * (self.step + refresh) + self.last

    def folding(self, classes: int, refresh: float = 0.0) -> float:
        """Seconds of (b): log2 n steps and the last comparison, likewise."""
        folds = (classes - 1).bit_length()
        return folds * (self.step + refresh) + self.last


class RefreshCell(Record):
    """What a refresh costs in the public: one bootstrap, once a study."""

    kind: Literal["refresh"] = "refresh"
    bootstrap: float | None
    """CPU seconds; none where `orion-fhe` is not installed."""
    ring: int
    slots: int
    seconds: float
    """Of CPU time, with the keys."""


Cell = TaskCell | ArgmaxCell | RefreshCell


def bootstrap_of(cells: Sequence[Cell]) -> float | None:
    """Seconds of a bootstrap, where one was measured."""
    found = [cell.bootstrap for cell in cells if isinstance(cell, RefreshCell)]
    return found[0] if found else None
