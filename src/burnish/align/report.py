"""What the report of a SHAPE run shows: what came of it, round by round, and pairs as the model was taught them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup
from PIL import Image

from burnish.align.cases import Case
from burnish.align.factory import show_views
from burnish.align.gate import Pair, Tally
from burnish.align.pair_markup import LEGEND, STYLE, pair_markup
from burnish.align.reading import Vocabulary
from burnish.align.recipe import ShapeRecipe, round_seed
from burnish.align.store import TripletSet, open_triplets
from burnish.align.truths import allowed_families
from burnish.align.views import plan_views
from burnish.align.vocabularies import load_vocabulary
from burnish.core.errors import UserError
from burnish.core.files import read_json
from burnish.core.intervals import Interval
from burnish.core.report import Section, subplots, whole_steps

SHOWN = 3
"""Pairs of a round that are shown: the one whose winner is better by most, by least, and one in the middle."""
PANELS: Mapping[str, Mapping[str, str]] = {
    "recall and precision": {"recall": "recall", "precision": "precision"},
    "POPE, F1": {f"pope_{split}_f1": split for split in ("random", "popular", "adversarial")},
    "POPE, share of yes": {f"pope_{split}_yes": split for split in ("random", "popular", "adversarial")},
    "words of a description": {"words": "words"},
    "agreement over views": {"agreement": "agreement"},
    "entropy, nats a token": {"entropy": "entropy"},
    "KL from the start, nats a token": {"kl": "KL"},
    "share of records with a pair": {"kept": "kept"},
}
"""The small pictures: which figures share one."""
DASHES = ("-", "--", ":")
"""Lines of one panel differ in more than colour."""


def run_sections(path: Path) -> list[Section]:
    """Sections of a run's report."""
    recipe = ShapeRecipe.load(path / "recipe.yaml")
    artifacts = path / "artifacts"
    outcome = read_json(artifacts / "outcome.json") or {}
    sets = _sets(artifacts)
    figures = {number: _figures(artifacts, number) for number in range(max(sets, default=0) + 1)}
    for number, made in sets.items():
        figures.setdefault(number, {})["kept"] = _share(made.tally)
    course = len(figures) > 1 and any(figures.values())
    found = [
        Section(
            "What came of it",
            _outcome_text(recipe, outcome, artifacts),
            table=outcome_rows(figures) or None,
            figure=course_figure(figures) if course else None,
        )
    ]
    found += _judged(artifacts, outcome)
    if sets:
        found.append(
            Section(
                "From records to pairs",
                "Quality is how far the views agree with a text, less a penalty for repetitions. A round is trained on "
                "only if its winners have more of it than its losers.",
                table=[_pairs_row(number, made.tally) for number, made in sets.items()],
                parts=[_drops(number, made.tally) for number, made in sets.items() if made.tally.dropped],
            )
        )
        found.append(_pairs(recipe, sets))
    return found


def outcome_rows(figures: Mapping[int, Mapping[str, float]]) -> list[dict[str, str]]:
    """A row for the start and for each round."""
    names = {
        "recall": "recall", "precision": "precision", "chair_i": "CHAIR", "words": "words",
        "pope_random_f1": "POPE random", "pope_popular_f1": "POPE popular", "pope_adversarial_f1": "POPE adversarial",
        "agreement": "agreement", "entropy": "entropy", "kl": "KL",
    }  # fmt: skip
    shown = [name for name in names if any(name in row for row in figures.values())]
    return [
        {
            "round": _round(number),
            **{names[name]: _number(row.get(name), 1 if name == "words" else 3) for name in shown},
        }
        for number, row in figures.items()
        if set(row) - {"kept"}
    ]


