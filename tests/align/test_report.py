"""What the report of a run shows: its figures by round, and pairs with facts marked by sign, word and colour."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from burnish.align.cases import Case, Heard
from burnish.align.facts import vote
from burnish.align.gate import Pair
from burnish.align.pair_markup import marked, pair_markup
from burnish.align.records import Answer
from burnish.align.report import course_figure, outcome_rows, run_sections
from burnish.core.recipe import Recipe
from tests.align.scenes import shape
from tests.align.words import VOCABULARY, said

ANSWERS = ("a red circle and an owl", "a red circle", "a blue circle", "")


def made(chosen: str = "a red circle and a <b>dog</b>") -> tuple[Case, Pair]:
    heard = tuple(Heard("noise", (400.0,), Answer(text)) for text in ANSWERS)
    agreed = vote([said(text) for text in ANSWERS], 2)
    pair = Pair("s", "What <is> there?", chosen, "a green circle", None, None, 0.5, 0.1, agreed)
    return Case("s", "p", "rows.jsonl:3", pair.question, "a green circle", heard, {}, None, pair), pair


def test_facts_are_marked_by_what_the_views_say_of_them() -> None:
    case, pair = made()
    judges = [said(each.answer.text) for each in case.heard if each.answer.text]

    def words(kind: str, text: str) -> list[str]:
        shown = str(marked(text, pair, judges, VOCABULARY))
        return [part.split("\u202f")[0] for part in shown.split(f'<span class="fact {kind}">')[1:]]

    assert words("agreed", ANSWERS[0]) == ["red circle"]
    assert words("alone", ANSWERS[0]) == ["owl"]
    # two views say red and one says blue: nobody says green
    assert words("contradicted", "a green circle and no dog") == ["green circle"]
    shown = str(marked("no dog, an owl", pair, judges, VOCABULARY))
    assert 'aria-label="alone">?' in shown
    assert shown.count("fact") == 1  # a denial is left as it is
    assert str(marked("", pair, judges, VOCABULARY)) == "(no answer)"


def test_a_pair_is_shown_escaped_with_its_pictures_named() -> None:
    case, pair = made()
    picture = Image.new("RGB", (4, 4), "red")
    shown = str(pair_markup(case, pair, picture, [picture] * 4, VOCABULARY))
    assert "<b>" not in shown
    assert "What &lt;is&gt; there?" in shown
    assert shown.count('<img src="data:image/png;base64,') == 5
    assert shown.count('alt="view ') == 4
    assert 'alt="the picture of rows.jsonl:3"' in shown
    assert "winner: merger of agreed facts; quality 0.50" in shown
    assert "loser: the original text; quality 0.10" in shown
    with pytest.raises(ValueError):
        pair_markup(case, pair, picture, [picture], VOCABULARY)  # a view too few


def test_figures_by_round_leave_out_what_nobody_measured(tmp_path: Path) -> None:
    figures = {
        0: {"recall": 0.5, "precision": 0.9, "words": 8.54},
        1: {"recall": 0.6, "precision": 0.8, "words": 9.0, "kept": 0.7},
    }
    rows = outcome_rows(figures)
    assert rows == [
        {"round": "start", "recall": "0.500", "precision": "0.900", "words": "8.5"},
        {"round": "round 1", "recall": "0.600", "precision": "0.800", "words": "9.0"},
    ]
    drawn = [axes.get_title() for axes in course_figure(figures).axes if axes.get_visible()]
    assert drawn == ["recall and precision", "words of a description", "share of records with a pair"]
    assert outcome_rows({0: {}, 1: {"kept": 0.5}}) == []


def told(folder: Path, recipe: Recipe, files: dict[str, Any]) -> str:
    """What the first section says of a run that left these files."""
    (folder / "recipe.yaml").write_text(recipe.to_yaml())
    for name, content in files.items():
        (folder / "artifacts" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "artifacts" / name).write_text(json.dumps(content))
    return run_sections(folder)[0].text


def test_it_says_what_came_of_every_kind_of_run(tmp_path: Path) -> None:
    scenes = tmp_path / "scenes"
    measured = {
        f"{name}/measured.json": {
            "figures": {"recall": recall, "precision": 0.9, "words": words},
            "counts": {"described": {"texts": 128}},
        }
        for name, recall, words in (("start", 0.5, 6.0), ("round-1", 0.75, 8.0))
    }
    kept: dict[str, Any] = {"outcome.json": {"best": "round-1", "stopped": None, "rounds": []}}

    def run(name: str, files: dict[str, Any], **settings: Any) -> str:
        folder = tmp_path / name
        folder.mkdir()
        return told(folder, shape(scenes, **settings), files)

    assert "Nothing was to be trained" in run("pairs", {}, train=False)
    assert run("going on", {}) == "The run has not ended."
    assert run("measured", kept | measured) == (
        "The model of round 1 is kept. On 128 pictures, one run, no interval: recall from 0.500 to 0.750, "
        "precision from 0.900 to 0.900, words from 6.0 to 8.0."
    )
    ready = run("ready", kept, rounds=1, triplets="pairs.jsonl", probe=None)
    assert ready.startswith(
        "Trained on the ready pairs of pairs.jsonl. The model of round 1 is kept. Nothing was measured"
    )
    none: dict[str, Any] = {"outcome.json": {"best": None, "stopped": "precision fell", "rounds": []}}
    assert run("stopped", none | measured).startswith("Stopped early: precision fell. The model that was given is kept")
