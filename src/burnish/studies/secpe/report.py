"""Tables and pictures of the secpe study. Knows matplotlib, no models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from burnish.core.intervals import interval_of
from burnish.core.report import Section, subplots
from burnish.core.study import Glance
from burnish.core.study_picture import BLUE, GREY, Dots, draw_dots, small_bars
from burnish.studies.secpe.records import ArgmaxCell, Cell, TaskCell, bootstrap_of

WHAT = {
    "clean": ("ensemble", "single"),
    "attacked itself": ("ensemble_attacked", "single_attacked"),
    "on what was made against the single prompt": ("ensemble_on_single", "single_attacked"),
    "each on what was made against the other": ("ensemble_on_single", "single_on_ensemble"),
}
"""Ensemble and single prompt, by what they face."""


def sections(cells: Sequence[Cell]) -> list[Section]:
    """The report's parts."""
    tasks = [cell for cell in cells if isinstance(cell, TaskCell)]
    timings = [cell for cell in cells if isinstance(cell, ArgmaxCell)]
    names, bootstrap = sorted({cell.encoder for cell in tasks}), bootstrap_of(cells)
    paid = "no bootstrap was measured (orion-fhe is not installed)"
    if bootstrap is not None:
        paid = f"once more at {bootstrap:.1f} s each, as a bootstrap took in this run"
    found = [
        Section(
            "Ensemble less the best single prompt",
            f"Accuracy, same texts, templates and queries; encoder: {', '.join(names)}. Small dots are seeds (mean "
            "over tasks), lines 95 % t intervals.",
            figure=difference_figure(tasks),
        ),
        Section(
            "By task",
            "Means over seeds. `before` is on the texts that are then attacked.",
            table=task_table(tasks),
        ),
        Section(
            "Under encryption",
            "A wrong answer is another label than in the clear, or none where the best two classes differ by eps "
            "or more.",
            table=agreement_table(tasks),
        ),
    ]
    if timings:
        found.append(
            Section(
                "Argmax by number of classes",
                "CPU seconds of one thread, same back end, parameters and polynomial. All pairs (c) are timed whole; "
                "sequential (a) and folding (b) are the timed step as often as they repeat it, refreshes at zero, and "
                f"{paid}.",
                figure=argmax_figure(timings),
                table=argmax_table(timings, bootstrap),
            )
        )
    return found


def difference_figure(tasks: Sequence[TaskCell]) -> Any:
    """One row for each thing they face."""
    figure, axes = subplots(1, 1, height=0.8 + 0.6 * len(WHAT))
    rows = []
    for words, (ours, other) in WHAT.items():
        values = [
            float(np.mean([getattr(cell, ours) - getattr(cell, other) for cell in tasks if cell.seed == seed]))
            for seed in sorted({cell.seed for cell in tasks})
        ]
        rows.append(Dots(words, interval_of("share difference", values), {"": values}, BLUE))
    draw_dots(axes[0, 0], rows, "{:+.3f}", lines=(0.0,))
    axes[0, 0].set(xlabel="accuracy of the ensemble less that of the single prompt")
    axes[0, 0].tick_params(axis="y", labelsize=8)
    return figure


def task_table(tasks: Sequence[TaskCell]) -> list[dict[str, str]]:
    """A row a task."""
    columns = {
        "clean: single": "single",
        "single, best on clean": "single_of_clean",
        "ensemble": "ensemble",
        "before: single": "single_before",
        "before: ensemble": "ensemble_before",
        "attacked: single": "single_attacked",
        "attacked: best on clean": "single_of_clean_attacked",
        "attacked: ensemble": "ensemble_attacked",
        "ensemble on single's": "ensemble_on_single",
        "single on ensemble's": "single_on_ensemble",
    }
    rows = []
    for task in dict.fromkeys(cell.task for cell in tasks):
        mine = [cell for cell in tasks if cell.task == task]
        kind = "real" if mine[0].real else "procedural"
        row = {"task": f"{task} ({kind}, {mine[0].classes} classes)"}
        row |= {words: f"{np.mean([getattr(cell, name) for cell in mine]):.3f}" for words, name in columns.items()}
        rows.append(row)
    return rows


