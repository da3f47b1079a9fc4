"""Does a suspect answer like a model at all? Measures of evasion, on embeddings and labels. Pure; knows no method.

A test that finds nothing says something of a suspect only if its answers speak of the pictures. Those of a suspect
that says always the same, noise, or something else each time it is asked do not; nor do those of one that knows the
owner's pictures again and answers them from a table. Each measure is compared with the shadow models, which were asked
the same, or with a limit that an honest model keeps far from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from burnish.prove.findings import Record
from burnish.prove.statistics import permutation_p

INCONSISTENT = 0.1
"""Largest difference of answers to one picture, as a share of that between pictures. Half precision gives .01."""
DISTINCT = 0.9
"""Smallest share of different answers, against the shadow with most."""
SPREAD = 0.02
"""Smallest spread of answers, as a share of the smallest of a shadow."""
SIGNAL = 0.1
"""Smallest share of the answers' variance that the picture explains, against the smallest of a shadow."""
CROWDED = 0.1
"""Smallest gap from an answer to its nearest, as a share of the typical gap and against the smallest of a shadow."""
CROWD = 1_000
"""Answers whose gaps are measured, at most: all pairs of them are."""
USUAL = 0.8
"""Signal from which on a suspect speaks as clearly of pictures as a shadow. The study's innocents reach .92."""
JUMP = 1.5
"""Largest ratio of jumps near public pictures to those near private ones ..."""
JUMP_LEVEL = 0.001
"""... where such a difference has a smaller chance than this: an innocent suspect is called evasive no oftener."""

Views = Float[np.ndarray, "images _ _"]


class Evasion(Record):
    """What was measured of a suspect's way of answering. Without a sign of evasion, `signs` is empty."""

    only_if_set = frozenset({"apart"})

    inconsistency: float | None
    """Root mean square difference of answers to the same picture, as a share of that between pictures. None where the
    suspect was asked nothing again."""
    distinct: float
    """Different answers, as a share of the different ones of the shadow with most."""
    spread: float
    """1 minus the mean cosine between pictures, as a share of the smallest of a shadow."""
    signal: float
    """Share of the answers' variance that the picture explains, as a share of the smallest of a shadow."""
    jump: float | None
    """Largest step of the answers while a picture is scrambled bit by bit, public pictures over private ones. None
    where it was not looked at."""
    jump_p: float | None
    """The chance of such a ratio or a larger one if the suspect knows neither set (exact or drawn permutations)."""
    signs: tuple[str, ...]
    """What of it shows evasion, as clauses."""
    apart: float | None = None
    """Median gap between an answer and its nearest, over the typical gap, as a share of the smallest of a shadow: near
    0 where answers are a few, up to a small change, for groups of pictures. None in evidence from
    before it was measured.
    """


@dataclass(frozen=True)
class Probes:
    """Answers beyond those that the test needs.

    Attributes:
        public: which of the probed pictures are public.
        again: answers to the same picture, asked under other indices and in other batches.
        path: answers to the picture while it is scrambled bit by bit, from the picture itself on.
    """

    public: Bool[np.ndarray, " pictures"]
    again: Float[np.ndarray, "pictures times dim"]
    path: Float[np.ndarray, "pictures steps dim"]


