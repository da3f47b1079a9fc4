"""What a subset reward costs and how well it ranks architectures. Source: RMM, section 3.3; the rule: docs/rmm.md.

Nothing is selected here, so all held-out images may serve. Every architecture is scored once on all of them; the reward
of any subset is then read off its answers.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from burnish.merge.rmm.architecture import Architecture, Block, Blocks, Scales
from burnish.merge.rmm.candidates import Pool
from burnish.merge.rmm.evaluate import Evaluator
from burnish.merge.rmm.problem import Problem
from burnish.merge.rmm.reward import Cycler, Subset, everything, leading, rank_correlation_bound
from burnish.studies.rmm.records import ONE_PASS, Cost, Rank

FRACTIONS = (0.02, 0.05, 0.1, 0.2, 0.5)
"""Of the curve; .01 and .1 are timed."""
TIMED = (1.0, 0.1, 0.01)
CYCLES = 8
"""Rankings averaged a fraction: each starts the cycle elsewhere."""
Answers = list[NDArray[np.float64]]
"""Per task, [architectures, items] of 0 and 1."""


def measure(
    problem: Problem, pool: Pool, best: Scales, probes: int, repeats: int, chunk: int, rng: np.random.Generator
) -> Cost:
    """Timings and rank correlations on the problem's images.

    Args:
        problem: its tasks are used whole.
        pool: candidates of the block architectures.
        best: centre of the near-best ones.
        probes: architectures a group.
        repeats: of every timing.
        chunk: images a forward pass.
        rng: of the architectures.
    """
    evaluator = problem.evaluator(pool, chunk)
    groups = {"far": random_blocks(pool, probes, rng), "near": neighbours(best, probes, rng)}
    ranks: list[Rank] = []
    for name, architectures in groups.items():
        ranks += rank_rows(name, all_answers(evaluator, architectures))
    seconds = {str(s): time_of(evaluator, groups["far"], part(problem.sizes, s, chunk), repeats) for s in TIMED}
    # what the ratio would be against a full evaluation that ignores the processor's caches
    seconds[ONE_PASS] = time_of(evaluator, groups["far"], part(problem.sizes, 1.0, max(problem.sizes)), repeats)
    return Cost(images=sum(problem.sizes), seconds=seconds, ranks=tuple(ranks))


def random_blocks(pool: Pool, count: int, rng: np.random.Generator) -> list[Architecture]:
    """Every layer in its place from a random candidate: what a search meets at its beginning."""
    places = [(side, layer) for side, length in enumerate(pool.layout.lengths) for layer in range(length)]
    draws = rng.integers(len(pool.names), size=(count, len(places)))
    return [
        Blocks(tuple(Block(*place, int(candidate)) for place, candidate in zip(places, row, strict=True)))
        for row in draws
    ]


def neighbours(best: Scales, count: int, rng: np.random.Generator) -> list[Architecture]:
    """Scales a small step (sd .1) from the best: what a search must tell apart at its end."""
    centre = np.array(best.values)
    return [
        Scales(tuple(tuple(float(v) for v in row) for row in centre + rng.normal(0, 0.1, centre.shape)))
        for _ in range(count)
    ]


def all_answers(evaluator: Evaluator, architectures: Sequence[Architecture]) -> Answers:
    """Right or wrong, for every architecture and image."""
    rows = [[items.score for items in evaluator.compute(each, evaluator.full)] for each in architectures]
    return [np.stack(task) for task in zip(*rows, strict=True)]


def rank_rows(group: str, answers: Answers) -> list[Rank]:
    """Spearman correlation of subset accuracy with accuracy on everything, beside the rule, for every fraction."""
    sizes = [task.shape[1] for task in answers]
    count = len(answers[0])
    full = np.mean([task.mean(1) for task in answers], axis=0)
    spread, accuracy = true_spread(np.concatenate(answers, axis=1)), float(full.mean())
    rows = []
    for fraction in (0.01, *FRACTIONS):
        cycler = Cycler(sizes, fraction, max(sizes))
        cycling = [[subset_score(answers, number, cycler.next()) for number in range(count)] for _ in range(CYCLES)]
        same = leading(sizes, fraction, max(sizes))
        images = sum(stop - start for _, start, stop in same)
        rows.append(
            Rank(
                group=group,
                fraction=fraction,
                images=images,
                spread=spread,
                accuracy=accuracy,
                rule=rank_correlation_bound(spread, accuracy, images) if spread > 0 else 0.0,
                cycling=float(np.mean([correlation(rewards, full) for rewards in cycling])),
                linear=float(np.mean([correlation(rewards, full, ranks=False) for rewards in cycling])),
                same=correlation([subset_score(answers, number, same) for number in range(count)], full),
            )
        )
    return rows


def true_spread(answers: NDArray[np.float64]) -> float:
    """Standard deviation of true accuracy, from [architectures, images] of right and wrong.

    All architectures answer the same images, so what is hard for everyone moves nobody: only the interaction of the
    two-way analysis of variance is noise, and is taken off the observed variance.
    """
    architectures, images = answers.shape
    means = answers.mean(1)
    interaction = answers - means[:, None] - answers.mean(0) + answers.mean()
    noise = float((interaction**2).sum()) / ((architectures - 1) * (images - 1)) / images
    return float(np.sqrt(max(0.0, float(means.var(ddof=1)) - noise)))


def subset_score(answers: Answers, architecture: int, subset: Subset) -> float:
    """Mean task accuracy of one architecture on a subset."""
    tasks = sorted({task for task, _, _ in subset})
    parts = {task: [answers[t][architecture, a:b] for t, a, b in subset if t == task] for task in tasks}
    return float(np.mean([np.concatenate(part).mean() for part in parts.values()]))


def correlation(rewards: Sequence[float], full: NDArray[np.float64], ranks: bool = True) -> float:
    """Spearman's, or Pearson's; 0 where one side does not vary at all."""
    if np.ptp(rewards) == 0 or np.ptp(full) == 0:
        return 0.0
    return float((stats.spearmanr if ranks else stats.pearsonr)(rewards, full).statistic)


def part(sizes: Sequence[int], fraction: float, chunk: int) -> Subset:
    """Everything, or the first images of every task."""
    return everything(sizes, chunk) if fraction == 1 else leading(sizes, fraction, chunk)


def time_of(evaluator: Evaluator, architectures: Sequence[Architecture], subset: Subset, repeats: int) -> float:
    """Median CPU seconds of one evaluation; CPU and not wall time, so that neighbours on the machine count less."""
    seconds = []
    for number in range(repeats):
        start = time.process_time()
        evaluator.compute(architectures[number % len(architectures)], subset)
        seconds.append(time.process_time() - start)
    return float(np.median(seconds))
