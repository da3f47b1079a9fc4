"""Tables and pictures of the sakd study. Knows matplotlib, no models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from burnish.core.intervals import Interval, interval_of
from burnish.core.report import Section, subplots
from burnish.core.study import Glance
from burnish.core.study_picture import BLUE, GREY, Dots, draw_dots, small_bars
from burnish.studies.sakd.records import CE, DRAWN, LONG, PERTURBED, RANDOM, SAKD, Column, Regime, RegimeCell, Trained

WHAT: dict[Regime, str] = {
    "clean": "Clips as they are.",
    "duplicates": "85 % of the clips show one of 24 scenes again, under noise of their own.",
    "long tail": "The most frequent motion is there 50 times as often as the rarest; the test is balanced.",
    "wrong teacher": "What the teacher says of 40 % of the clips, it says of another clip.",
    "label noise": "40 % of the labels are wrong.",
    "unusable clips": "Half of the clips show nothing: their pixels have changed places, their labels are random.",
    "pre-trained": "A tenth of the clips in each epoch, as in the paper. Here as in all regimes of clips the student "
    "has learnt four other motions before.",
    "pictures": "MNIST, vision transformers; patches are dropped and exchanged in the place of frames.",
}
CURVES = dict(zip(DRAWN, (GREY, "#c8553d", "#4b9560", "#b07aa1", BLUE), strict=True))
COLOURS: dict[Column, str] = {"flops": BLUE, "updates": GREY}
COLUMNS: dict[Column, str] = {"flops": "equal FLOPs", "updates": "equal updates"}


def sections(cells: Sequence[RegimeCell]) -> list[Section]:
    """The report's parts."""
    regimes = by_regime(cells)
    told = [cell.single_frame for cell in cells if cell.single_frame is not None]
    return [
        Section(
            "What distillation is worth here",
            "Distillation less labels alone, both on fresh random subsets and for the same FLOPs: what there is to win "
            "or lose by choosing. Temperature and weight of the teacher are chosen with the former on validation "
            f"samples; all arms then have them. A net that sees a single frame names {max(told, default=0.0):.2f} of "
            "the motions at best (chance: .12).",
            table=gate_table(regimes),
        ),
        Section(
            "Against fresh random subsets",
            "Accuracy less that of distillation on a random subset of each epoch, same world; small dots are worlds, "
            "lines 95 % t intervals. In blue for the same FLOPs, the teacher's table and frozen passes included; in "
            "grey for the same updates, where frozen passes come for nothing. A pass is not begun where the "
            "budget does not cover the training up to the next one as well; what is known then serves on.",
            parts=[
                Section(name, WHAT[name], figure=difference_figure(mine), table=arm_table(mine))
                for name, mine in regimes.items()
            ],
        ),
        *([] if "clean" not in regimes else [_curves(regimes["clean"])]),
        Section(
            "Which selection for which data",
            "Of each regime the arms whose interval lies above 0, and those whose interval lies below: at equal FLOPs.",
            table=advice_table(regimes),
        ),
    ]


def by_regime(cells: Sequence[RegimeCell]) -> dict[Regime, list[RegimeCell]]:
    """Cells of each regime, worlds in order."""
    found: dict[Regime, list[RegimeCell]] = {}
    for cell in sorted(cells, key=lambda cell: cell.world):
        found.setdefault(cell.regime, []).append(cell)
    return found


def differences(cells: Sequence[RegimeCell], arm: str, column: Column, baseline: str = RANDOM) -> list[float]:
    """Accuracy of an arm less that of another, one a world."""
    return [cell.arms[arm].at(column).accuracy - cell.arms[baseline].at(column).accuracy for cell in cells]


def gate_table(regimes: Mapping[Regime, Sequence[RegimeCell]]) -> list[dict[str, str]]:
    """Of each regime: teacher, labels alone, distillation."""
    rows = []
    for name, cells in regimes.items():
        settings = [cell.setting for cell in cells]
        rows.append(
            {
                "regime": name,
                "teacher": f"{np.mean([cell.teacher for cell in cells]):.3f}",
                CE: _mean(cells, CE, "flops", lambda run: run.accuracy),
                RANDOM: _mean(cells, RANDOM, "flops", lambda run: run.accuracy),
                "difference": _words(differences(cells, RANDOM, "flops", CE)),
                "temperature, weight": ", ".join(
                    f"{setting} ({settings.count(setting)}x)" for setting in dict.fromkeys(settings)
                ),
            }
        )
    return rows


def difference_figure(cells: Sequence[RegimeCell]) -> Any:
    """All arms less the baseline, in both columns."""
    names = [name for name in cells[0].arms if name != RANDOM]
    figure, axes = subplots(1, 1, height=0.8 + 0.55 * len(names))
    rows = []
    for name in names:
        for column, colour in COLOURS.items():
            if column == "updates" and cells[0].arms[name].flops == cells[0].arms[name].updates:
                continue
            values = differences(cells, name, column)
            label = name if column == "flops" else "equal updates"
            rows.append(Dots(label, interval_of("share difference", values), {"": values}, colour))
    draw_dots(axes[0, 0], rows, "{:+.3f}", lines=(0.0,))
    axes[0, 0].set(xlabel=f"accuracy less that of {RANDOM}")
    axes[0, 0].tick_params(axis="y", labelsize=8)
    return figure


