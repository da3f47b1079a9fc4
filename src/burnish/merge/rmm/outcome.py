"""What a search found: plain records between the search and whoever reports it."""

from dataclasses import dataclass

from burnish.merge.rmm.architecture import Architecture
from burnish.merge.rmm.candidates import Pool
from burnish.merge.rmm.evaluate import Result
from burnish.merge.rmm.recipe import MergeCandidate


@dataclass(frozen=True)
class Episode:
    """What one proposal was worth.

    Attributes:
        architecture: None where the episode stepped back before the first layer.
        raw: measured reward.
        reward: what the search was told (the dynamic average, if asked for).
    """

    architecture: Architecture | None
    raw: float
    reward: float


@dataclass(frozen=True)
class MergeResult:
    """A uniform merge on the whole validation set and on the test set."""

    spec: MergeCandidate
    validation: Result
    test: Result


@dataclass(frozen=True)
class Outcome:
    """The end of a search.

    Attributes:
        architecture: best of the finalists on the whole validation set.
        validation: its result there.
        test: its result on items that the search never saw.
        finalists: architectures scored again, with their validation results, best first.
        tuned: the uniform merges at their tuned parameters, best on validation first; empty without tuning.
        untuned: the same merges as the recipe gives them, likewise.
        episodes: every proposal in order.
        evaluated: architectures run (the rest were remembered), finalists included.
        sampled: mean test score (0 to 100) of 10 sampled episodes of the last policy, which is what the paper reports;
            None for other searches.
        pool: the candidates.
    """

    architecture: Architecture
    validation: Result
    test: Result
    finalists: tuple[tuple[Architecture, Result], ...]
    tuned: tuple[MergeResult, ...]
    untuned: tuple[MergeResult, ...]
    episodes: tuple[Episode, ...]
    evaluated: int
    sampled: float | None
    pool: Pool
