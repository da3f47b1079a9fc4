"""Encrypted argmax, all ways, on one back end (SEAL) with one set of parameters in one process.

    python benchmarks/private_argmax.py [--size quick|full] [--classes 4,16] [--sample 8] [--bootstrap 20] [--json FILE]

(a) sequential: n comparisons one after the other. (b) folding: log2 n + 1, as SecPE's and NEXUS's artefacts do it.
(c) all pairs at once, the differences straight from the heads; and (c') the same from encrypted scores, which have to
be spread first. All use one sign polynomial, the one that (c) needs at the largest n: (a) and (b) would need a more
exact one to resolve the same eps, and are often ambiguous with this; so it favours them. Their refreshes (decrypt and
encrypt, where a service would have to bootstrap) are counted at zero, and again at the price that `--bootstrap` gives
(benchmarks/private_bootstrap.py measures one). Seconds are of a whole ciphertext: (b) has room for more queries in one,
so at full slots it may answer more of them a second, while (c) answers each sooner and needs no refresh.

(d), cuts by moments as in CutMax, is left out: it takes more levels than there are without a bootstrap, as
benchmarks/private_cuts.py counts.

Seconds are of the CPU, of one thread. The floor is what (c) does in a bare loop on SEAL's own objects: its products,
relinearisations, rotations and rescalings, at their levels, and nothing else.

Published, on other machines, cited and not raced: Mazzone et al. (USENIX Security 2025) argmax of 128 in 12.83 s;
Rovida et al. (2025) 128 values sorted in about 22 s; CutMax (arXiv 2509.08383) 24 to 35 times its baselines.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from burnish.core.hardware import hardware
from burnish.private.argmax.all_pairs import (
    SPREAD_LEVELS,
    all_pairs_from_differences,
    all_pairs_levels,
    differences_from_scores,
    scores_in_rows,
    spread_rotations,
)
from burnish.private.argmax.reading import needed_error, read_label
from burnish.private.argmax.records import Row, Tournament
from burnish.private.argmax.running_maximum import comparison_levels, folding, running_rotations, sequential
from burnish.private.encryption.clear import ClearClient, ClearEvaluator
from burnish.private.encryption.parameters import Parameters
from burnish.private.encryption.seal import SealClient, SealEvaluator
from burnish.private.polynomials.evaluation import evaluate_sign
from burnish.private.polynomials.minimax import cheapest
from burnish.private.polynomials.records import Sign

SIZES: dict[str, tuple[Parameters, float, tuple[int, ...]]] = {
    "quick": (Parameters(16384, 28, 12, 36), 2.0**-4, (4, 16)),
    "full": (Parameters(32768, 35, 22, 45), 2.0**-8, (4, 16, 64, 128)),
}


@dataclass(frozen=True)
class Measured:
    """One way at one number of classes."""

    way: str
    classes: int
    seconds: float
    comparisons: int
    refreshes: int
    first_level: int
    rotation_keys: int
    key_bytes: int
    question_bytes: int
    queries: int
    queries_a_second: float
    right: int
    ambiguous: int
    wrong: int
    sampled: bool


class Enough(Exception):
    """So many comparisons were sampled."""


class Refresh:
    """Decrypts and encrypts; its time is taken out."""

    def __init__(self, client: SealClient, most: int | None = None) -> None:
        self._client, self._most, self._times, self.seconds = client, most, 0, 0.0

    def __call__(self, cipher: Any, level: int) -> Any:
        if self._times + 1 == self._most:
            raise Enough
        begun = time.thread_time()
        fresh = self._client.encrypt(self._client.decrypt(cipher), level)
        self._times, self.seconds = self._times + 1, self.seconds + time.thread_time() - begun
        return fresh


def spreads(classes: int, sign: Sign, parameters: Parameters) -> bool:
    """Whether (c') is measured: its levels fit, and its many rotation keys fit into memory."""
    return all_pairs_levels(classes, sign) + SPREAD_LEVELS <= parameters.levels and classes <= 16


def scores_for(queries: int, classes: int, eps: float, seed: int) -> Any:
    """Uniform, with one class ahead by at least 2 eps: every query has an answer that must be found."""
    rng = np.random.default_rng(seed)
    scores = rng.uniform(-0.5, 0.5 - 2 * eps, (queries, classes))
    ahead = rng.integers(0, classes, queries)
    scores[np.arange(queries), ahead] = scores.max(1) + 2 * eps
    return scores


def judged(slots: Any, layout: Tournament | Row, sign: Sign, scores: Any) -> tuple[int, int, int]:
    labels = [read_label(slots, layout, sign, query) for query in range(len(scores))]
    right = sum(label.index == best for label, best in zip(labels, scores.argmax(1).tolist(), strict=True))
    ambiguous = sum(label.ambiguous for label in labels)
    return right, ambiguous, len(labels) - right - ambiguous


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="quick")
    parser.add_argument("--classes", default="", help="instead of the size's, for example 4,16")
    parser.add_argument("--sample", type=int, help="time so many of the comparisons of (a), and multiply")
    parser.add_argument("--bootstrap", type=float, default=None, help="seconds of one bootstrap")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    parameters, eps, classes = SIZES[given.size]
    if given.classes:
        classes = tuple(int(number) for number in given.classes.split(","))
    largest = max(classes)
    sign = cheapest(eps, needed_error("all_pairs", largest, eps), below=(largest - 1).bit_length() + 1)
    layouts = {n: Tournament(n, parameters.slots) for n in classes}
    steps: set[int] = {1}
    for n, layout in layouts.items():
        steps |= {*layout.rotations, *running_rotations(Row(n, parameters.slots), "folding")}
        if spreads(n, sign, parameters):
            steps |= set(spread_rotations(layout))
    print(f"{parameters}: {parameters.modulus_bits} bits; sign {sign.degrees}, {sign.levels} levels, eps {eps:.4g}")

    begun = time.thread_time()
    client = SealClient.make(parameters)
    keys = client.evaluation_keys(sorted(steps))
    print(f"keys: {len(steps)} rotations, {time.thread_time() - begun:.1f} s, {len(keys) / 2**20:,.0f} MiB sent")
    evaluator = SealEvaluator(parameters, keys)
    del keys

    rows: list[Measured] = []
    for n in classes:
        more = measured(client, evaluator, layouts[n], sign, spreads(n, sign, parameters), given.sample)
        show(more, given.bootstrap)
        rows += more
    floor = floor_of(client, evaluator, layouts[largest], sign)
    ours = next(row.seconds for row in rows if row.way == "c" and row.classes == largest)
    print(f"floor at n = {largest}: {floor:.2f} s in a bare loop, {ours:.2f} s ours: {floor / ours:.0%}")
    choices = on_and_off(client, evaluator, layouts[min(classes)], sign)
    for name, (on, off) in choices.items():
        print(f"{name}: {on:.2f} s on, {off:.2f} s off: {off / on:.2f} times")
    if given.json:
        found = {
            "hardware": hardware(),
            "parameters": asdict(parameters),
            "eps": eps,
            "degrees": sign.degrees,
            "rows": [asdict(row) for row in rows],
            "floor_share": floor / ours,
            "on_and_off": choices,
        }
        given.json.write_text(json.dumps(found, indent=1) + "\n")


