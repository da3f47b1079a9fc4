"""Audits from end to end, on striped pictures: verdicts, resume, budgets, the evidence checked again, bad input."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from burnish.core.errors import UserError
from burnish.core.run import Run
from burnish.prove.evasion import repeat_signs
from burnish.prove.evidence import verify
from burnish.prove.suspects import open_suspect
from burnish.prove.trainprove import METHOD
from burnish.prove.trainprove.loop import asked_again, audit, gathered
from burnish.prove.trainprove.pictures import draw_all
from burnish.prove.trainprove.preflight import check
from burnish.prove.trainprove.recipe import AuditRecipe
from burnish.prove.trainprove.shadows import Job, planned, train_shadow
from tests.prove.trainprove import painters

HERE = "tests.prove.trainprove.painters"
ONE = [{"name": "mlp", "function": f"{HERE}:mlp"}]
RESNET = {"model_type": "resnet", "layer_type": "basic", "depths": [1], "hidden_sizes": [8], "embedding_size": 8}


def recipe(**changes: Any) -> AuditRecipe:
    settings: dict[str, Any] = {
        "suspect": {"model": f"{HERE}:suspect", "batch": 16},
        "classes": ["a", "b", "c", "d"],
        "size": 8,
        "channels": 1,
        "mine": {"name": "mine", "function": f"{HERE}:mine"},
        "others": [{"name": name, "function": f"{HERE}:{name}"} for name in ("one", "two", "three", "four")],
        "references": ["one", "two"],
        "shadow_pictures": 12,
        "validation_pictures": 12,
        "reference_pictures": 6,
        "architectures": [{"name": "mlp", "function": f"{HERE}:mlp"}, {"name": "resnet", "config": RESNET}],
        "mine_each": 2,
        "others_each": 2,
        "training": {"steps": 25, "batch": 16, "learning_rate": 0.003, "weight_decay": 0.01},
        "variation": {"temperatures": [0.8, 1.2]},
        "alpha": 0.2,
    }
    return AuditRecipe.load(yaml.safe_dump({"method": "trainprove"} | settings | changes))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("audit") / "run"
    with Run(recipe(mixtures={"fractions": [0.5], "each": 2}), path, quiet=True) as run:
        audit(run.recipe, run)  # type: ignore[arg-type]
    return path


def findings(path: Path) -> dict[str, Any]:
    return json.loads((path / "artifacts" / "findings.json").read_text())["findings"]


def test_a_suspect_that_changes_its_labels_is_caught_when_asked_again() -> None:
    """By the audit's own questions; a steady one is let pass, and a budget that is spent asks nothing."""
    pixels = np.random.default_rng(0).integers(0, 256, (96, 8, 8, 1), dtype=np.uint8)
    for name, limit, signs in (("suspect", None, 0), ("fickle", None, 1), ("fickle", 136, 1), ("fickle", 100, None)):
        asking = recipe(suspect={"model": f"{HERE}:{name}", "batch": 16, "queries": limit})
        with open_suspect(asking.suspect, "labels") as oracle:
            first = oracle.ask(pixels)
            found = asked_again(asking, oracle, pixels, print)
            assert oracle.made == 96 + (0 if signs is None else 40)
        if signs is None:
            assert found == {}
        else:
            assert len(repeat_signs(first[found["again_rows"]], found["again_labels"])) == signs


def test_what_an_audit_leaves(finished: Path) -> None:
    found = findings(finished)
    assert found["shadows"] == {"mine": 4, "one": 4, "two": 4, "three": 4, "four": 4}
    assert found["queries"] == 4 * (12 + 2 * 6)
    assert found["sources"] == found["sources_needed"] == 4
    assert {test["name"] for test in found["tests"]} >= {"open world", "closed world, pooled"}
    assert 0.2 <= found["tests"][0]["p"] <= 1
    assert set(found["fraction"]) == {"low", "high"}
    assert found["fraction"]["low"] is None or 0 <= found["fraction"]["low"] <= found["fraction"]["high"] <= 1
    assert found["power"]["models"] == 4
    assert found["false_accusation"]["level"] == pytest.approx(0.25)
    assert found["verdict"]["outcome"] == "cannot be judged"  # labels by the sum of pixels, as good as drawn
    shadow = finished / "artifacts" / "shadows" / "source-0-1-0"
    assert (shadow / "config.json").exists()  # a transformers folder
    assert not list(finished.rglob("*.pt"))
    assert not list(finished.rglob("*.part-*"))


