"""Tables and pictures of the mint study. Knows matplotlib, no models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from burnish.core.intervals import interval_of
from burnish.core.report import Section, subplots
from burnish.core.study import Glance
from burnish.core.study_picture import BLUE, GREY, Dots, draw_dots, small_bars
from burnish.studies.mint.claims import by_seed
from burnish.studies.mint.records import (
    ACT,
    BLIND,
    FULL,
    FUNCTION,
    MENDED,
    ONCE,
    PLAIN,
    REAL,
    REAL_PLAIN,
    REFINED,
    REPAIRED,
    REWRITTEN,
    TRUE,
    TWICE,
    ModelCell,
    Score,
)

WAYS = (
    (PLAIN, ONCE),
    (PLAIN, TWICE),
    (PLAIN, MENDED),
    (REFINED, REWRITTEN),
    (FUNCTION, ACT),
    (FUNCTION, FULL),
    (FUNCTION, TRUE),
    (FUNCTION, BLIND),
    (FUNCTION, REPAIRED),
    (REAL_PLAIN, TWICE),
    (REAL, ACT),
    (REAL, FULL),
    (REAL, TRUE),
)


SHOWN = {"What it draws": FUNCTION, "What it draws of real pictures": REAL}


def sections(cells: Sequence[ModelCell]) -> list[Section]:
    """The report's parts."""
    return [
        *[_shown(title, cells, model) for title, model in SHOWN.items() if any(cell.model == model for cell in cells)],
        Section(
            "What is drawn right",
            "Share of pictures that show exactly what the prompt asks for, mean of seven categories; small dots are "
            "seeds. A thing more than asked for is wrong. The score is about the share of right plans times the share "
            "of pictures that keep to their plan.",
            figure=ways_figure(cells),
            table=ways_table(cells),
        ),
        Section("By category", "Means over seeds.", table=category_table(cells)),
        Section(
            "Trainings",
            "All for the same CPU seconds. Transition: the step at which the running image loss fell below .04. The "
            "cosine is that of the gradients of both losses in a dense model: below 0 they pull apart.",
            table=training_table(cells),
        ),
        Section(
            "Looking at pictures, and what training never shows",
            "Captions are right if they name exactly what is there. Held out are pairs of shape and colour, and "
            "counts, that no training scene has; drawn in a model's main way. Guidance is what did best on scenes of "
            "neither training nor test.",
            table=looking_table(cells),
        ),
    ]


def _shown(title: str, cells: Sequence[ModelCell], model: str) -> Section:
    said = "Plan, draft, heat and corrections of one prompt of each category, by the first model of its kind"
    picture = next(cell.shown for cell in cells if cell.model == model)
    return Section(
        title,
        f"{said}. Red is where it finds fault; framed patches were drawn again; a correction is kept if the heat "
        "falls.",
        html=f'<img alt="{said}" style="max-width:100%" src="data:image/png;base64,{picture}">',
    )


def _words(model: str, way: str) -> str:
    return f"{way}, real pictures" if model in (REAL, REAL_PLAIN) else way


def scores(cells: Sequence[ModelCell], model: str, way: str) -> list[Score]:
    """One a seed, seeds in order."""
    return [seed[model].scores[way] for seed in by_seed(cells) if model in seed]


def ways_figure(cells: Sequence[ModelCell]) -> Any:
    """All ways of drawing, with intervals."""
    rows = []
    for model, way in WAYS:
        values = [score.mean for score in scores(cells, model, way)]
        if values:
            colour = BLUE if model in (FUNCTION, REAL) else GREY
            rows.append(Dots(_words(model, way), interval_of("mean", values), {"": values}, colour))
    figure, axes = subplots(1, 1, height=0.8 + 0.5 * len(rows))
    draw_dots(axes[0, 0], rows, "{:.3f}")
    axes[0, 0].set(xlabel="share of right pictures")
    return figure