def measured(
    client: SealClient, evaluator: SealEvaluator, layout: Tournament, sign: Sign, spread: bool, sample: int | None
) -> list[Measured]:
    parameters, slots, n = evaluator.parameters, layout.slots, layout.classes
    row = Row(n, slots)
    found = []
    squares, rows = scores_for(layout.queries, n, sign.eps, n), scores_for(row.queries, n, sign.eps, n)
    top, compare = all_pairs_levels(n, sign), comparison_levels(sign)
    ways: dict[str, tuple[int, Any, Tournament | Row, Any, int, int, Callable[[Any, Refresh], Any]]] = {
        "a": (compare, row.spread(rows), row, rows, row.width, 1,
              lambda cipher, refresh: sequential(evaluator, cipher, row, sign, refresh)),
        "b": (compare, row.spread(rows), row, rows, row.width.bit_length(), len(layout.rotations),
              lambda cipher, refresh: folding(evaluator, cipher, row, sign, refresh)),
        "c": (top, layout.differences(squares), layout, squares, 1, len(layout.rotations),
              lambda cipher, _: all_pairs_from_differences(evaluator, cipher, layout, sign)),
    }  # fmt: skip
    if spread:
        ways["c'"] = (
            top + SPREAD_LEVELS,
            scores_in_rows(layout, squares),
            layout,
            squares,
            1,
            len(spread_rotations(layout)),
            lambda cipher, _: all_pairs_from_differences(
                evaluator, differences_from_scores(evaluator, cipher, layout), layout, sign
            ),
        )
    for way, (level, numbers, place, scores, comparisons, keys, run) in ways.items():
        sampled = way == "a" and sample is not None and sample < comparisons
        cipher, refresh = client.encrypt(numbers, level), Refresh(client, sample if sampled else None)
        begun = time.thread_time()
        answer = None
        with suppress(Enough):
            answer = run(cipher, refresh)
        seconds = time.thread_time() - begun - refresh.seconds
        if sampled:
            seconds *= comparisons / sample
        judgement = (0, 0, 0) if answer is None else judged(client.decrypt(answer), place, sign, scores)
        found.append(
            Measured(way, n, seconds, comparisons, comparisons - 1, level, keys, (1 + keys) * parameters.sent_key_bytes,
                     parameters.sent_bytes(level), len(scores), len(scores) / seconds, *judgement, sampled)
        )  # fmt: skip
    return found