def course_figure(figures: Mapping[int, Mapping[str, float]]) -> Any:
    """Small multiples by round; those of which nothing is known are left out."""
    panels = {
        title: {name: label for name, label in lines.items() if any(name in row for row in figures.values())}
        for title, lines in PANELS.items()
    }
    panels = {title: lines for title, lines in panels.items() if lines}
    columns = min(2, len(panels))  # a phone shows the same picture, and must be able to
    height = -(-len(panels) // columns)
    figure, grid = subplots(height, columns, width=3.6 * columns, height=1.9 * height)
    for axes, (title, lines) in zip(grid.flat, panels.items(), strict=False):
        for (name, label), dash in zip(lines.items(), DASHES, strict=False):
            points = [(number, row[name]) for number, row in figures.items() if name in row]
            axes.plot(*zip(*points, strict=True), dash, marker="o", markersize=3, linewidth=1.3, label=label)
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("round", fontsize=8)
        axes.set_xlim(-0.2, max(figures) + 0.2)
        whole_steps(axes)
        if len(lines) > 1:
            axes.legend(fontsize=7, frameon=False)
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_visible(False)
    return figure


def telling(made: TripletSet, count: int = SHOWN) -> list[tuple[Case, Pair]]:
    """Pairs across the whole range: from the clearest to the closest."""
    by_lead = sorted(made.pairs(), key=lambda each: each[1].loser_quality - each[1].winner_quality)
    if len(by_lead) <= count:
        return by_lead
    return [by_lead[round(place * (len(by_lead) - 1) / (count - 1))] for place in range(count)]


def _sets(artifacts: Path) -> dict[int, TripletSet]:
    found = {}
    for folder in sorted(artifacts.glob("round-*/triplets"), key=lambda each: int(each.parent.name.split("-")[1])):
        try:
            found[int(folder.parent.name.split("-")[1])] = open_triplets(folder)
        except UserError:  # a round in the making
            continue
    return found


def _figures(artifacts: Path, number: int) -> dict[str, float]:
    measured = read_json(artifacts / (f"round-{number}" if number else "start") / "measured.json") or {}
    return dict(measured.get("figures", {}))


def _outcome_text(recipe: ShapeRecipe, outcome: Mapping[str, Any], artifacts: Path) -> str:
    if not recipe.train:
        return "Nothing was to be trained: the run makes pairs (`train: false`)."
    if not outcome:
        return "The run has not ended."
    kept = f"The model of {outcome['best'].replace('-', ' ')} is kept." if outcome["best"] else (
        "The model that was given is kept: no round's was good."
    )  # fmt: skip
    if recipe.triplets is not None:
        kept = f"Trained on the ready pairs of {recipe.triplets}. {kept}"
    if outcome["stopped"]:
        kept = f"Stopped early: {outcome['stopped']}. {kept}"
    return f"{kept} {_against_start(outcome, artifacts)}"


def _against_start(outcome: Mapping[str, Any], artifacts: Path) -> str:
    """The kept model beside the start, in words."""
    start = read_json(artifacts / "start" / "measured.json")
    if start is None:
        return "Nothing was measured: the recipe names no `probe`, so nobody knows whether it is better."
    kept = read_json(artifacts / str(outcome["best"]) / "measured.json") if outcome["best"] else None
    if kept is None:
        return ""
    before, after = start["figures"], kept["figures"]
    moved = [
        f"{name} from {_number(before[name], digits)} to {_number(after[name], digits)}"
        for name, digits in (("recall", 3), ("precision", 3), ("words", 1))
    ]
    count = start["counts"]["described"]["texts"]
    return f"On {count:,} pictures, one run, no interval: {', '.join(moved)}."


def _judged(artifacts: Path, outcome: Mapping[str, Any]) -> list[Section]:
    """What a judge said of the model that is kept; nothing where none was asked."""
    said = read_json(artifacts / str(outcome.get("best")) / "judged.json")
    if not isinstance(said, dict):
        return []
    rate = None if said["win_rate"] is None else Interval.model_validate(said["win_rate"])
    text = (
        "Which description of a picture is better, the start's or the kept model's, asked in both orders. Only who won "
        f"both times has won; the judge named the first one shown in {said['first_place']:.0%} of its choices."
    )
    row = {
        "win rate of the kept model": "-" if rate is None else str(rate),
        **{name: f"{said[name]:,}" for name in ("wins", "losses", "ties", "inconsistent", "unread")},
    }
    return [Section("What the judge says", text, table=[row])]


def _pairs_row(number: int, made: Tally) -> dict[str, str]:
    return {
        "round": _round(number),
        "records": f"{made.kept + sum(made.dropped.values()):,}",
        "pairs": f"{made.kept:,}",
        "quality of winners": _number(made.winner_quality),
        "quality of losers": _number(made.loser_quality),
        "words of winners": f"{made.winner_words:.1f}",
        "words of losers": f"{made.loser_words:.1f}",
        "winner longer": f"{made.longer:.0%}",
    }


def _drops(number: int, made: Tally) -> Section:
    whole = made.kept + sum(made.dropped.values())
    rows = [
        {"reason": reason, "records": f"{count:,}", "share": f"{count / whole:.1%}"}
        for reason, count in made.dropped.items()
    ]
    return Section(
        f"{_round(number)}: why {sum(made.dropped.values()):,} records have no pair", table=rows, folded=True
    )


def _pairs(recipe: ShapeRecipe, sets: Mapping[int, TripletSet]) -> Section:
    vocabulary = load_vocabulary(recipe.vocabulary)
    parts = [
        Section(_round(number), html=Markup("").join(_shown(recipe, made, number, vocabulary)))
        for number, made in sets.items()
        if made.tally.kept
    ]
    text = "Of each round the pair whose winner the views agree with most, compared with its loser, one in the middle, "
    return Section("Pairs", f"{text}and the closest.", html=Markup(STYLE) + LEGEND, parts=parts)


def _shown(recipe: ShapeRecipe, made: TripletSet, number: int, vocabulary: Vocabulary) -> list[Markup]:
    seed = round_seed(recipe.seed, number)
    found = []
    for case, pair in telling(made):
        with Image.open(made.folder / "pictures" / f"{case.picture}.png") as opened:
            picture = opened.convert("RGB")
        families = allowed_families(case.question, case.original, recipe.views).families
        views = show_views([(picture, plan_views(case.sample, families, recipe.views, seed))])[0]
        found.append(pair_markup(case, pair, picture, views, vocabulary))
    return found


def _share(made: Tally) -> float:
    return made.kept / max(1, made.kept + sum(made.dropped.values()))


def _round(number: int) -> str:
    return f"round {number}" if number else "start"


def _number(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