def ways_table(cells: Sequence[ModelCell]) -> list[dict[str, str]]:
    """Score, its two parts, what corrections did, and what a picture cost."""
    rows = []
    models = list(dict.fromkeys(cell.model for cell in cells))
    for model in models:
        for way in next(cell.scores for cell in cells if cell.model == model):
            found = scores(cells, model, way)
            rows.append(
                {
                    "model": model,
                    "drawn": way,
                    "right": f"{np.mean([score.mean for score in found]):.3f}",
                    "plan right": _mean([score.plan_right for score in found]),
                    "plan kept": _mean([score.kept for score in found]),
                    "fixed / broken": " / ".join(
                        str(sum(getattr(score, name) or 0 for score in found)) for name in ("fixed", "broken")
                    )
                    if way in (FULL, MENDED, REPAIRED)
                    else "",
                    "CPU s a picture": f"{np.mean([score.seconds for score in found]):.3f}",
                }
            )
    return rows


def category_table(cells: Sequence[ModelCell]) -> list[dict[str, str]]:
    """Share of right pictures by category."""
    rows = []
    for model, way in WAYS:
        found = scores(cells, model, way)
        if found:
            means = {name: f"{np.mean([score.right[name] for score in found]):.2f}" for name in found[0].right}
            rows.append({"drawn": _words(model, way), **means})
    return rows


def training_table(cells: Sequence[ModelCell]) -> list[dict[str, str]]:
    """What each model's training came to, mean over seeds."""
    rows = []
    for model in dict.fromkeys(cell.model for cell in cells):
        mine = [cell for cell in cells if cell.model == model]
        crossed = [cell.transition for cell in mine if cell.transition is not None]
        rows.append(
            {
                "model": model,
                "parameters": f"{mine[0].parameters / 1e6:.2f} M",
                "steps": f"{np.mean([cell.steps for cell in mine]):.0f}",
                "CPU s": f"{np.mean([cell.seconds for cell in mine]):.0f}",
                "transition": f"{np.mean(crossed):.0f} ({len(crossed)} of {len(mine)})" if crossed else "never",
                "cosine": _mean([cell.cosine for cell in mine], "{:+.3f}"),
                **{
                    name.replace("_", " "): f"{np.mean([cell.losses[name] for cell in mine]):.3f}"
                    for name in mine[0].losses
                },
                "wrong drafts": _mean([cell.wrong_drafts for cell in mine]),
            }
        )
    return rows


def looking_table(cells: Sequence[ModelCell]) -> list[dict[str, str]]:
    """What each model says of pictures, and how it draws what training never shows; means over seeds."""
    rows = []
    for model in dict.fromkeys(cell.model for cell in cells):
        mine = [cell for cell in cells if cell.model == model]
        rows.append(
            {
                "model": model,
                "captions right": _mean([cell.described for cell in mine]),
                **{f"{kind} right": _mean([cell.answered[kind] for cell in mine]) for kind in mine[0].answered},
                "held out right": _mean([cell.held_out for cell in mine]),
                "guidance": ", ".join(f"{cell.guidance:g}" for cell in mine),
            }
        )
    return rows


def glance(cells: Sequence[ModelCell]) -> Glance:
    """Plan against no plan."""
    shown = {"with its own plan": (FUNCTION, ACT), "corrected too": (FUNCTION, FULL), "drawn twice": (PLAIN, TWICE)}
    values = {words: float(np.mean([score.mean for score in scores(cells, *where)])) for words, where in shown.items()}
    words = (
        f"Draws what is asked in {values['with its own plan']:.0%} of all cases if it writes a plan first, in "
        f"{values['corrected too']:.0%} if it then looks and corrects, in {values['drawn twice']:.0%} if it draws "
        "twice and keeps the picture that it likes better."
    )
    return Glance(words, small_bars(values), "a unified model of a million weights, trained here")


def _mean(values: Sequence[float | None], words: str = "{:.3f}") -> str:
    known = [value for value in values if value is not None]
    return words.format(np.mean(known)) if known else ""