def show(rows: list[Measured], bootstrap: float | None) -> None:
    ours = next(row for row in rows if row.way == "c")
    for row in rows:
        paid = "" if bootstrap is None else f", {(row.seconds + row.refreshes * bootstrap) / ours.seconds:,.1f} paid"
        print(
            f"n = {row.classes:3d} ({row.way:2s}) {row.seconds:8.2f} s from level {row.first_level:2d}, "
            f"{row.comparisons:3d} comparisons, {row.refreshes:3d} refreshes, {row.rotation_keys:2d} rotation keys "
            f"({row.key_bytes / 2**20:,.0f} MiB, question {row.question_bytes / 2**20:.1f}), "
            f"{row.queries:5d} queries: {row.queries_a_second:8.1f} a second; right {row.right}, ambiguous "
            f"{row.ambiguous}, wrong {row.wrong}; {row.seconds / ours.seconds:6.1f} times (c){paid}"
            f"{' (from a sample of its comparisons)' if row.sampled else ''}",
            flush=True,
        )


def floor_of(client: SealClient, evaluator: SealEvaluator, layout: Tournament, sign: Sign) -> float:
    """Seconds of the operations of (c) on SEAL's own objects."""
    level = all_pairs_levels(layout.classes, sign)
    trial = ClearEvaluator(layout_parameters := evaluator.parameters)
    numbers = layout.differences(scores_for(1, layout.classes, sign.eps, 0))
    all_pairs_from_differences(trial, ClearClient(layout_parameters).encrypt(numbers, level), layout, sign)
    seal, chain = evaluator._seal, evaluator._chain
    total = 0.0
    for operation, count in trial.ledger.counts.items():
        if operation.kind not in ("multiply", "square", "relinearise", "rotate", "rescale"):
            continue
        x = client.encrypt(numbers, operation.level)
        product = evaluator.multiply(x, x, relinearise=operation.parts == 2).inner
        three = evaluator.multiply(x, x, relinearise=False).inner
        into, element = chain.api.Ciphertext(), chain.element(1)
        bare: dict[str, Callable[[], None]] = {
            "multiply": lambda x=x, into=into: seal.multiply(x.inner, x.inner, into),
            "square": lambda x=x, into=into: seal.square(x.inner, into),
            "relinearise": lambda three=three, into=into: seal.relinearize(three, evaluator._relinearise, into),
            "rotate": lambda x=x, into=into, e=element: seal.apply_galois(x.inner, e, evaluator._rotations, into),
            "rescale": lambda product=product, into=into: seal.rescale_to_next(product, into),
        }
        work = bare[operation.kind]
        begun = time.thread_time()
        for _ in range(count):
            work()
        total += time.thread_time() - begun
    return total


def on_and_off(
    client: SealClient, evaluator: SealEvaluator, layout: Tournament, sign: Sign
) -> dict[str, tuple[float, float]]:
    """Each saving of levels and key switches, with and without, in seconds. SEAL has no hoisted rotations."""

    def timed(work: Callable[[], Any]) -> float:
        begun = time.thread_time()
        work()
        return time.thread_time() - begun

    numbers = layout.differences(scores_for(1, layout.classes, sign.eps, 0))
    needed = all_pairs_levels(layout.classes, sign)
    x, high = client.encrypt(numbers, needed), client.encrypt(numbers)
    return {
        f"levels dropped before the sign (n = {layout.classes}, {evaluator.parameters.levels} to {needed})": (
            timed(lambda: evaluate_sign(evaluator, evaluator.drop(high, needed), sign)),
            timed(lambda: evaluate_sign(evaluator, high, sign)),
        ),
        "one relinearisation a sum of products": (
            timed(lambda: evaluate_sign(evaluator, x, sign)),
            timed(lambda: evaluate_sign(evaluator, x, sign, lazy=False)),
        ),
    }


if __name__ == "__main__":
    main()