def measure_evasion(
    suspect: Sequence[Views],
    shadows: Sequence[Sequence[Views]],
    probes: Probes | None,
    rng: np.random.Generator,
    *,
    gaps: bool = True,
) -> Evasion:
    """All measures, and which of them show evasion.

    Args:
        suspect: its answers, one array a kind of view.
        shadows: those of each shadow to the same pictures.
        probes: the suspect's further answers, if there are any.
        rng: draws permutations where there are too many to list.
        gaps: whether to measure ``apart`` (not for evidence from before it was measured).
    """
    theirs = [_Shape.of(each) for each in shadows]
    own = _Shape.of(suspect)
    inconsistency = None if probes is None else _inconsistency(probes.again)
    distinct = own.distinct / max(each.distinct for each in theirs)
    spread = own.spread / max(min(each.spread for each in theirs), 1e-12)
    signal = own.signal / max(min(each.signal for each in theirs), 1e-12)
    apart = None
    if gaps:
        apart = _apart(suspect) / max(min(map(_apart, shadows)), 1e-12)
    jump, jump_p = (None, None) if probes is None else _jump(probes, rng)
    signs = []
    if distinct < DISTINCT:
        signs.append(
            f"it gives {own.distinct:,} different answers where a shadow model gives "
            f"{max(each.distinct for each in theirs):,} ({distinct:.1%})"
        )
    if spread < SPREAD:
        signs.append(f"its answers to different pictures are all but equal (spread {spread:.2%} of a shadow's)")
    if inconsistency is not None and inconsistency > INCONSISTENT:
        signs.append(
            "it answers the same picture differently when asked again, under another index and in another batch "
            f"(by {inconsistency:.0%} of the difference between pictures)"
        )
    if signal < SIGNAL and not signs:
        signs.append(
            "its answers hardly depend on the picture: views of one picture are no more alike than views of two "
            f"(signal {max(signal, 0.0):.1%} of a shadow's)"
        )
    if apart is not None and apart < CROWDED:
        signs.append(
            "its answers lie on few places, up to a small change, whatever the pictures "
            f"(from one to its nearest {apart:.1%} of a shadow's gap)"
        )
    if jump is not None and jump_p is not None and jump > JUMP and jump_p <= JUMP_LEVEL:
        signs.append(
            "near the public pictures its answers jump, as if they came from a table "
            f"({jump:.1f} times as far as near the private ones, p = {jump_p:.2g})"
        )
    return Evasion(
        inconsistency=inconsistency,
        distinct=distinct,
        spread=spread,
        signal=signal,
        apart=apart,
        jump=jump,
        jump_p=jump_p,
        signs=tuple(signs),
    )


def label_signs(
    suspect: Int[np.ndarray, " n"], shadows: Int[np.ndarray, "m n"], truth: Int[np.ndarray, " n"]
) -> tuple[str, ...]:
    """Which signs of evasion labels show: ones that hardly depend on the picture (constant, drawn at random).

    Cohen's kappa with the truth, 0 for labels that know nothing of it, must reach a tenth of the lowest shadow's.
    """
    theirs = min(_kappa(each, truth) for each in shadows)
    own = _kappa(suspect, truth)
    if theirs <= 0 or own >= SIGNAL * theirs:
        return ()
    usual = float(np.bincount(suspect).max() / len(suspect))
    return (
        f"its labels hardly depend on the picture (agreement with the truth beyond chance {own:.2f}, the lowest of a "
        f"shadow {theirs:.2f}; one label makes up {usual:.0%} of its answers)",
    )


def repeat_signs(first: Int[np.ndarray, " k"], again: Int[np.ndarray, "k times"]) -> tuple[str, ...]:
    """Whether a suspect stays with its labels when it is asked the same pictures again, in other places of a batch.

    A sign where more pictures changed their label than chance gives one audit in a thousand, were one in ten let pass.
    """
    from scipy import stats

    changed = int((again != first[:, None]).any(1).sum())
    if float(stats.binom.sf(changed - 1, len(first), INCONSISTENT)) > JUMP_LEVEL:
        return ()
    return (
        "it labels the same picture differently when asked again, under another index and in another batch "
        f"({changed} of {len(first)} pictures)",
    )


def _kappa(labels: Int[np.ndarray, " n"], truth: Int[np.ndarray, " n"]) -> float:
    classes = int(max(labels.max(), truth.max())) + 1
    shares = [np.bincount(each, minlength=classes) / len(each) for each in (labels, truth)]
    chance = float(shares[0] @ shares[1])
    return (float((labels == truth).mean()) - chance) / max(1.0 - chance, 1e-12)


