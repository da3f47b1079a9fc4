"""Records from a source: one picture and a text each, each once, none of the probes'; and vocabularies by name."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from burnish.align.reading import Vocabulary, read
from burnish.align.records import Record, picture_hash
from burnish.align.sources import read_records
from burnish.align.vocabularies import load_vocabulary
from burnish.core.errors import UserError
from burnish.dialogue.readers import QuestionSettings
from burnish.dialogue.rows import Question, open_picture
from tests.align.models import picture
from tests.align.words import VOCABULARY


def write(folder: Path, rows: list[dict[str, Any]]) -> str:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def found(source: str, exclude: tuple[str, ...] = (), **asked: Any) -> tuple[list[Record], list[str]]:
    notes: list[str] = []
    return list(read_records(QuestionSettings(source=source, **asked), notes.append, exclude=exclude)), notes


def row(image: str | None, question: str = "What is it?", answer: str | None = "A thing.") -> dict[str, Any]:
    return {"question": question, "answer": answer, **({} if image is None else {"image": image})}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for number in range(3):
        picture(number, 24, 18).save(tmp_path / f"{number}.png")
    return tmp_path


def test_llava_conversations_are_records_of_their_first_turns(images: Path) -> None:
    def turns(*texts: str) -> list[dict[str, str]]:
        return [{"from": ("human", "gpt")[number % 2], "value": text} for number, text in enumerate(texts)]

    rows = [
        {"id": "1", "image": "0.png", "conversations": turns("<image>\nWhat is it?", "A dog.", "Where?", "Outside.")},
        {"id": "2", "image": "1.png", "conversations": turns("Describe it.\n<image>", "A cat on a mat.")},
        {"id": "3", "conversations": turns("Write a poem.", "Roses are red.")},
        {"id": "4", "image": "2.png", "conversations": turns("<image>", "A cat.")},
    ]
    records, notes = found(write(images, rows))
    assert [(record.question, record.text) for record in records] == [
        ("What is it?", "A dog."), ("Describe it.", "A cat on a mat."),
    ]  # fmt: skip
    assert records[0].row.endswith("rows.jsonl:1")
    assert records[0].image.tobytes() == picture(0, 24, 18).tobytes()
    assert any(note.endswith("rows.jsonl:3: skipped: no picture") for note in notes)
    assert any(note.endswith("rows.jsonl:4: skipped: the question is empty") for note in notes)


def test_a_picture_without_a_text_and_a_text_without_a_picture_are_bad_rows(images: Path) -> None:
    rows = [
        row("0.png"), row(None), row("1.png", answer=None), row("2.png", answer=" "),
        {**row(None), "images": ["0.png", "1.png"]}, row("1.png"),
    ]  # fmt: skip
    records, notes = found(write(images, rows))
    assert [record.row.rpartition(":")[2] for record in records] == ["1", "6"]
    text = "\n".join(notes)
    for line, reason in ((2, "no picture"), (3, "`answer` is missing"), (4, "is empty"), (5, "several pictures")):
        assert f"rows.jsonl:{line}: skipped: " in text
        assert reason in text
    assert notes[-1].endswith("2 records; 1 no picture, 1 several pictures")
    with pytest.raises(UserError, match=r"rows.jsonl:2: no picture; correct the row"):
        found(write(images, rows), bad_rows="fatal")
    with pytest.raises(UserError, match="no row has both a picture and a text \\(1 no picture\\)"):
        found(write(images, [row(None)]))


def test_the_same_picture_and_texts_come_once_whatever_the_file(images: Path) -> None:
    with Image.open(images / "0.png") as again:
        again.save(images / "same.bmp")
    rows = [row("0.png"), row("same.bmp"), row("0.png", "And this?"), row("1.png"), row("1.png")]
    records, notes = found(write(images, rows))
    assert [record.row.rpartition(":")[2] for record in records] == ["1", "3", "4"]
    assert len({record.sample for record in records}) == 3
    assert notes[-1].endswith("3 records; 2 seen before")
    assert len(found(write(images, rows), limit=2)[0]) == 2


def test_a_picture_of_the_probe_set_is_refused_by_its_row(images: Path) -> None:
    source = write(images, [row("0.png"), row("1.png")])
    probe = picture_hash(picture(1, 24, 18))
    with pytest.raises(UserError, match=r"rows.jsonl:2: its picture is in the probe set too"):
        found(source, exclude=(probe,))
    assert len(found(source, exclude=(picture_hash(picture(2, 24, 18)),))[0]) == 2


def test_pictures_of_any_kind_are_shown_in_rgb_and_moving_ones_by_their_first_frame(images: Path) -> None:
    shades = np.linspace(0, 255, 24 * 18).reshape(18, 24).astype(np.uint8)
    Image.fromarray(shades).save(images / "grey.png")
    Image.fromarray(shades.astype(np.uint16) * 257).save(images / "deep.png")
    picture(3, 24, 18).convert("CMYK").save(images / "cmyk.jpg")
    clear = picture(4, 24, 18).convert("RGBA")
    clear.putalpha(0)
    clear.save(images / "clear.png")
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(images / "moving.gif", save_all=True, append_images=frames[1:])
    Image.new("RGB", (1, 1), "green").save(images / "dot.png")
    names = ["grey.png", "deep.png", "cmyk.jpg", "clear.png", "moving.gif", "dot.png"]
    records, notes = found(write(images, [row(name, f"What is {name}?") for name in names]))
    shown = dict(zip(names, (record.image for record in records), strict=True))
    assert {image.mode for image in shown.values()} == {"RGB"}
    assert shown["deep.png"].tobytes() == shown["grey.png"].tobytes()
    assert set(shown["clear.png"].tobytes()) == {255}
    red, green, _ = np.asarray(shown["moving.gif"])[0, 0]
    assert (int(red), int(green)) == (255, 0)
    assert shown["dot.png"].size == (1, 1)
    assert notes[-1].endswith("6 records; 1 animated, of which the first frame is shown")


def test_a_picture_of_twenty_thousand_pixels_is_shrunk_and_a_bomb_is_one_line(images: Path) -> None:
    Image.new("RGB", (20000, 400), "blue").save(images / "wide.png")
    records, _ = found(write(images, [row("wide.png")]))
    width, height = records[0].image.size
    assert width * height <= 2_359_296
    assert 45 < width / height < 55
    small = list(read_records(QuestionSettings(source=write(images, [row("wide.png")])), most_pixels=5000))
    assert small[0].image.size == (500, 10)
    # 20,000 x 20,000 pixels of one bit: 50 MB opened, 1.2 GB as a picture
    bomb = io.BytesIO()
    Image.new("1", (20000, 20000)).save(bomb, "png")
    (images / "bomb.png").write_bytes(bomb.getvalue())
    with pytest.raises(UserError, match=r"bomb.png: the picture has more than 178,956,970 pixels") as caught:
        open_picture(images / "bomb.png")
    assert "\n" not in str(caught.value)
    records, notes = found(write(images, [row("bomb.png"), row("0.png")]))
    assert len(records) == 1
    assert any("as only a trap for memory has; shrink it" in note for note in notes)


def of_my_own() -> Iterator[Question]:
    for number in range(4):
        yield Question(f"What is {number % 2}?", "A thing.", images=(picture(number % 2, 8, 8),))


def test_a_function_of_ones_own_is_a_source() -> None:
    records, _ = found(f"{__name__}:of_my_own")
    assert [record.question for record in records] == ["What is 0?", "What is 1?"]


COCO = """
person bicycle car motorcycle airplane bus train truck boat bench bird cat dog horse sheep cow elephant bear zebra
giraffe backpack umbrella handbag tie suitcase frisbee skis snowboard kite skateboard surfboard bottle cup fork knife
spoon bowl banana apple sandwich broccoli carrot pizza donut cake chair couch bed toilet tv laptop mouse remote keyboard
microwave oven toaster sink refrigerator book clock vase scissors toothbrush
"""


def test_coco_has_its_eighty_classes_and_reads_everyday_captions() -> None:
    vocabulary = load_vocabulary("coco")
    assert len(vocabulary.entities) == 80
    assert {*COCO.split()} < {*vocabulary.entities}
    said = read("Two women ride a red motorbike past parked cars; no dogs. A large orange ball lies there.", vocabulary)
    assert [str(thing) for thing in said.claimed] == ["person", "red motorcycle", "car", "big orange sports ball"]
    assert {str(fact) for fact in said.denials} == {"dog"}
    assert read("A hot dog and a doughnut near the tv sets", vocabulary).facts == read(
        "donut, hot dog, television", vocabulary
    ).facts  # fmt: skip


def test_a_vocabulary_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "words.yaml"
    path.write_text("entities:\n  owl: [barn owl]\nattributes:\n  colour:\n    red: []\n")
    vocabulary = load_vocabulary(str(path))
    assert str(read("a red barn owl", vocabulary).claimed[0]) == "red owl"
    assert load_vocabulary("tests.align.words:VOCABULARY") is VOCABULARY
    assert load_vocabulary(f"{__name__}:made") == Vocabulary({"dog": ()})
    path.write_text("entities:\n  owl: [bird]\n  hawk: [bird]\n")
    with pytest.raises(UserError, match=r"words.yaml: vocabulary: 'bird' stands for 'owl' and for 'hawk'"):
        load_vocabulary(str(path))
    path.write_text("entities:\n  owl: [bird]\nattribute: {}\n")
    with pytest.raises(UserError, match=r"words.yaml:3: `attribute` is not a setting; did you mean `attributes`"):
        load_vocabulary(str(path))
    with pytest.raises(UserError, match="write `coco`, a YAML file"):
        load_vocabulary("imagenet")
    with pytest.raises(UserError, match="is a str, not a"):
        load_vocabulary("tests.align.models:TEMPLATE")
    with pytest.raises(UserError, match="no such file"):
        load_vocabulary(str(tmp_path / "none.yaml"))


def made() -> Vocabulary:
    return Vocabulary({"dog": ()})