def agreement_table(tasks: Sequence[TaskCell]) -> list[dict[str, str]]:
    """A row a task."""
    rows = []
    for task in dict.fromkeys(cell.task for cell in tasks):
        mine = [cell for cell in tasks if cell.task == task]
        timed = [cell for cell in mine if cell.one_seconds is not None and cell.many_seconds is not None]
        row = {
            "task": task,
            "circuit, clear back end": _of(mine, "clear"),
            "through SEAL": _of(mine, "sealed"),
            "closer than eps": f"{np.mean([each.near for each in mine]):.1%}",
            "ambiguous": f"{np.mean([each.flagged for each in mine]):.1%}",
            "levels, ring": f"{mine[0].levels}, {mine[0].ring:,}",
            "seconds, one prompt": "-",
            "all prompts": "-",
            "encoder": "-",
        }
        if timed:
            row["seconds, one prompt"] = f"{np.mean([each.one_seconds or 0 for each in timed]):.2f}"
            row["all prompts"] = f"{np.mean([each.many_seconds or 0 for each in timed]):.2f}"
            encoder = [(each.encoder_one_seconds or 0, each.encoder_many_seconds or 0) for each in timed]
            row["encoder"] = " / ".join(f"{number:.3f}" for number in np.mean(encoder, axis=0))
        rows.append(row)
    return rows


def _of(cells: Sequence[TaskCell], part: str) -> str:
    wrong, asked = (sum(getattr(cell, f"{part}_{name}") for cell in cells) for name in ("wrong", "asked"))
    return f"{wrong} of {asked} wrong" if asked else "-"


def argmax_table(cells: Sequence[ArgmaxCell], bootstrap: float | None) -> list[dict[str, str]]:
    """A row a number of classes."""
    rows = []
    for classes in cells[0].pairs:
        count = int(classes)
        pairs = np.mean([cell.pairs[classes] for cell in cells])
        row = {"classes": classes, "(c) all pairs": f"{pairs:.2f} s"}
        for words, refresh in (("", 0.0), *([] if bootstrap is None else [(" with refreshes", bootstrap)])):
            row[f"(b) folding{words}"] = _times(np.mean([cell.folding(count, refresh) for cell in cells]), pairs)
            row[f"(a) sequential{words}"] = _times(np.mean([cell.sequential(count, refresh) for cell in cells]), pairs)
        rows.append(row)
    return rows


def _times(seconds: Any, unit: Any) -> str:
    return f"{seconds:.1f} s ({seconds / unit:.1f} x)"


def argmax_figure(cells: Sequence[ArgmaxCell]) -> Any:
    """Seconds over classes, both on log scales."""
    figure, axes = subplots(1, 1, height=3.2)
    axis = axes[0, 0]
    counts = [int(classes) for classes in cells[0].pairs]
    kinds = {
        "(a) sequential": (GREY, [[cell.sequential(count) for cell in cells] for count in counts]),
        "(b) folding": ("#c8553d", [[cell.folding(count) for cell in cells] for count in counts]),
        "(c) all pairs": (BLUE, [[cell.pairs[str(count)] for cell in cells] for count in counts]),
    }
    for label, (colour, seconds) in kinds.items():
        axis.plot(counts, np.mean(seconds, axis=1), marker="o", color=colour, label=label)
    axis.set(xscale="log", yscale="log", xlabel="classes", ylabel="seconds")
    axis.set_xticks(counts, [str(count) for count in counts])
    axis.xaxis.set_minor_formatter("")
    axis.legend(fontsize=8, frameon=False)
    return figure


def glance(cells: Sequence[Cell]) -> Glance:
    """Accuracy under attack."""
    tasks = [cell for cell in cells if isinstance(cell, TaskCell)]
    names = {
        "ensemble, attacked": "ensemble_attacked",
        "one prompt, attacked": "single_attacked",
        "ensemble, clean": "ensemble",
        "one prompt, clean": "single",
    }
    values = {words: float(np.mean([getattr(cell, name) for cell in tasks])) for words, name in names.items()}
    asked, wrong = (sum(getattr(cell, name) for cell in tasks) for name in ("clear_asked", "clear_wrong"))
    words = (
        f"Answers under encryption. Small edits leave the best prompt right on "
        f"{values['one prompt, attacked']:.0%} of the texts, the ensemble, attacked by one who knows it, on "
        f"{values['ensemble, attacked']:.0%}. Of {asked:,} answers of the circuit {wrong:,} were wrong."
    )
    return Glance(words, small_bars(values), f"a sentence encoder with {tasks[0].prompts} prompts, encrypted heads")
