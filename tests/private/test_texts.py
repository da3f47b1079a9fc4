"""Labelled texts: what is read, what is left out and said, parts that share nothing."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from burnish.core.errors import UserError
from burnish.private.recipe import TextSettings
from burnish.private.texts import read_texts, split_texts


def written(path: Path, rows: Sequence[object]) -> str:
    path.write_text("\n".join(json.dumps(row) if not isinstance(row, str) else row for row in rows))
    return str(path)


def test_rows_that_are_none_are_named(tmp_path: Path) -> None:
    rows = [
        {"text": "", "label": "b"},
        {"text": "\u043f\u0440\u0438\u0432\u0435\u0442", "label": 7},
        {"text": None, "label": "a"},
        {"text": 3, "label": "a"},
        {"text": "x", "label": [1]},
        "{broken",
        {"text": "y", "label": "a"},
    ]
    said: list[str] = []
    found = read_texts(TextSettings(source=written(tmp_path / "texts.jsonl", rows)), said.append)
    assert found.texts == ("", "\u043f\u0440\u0438\u0432\u0435\u0442", "y")
    assert found.classes == ("7", "a", "b")
    assert found.labels.tolist() == [2, 0, 1]
    assert [line.partition("left out: ")[2] for line in said[:-1]] == [
        "its `text` is missing",
        "its `text` is a int",
        "its `label` is a list",
        "not JSON (Expecting property name enclosed in double quotes at character 1)",
    ]
    assert said[-1].endswith("3 texts; 4 rows left out")


def test_chosen_classes_in_their_order(tmp_path: Path) -> None:
    source = written(tmp_path / "texts.jsonl", [{"text": str(n), "label": "abc"[n % 3]} for n in range(9)])
    found = read_texts(TextSettings(source=source, classes=("c", "a")))
    assert found.classes == ("c", "a")
    assert sorted(set(found.labels.tolist())) == [0, 1]
    assert len(found.texts) == 6
    with pytest.raises(UserError, match="classes: `a` stands there twice"):
        read_texts(TextSettings(source=source, classes=("a", "a")))
    with pytest.raises(UserError, match="1 of them; a classifier needs two"):
        read_texts(TextSettings(source=source, classes=("a",)))
    with pytest.raises(UserError, match="no row of it has `body` and `label`"):
        read_texts(TextSettings(source=source, text="body"))


def test_parts_share_no_text_and_have_every_class(tmp_path: Path) -> None:
    rows = [{"text": f"text {n % 60}", "label": "rare" if n % 60 < 6 else "often"} for n in range(120)]
    settings = TextSettings(source=written(tmp_path / "texts.jsonl", rows), train=20, validation=10, test=10)
    texts = read_texts(settings)
    parts = split_texts(texts, settings, np.random.default_rng(0))
    sets = [set(each.texts) for each in (parts.train, parts.validation, parts.test)]
    assert [len(each) for each in sets] == [20, 10, 10]
    assert len(sets[0] | sets[1] | sets[2]) == 40
    everyone = np.concatenate([parts.train.labels, parts.validation.labels, parts.test.labels])
    assert (everyone == texts.classes.index("rare")).sum() == 6  # all of them, as classes are taken in turn
    again = split_texts(texts, settings, np.random.default_rng(0))
    assert again.test.texts == parts.test.texts
    with pytest.raises(UserError, match=r"60 different texts; data.train, data.validation and data.test ask for 80"):
        split_texts(texts, settings.model_copy(update={"train": 60}), np.random.default_rng(0))
    missing = TextSettings(source=settings.source, classes=("rare", "often", "never"), train=5, validation=5, test=5)
    with pytest.raises(UserError, match="no text of class `never`"):
        split_texts(read_texts(missing), missing, np.random.default_rng(0))
