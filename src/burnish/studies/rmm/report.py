"""Tables and pictures of the RMM study, from its cells. Knows matplotlib, no models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from burnish.core.report import Section, subplots, whole_steps
from burnish.core.study import Glance
from burnish.core.study_picture import Dots, draw_dots, small_bars
from burnish.merge.rmm.report import architecture_figure
from burnish.merge.rmm.reward import items_for_correlation, rank_correlation_bound
from burnish.studies.rmm.claims import difference, mean_seconds, times_cheaper
from burnish.studies.rmm.records import Arm, Cell, Rank

Cells = Sequence[Cell]
LABELS = {
    "published": "RMM as published",
    "corrected": "RMM corrected",
    "cma": "CMA-ES, layer x expert scales",
    "cma, task scales": "CMA-ES, task scales",
    "greedy": "greedy, layer by layer",
    "random": "random blocks",
    "untuned": "best untuned merge",
    "tuned": "best tuned merge",
    "tuned by cross-entropy": "best merge tuned by cross-entropy",
}
REGIME_TEXT = (
    "Test accuracy in percent, mean over seeds. two: MNIST, and MNIST with its patches permuted and inverted, far "
    "from the base. half: four experts (also scikit-learn's digits and noisy shapes) that drifted half as far. far: "
    "the same four, far from the base."
)
COLORS = {"far": "tab:blue", "near": "tab:orange"}


WORDS = {
    "expert": "a model fine-tuned from the common base to one task",
    "task vector": "an expert's weights minus the base's",
    "uniform merge": "one rule and one weight for all layers (task arithmetic, TIES, DARE); tuned: its weight and "
    "density too",
    "candidate": "an expert or a uniform merge whose block a layer may take",
    "arm": "one way of searching; all arms get the same images and the same number of evaluations",
    "RMM as published": "PPO over blocks of untuned candidates, rewards on training batches, as the released code "
    "does it",
    "RMM corrected": "the same idea with the position observed, masked actions, a warm start and a final choice on "
    "all images",
    "CMA-ES": "an evolution strategy, here over one scale a layer and expert (the default) or one an expert (task "
    "scales)",
    "cycling subset": "each reward sees the next share s of the validation images",
}


def sections(cells: Cells, budget: int, tuning: int) -> list[Section]:
    """The report's parts."""
    first = cells[0]
    where = f"regime {first.regime}, seed {first.seed}"
    arms = list(first.arms)
    return [
        Section(
            "Gain over the best tuned uniform merge",
            f"Test accuracy minus that of the best uniform merge, tuned with {tuning} evaluations that every arm gets "
            f"too; {budget} evaluations a search. Small dots: one regime and seed. Large dots: mean over seeds, with "
            "its 95 % t interval (no bar for a single seed). Every value is from images that no search saw.",
            figure=gain_figure(cells, [*arms, "untuned"]),
        ),
        Section("Every arm and regime", REGIME_TEXT, table=table(cells)),
        Section(
            "What the default chose: scales",
            f"How much of every expert's task vector each layer takes, found by CMA-ES ({where}).",
            figure=_architecture(first, "cma"),
        ),
        Section(
            "What corrected RMM chose: blocks",
            f"Which candidate lends each layer, in running order, found by the corrected agent ({where}).",
            figure=_architecture(first, "corrected"),
        ),
        Section(
            "Rewards",
            f"The best reward so far of every search ({where}). Above: minus cross-entropy on all validation images. "
            "Below: accuracy on training batches (RMM as published). "
            "Best-so-far of a noisy reward flatters: only the test images above count.",
            figure=reward_figure(first.arms),
        ),
        Section(
            "What a subset reward is worth",
            "Dots: Spearman correlation of rewards on a cycling subset with accuracy on all images, each regime and "
            "seed. Lines: the rule rho = sd / sqrt(sd^2 + p (1 - p) / n) at the mean spread. Far: random blocks. "
            f"Near: small steps around the best scales. {_needed(cells)}",
            figure=rank_figure(cells),
        ),
        Section(
            "What an evaluation costs",
            "CPU time of one reward on a share s of the images, in chunks that fit the processor's caches; in the "
            "last row all images of a task pass at once instead.",
            table=cost_table(cells),
        ),
        Section("Words", table=[{"word": word, "meaning": meaning} for word, meaning in WORDS.items()]),
    ]


def _architecture(cell: Cell, arm: str) -> Any:
    return architecture_figure(cell.pictures[arm].model_dump(mode="json"))


def gain_figure(cells: Cells, names: Sequence[str]) -> Any:
    """Dots and intervals of the paired differences, one row an arm."""
    figure, grid = subplots(height=0.9 + 0.36 * len(names))
    regimes = sorted({cell.regime for cell in cells}, reverse=True)
    rows = []
    for name in names:
        values = {r: [c.test(name) - c.test("tuned") for c in cells if c.regime == r] for r in regimes}
        rows.append(Dots(LABELS[name], difference(cells, name, "tuned"), values))
    draw_dots(grid[0, 0], rows, "{:+.1f}", lines=(0.0,))
    grid[0, 0].set_xlabel("points of test accuracy")
    return figure


