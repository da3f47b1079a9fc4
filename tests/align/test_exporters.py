"""Exported sets against the schemas of lmms-eval and VLMEvalKit, loaded as these load them.

The schemas were written down from the sources that the exporters name: columns, types, and what a scorer reads.
"""

import ast
import base64
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from datasets import Image as ImageFeature
from datasets import List, Value, load_dataset
from PIL import Image

from burnish.align.exporters import lmms_eval, vlmevalkit
from burnish.align.exporters.sets import Description, description, from_probe_set
from burnish.align.facts import Thing
from burnish.align.pope import Probe, pope_probes, score_pope
from burnish.align.probes import read_probes
from burnish.align.recipe import ProbeSettings
from burnish.core.errors import UserError
from tests.align.words import VOCABULARY
from tests.dialogue.tiny import picture

PICTURES = {"a": picture(16, 12), "b": picture(1, 1, 1), "c": picture(9, 20, 2).convert("L")}
PROBES = pope_probes({"a": ["cat", "dog"], "b": ["dog"], "c": ["owl", "cat"]}, each=2)
DESCRIPTIONS = [
    description("a", "Describe the picture.", [Thing("cat", ("black",)), Thing("dog")]),
    Description("c", 'What is there?\n"All" of it,\tplease.', ("An owl.", "There's a cat\tand\nan owl.")),
]
ODD = ["Yes", "no, there\tis none", 'He said "yes".\nTwice.', "", "Nein, nicht da.", "yes"]


def same(found: Image.Image, wanted: Image.Image) -> bool:
    return found.convert("RGB").tobytes() == wanted.convert("RGB").tobytes() and found.size == wanted.size


# VLMEvalKit


def loaded(path: Path) -> pd.DataFrame:
    """As vlmeval/smp/file.py and dataset/image_base.py load a data set."""
    data = pd.read_csv(path, sep="\t")
    data["index"] = [str(each) for each in data["index"]]
    if "image" in data:
        images = dict(zip(data["index"], [str(each) for each in data["image"]], strict=True))
        for index, image in images.items():
            if len(image) <= 64:
                assert len(images[image]) > 64
                images[index] = images[image]
        data["image"] = list(images.values())
    return data


def decoded(image: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(image)))


def test_pope_for_vlmevalkit(tmp_path: Path) -> None:
    path = vlmevalkit.write_pope(tmp_path, PROBES, PICTURES)
    assert path == tmp_path / "POPE_burnish.tsv"
    data = loaded(path)
    assert list(data.columns) == ["index", "image", "question", "answer", "category"]
    assert list(data["index"]) == [str(number) for number in range(len(PROBES))]
    assert data["question"].tolist() == [probe.question for probe in PROBES]
    assert set(data["answer"]) == {"Yes", "No"}
    assert [each.lower() for each in data["answer"]] == [probe.answer for probe in PROBES]
    assert data["category"].tolist() == [probe.split for probe in PROBES]
    for image, probe in zip(data["image"], PROBES, strict=True):
        assert same(decoded(image), PICTURES[probe.image])
    raw = pd.read_csv(path, sep="\t", dtype=str)
    assert sum(len(image) > 64 for image in raw["image"]) == len(PICTURES)  # each picture is written once


def test_descriptions_for_vlmevalkit(tmp_path: Path) -> None:
    data = loaded(vlmevalkit.write_descriptions(tmp_path, DESCRIPTIONS, PICTURES))
    assert list(data.columns) == ["index", "image", "question", "answer"]
    assert data["question"].tolist() == [each.question for each in DESCRIPTIONS]
    answers = [ast.literal_eval(each) for each in data["answer"]]  # the scorer evaluates it
    assert answers == [list(each.references) for each in DESCRIPTIONS]
    assert answers[0] == ["There is a black cat and a dog."]
    assert same(decoded(data["image"][1]), PICTURES["c"])


def rated(data: pd.DataFrame) -> dict[str, float]:
    """F1 and accuracy of all splits as vlmeval's utils/yorn.py reads and rates answers."""

    def said(text: str) -> str:
        words = re.sub(r"[^\w\s]", " ", text.lower()).split()
        return {(True, False): "Yes", (False, True): "No"}.get(("yes" in words, "no" in words), "Unknown")

    extracted = [said(str(each)) for each in data["prediction"]]
    right = list(data["answer"])
    tp = sum(a == b == "Yes" for a, b in zip(extracted, right, strict=True))
    precision, recall = tp / max(1, extracted.count("Yes")), tp / right.count("Yes")
    accuracy = sum(a == b for a, b in zip(extracted, right, strict=True)) / len(right)
    return {"f1": 2 * precision * recall / max(1e-9, precision + recall), "accuracy": accuracy}


