"""Argmaxes on one back end, in one process: all pairs whole, and the step that the other two repeat.

The sequential argmax of 128 classes is 127 steps of some seconds: what is timed is the product's own on two and on four
classes, with refreshes by the secret key that are not counted; more classes are more of the same step. Seconds are of
CPU time: one thread, whatever else the machine does.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import numpy as np

from burnish.core.parallel import one_thread
from burnish.private.argmax.all_pairs import all_pairs_from_differences, all_pairs_levels
from burnish.private.argmax.reading import needed_error, read_label
from burnish.private.argmax.records import Row, Tournament
from burnish.private.argmax.running_maximum import comparison_levels, running_rotations, sequential
from burnish.private.encryption.bootstrap import can_bootstrap, measure_bootstrap
from burnish.private.encryption.choose import Backend, make_client, make_evaluator
from burnish.private.encryption.interface import Client, Evaluator
from burnish.private.encryption.parameters import Parameters
from burnish.private.polynomials.minimax import cheapest
from burnish.private.polynomials.records import Sign
from burnish.studies.secpe.records import ArgmaxCell, RefreshCell


class ArgmaxDesign(NamedTuple):
    """What is timed.

    Attributes:
        classes: of all pairs.
        eps: smallest difference that is told.
        ring: of the parameters, the same for all.
        scale_bits: likewise.
        backend: `clear` for a run that only shows that it runs.
    """

    classes: tuple[int, ...] = (4, 16, 64, 128)
    eps: float = 2.0**-6
    ring: int = 32768
    scale_bits: int = 38
    backend: Backend = "seal"


class ArgmaxJob(NamedTuple):
    """One item for the executor."""

    seed: int
    design: ArgmaxDesign


class RefreshJob(NamedTuple):
    """One item for the executor: what a refresh costs without the secret key."""

    ring: int = 65536
    slots: int = 256


def run_refresh(job: RefreshJob) -> RefreshCell:
    """One bootstrap, where the library for it is installed."""
    if not can_bootstrap():
        return RefreshCell(bootstrap=None, ring=job.ring, slots=job.slots, seconds=0.0)
    found = measure_bootstrap(job.ring, job.slots)
    seconds = found.keys_seconds + found.seconds
    return RefreshCell(bootstrap=found.seconds, ring=job.ring, slots=job.slots, seconds=seconds)


def run_argmax(job: ArgmaxJob) -> ArgmaxCell:
    """All of it, in one thread."""
    started = time.process_time()
    design, most = job.design, max(job.design.classes)
    # one polynomial for all three, as exact as all pairs of the most classes need; the others would need a finer one
    sign = cheapest(design.eps, needed_error("all_pairs", most, design.eps))
    levels = all_pairs_levels(most, sign)
    parameters = Parameters(design.ring, design.scale_bits, levels, min(60, design.scale_bits + 10))
    slots, rng = parameters.slots, np.random.default_rng([job.seed, 4])
    layouts = [Tournament(classes, slots) for classes in design.classes]
    row = Row(4, slots)
    wanted = {step for layout in layouts for step in layout.rotations} | set(running_rotations(row, "sequential"))
    with one_thread():
        client = make_client(parameters, design.backend)
        evaluator = make_evaluator(parameters, client.evaluation_keys(sorted(wanted)), design.backend)
        pairs, right = {}, True
        for layout in layouts:
            scores = _apart(layout.classes, design.eps, rng)
            seconds, label = _all_pairs(client, evaluator, layout, sign, scores)
            pairs[str(layout.classes)] = seconds
            right = right and label == int(scores.argmax())
        two, four = (_sequential(client, evaluator, Row(classes, slots), sign, rng) for classes in (2, 4))
    step = (four - two) / 2
    return ArgmaxCell(
        seed=job.seed,
        ring=design.ring,
        eps=design.eps,
        pairs=pairs,
        right=right,
        step=step,
        last=max(two - step, 0.0),
        seconds=time.process_time() - started,
    )


def _apart(classes: int, eps: float, rng: np.random.Generator) -> np.ndarray:
    """Scores in [-1/2, 1/2] whose largest is eps above the rest."""
    scores = rng.uniform(-0.5, 0.5 - 2 * eps, classes)
    scores[int(rng.integers(classes))] = 0.5 - 0.5 * eps
    return scores


def _all_pairs(
    client: Client, evaluator: Evaluator, layout: Tournament, sign: Sign, scores: np.ndarray
) -> tuple[float, int | None]:
    levels = all_pairs_levels(layout.classes, sign)
    differences = client.encrypt(layout.differences(scores[None]), levels)
    began = time.process_time()
    answer = all_pairs_from_differences(evaluator, differences, layout, sign)
    seconds = time.process_time() - began
    return seconds, read_label(client.decrypt(answer), layout, sign).index


def _sequential(client: Client, evaluator: Evaluator, row: Row, sign: Sign, rng: np.random.Generator) -> float:
    """Seconds, without those of refreshes."""
    spent = 0.0

    def refresh(cipher: Any, level: int) -> Any:
        nonlocal spent
        began = time.process_time()
        fresh = client.encrypt(client.decrypt(cipher), level)
        spent += time.process_time() - began
        return fresh

    scores = client.encrypt(row.spread(rng.uniform(-0.5, 0.5, (1, row.classes))), comparison_levels(sign))
    began = time.process_time()
    sequential(evaluator, scores, row, sign, refresh)
    return time.process_time() - began - spent
