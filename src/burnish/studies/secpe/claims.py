"""Claims of the secpe study, written down before any judged run. Knows numbers only.

The unit of every interval is the seed: its own texts, heads, attacks and keys; tasks of a seed are averaged. Both
classifiers get the same texts, templates, heads and attacker's allowance. Expected beforehand: C1 holds; C2 holds
where the attack was made against the single prompt, which favours the ensemble, and shrinks to little or nothing where
the attacker knows the ensemble, as all prompts look through one frozen encoder; C3 holds; C4 holds without the encoder;
with it, as every prompt goes through it once, it depends on the encoder; C5 and C6 hold.

Seeds 1000 and 1001 and texts that are never drawn, looked at while sizes were settled: prompts over one encoder
disagree on 5 to 12 % of the texts; emoji names under attack .13 alone and .04 to .13 together, e-mails .58 to .69 and
.63 to .71; where four texts share a ciphertext, five prompts have one rotation more than one, and take 1.06 times as
long: C4 is about one text in a ciphertext, where they have as many; all pairs 37 to 44 times as fast at 128 classes.

A first judged run (seeds 1002 to 1004) chose the single prompt on clean validation texts and the ensemble on clean and
noisy ones, asked SEAL about 192 texts, and took a bootstrap's price from elsewhere. It left C1, C2 undecided and the
rest holding. Since then both are chosen by one rule on the same texts, SEAL is asked about more, a bootstrap is timed
in the run, and seeds begin anew; no rule, bound or size of an attack was changed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from burnish.core.findings import Finding, average, paired
from burnish.core.intervals import Interval, share_interval
from burnish.core.study import Measured, Rule
from burnish.studies.secpe.records import ArgmaxCell, Cell, TaskCell, bootstrap_of

NOT_IN_PAPER = "not in the paper"
ROBUST = "robust accuracy above the single prompt's (8 tasks, not named)"
GAIN = Rule("paired difference of accuracy under attack", kind="share difference", over="seeds")
NOT_BELOW = Rule("paired difference of accuracy", kind="share difference", bound=-0.01, over="seeds")
FEW = Rule("share of answers that are wrong, or missing outside eps", kind="share", bound=0.02, side="at most")
OVERHEAD = Rule("ratio of seconds, all prompts over one", kind="ratio", bound=1.025, side="at most", over="seeds")
FASTER = Rule("ratio of seconds, sequential over all pairs", kind="ratio", bound=35.4, over="seeds")
QUICKER = Rule("least ratio of seconds, folding over all pairs", kind="ratio", bound=1.0, over="seeds")
CHOICE = (
    "Single prompt and ensemble are chosen by one rule on the same validation texts, clean and noisy: the single "
    "prompt is the ensemble's first."
)

Number = Callable[[TaskCell], float]
C = TypeVar("C", TaskCell, ArgmaxCell)


def judge_cells(cells: Sequence[Cell]) -> list[Measured]:
    """Every claim, with what was measured."""
    tasks = [cell for cell in cells if isinstance(cell, TaskCell)]
    timings = [cell for cell in cells if isinstance(cell, ArgmaxCell)]
    timed = [cell for cell in tasks if cell.one_seconds is not None]
    return [
        Measured(
            "clean",
            "C1: on clean texts the ensemble is not below the single prompt that is best on validation texts (by more "
            "than .01)",
            "clean accuracy not lower",
            NOT_BELOW,
            _paired(tasks, lambda cell: cell.ensemble, lambda cell: cell.single),
            _other_choice(tasks, "single_of_clean"),
        ),
        Measured(
            "made_against_single",
            "C2: on texts edited against the single prompt the ensemble is right more often than that prompt",
            ROBUST,
            GAIN,
            _paired(tasks, lambda cell: cell.ensemble_on_single, lambda cell: cell.single_attacked),
            f"The attack was made against the single prompt alone, which favours the ensemble. {CHOICE}",
        ),
        Measured(
            "adaptive",
            "C2: with the same queries against each, the ensemble under an attacker who knows it is right more often "
            "than the single prompt under its own",
            ROBUST,
            GAIN,
            _paired(tasks, lambda cell: cell.ensemble_attacked, lambda cell: cell.single_attacked),
            f"{CHOICE} {_other_choice(tasks, 'single_of_clean_attacked')}",
        ),
        Measured(
            "transferred",
            "C2: each on what was made against the other, the ensemble is right more often",
            NOT_IN_PAPER,
            GAIN,
            _paired(tasks, lambda cell: cell.ensemble_on_single, lambda cell: cell.single_on_ensemble),
            "What is made against an ensemble may fool its members more than the other way round.",
        ),
        Measured(
            "agreement_clear",
            "C3: the circuit gives the clear pipeline's label outside eps, and inside it that or `ambiguous` (clear "
            "back end, every test text)",
            NOT_IN_PAPER,
            FEW,
            _wrong([(cell.clear_wrong, cell.clear_asked) for cell in tasks]),
        ),
        Measured(
            "agreement_sealed",
            "C3: the same through SEAL",
            NOT_IN_PAPER,
            FEW,
            _wrong([(cell.sealed_wrong, cell.sealed_asked) for cell in timed]),
        ),
        Measured(
            "overhead",
            "C4: private inference with all prompts takes at most 1.025 times that with one (encryption, server, "
            "decryption)",
            "1.025",
            OVERHEAD,
            _ratio(timed, _overhead),
            "The client's encoder is not in it; see the claim after this one.",
        ),
        Measured(
            "overhead_with_encoder",
            "C4: the same with the client's encoder, which every prompt goes through (open)",
            NOT_IN_PAPER,
            OVERHEAD,
            _ratio(timed, _overhead_with_encoder),
        ),
        Measured(
            "argmax_sequential",
            "C5: of the most classes, all pairs are 35.4 times as fast as one comparison after the other, refreshes "
            "counted at zero",
            "35.4",
            FASTER,
            _ratio(timings, lambda cell: cell.sequential(_most(cell)) / cell.pairs[str(_most(cell))]),
            _with_refresh(timings, bootstrap_of(cells)),
        ),
        Measured(
            "argmax_folding",
            "C6: at every number of classes all pairs are faster than folding, refreshes counted at zero",
            NOT_IN_PAPER,
            QUICKER,
            _ratio(timings, least_ratio),
        ),
    ]


def least_ratio(cell: ArgmaxCell) -> float:
    """Folding over all pairs, where it is least."""
    return min(cell.folding(int(classes)) / seconds for classes, seconds in cell.pairs.items())


def _most(cell: ArgmaxCell) -> int:
    return max(map(int, cell.pairs))


def _with_refresh(cells: Sequence[ArgmaxCell], bootstrap: float | None) -> str:
    if not cells or bootstrap is None:
        return "No bootstrap was measured (orion-fhe is not installed): there is no figure with refreshes paid for."
    ratios = [cell.sequential(_most(cell), bootstrap) / cell.pairs[str(_most(cell))] for cell in cells]
    return (
        f"With refreshes paid for, at {bootstrap:.1f} s a bootstrap as measured in this run (Lattigo, ring 65,536), it "
        f"is {sum(ratios) / len(ratios):.0f} times."
    )


def _other_choice(cells: Sequence[TaskCell], name: str) -> str:
    if not cells:
        return ""
    mean = sum(getattr(cell, name) for cell in cells) / len(cells)
    return f"The prompt that is best on clean validation texts alone: {mean:.3f}."


def _overhead(cell: TaskCell) -> float:
    assert cell.many_seconds is not None
    assert cell.one_seconds is not None
    return cell.many_seconds / cell.one_seconds


def _overhead_with_encoder(cell: TaskCell) -> float:
    assert cell.many_seconds is not None
    assert cell.one_seconds is not None
    assert cell.encoder_many_seconds is not None
    assert cell.encoder_one_seconds is not None
    return (cell.many_seconds + cell.encoder_many_seconds) / (cell.one_seconds + cell.encoder_one_seconds)


def _paired(cells: Sequence[TaskCell], ours: Number, baseline: Number) -> Finding | None:
    return paired(cells, ours, baseline, "share difference", by=lambda cell: cell.seed) if cells else None


def _ratio(cells: Sequence[C], number: Callable[[C], float]) -> Finding | None:
    """The interval of a ratio comes from logarithms."""
    return (
        average(cells, lambda cell: math.log(number(cell)), 1.0, "ratio", by=lambda cell: cell.seed) if cells else None
    )


def _wrong(counts: Sequence[tuple[int, int]]) -> Finding | None:
    wrong, asked = (sum(each) for each in zip(*counts, strict=True)) if counts else (0, 0)
    if not asked:
        return None
    at: Callable[[float], Interval] = partial(share_interval, wrong, asked)
    return Finding(at, wrong / asked, 0.0)