def test_the_evidence_can_be_computed_again(finished: Path, tmp_path: Path) -> None:
    folder = finished / "artifacts" / "evidence"
    assert verify(folder).ok, verify(folder).problems
    copy = tmp_path / "evidence"
    shutil.copytree(folder, copy)
    text = (copy / "findings.json").read_text()
    (copy / "findings.json").write_text(text.replace('"novelty_p": ', '"novelty_p": 0'))
    found = verify(copy)
    assert not found.ok
    assert any("findings.json" in problem for problem in found.problems)


def test_the_report(finished: Path) -> None:
    sections = METHOD.load("report")(finished)
    titles = [section.title for section in sections]
    assert titles[0] == "Verdict"
    assert {"Source by source", "What the audit is worth", "The published rule", "Shadows"} <= set(titles)
    text = (finished / "artifacts" / "evidence" / "report.html").read_text()
    assert "this generator" in text or "derivative" in text


def test_an_audit_again_asks_nothing(finished: Path) -> None:
    painters.CALLS.clear()
    with Run(recipe(mixtures={"fractions": [0.5], "each": 2}), finished, quiet=True) as run:
        audit(run.recipe, run)  # type: ignore[arg-type]
    assert painters.CALLS == []


def test_a_lost_shadow_comes_out_the_same(finished: Path, tmp_path: Path) -> None:
    again = recipe(mixtures={"fractions": [0.5], "each": 2})
    work = finished / "artifacts"
    for shadow in (planned(again)[0], planned(again)[2], planned(again)[-1]):
        job = Job(shadow, again, work / "pictures", tmp_path)
        assert train_shadow(job) == shadow.name
        first, second = (
            (folder / shadow.name / "answers.safetensors").read_bytes() for folder in (work / "shadows", tmp_path)
        )
        assert first == second
        stamp = (tmp_path / shadow.name / "shadow.json").stat().st_mtime_ns
        train_shadow(job)
        assert (tmp_path / shadow.name / "shadow.json").stat().st_mtime_ns == stamp


def test_a_budget_is_kept_and_scouts_do_not_calibrate(finished: Path) -> None:
    limited = recipe(suspect={"model": f"{HERE}:suspect", "queries": 20})
    shadows = planned(limited)
    rows, arrays = gathered(limited, finished / "artifacts" / "pictures", finished / "artifacts" / "shadows", shadows)
    assert len(arrays["truth"]) == len(rows) == 20
    assert set(arrays["sets"]) == {0, 1, 2}
    assert len(arrays["shadow_labels"]) == len(shadows) / 2
    assert (np.bincount(arrays["shadow_source"]) == 2).all()
    random = limited.model_copy(update={"choice": "random"})
    _, free = gathered(random, finished / "artifacts" / "pictures", finished / "artifacts" / "shadows", shadows)
    assert len(free["shadow_labels"]) == len(shadows)
    assert len(free["truth"]) == 20


def test_what_folders_hold_is_judged_before_training(tmp_path: Path) -> None:
    from PIL import Image

    labels = np.repeat(np.arange(4), 3)
    for name, seed in (("pictures", 1), ("validation", 2)):
        for index, (label, picture) in enumerate(zip(labels, painters.stripes(0, labels, seed, 1.0), strict=True)):
            folder = tmp_path / name / "abcd"[label]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture[..., 0]).save(folder / f"{index}.png")
    mine = {"name": "mine", "pictures": str(tmp_path / "pictures"), "validation": str(tmp_path / "validation")}
    short = recipe(mine=mine, statistic="grubbs_paper", batch=8)
    said = "12 validation pictures of my generator make 2 batches of 8"
    with pytest.raises(UserError, match=said), Run(short, tmp_path / "run", quiet=True) as run:
        audit(short, run)
    assert not list((tmp_path / "run").rglob("shadow.json"))