def test_answers_for_vlmevalkit_are_scored_as_ours_are(tmp_path: Path) -> None:
    answers = [probe.answer if number % 3 else "yes" for number, probe in enumerate(PROBES)]
    path = vlmevalkit.write_answers(tmp_path, "runs/x/tiny", PROBES, answers, "POPE_burnish")
    assert path == tmp_path / "tiny_POPE_burnish.tsv"
    data = loaded(path)
    assert list(data.columns) == ["index", "question", "answer", "category", "prediction"]
    ours = sum(score_pope(PROBES, answers).values(), next(iter(score_pope(PROBES, answers).values())).__class__())
    assert rated(data) == pytest.approx({"f1": ours.f1, "accuracy": ours.accuracy})


def test_odd_answers_keep_their_row(tmp_path: Path) -> None:
    asked = PROBES[: len(ODD)]
    data = loaded(vlmevalkit.write_answers(tmp_path, "m", asked, ODD, "POPE_burnish"))
    found = ["" if pd.isna(each) else each for each in data["prediction"]]
    assert found == ODD
    described = loaded(vlmevalkit.write_answers(tmp_path, "m", DESCRIPTIONS, ODD[1:3], "D"))
    assert described["prediction"].tolist() == ODD[1:3]


# lmms-eval

POPE_COLUMNS = {
    **dict.fromkeys(["id", "question_id", "question", "answer", "image_source", "category"], Value("string")),
    "image": ImageFeature(),
}


@pytest.fixture
def cache(tmp_path: Path) -> str:
    return str(tmp_path / "datasets")