@dataclass(frozen=True)
class _Shape:
    """How one model's answers lie: how many differ, how far apart, and how much of that the picture explains."""

    distinct: int
    spread: float
    signal: float

    @classmethod
    def of(cls, kinds: Sequence[Views]) -> _Shape:
        distinct = sum(len(np.unique(views.reshape(-1, views.shape[-1]), axis=0)) for views in kinds)
        within, between = (float(np.mean(each)) for each in zip(*map(_cosines, kinds), strict=True))
        spread = 1.0 - between
        return cls(distinct, spread, (within - between) / max(spread, 1e-12))


def _apart(kinds: Sequence[Views]) -> float:
    return float(np.mean([*map(_gap, kinds)]))


def _gap(views: Views) -> float:
    """Median gap from an answer to its nearest, over the median gap of two answers; all views of some pictures."""
    pictures = np.linspace(0, len(views) - 1, min(len(views), max(2, CROWD // views.shape[1]))).astype(int)
    units = _units(views[pictures]).reshape(-1, views.shape[-1])
    gaps = np.sqrt(np.maximum(2.0 - 2.0 * units @ units.T, 0.0))
    typical = float(np.median(gaps[np.triu_indices(len(gaps), 1)]))
    np.fill_diagonal(gaps, np.inf)
    return float(np.median(gaps.min(1))) / max(typical, 1e-12)


def as_unclear(views: Views, wanted: float, rng: np.random.Generator) -> Views:
    """The same answers with fixed noise for each view, so that the picture explains ``wanted`` times as much of them.

    To ask what a test would have found in a guilty model that answers as unclearly as the suspect. Isotropic Gaussian
    noise of variance v on answers of length 1 divides mean cosines by 1 + v; solved for v.
    """
    units = _units(views)
    within, between = _cosines(units)
    signal = (within - between) / max(1.0 - between, 1e-12)
    variance = max(0.0, (within - between) / max(wanted * signal, 1e-12) - 1.0 + between)
    return units + rng.normal(scale=np.sqrt(variance / units.shape[-1]), size=units.shape)


def clearness(suspect: Sequence[Views], shadows: Sequence[Sequence[Views]]) -> float:
    """The suspect's signal as a share of the smallest of a shadow: what :class:`Evasion` calls ``signal``."""
    own, *theirs = (_signal(each) for each in (suspect, *shadows))
    return own / max(min(theirs), 1e-12)


def _signal(kinds: Sequence[Views]) -> float:
    within, between = (float(np.mean(each)) for each in zip(*map(_cosines, kinds), strict=True))
    return (within - between) / max(1.0 - between, 1e-12)


def _cosines(views: Views) -> tuple[float, float]:
    """Mean cosine between views of one picture, and between views of different pictures."""
    units = _units(views)
    images, count, _ = units.shape
    sums = units.sum(1)
    of_one, of_all = float((sums**2).sum()), float((sums.sum(0) ** 2).sum())
    within = (of_one - float((units**2).sum())) / (images * count * (count - 1))
    return within, (of_all - of_one) / (images * (images - 1) * count**2)


def _inconsistency(again: Float[np.ndarray, "pictures times dim"]) -> float:
    answers = again.astype(np.float64)
    own = float(((answers[:, 1:] - answers[:, :1]) ** 2).sum(-1).mean())
    means = answers.mean(1)
    # twice the variance over pictures: the mean squared difference of two of them
    between = 2.0 * float(means.var(0, ddof=1).sum())
    if own == 0.0:
        return 0.0
    return float(np.sqrt(own / max(between, own / 1e6)))


def _jump(probes: Probes, rng: np.random.Generator) -> tuple[float, float]:
    units = _units(probes.path)
    steps = np.linalg.norm(np.diff(units, axis=1), axis=-1).max(1)
    public, private = steps[probes.public], steps[~probes.public]
    if not steps.any():
        return 1.0, 1.0
    ratio = float(public.mean() / max(float(private.mean()), 1e-9))
    return ratio, permutation_p(public, private, draws=9_999, rng=rng).p


def _units(vectors: np.ndarray) -> np.ndarray:
    wide = vectors.astype(np.float64)
    return np.asarray(wide / np.maximum(np.linalg.norm(wide, axis=-1, keepdims=True), 1e-12))