def test_killed_it_goes_on_without_asking_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGKILL while the suspect is being asked: the same command ends with the same findings and asks the rest only."""
    log, path = tmp_path / "asked", tmp_path / "run"
    monkeypatch.setenv("ASKED", str(log))
    small = recipe(suspect={"model": f"{HERE}:suspect_that_notes", "batch": 16}, mine_each=1, others_each=1)
    (tmp_path / "recipe.yaml").write_text(small.to_yaml())
    line = [sys.executable, "-m", "burnish.cli", "run", str(tmp_path / "recipe.yaml"), "--out", str(path)]
    root = str(Path(__file__).parents[3])
    found_here = os.environ | {"KILL": "3", "PYTHONPATH": os.pathsep.join([root, *sys.path])}
    assert subprocess.run(line, env=found_here, timeout=120, capture_output=True).returncode == -signal.SIGKILL
    assert log.read_text().split() == ["16", "16", "16"]
    trained = {path.parent.name: path.stat().st_mtime_ns for path in path.rglob("shadow.json")}
    assert len(trained) == 10
    with Run(small, path, quiet=True) as run:
        audit(small, run)
    asked = log.read_text().split()
    assert asked[:3] == ["16", "16", "16"]
    assert sum(map(int, asked[3:])) == 4 * 24 - 32 + 40  # two batches were answered, the third never was
    assert trained == {path.parent.name: path.stat().st_mtime_ns for path in path.rglob("shadow.json")}


def test_logits_give_the_variants(finished: Path, tmp_path: Path) -> None:
    asked = recipe(
        answer="logits",
        suspect={"model": f"{HERE}:suspect_logits"},
        statistic="grubbs_similarity",
        mine_each=1,
        others_each=1,
    )
    with Run(asked, tmp_path / "run", quiet=True) as run:
        audit(asked, run)
    found = findings(tmp_path / "run")
    assert found["published"]["grubbs_similarity"] is not None
    assert found["tests"][0]["name"] == "published rule (grubbs_similarity)"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mine": {"name": "mine", "function": f"{HERE}:nothing"}}, "has no `nothing`"),
        ({"mine": {"name": "mine", "function": f"{HERE}:wrong_size"}}, r"wanted uint8 \("),
        ({"mine": {"name": "mine", "function": f"{HERE}:raises"}}, "raised RuntimeError: no brush"),
        (
            {"mine": {"name": "mine", "function": f"{HERE}:repeats"}, "variation": {"temperatures": [1.0]}},
            "among the training",
        ),
        ({"mine": {"name": "mine", "pictures": "/nowhere", "validation": "/nowhere"}}, "no such folder"),
        ({"mine": {"name": "mine", "pipeline": "./nowhere"}}, "no such folder"),
        (
            {"suspect": {"model": f"{HERE}:suspect_with_strange_labels"}},
            "label 7, but 4 classes",
        ),
        ({"architectures": [{"name": "x", "config": {"model_type": "nothing"}}]}, "cannot build it"),
        ({"architectures": [{"name": "x", "function": f"{HERE}:suspect"}]}, "x: .*raised TypeError"),
    ],
)
def test_bad_recipes_end_in_one_line(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    small = recipe(**({"mine_each": 1, "others_each": 1, "training": {"steps": 1, "batch": 8}} | changes))
    with pytest.raises(UserError, match=message), Run(small, tmp_path / "run", quiet=True) as run:
        audit(small, run)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mine": {"name": "one", "function": "a:b"}}, "names must differ"),
        ({"mine": {"name": "x"}}, "give one of pipeline, function, pictures"),
        ({"mine": {"name": "x", "pictures": "here"}}, "need a validation folder"),
        ({"references": ["nobody"]}, "nobody is none of the other sources"),
        ({"classes": ["a", "a"]}, "must differ"),
        ({"glosses": ["one"]}, "1 for 4 classes"),
        ({"shadow_prompts": "gloss"}, "needs one for each class"),
        ({"statistic": "grubbs_entropy"}, "needs answer: logits"),
        ({"others": [{"name": "one", "function": "a:b"}], "references": []}, "others.: list should have at least 2"),
        ({"suspect": {"model": "a:b", "queries": 2}}, "2 for 3 validation sets"),
        ({"suspect": {"model": "a:b", "queries": 20}, "architectures": ONE, "others_each": 1}, "needs two shadows"),
        ({"statistic": "grubbs_paper", "batch": 128}, "48 validation pictures of my generator make 1 batches of 128"),
        (
            {"statistic": "grubbs_paper", "batch": 10, "suspect": {"model": "a:b", "queries": 40}},
            "20 validation .* 2 batches",
        ),
        ({"statistic": "grubbs_similarity", "answer": "logits", "classes": ["a", "b"]}, "needs 3 classes or more"),
        ({"architectures": [{"name": "x"}]}, "give config or function"),
        ({"architectures": [{"name": "x", "function": "a:b", "training": {"stepz": 1}}]}, "stepz"),
        ({"variation": {"share": [0.9, 0.1]}}, "range low, high"),
        ({"mixtures": {"fractions": [1.0]}}, "between 0 and 1"),
    ],
)
def test_settings_that_do_not_fit(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        recipe(**changes)


def test_check_says_what_would_run() -> None:
    rows = dict(check(recipe(suspect={"model": f"{HERE}:suspect", "queries": 50})))
    assert rows["queries"] == "50 of 96 validation pictures"
    assert rows["shadows"].startswith("20 models: mlp 0.01 M, resnet ")
    assert rows["sources"].endswith("the least open-world p is 0.200")
    assert "needs 19" in dict(check(recipe(alpha=0.05)))["sources"]


def test_pictures_from_folders(tmp_path: Path) -> None:
    from PIL import Image

    labels = np.repeat(np.arange(4), 8)
    for name, seed in (("pictures", 1), ("validation", 2)):
        for index, (label, picture) in enumerate(zip(labels, painters.stripes(0, labels, seed, 1.0), strict=True)):
            folder = tmp_path / name / "abcd"[label]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture[..., 0]).save(folder / f"{index}.png")
    mine = {"name": "mine", "pictures": str(tmp_path / "pictures"), "validation": str(tmp_path / "validation")}
    small = recipe(mine=mine, mine_each=1, others_each=1, shadow_pictures=6, validation_pictures=6)
    with Run(small, tmp_path / "run", quiet=True) as run:
        audit(small, run)
    assert findings(tmp_path / "run")["queries"] == 4 * (6 + 12)
    # pictures beyond the number wanted are not even opened
    (tmp_path / "pictures" / "b" / "z.png").write_text("no picture")
    with Run(small, tmp_path / "more", quiet=True) as run:
        assert list(draw_all(small, tmp_path / "more" / "pictures"))
    # a validation picture saved again is among the training ones, though no byte is the same
    near = np.asarray(Image.open(tmp_path / "validation" / "c" / "16.png")).astype(int)
    Image.fromarray((near + 1).clip(0, 255).astype(np.uint8)).save(tmp_path / "pictures" / "c" / "16.png")
    with pytest.raises(UserError, match="mine: 1 of 24 validation pictures are, exactly or nearly, among the training"):
        list(draw_all(small, tmp_path / "near"))
    (tmp_path / "pictures" / "a").rename(tmp_path / "pictures" / "z")
    with pytest.raises(UserError, match="no sub-folder `a`"), Run(small, tmp_path / "again", quiet=True) as run:
        audit(small, run)


def test_pictures_drawn_before_a_stop_are_not_drawn_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from burnish.prove.trainprove import pictures
    from burnish.prove.trainprove.generators import Function

    drawn: list[int] = []
    draw = Function.draw

    def counted(self: Function, labels: np.ndarray, *rest: Any) -> np.ndarray:
        drawn.append(len(labels))
        return draw(self, labels, *rest)

    monkeypatch.setattr(Function, "draw", counted)
    monkeypatch.setattr(pictures, "PART", 10)
    small = recipe()
    whole = list(pictures.draw_all(small, tmp_path / "whole"))
    total, parts = sum(drawn), len(drawn)
    assert parts > 20
    drawn.clear()
    going = pictures.draw_all(small, tmp_path / "cut")
    for _ in range(4):
        next(going)  # stopped in the middle of a source
    assert isinstance(going, Generator)
    going.close()
    assert list((tmp_path / "cut").glob("*.part-*"))
    rest = list(pictures.draw_all(small, tmp_path / "cut"))
    assert rest == whole  # what is there already is said again, and not drawn again
    assert (sum(drawn), len(drawn)) == (total, parts)
    for path in (tmp_path / "whole").iterdir():
        assert path.read_bytes() == (tmp_path / "cut" / path.name).read_bytes(), path.name