def arm_table(cells: Sequence[RegimeCell]) -> list[dict[str, str]]:
    """Every arm: accuracy in both columns, and what it did at equal FLOPs."""
    rows = []
    for name in cells[0].arms:
        row = {"arm": name}
        for column, words in COLUMNS.items():
            row[words] = _mean(cells, name, column, lambda run: run.accuracy)
        row["updates"] = _mean(cells, name, "flops", lambda run: run.steps, "{:.0f}")
        spent = [cell.arms[name].flops.flops / cell.budget for cell in cells]
        row["FLOPs / budget"] = f"{np.mean(spent):.2f}"
        row["of them frozen"] = _mean(cells, name, "flops", lambda run: run.frozen / run.flops, "{:.0%}")
        row["chosen again"] = _mean(cells, name, "flops", lambda run: run.overlap, "{:.0%}")
        row["ever chosen"] = _mean(cells, name, "flops", lambda run: run.seen, "{:.0%}")
        if any(cell.bad for cell in cells):
            row["spoilt"] = _mean(cells, name, "flops", lambda run: run.bad, "{:.0%}")
        row["strength"] = _mean(cells, name, "flops", lambda run: run.strength, "{:.2f}")
        rows.append(row)
    return rows


def _curves(cells: Sequence[RegimeCell]) -> Section:
    return Section(
        "Accuracy against FLOPs, clean clips",
        "Test accuracy at each evaluation, over all FLOPs spent by then in shares of the budget; mean over worlds, "
        f"bands are 95 % t intervals. The teacher costs {np.mean([cell.cost_ratio for cell in cells]):.1f} times what "
        "the student does. Learning rates fall to nothing at each arm's own end.",
        figure=curve_figure(cells),
    )


def curve_figure(cells: Sequence[RegimeCell]) -> Any:
    """Accuracy over the share of the budget."""
    figure, axes = subplots(1, 1, height=4.0)
    axis = axes[0, 0]
    for name, colour in CURVES.items():
        if any(name not in cell.arms for cell in cells):
            continue
        curves = [np.array(cell.arms[name].flops.curve) for cell in cells]
        shares = [curve[:, 0] / cell.budget for curve, cell in zip(curves, cells, strict=True)]
        at = np.linspace(max(each[0] for each in shares), min(each[-1] for each in shares), 40)
        values = np.array([np.interp(at, share, curve[:, 1]) for share, curve in zip(shares, curves, strict=True)])
        axis.plot(at, values.mean(0), color=colour, label=name)
        found = [interval_of("mean", list(column)) for column in values.T]
        if len(cells) > 1 and not any(each.boundless for each in found):
            axis.fill_between(at, [each.low for each in found], [each.high for each in found], color=colour, alpha=0.15)
    axis.set(xlabel="FLOPs, share of the budget", ylabel="test accuracy")
    axis.legend(fontsize=8)
    return figure


def advice_table(regimes: Mapping[Regime, Sequence[RegimeCell]]) -> list[dict[str, str]]:
    """What was better and what worse than fresh random subsets, best and worst first."""
    rows = []
    for name, cells in regimes.items():
        found: dict[str, Interval] = {
            arm: interval_of("share difference", differences(cells, arm, "flops"))
            for arm in cells[0].arms
            if arm not in (RANDOM, LONG)
        }
        order = sorted(found, key=lambda arm: -found[arm].mean)
        better = [f"{arm} {found[arm].mean:+.3f}" for arm in order if found[arm].low > 0]
        worse = [f"{arm} {found[arm].mean:+.3f}" for arm in reversed(order) if found[arm].high < 0]
        rows.append({"regime": name, "better": ", ".join(better) or "none", "worse": ", ".join(worse) or "none"})
    return rows


def glance(cells: Sequence[RegimeCell]) -> Glance:
    """Accuracy on clean clips for the same FLOPs."""
    mine = by_regime(cells)["clean"]
    shown = {"SAKD perturbed": PERTURBED, "SAKD (text)": SAKD, "random subsets": RANDOM, "labels alone": CE}
    values = {words: float(np.mean([cell.arms[arm].flops.accuracy for cell in mine])) for words, arm in shown.items()}
    budget = mine[0].budget / 1e9
    spent = f"{budget:.0f}" if budget >= 10 else f"{budget:.2g}"
    words = (
        f"For {spent} GFLOPs in all, the pupil names {values['random subsets']:.0%} of new clips "
        f"taught on fresh random subsets, {values['labels alone']:.0%} from labels alone, "
        f"{values['SAKD perturbed']:.0%} on easy and diverse subsets ({values['SAKD (text)']:.0%} where both nets look "
        "at interrupted clips)."
    )
    return Glance(words, small_bars(values), "two video nets, one teaches the other, trained here")


def _mean(
    cells: Sequence[RegimeCell],
    arm: str,
    column: Column,
    number: Callable[[Trained], float],
    words: str = "{:.3f}",
) -> str:
    return words.format(np.mean([number(cell.arms[arm].at(column)) for cell in cells]))


def _words(values: Sequence[float]) -> str:
    return str(interval_of("share difference", values))