def task(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


def docs_of(settings: Any, cache: str) -> Any:
    """The documents of a task, as lmms_eval/api/task.py loads them."""
    found = load_dataset(
        path=settings["dataset_path"],
        name=settings["dataset_name"],
        cache_dir=cache,
        **(settings["dataset_kwargs"] or {}),
    )
    return found[settings["test_split"]]


def test_pope_for_lmms_eval(tmp_path: Path, cache: str) -> None:
    folder = lmms_eval.write_pope(tmp_path, PROBES, PICTURES, "our_pope")
    assert folder == tmp_path / "our_pope"
    settings = task(folder / "tasks" / "our_pope.yaml")
    assert (settings["include"], settings["task"]) == ("pope.yaml", "our_pope")
    docs = docs_of(settings, cache)
    assert dict(docs.features) == POPE_COLUMNS
    assert docs["question"][:] == [probe.question for probe in PROBES]
    assert docs["answer"][:] == [probe.answer for probe in PROBES]
    assert docs["category"][:] == [probe.split for probe in PROBES]
    assert len(set(docs["question_id"][:])) == len(PROBES)
    for doc, probe in zip(docs, PROBES, strict=True):
        assert same(doc["image"], PICTURES[probe.image])
    for split in ("random", "popular", "adversarial"):
        own = docs_of(task(folder / "tasks" / f"our_pope_{split}.yaml"), cache)
        assert own["question"][:] == [probe.question for probe in PROBES if probe.split == split]


def test_a_set_is_replaced_as_a_whole(tmp_path: Path, cache: str) -> None:
    lmms_eval.write_pope(tmp_path, PROBES, PICTURES, "p")
    few = [probe for probe in PROBES if probe.split == "random"]
    folder = lmms_eval.write_pope(tmp_path, few, PICTURES, "p")
    assert sorted(path.name for path in (folder / "tasks").iterdir()) == ["p.yaml", "p_random.yaml"]
    assert len(docs_of(task(folder / "tasks" / "p.yaml"), cache)) == len(few)


def test_descriptions_for_lmms_eval(tmp_path: Path, cache: str) -> None:
    folder = lmms_eval.write_descriptions(tmp_path, DESCRIPTIONS, PICTURES, "ours")
    settings = task(folder / "tasks" / "ours.yaml")
    assert (settings["include"], settings["doc_to_text"]) == ("coco2017_cap_val.yaml", "question")
    docs = docs_of(settings, cache)
    assert docs.features["answer"] == List(Value("string"))
    assert docs.features["id"] == Value("int64")
    for number, (doc, each) in enumerate(zip(docs, DESCRIPTIONS, strict=True)):
        assert (doc["question"], doc["answer"]) == (each.question, list(each.references))
        assert int(doc["question_id"].split("_")[-1].split(".")[0]) == doc["id"] == number  # as its scorer reads it
        assert same(doc["image"], PICTURES[each.image])


def test_answers_for_lmms_eval(tmp_path: Path) -> None:
    mixed = [*PROBES[6:], *PROBES[:6]]  # in no order of splits
    answers = [f"{probe.answer} " if number % 2 else f"perhaps {number}" for number, probe in enumerate(mixed)]
    samples, log = lmms_eval.write_answers(tmp_path, "runs/x/tiny", mixed, answers, "our_pope")
    assert re.fullmatch(r"\d{8}_\d{6}_samples_our_pope\.jsonl", samples.name)
    assert samples.parent == log.parent == tmp_path / "tiny"
    lines = [json.loads(line) for line in samples.read_text("utf-8").splitlines()]
    by_question = {
        (probe.split, probe.question, probe.image): answer for probe, answer in zip(mixed, answers, strict=True)
    }
    for number, (line, probe) in enumerate(zip(lines, sorted_by_split(mixed), strict=True)):
        answer = by_question[probe.split, probe.question, probe.image]
        assert (line["doc_id"], line["target"], line["input"]) == (number, probe.answer, probe.question)
        assert line["filtered_resps"] == [answer]
        assert re.fullmatch("[0-9a-f]{64}", line["doc_hash"])
        assert line["pope_f1_score"] == {
            "question_id": str(number),
            "score": float(answer.strip() == probe.answer),
            "prediction": answer.strip(),
            "ground_truth": probe.answer,
        }
    logged = json.loads(log.read_text("utf-8"))
    assert logged["model_configs"]["task"] == "our_pope"
    assert (logged["args"]["model"], logged["args"]["limit"]) == ("tiny", None)
    assert re.fullmatch(r"\d{4}_\d{4}", logged["time"])
    assert {each["doc_id"]: each["resps"][0][0] for each in logged["logs"]} == {
        line["doc_id"]: line["filtered_resps"][0] for line in lines
    }


def sorted_by_split(probes: list[Probe]) -> list[Probe]:
    return [probe for split in ("random", "popular", "adversarial") for probe in probes if probe.split == split]


def test_described_answers_for_lmms_eval(tmp_path: Path) -> None:
    samples, _ = lmms_eval.write_answers(tmp_path, "m", DESCRIPTIONS, ["A cat.", ""], "ours")
    first, second = (json.loads(line) for line in samples.read_text("utf-8").splitlines())
    assert first["coco_CIDEr"] == {
        "answer": ["There is a black cat and a dog."],
        "pred": "A cat.",
        "image_id": 0,
        "id": 0,
    }
    assert second["filtered_resps"] == [""]


# Both


@pytest.mark.parametrize("exporter", [lmms_eval, vlmevalkit])
def test_what_cannot_be_exported(exporter: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no picture 'b', which 'Is there"):
        exporter.write_pope(tmp_path, PROBES, {"a": PICTURES["a"]}, "POPE")
    with pytest.raises(UserError, match="nothing to export"):
        exporter.write_descriptions(tmp_path, [], PICTURES)
    with pytest.raises(UserError, match="becomes the name of a file"):
        exporter.write_pope(tmp_path, PROBES, PICTURES, "POPE/../x")
    with pytest.raises(UserError, match="2 questions and 1 answers"):
        exporter.write_answers(tmp_path, "m", DESCRIPTIONS, ["x"], "D")
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"align needs datasets; the extra `align` brings it: .*\[align\]"):
        lmms_eval.write_pope(tmp_path, PROBES, PICTURES)
    assert vlmevalkit.write_pope(tmp_path, PROBES, PICTURES).exists()  # needs no such thing


def test_vlmevalkit_knows_pope_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="take POPE_mine, say"):
        vlmevalkit.write_pope(tmp_path, PROBES, PICTURES, "mine")


def test_the_probe_set_of_a_run(tmp_path: Path) -> None:
    rows = [("red.png", [["circle", "red"], "dog"]), ("blue.png", ["owl"])]
    for name, _ in rows:
        Image.new("RGB", (12, 8), name.removesuffix(".png")).save(tmp_path / name)
    lines = [json.dumps({"image": name, "objects": objects}) for name, objects in rows]
    (tmp_path / "probe.jsonl").write_text("\n".join(lines))
    settings = ProbeSettings(source=str(tmp_path / "probe.jsonl"), each=1)
    probes = read_probes(settings, VOCABULARY)
    pictures, descriptions = from_probe_set(probes, settings.question)
    data = loaded(vlmevalkit.write_pope(tmp_path, probes.probes, pictures))
    assert data["question"].tolist() == [probe.question for probe in probes.probes]
    described = loaded(vlmevalkit.write_descriptions(tmp_path, descriptions, pictures))
    assert [ast.literal_eval(each) for each in described["answer"]] == [
        ["There is a red circle and a dog."],
        ["There is an owl."],
    ]
    assert [decoded(each).getpixel((0, 0)) for each in described["image"]] == [(255, 0, 0), (0, 0, 255)]


def test_a_picture_without_anything_known_in_it() -> None:
    assert description("a", "?", []).references == ("There is nothing.",)
