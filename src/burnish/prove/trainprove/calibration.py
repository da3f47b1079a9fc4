"""From scores to p-values: how often an innocent source would look as guilty, whatever that source is.

The open-world p counts *sources*: a source the defender never thought of is one more draw from the same population, and
many shadows of few sources say nothing about it. The closed-world p counts shadows and holds only if the suspect was
made like one of them. Source 0 is the defender's generator. Pure numpy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from burnish.core.errors import UserError
from burnish.prove.statistics import conformal_p, open_world_p, share_at_or_above, significant
from burnish.prove.trainprove.agreement import RIDGE, family_targets, fit_ridge, novelty_p


@dataclass(frozen=True)
class Shadows:
    """What calibration needs of the shadow models: their mutual agreement [m, m] and the source of each (0 = mine)."""

    agreement: Float[np.ndarray, "m m"]
    source: Int[np.ndarray, " m"]
    ridge: float = RIDGE

    @property
    def innocents(self) -> list[int]:
        """Numbers of the innocent sources."""
        return [int(each) for each in np.unique(self.source) if each != 0]

    def without(self, rows: Bool[np.ndarray, " m"]) -> Shadows:
        """The same without some shadows."""
        return Shadows(self.agreement[~rows][:, ~rows], self.source[~rows], self.ridge)

    def scores(self, kernel: Float[np.ndarray, "k m"]) -> Float[np.ndarray, " k"]:
        """Scores of k suspects from the fit on all shadows."""
        return fit_ridge(self.agreement, family_targets(self.source == 0), self.ridge).score(kernel)


def source_shares(shadows: Shadows, kernel: Float[np.ndarray, "k m"]) -> Float[np.ndarray, "k s"]:
    """For each innocent source, the share of its shadows that look at least as guilty as each of k suspects.

    Both are scored by a fit without that source: its shadows are to the fit what a suspect from a source nobody thought
    of is.

    Raises:
        UserError: fewer than two innocent sources: with one dropped none is left to fit.
    """
    if len(shadows.innocents) < 2:
        raise UserError(f"sources: {len(shadows.innocents)} innocent; the open-world p needs at least 2")
    shares = []
    for source in shadows.innocents:
        away = shadows.source == source
        kept = shadows.without(away)
        ridge = fit_ridge(kept.agreement, family_targets(kept.source == 0), kept.ridge)
        theirs = ridge.score(shadows.agreement[away][:, ~away])
        suspects = ridge.score(kernel[:, ~away])
        shares.append([share_at_or_above(theirs, float(value)) for value in suspects])
    return np.array(shares, dtype=float).T


def open_world(shadows: Shadows, kernel: Float[np.ndarray, "k m"]) -> Float[np.ndarray, " k"]:
    """(1 + sum of shares) / (S + 1) for each suspect. Assumes its source is exchangeable with the S innocent ones."""
    return np.array([open_world_p(row) for row in source_shares(shadows, kernel)], dtype=float)


def pooled_and_maximum(
    calibration: Float[np.ndarray, " n"], source: Int[np.ndarray, " n"], value: float
) -> tuple[float, float]:
    """Conformal p of ``value`` among all calibration scores, and the largest of the p-values source by source."""
    by_source = [conformal_p(calibration[source == name], value) for name in np.unique(source)]
    return conformal_p(calibration, value), max(by_source)


def closed_world(shadows: Shadows, kernel: Float[np.ndarray, " m"]) -> tuple[float, float]:
    """Full conformal p of one suspect, pooled and as the maximum over sources: it joins the innocents, all scores leave
    one out.

    Exact if the suspect was made like one of the innocent shadows (same sources, same ways of training).
    """
    joined = np.block([[shadows.agreement, kernel[:, None]], [kernel[None, :], np.ones((1, 1))]])
    mine = np.append(shadows.source == 0, False)
    scores = fit_ridge(joined, family_targets(mine), shadows.ridge).leave_one_out()
    innocent = shadows.source != 0
    return pooled_and_maximum(scores[:-1][innocent], shadows.source[innocent], float(scores[-1]))


def novelty(shadows: Shadows, kernel: Float[np.ndarray, "k m"]) -> Float[np.ndarray, " k"]:
    """Novelty p of each suspect: small means that no shadow is like it, and that no score can be trusted."""
    return novelty_p(fit_ridge(shadows.agreement, family_targets(shadows.source == 0), shadows.ridge), kernel)


def attainable(sources: int) -> float:
    """The smallest open-world p that ``sources`` innocent sources can give."""
    return 1.0 / (sources + 1)


def sources_needed(alpha: float) -> int:
    """How many innocent sources an open-world p of ``alpha`` needs, however many shadows each has."""
    return math.ceil(1.0 / alpha - 1.0 - 1e-9)


def convicted(
    shadows: Shadows, kernel: Float[np.ndarray, "k m"], alpha: float, novelty_level: float
) -> Bool[np.ndarray, " k"]:
    """Whether each suspect would be convicted: open-world p at most ``alpha`` and not unlike every shadow."""
    strange = significant(novelty(shadows, kernel), novelty_level)
    return np.asarray(significant(open_world(shadows, kernel), alpha) & ~strange)


def never_seen(sources: int, level: float = 0.95) -> float:
    """The rate that confidence of ``level`` leaves possible where none of so many independent sources showed it: at
    95 % 1 - .05^(1/n)."""
    return float(1.0 - round(1.0 - level, 12) ** (1.0 / sources))


@dataclass(frozen=True)
class Rates:
    """What the procedure does to shadows that play the suspect, in counts and by source.

    Attributes:
        level: the level used for the innocents: alpha, or the least that one source less can give.
        accused: innocent shadows convicted though their source was hidden, one flag a shadow.
        accused_source: the source of each.
        caught: my generator's shadows convicted, each hidden from the fit, one flag a shadow.
    """

    level: float
    accused: Bool[np.ndarray, " n"]
    accused_source: Int[np.ndarray, " n"]
    caught: Bool[np.ndarray, " g"]


def rates(
    shadows: Shadows, alpha: float, novelty_level: float, played: Float[np.ndarray, "g m"] | None = None
) -> Rates:
    """False accusation with the source hidden, and power, by leaving shadows out.

    Args:
        shadows: that play the suspect in turn.
        alpha: level of the open-world p.
        novelty_level: of the novelty p.
        played: agreement with all shadows of what my generator's shadows would answer as the suspect; none: they answer
            as they do.

    Raises:
        UserError: fewer than three innocent sources or two shadows of my generator.
    """
    if len(shadows.innocents) < 3 or (shadows.source == 0).sum() < 2:
        raise UserError("shadows: rates need at least 3 innocent sources and 2 shadows of my generator")
    level = max(alpha, attainable(len(shadows.innocents) - 1))
    accused, names = [], []
    for source in shadows.innocents:
        away = shadows.source == source
        flags = convicted(shadows.without(away), shadows.agreement[away][:, ~away], level, novelty_level)
        accused.append(flags)
        names.append(np.full(len(flags), source))
    caught = []
    own = np.flatnonzero(shadows.source == 0)
    for row, kernel in zip(own, shadows.agreement[own] if played is None else played, strict=True):
        away = np.arange(len(shadows.source)) == row
        caught.append(convicted(shadows.without(away), kernel[None, ~away], alpha, novelty_level)[0])
    return Rates(level, np.concatenate(accused), np.concatenate(names), np.array(caught))


def vote_log_ratio(
    mine: Float[np.ndarray, "n c"],
    others: Float[np.ndarray, "n c"],
    labels: Int[np.ndarray, " n"],
    *,
    smooth: float = 0.1,
) -> float:
    """Mean over images of ln(P(label | my family) / P(label | the others)), with vote counts smoothed by ``smooth``.

    Args:
        mine: votes of my family's shadows for each class.
        others: votes of the other family's.
        labels: of a model that is in neither family.
        smooth: added to every count.
    """
    row = np.arange(len(labels))

    def chance(votes: np.ndarray) -> np.ndarray:
        return np.asarray((votes[row, labels] + smooth) / (votes.sum(axis=1) + smooth * votes.shape[1]))

    return float(np.mean(np.log(chance(mine)) - np.log(chance(others))))
