"""Claims of the calibration half of the Hint-GRPO study, written down before any judged run. Knows numbers only.

The unit of every interval is the seed: its own model, its own scenes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from burnish.core.findings import Finding, paired
from burnish.core.intervals import share_difference_interval
from burnish.core.study import Measured, Rule
from burnish.studies.hint_grpo.bias import PUBLISHED, SHIFTED, TRAINED
from burnish.studies.hint_grpo.records import BiasCell, mixed

BETTER = Rule("paired difference", kind="share difference", over="seeds")
INNER = Rule("(inner strength, chosen on the other seeds) - (the better end)", kind="share difference", over="seeds")
A_POINT = Rule("paired difference", kind="share difference", bound=-0.01, over="seeds")
FALL = Rule("paired fall", kind="share difference", over="seeds")


def judge_bias(cells: Sequence[BiasCell]) -> list[Measured]:
    """The claims of the calibration half, each with its own verdict."""
    return [_counter(cells), _inner(cells), _noise(cells), _cost(cells), _bias(cells)]


def _counter(cells: Sequence[BiasCell]) -> Measured:
    def at(gamma: float) -> Callable[[BiasCell], float]:
        return lambda cell: cell.accuracy["calibrated"]["counter"][cell.at(gamma)]

    sampled = "; ".join(
        f"sampled at temperature {name} without calibration {np.mean([c.sampled[name]['counter'] for c in cells]):.3f}"
        for name in cells[0].sampled
    )
    return Measured(
        "calibration_counter",
        f"Calibration (gamma {PUBLISHED:g}) raises accuracy on counter-examples to what the text suggests",
        "Geo170K 45.62 -> 46.68 (no counter-examples apart)",
        BETTER,
        paired(cells, at(PUBLISHED), at(0.0), BETTER.kind),
        sampled,
    )


def _inner(cells: Sequence[BiasCell]) -> Measured:
    """The best inner strength is chosen on the other seeds, so that a maximum over noise cannot win by being one."""
    curves = np.array([cell.mixture(SHIFTED) for cell in cells])
    gains, found = [], []
    for index, curve in enumerate(curves):
        others = np.delete(curves, index, axis=0) if len(curves) > 1 else curves
        inner = 1 + int(others.mean(0)[1:-1].argmax())
        gains.append(float(curve[inner] - max(curve[0], curve[-1])))
        found.append(float(curve[inner]))
    ends = float(np.mean(np.maximum(curves[:, 0], curves[:, -1])))
    means = ", ".join(f"{gamma:g}: {value:.3f}" for gamma, value in zip(cells[0].gammas, curves.mean(0), strict=True))
    return Measured(
        "calibration_inverted_u",
        f"With {SHIFTED:.0%} counter-examples accuracy over gamma is an inverted U: an inner strength beats both ends",
        "gamma 0 / 0.8 / 1.6: 45.62 / 46.68 / 44.69",
        INNER,
        Finding(partial(share_difference_interval, gains), float(np.mean(found)), ends),
        f"accuracy by gamma {means}",
    )


def _noise(cells: Sequence[BiasCell]) -> Measured:
    """Each contrast at its best strength for the mixture on average over seeds: the same tuning for both."""

    def best(method: str) -> Callable[[BiasCell], float]:
        place = int(np.mean([cell.mixture(SHIFTED, method) for cell in cells], axis=0).argmax())
        return lambda cell: cell.mixture(SHIFTED, method)[place]

    published = np.mean([mixed(cell.vcd, SHIFTED) for cell in cells])
    return Measured(
        "calibration_vs_noised_image",
        "Contrast with the absent image beats contrast with a noised one (VCD) on that mixture, both at their best "
        "gamma",
        "-",
        BETTER,
        paired(cells, best("calibrated"), best("noised"), BETTER.kind),
        f"VCD as published (strength 1, cut-off .1): {published:.3f}; not a claim of the paper",
    )


def _cost(cells: Sequence[BiasCell]) -> Measured:
    def at(gamma: float) -> Callable[[BiasCell], float]:
        return lambda cell: cell.mixture(TRAINED)[cell.at(gamma)]

    return Measured(
        "calibration_in_distribution",
        f"Calibration (gamma {PUBLISHED:g}) costs at most a point of accuracy where the text is as right as in "
        "training",
        "not reported",
        A_POINT,
        paired(cells, at(PUBLISHED), at(0.0), A_POINT.kind),
        "expected to fail: where the prior holds, plain decoding is the better guess",
    )


def _bias(cells: Sequence[BiasCell]) -> Measured:
    def unchanged(decoding: str) -> Callable[[BiasCell], float]:
        return lambda cell: cell.meter[decoding]["text_bias/unchanged"]

    fall = paired(cells, unchanged("plain"), unchanged("calibrated"), FALL.kind)
    return Measured(
        "calibration_text_bias",
        "Calibration lowers text bias: fewer answers stay the same when the image is swapped",
        "65 % of the training's gain is there without the image",
        FALL,
        Finding(fall.at, ours=fall.baseline, baseline=fall.ours),
    )
