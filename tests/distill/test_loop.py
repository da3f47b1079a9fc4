import csv
import json
import os
import shutil

import pytest
import torch

import burnish
from burnish.core.errors import BurnishError, UserError
from burnish.core.metrics import read_metrics
from burnish.distill.report import run_sections
from burnish.testbeds.clips import MOTIONS
from tests.distill import contract


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    contract.write_world(folder)
    return folder


@pytest.fixture(scope="module")
def done(world):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(world)
        return burnish.run({"method": "sakd", **contract.SETTINGS}, out=world / "run")


def test_a_run_leaves_a_student_that_a_pipeline_takes(done, world):
    from transformers import AutoModelForVideoClassification, pipeline

    assert done.value == world / "run" / "artifacts" / "model"
    model = AutoModelForVideoClassification.from_pretrained(done.value)
    before = AutoModelForVideoClassification.from_pretrained(world / "student")
    assert not torch.equal(model.classifier.weight, before.classifier.weight)
    said = pipeline("video-classification", model=str(done.value), num_frames=4)(
        str(next((world / "clips" / "test").rglob("*.mp4")))
    )
    assert {each["label"] for each in said} <= set(model.config.id2label.values())
    assert "video-classification" in (done.value / "README.md").read_text()


def test_a_run_says_what_it_did(done):
    rows = read_metrics(done.path / "metrics.jsonl")
    measured = [row for row in rows if "test_accuracy" in row]
    assert len(measured) == 5
    assert measured[0]["total_flops"] == 0
    chosen = [row for row in rows if "selected" in row]
    assert [row["selected"] for row in chosen] == [12] * 4
    assert all(sum(row["class_shares"]) == pytest.approx(1, abs=1e-3) for row in chosen)
    assert [row["rate"] for row in rows if "rate" in row] == pytest.approx([0.0, 0.2281, 0.4641, 0.5], abs=1e-4)
    outcome = json.loads((done.path / "artifacts" / "outcome.json").read_text())
    assert outcome["steps"] == 8 * 3
    assert outcome["total_flops"] == pytest.approx(
        sum(outcome[f"{part}_flops"] for part in ("teacher", "student", "frozen", "selection"))
    )
    assert outcome["decoding_seconds"] > 0
    with (done.path / "artifacts" / "samples.csv").open() as file:
        samples = list(csv.DictReader(file))
    assert len(samples) == 24
    assert sum(int(each["chosen"]) for each in samples) == 48
    assert {each["label"] for each in samples} == set(MOTIONS)


def test_its_report_shows_what_was_chosen(done):
    sections = {section.title: section for section in run_sections(done.path)}
    assert list(sections) == [
        "What came of it",
        "Accuracy against cost",
        "What was hard",
        "What was chosen",
        "Easy, hard, chosen",
    ]
    assert [part.title for part in sections["Easy, hard, chosen"].parts] == ["Easiest", "Hardest", "Chosen most often"]
    assert sections["Easy, hard, chosen"].parts[0].html.count("data:image/png") == 5
    table = sections["What came of it"].table
    assert table is not None
    rows = {row["what"]: row["value"] for row in table}
    assert "24 steps over 8 epochs" in rows["trained"]


def test_a_full_disk_while_caching_is_one_line(world, tmp_path, monkeypatch):
    """The table of the teacher; the run goes on where it was once there is room."""
    monkeypatch.chdir(world)
    recipe = {"method": "sakd", **contract.SETTINGS, "epochs": 2, "selection": {"share": 0.25, "kind": "random"}}
    monkeypatch.setenv("BURNISH_CACHE", str(tmp_path / "cache"))
    real = os.fsync

    def full(handle):
        if "teachers" in os.readlink(f"/proc/self/fd/{handle}"):
            raise OSError(28, "No space left on device")
        real(handle)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(BurnishError, match=r"teachers/.*: the disk is full; free some space") as caught:
            burnish.run(recipe, out=tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert burnish.run(recipe, out=tmp_path / "run").value.is_dir()


def test_test_clips_of_unknown_classes_are_refused(world, tmp_path, monkeypatch):
    monkeypatch.chdir(world)
    shutil.copytree(world / "clips" / "test", tmp_path / "test")
    (tmp_path / "test" / "up").rename(tmp_path / "test" / "zigzag")
    recipe = {"method": "sakd", **contract.SETTINGS, "test": {"source": str(tmp_path / "test")}}
    with pytest.raises(UserError, match="has the class `zigzag`, which the training data lack"):
        burnish.run(recipe, out=tmp_path / "run")