def table(cells: Cells) -> list[dict[str, str]]:
    """One row an arm, columns a regime; the gain with its interval last."""
    regimes = list(dict.fromkeys(cell.regime for cell in cells))
    rows = []
    for name in [*cells[0].arms, *cells[0].merges]:
        row = {"arm": LABELS[name]}
        for regime in regimes:
            row[regime] = f"{np.mean([c.test(name) for c in cells if c.regime == regime]):.1f}"
        rows.append(row | {"gain over the best tuned merge": "-" if name == "tuned" else _shown(cells, name)})
    experts = {r: f"{np.mean([np.mean(c.experts) for c in cells if c.regime == r]):.1f}" for r in regimes}
    return [*rows, {"arm": "each expert on its own task", **experts, "gain over the best tuned merge": "-"}]


def _shown(cells: Cells, name: str) -> str:
    interval = difference(cells, name, "tuned")
    return str(interval) if np.isfinite(interval.low) else f"{interval.mean:+.3g} (one seed)"


def reward_figure(arms: Mapping[str, Arm]) -> Any:
    """Best reward so far, cross-entropy and accuracy side by side."""
    figure, grid = subplots(2, 1, height=7.4)
    for number, (name, arm) in enumerate(arms.items()):
        axes = grid[int(name == "published"), 0]
        best = np.maximum.accumulate(arm.rewards)
        axes.plot(np.arange(1, len(best) + 1), best, linewidth=1.3, color=f"C{number}", label=LABELS[name])
    for axes, label in zip(
        grid[:, 0], ("minus cross-entropy", "accuracy in percent (-10: stepped back at once)"), strict=True
    ):
        axes.set_xlabel("evaluation")
        axes.set_ylabel(label)
        whole_steps(axes)
        axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
    return figure


def _ranks(cells: Cells, group: str) -> list[Rank]:
    return [row for cell in cells for row in cell.cost.ranks if row.group == group]


def _spread(rows: Sequence[Rank]) -> tuple[float, float]:
    """Mean spread and mean accuracy."""
    return float(np.mean([row.spread for row in rows])), float(np.mean([row.accuracy for row in rows]))


def rank_figure(cells: Cells) -> Any:
    """Measured correlations over the number of images, with the rule's curve."""
    figure, grid = subplots(height=3.4)
    axes = grid[0, 0]
    for group, color in COLORS.items():
        rows = _ranks(cells, group)
        images = [row.images for row in rows]
        spread, accuracy = _spread(rows)
        alone = None if spread > 0 else f"{group}: all equally accurate"  # else its curve has a label
        axes.plot(images, [row.cycling for row in rows], "o", markersize=3.5, alpha=0.6, color=color, label=alone)
        if spread > 0:
            places = np.geomspace(min(images), max(images), 60)
            curve = [rank_correlation_bound(spread, accuracy, int(n)) for n in places]
            label = f"{group}: sd of true accuracy {100 * spread:.1f} points"
            axes.plot(places, curve, color=color, linewidth=1.4, label=label)
    axes.axhline(0.8, color="tab:gray", linewidth=1, linestyle="--")
    axes.set_xscale("log")
    measured = sorted({row.images for row in cells[0].cost.ranks})
    axes.set_xticks(measured, [f"{images:,}" for images in measured])
    axes.minorticks_off()
    axes.set_xlabel("images of the subset")
    axes.set_ylabel("rank correlation")
    axes.set_ylim(-0.3, 1.05)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8, loc="lower right")
    return figure


def _needed(cells: Cells) -> str:
    parts = []
    for group in COLORS:
        spread, accuracy = _spread(_ranks(cells, group))
        if spread > 0:
            parts.append(f"{items_for_correlation(0.8, spread, accuracy):,} images for {group} ones")
    return f"A correlation of .8 needs {' and '.join(parts)}." if parts else ""


def cost_table(cells: Cells) -> list[dict[str, str]]:
    """CPU time of one evaluation at each s."""
    rows = []
    for key in cells[0].cost.seconds:
        interval = times_cheaper(cells, key)
        rows.append(
            {
                "s": key,
                "CPU ms an evaluation": f"{1000 * mean_seconds(cells, key):.1f}",
                "times cheaper": f"{interval.mean:.1f}",
                "95 % interval": f"{interval.low:.1f} to {interval.high:.1f}" if interval.n > 1 else "-",
            }
        )
    return rows


def glance(cells: Cells) -> Glance:
    """The default search and the published one against the best uniform merge, and against what was merged."""
    arms = [name for name in ("cma", "published") if cells[0].has(name)]
    means = {name: float(np.mean([cell.test(name) for cell in cells])) for name in (*arms, "tuned")}
    experts = float(np.mean([np.mean(cell.experts) for cell in cells]))
    words = (
        f"Experts, each right on {experts:.0f} % of its own digits, merged without training: right on all tasks "
        f"{means[arms[0]]:.0f} % searched layer by layer, {means['tuned']:.0f} % by the best uniform merge."
    )
    return Glance(
        words,
        small_bars({LABELS[name]: value for name, value in means.items()}, "{:.0f} %"),
        "small ViT experts, trained here",
    )
