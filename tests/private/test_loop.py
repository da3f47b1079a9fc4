"""A run of seconds: what it leaves, what it refuses; that it ends the same after a kill is the contract's business."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from burnish.core.errors import UserError
from burnish.core.run import Run
from burnish.private.bundle import load_client, load_heads
from burnish.private.heads import answers
from burnish.private.loop import make_classifier
from burnish.private.preflight import check
from burnish.private.recipe import SecpeRecipe
from burnish.private.report import run_sections
from tests.private.contract import SETTINGS, recipe


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("secpe")
    asked = SecpeRecipe.load(recipe(folder) | {"encoder": SETTINGS["encoder"] | {"model": str(folder / "encoder")}})
    with Run(asked, folder / "run", quiet=True) as run:
        make_classifier(asked, run)
    return folder / "run"


def read(path: Path, name: str) -> Any:
    return json.loads((path / "artifacts" / name).read_text())


def test_what_it_leaves(finished: Path) -> None:
    told, duels, questions = (read(finished, f"{name}.json") for name in ("outcome", "attacks", "questions"))
    assert len(duels) == 8
    assert [row["edited"] for row in questions] == [False, True] * 2
    assert all(row["agrees"] for row in questions)
    first = next(row for row in duels if row["single"]["right_before"] and not row["single"]["right_after"])
    assert questions[0]["text"] == first["text"]  # what was turned is asked about first
    assert questions[1]["text"] == first["single"]["text"]
    for row in duels:
        assert row["single"]["queries"] <= 16
        assert row["ensemble"]["queries"] <= 16
        for side in ("single", "ensemble"):
            assert row[side]["right_before"] or not row[side]["changed"]  # what is wrong already is not attacked
    assert told["single_attacked"] == sum(row["single"]["right_after"] for row in duels) / 8
    assert told["ensemble_under_attack_on_single"] == sum(row["single"]["other_right"] for row in duels) / 8
    # both halves together give, in the clear, what the run says
    service = finished / "artifacts" / "service"
    heads, eps = load_heads(service)
    client = load_client(service)
    assert eps == client.eps == 0.125
    vectors = client.represent(client.load(), [row["text"] for row in questions]).vectors
    assert [heads.labels[at] for at in answers(heads, vectors)] == [row["clear"] for row in questions]


def test_its_report_shows_bytes_and_levels(finished: Path) -> None:
    titles = [section.title for section in run_sections(finished)]
    assert titles == [
        "What came out",
        "What the client typed, and got",
        "What the server saw",
        "What levels are spent on",
        "Under attack",
        "Scores before and after",
        "What attacks look like",
        "Prompts",
    ]
    assert run_sections(finished.parent) == []


def test_without_attacks_and_questions(tmp_path: Path) -> None:
    settings = recipe(tmp_path) | {"attack": {"texts": 0}, "heads": {"kind": "words", "bound": "certain"}}
    settings["encoder"] = SETTINGS["encoder"] | {"model": str(tmp_path / "encoder")}
    settings["ensemble"] = {"prompts": 3, "aggregate": "weighted"}
    asked = SecpeRecipe.load(settings)
    with Run(asked, tmp_path / "run", quiet=True) as run:
        make_classifier(asked, run)
    assert read(tmp_path / "run", "attacks.json") == []
    assert "single_attacked" not in read(tmp_path / "run", "outcome.json")
    assert [section.title for section in run_sections(tmp_path / "run")][-1] == "Prompts"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"ensemble": {"prompts": 4}}, r"ensemble.prompts: 4 of 3 candidates"),
        ({"prompts": {"words": [["a", "b", "c"]]}}, r"3 words for 2 classes"),
        ({"encryption": {"eps": 1e-9}}, r"eps"),
        ({"data": SETTINGS["data"] | {"train": 9000}}, r"3,000 different texts|different texts; data.train"),
        ({"encoder": SETTINGS["encoder"] | {"max_tokens": 8}}, r"of 8 tokens for the text"),
    ],
)
def test_preflight_refuses(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    given = recipe(tmp_path) | changed
    given["encoder"] = given["encoder"] | {"model": str(tmp_path / "encoder")}
    with pytest.raises(UserError, match=said):
        check(SecpeRecipe.load(given))


def test_preflight_says_that_a_calibrated_bound_takes_more(tmp_path: Path) -> None:
    said = {}
    for bound in ("calibrated", "certain"):
        given = recipe(tmp_path) | {"heads": {"bound": bound}}
        given["encoder"] = given["encoder"] | {"model": str(tmp_path / "encoder")}
        rows = dict(check(SecpeRecipe.load(given)))
        said[bound] = rows["encryption"]
        assert re.match(r"\d+, \d+ MB each; a question of ", rows["keys"])
    assert said["calibrated"].startswith(said["certain"] + "; at least")


@pytest.mark.parametrize("eps", [0, 1, -0.5])
def test_eps_without_sense(eps: float) -> None:
    with pytest.raises(UserError, match=r"`encryption.eps`: input should be"):
        SecpeRecipe.load({"method": "secpe", **SETTINGS, "encryption": {"eps": eps}})
