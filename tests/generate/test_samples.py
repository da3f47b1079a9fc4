"""Rows of a list as samples, what a row may have, and each mistake by its line."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from burnish.core.errors import UserError
from burnish.generate.plan import Wording
from burnish.generate.recipe import SourceSettings
from burnish.generate.training.samples import Sample, read_each_once, read_samples

SIZE = (8, 8)
CAT = {"image": "cat.png", "prompt": "a cat"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    Image.fromarray(np.full((16, 16, 3), 90, dtype=np.uint8)).save(tmp_path / "cat.png")
    return tmp_path


def read(
    home: Path, *rows: Any, source: Path | None = None, told: list[str] | None = None, **settings: Any
) -> list[Sample]:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (home / "metadata.jsonl").write_text("\n".join(lines))
    found = SourceSettings.model_validate({"source": str(source or home), **settings})
    lines_told: list[str] = [] if told is None else told
    return read_samples(found, Wording(), SIZE, lines_told.append)


def test_a_source_that_several_stages_name_is_read_once(home: Path) -> None:
    read(home, CAT, CAT)
    whole, part = (SourceSettings.model_validate({"source": str(home), "limit": limit}) for limit in (None, 1))
    first, other, again = read_each_once([whole, part, whole], Wording(), SIZE)
    assert again is first
    assert (len(first), len(other)) == (2, 1)


def test_a_row_has_what_is_known_and_is_read_from_the_folder_or_its_list(home: Path) -> None:
    whole = {
        "file_name": "cat.png", "text": "a cat on a mat", "caption": "a cat", "question": "what ?", "answer": "a cat",
        "objects": [{"name": "cat", "attributes": ["red"], "box": [0, 0, 0.5, 1]}], "heat": [[0, 0.5]],
    }  # fmt: skip
    for source in (home, home / "metadata.jsonl"):
        plain, full = read(home, CAT, "", whole, source=source)
        assert (plain.prompt, plain.plan, plain.heat, plain.caption) == ("a cat", None, None, "")
        assert (full.prompt, full.caption, full.question, full.answer) == ("a cat on a mat", "a cat", "what ?", "a cat")
        assert full.plan is not None
        assert full.plan.elements[0].phrase == "red cat"
        assert full.heat is not None
        assert full.heat.tolist() == [[0.0, 0.5]]
        assert (plain.picture(SIZE) == 90).all()  # brought to the model's size
    assert len(read(home, CAT, CAT, CAT, limit=2)) == 2


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("{", r"metadata\.jsonl:2: not JSON"),
        ("[1]", r"metadata\.jsonl:2: not a JSON object"),
        ({"image": "cat.png"}, "asks for nothing; give `prompt` or `text`"),
        ({"prompt": "a cat"}, "no picture; give `image` or `file_name`"),
        ({**CAT, "image": "dog.png"}, r"no file .*dog\.png"),
        ({**CAT, "question": "what ?"}, "a question without its answer"),
        ({**CAT, "heat": [[2.0]]}, r"heat is not rows of numbers in 0\.\.1"),
        ({**CAT, "objects": [{"name": "cat", "count": 0}]}, "count 0"),
        ({**CAT, "objects": [{"box": [0, 0, 1, 1]}]}, "element 1: .*give a name and a box"),
    ],
)
def test_a_mistake_is_named_by_its_line(home: Path, row: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        read(home, CAT, row)


def test_bad_rows_can_be_left_out_and_are_told(home: Path) -> None:
    told: list[str] = []
    (found,) = read(home, CAT, {"prompt": "a dog"}, bad_files="skip", told=told)
    assert found.prompt == "a cat"
    assert told[-1].endswith("1 samples; 1 left out")
    with pytest.raises(UserError, match="not one sample in it"):
        read(home, {"prompt": "a dog"}, bad_files="skip")


def test_a_source_that_is_none(tmp_path: Path) -> None:
    for source, said in (
        (str(tmp_path), r"no metadata\.jsonl, region_descriptions\.json or \*\.tar in this folder"),
        (str(tmp_path / "none"), "no such file or folder; nor is it module:function"),
    ):
        with pytest.raises(UserError, match=said):
            read_samples(SourceSettings(source=source), Wording(), SIZE)
