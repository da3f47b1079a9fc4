"""What users' files and models really hold, from the file to the triplets: each is read, left out and counted, or said.

The reasons themselves are tested beside the rooms that find them; here is what becomes of a whole run.
"""

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from burnish.align.factory import make_cases, make_triplets
from burnish.align.gate import Drop, Pair
from burnish.align.generators.transformers import TransformersGenerator
from burnish.align.records import Answer, Ask, Record, Sampling, picture_hash
from burnish.align.sources import read_records
from burnish.core.errors import UserError
from burnish.dialogue.readers import QuestionSettings
from tests.align.fakes import Scripted, plan
from tests.align.models import llava, picture

QUESTION = "What is in the picture?"


def save(name: str, image: Image.Image, **options: Any) -> Callable[[Path], str]:
    def write(folder: Path) -> str:
        image.save(folder / name, **options)
        return name

    return write


def raw(name: str, data: bytes) -> Callable[[Path], str]:
    def write(folder: Path) -> str:
        (folder / name).write_bytes(data)
        return name

    return write


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "png")
    return file.getvalue()


def deep() -> Image.Image:
    """16 bits a pixel: black to white from left to right."""
    return Image.fromarray(np.tile(np.linspace(0, 65535, 32).astype(np.uint16), (16, 1)))


GOOD: dict[str, Callable[[Path], str]] = {
    "grey": save("grey.png", Image.new("L", (20, 16), 128)),
    "bilevel": save("bilevel.png", Image.new("1", (20, 16), 1)),
    "palette": save("palette.gif", picture(0, 20, 16).convert("P")),
    "transparent": save("transparent.png", Image.new("RGBA", (20, 16), (255, 0, 0, 0))),
    "cmyk": save("cmyk.jpg", Image.new("CMYK", (20, 16), (0, 255, 255, 0))),
    "sixteen bits": save("deep.png", deep()),
    "animated": save(
        "moving.gif", Image.new("RGB", (20, 16), "red"), save_all=True, append_images=[Image.new("RGB", (20, 16))]
    ),
    "one pixel": save("pixel.png", Image.new("RGB", (1, 1), "red")),
    "three high": save("flat.png", picture(1, 20, 3)),
    "20,000 px": save("wide.png", Image.new("RGB", (20_000, 110), "blue")),
}
BAD: dict[str, tuple[Callable[[Path], str] | None, str | None, str]] = {
    "no text": (save("a.png", picture(2)), None, "`answer` is missing"),
    "empty text": (save("b.png", picture(3)), "  ", "`answer` is empty"),
    "no picture": (None, "A dog.", "no picture"),
    "missing picture": (lambda _: "absent.png", "A dog.", "absent.png: no such picture"),
    "cut off": (raw("cut.png", png(picture(4))[:200]), "A dog.", "damaged or cut off"),
    "not a picture": (raw("text.png", b"hello"), "A dog.", "not a picture that can be read"),
    "a bomb": (raw("bomb.png", png(Image.new("1", (20_000, 20_000)))), "A dog.", "a trap for memory"),
    "a thread": (save("thread.png", Image.new("RGB", (20_000, 20), "blue")), "A line.", "over 200 times as long as"),
}


def row(image: str | None, text: str | None) -> str:
    found = {"question": QUESTION, "answer": text, "image": image}
    return json.dumps({name: value for name, value in found.items() if value is not None})


def source(folder: Path, *rows: str) -> QuestionSettings:
    (folder / "rows.jsonl").write_text("\n".join(rows), "utf-8")
    return QuestionSettings(source=str(folder / "rows.jsonl"), layout="generic")


@pytest.fixture(scope="module")
def generator() -> TransformersGenerator:
    return TransformersGenerator(llava(), batch=8)


@pytest.mark.parametrize("kind", GOOD)
def test_pictures_of_any_kind_become_views_and_answers(kind: str, tmp_path: Path, generator: Any) -> None:
    settings = source(tmp_path, row(GOOD[kind](tmp_path), "There is a red circle."))
    told: list[str] = []
    (record,) = read_records(settings, told.append, most_pixels=40_000)
    assert record.image.mode == "RGB"
    assert record.image.width * record.image.height <= 40_000
    (case,) = make_cases([record], generator, plan())
    assert len(case.heard) == 4
    assert all(heard.answer.tokens > 0 for heard in case.heard)
    assert any("animated" in line for line in told) is (kind == "animated")


@pytest.mark.parametrize("kind", BAD)
def test_a_row_that_makes_no_record_is_named_and_left_out(kind: str, tmp_path: Path) -> None:
    write, text, said = BAD[kind]
    bad = row(None if write is None else write(tmp_path), text)
    good = row(GOOD["grey"](tmp_path), "A dog.")
    told: list[str] = []
    (record,) = read_records(source(tmp_path, good, bad), told.append)
    assert record.text == "A dog."
    assert any("rows.jsonl:2" in line and said in line for line in told), told
    assert all("\n" not in line for line in told)
    fatal = source(tmp_path, good, bad).model_copy(update={"bad_rows": "fatal"})
    with pytest.raises(UserError, match=r"rows\.jsonl:2: "):
        list(read_records(fatal))


def test_nothing_but_bad_rows_is_one_line(tmp_path: Path) -> None:
    write = BAD["a thread"][0]
    assert write is not None
    with pytest.raises(UserError, match="1 over 200 times as long as wide") as caught:
        list(read_records(source(tmp_path, row(write(tmp_path), "A line."))))
    assert "\n" not in str(caught.value)


def made(image: Image.Image, text: str, *answers: str, question: str = QUESTION, **pairs: Any) -> Pair | Drop:
    turns = iter(answers)
    generator = Scripted(lambda _ask: next(turns))
    summary = Answer(pairs.pop("summary", ""), 9, cut=bool(pairs.pop("cut", False)))
    if summary.text:
        pairs["winner"] = "summary"

        def answer(asks: Sequence[Ask], sampling: Sampling) -> list[Answer]:
            return [summary if ask.image is None else Scripted.answer(generator, [ask], sampling)[0] for ask in asks]

        generator.answer = answer  # type: ignore[method-assign]
    record = Record("a" * 16, picture_hash(image), image, question, text, "rows:1")
    views = {"views": len(answers)}
    (case,) = make_cases([record], generator, plan(views=views, **{"margin": 0.05, **pairs}))
    return case.result


IMAGE = picture(9)


@pytest.mark.parametrize(
    ("reason", "answers", "pairs"),
    [
        ("no answer", ("", " ", "</s>", "..."), {}),
        ("winner loops", ("a dog and " * 9, "a dog", "a dog", "dog"), {"winner": "longest", "margin": None}),
        ("identical answers", ("A dog.", "a dog", "A dog</s>", "a  DOG"), {}),
        ("yes and no in equal parts", ("Yes.", "No.", "Yes, a dog.", "No, an owl."), {}),
        ("summary cut off", ("A red circle.", "A blue square", "An owl"), {"summary": "A red circle and", "cut": True}),
        ("winner equals loser", ("A red circle.", "red circle", "a red circle, an owl", "red circle"), {}),
        ("winner is off topic", ("red circle", "a red circle, an owl"), {"summary": "Vanuatu, also known as Uganda"}),
        ("winner invents", ("red circle", "a red circle, an owl"), {"summary": "A red circle and a green cross."}),
    ],
)
def test_answers_that_make_no_pair(reason: str, answers: tuple[str, ...], pairs: dict[str, Any]) -> None:
    found = made(IMAGE, "There is a red circle.", *answers, **pairs)
    assert isinstance(found, Drop)
    assert found.reason == reason


def test_one_empty_or_looping_answer_among_good_ones_does_no_harm() -> None:
    answers = ("", "red circle, owl", "red circle, owl, " * 20, "red circle, owl")
    found = made(IMAGE, "There is a red circle.", *answers)
    assert isinstance(found, Pair)
    assert found.chosen == "There is a red circle and an owl."


def test_most_views_decide_a_yes_or_no() -> None:
    found = made(IMAGE, "No.", "Yes, a dog.", "Yes.", "No.", "Yes, a dog.", question="Is there a dog?")
    assert isinstance(found, Pair)
    assert (found.chosen, found.rejected) == ("Yes. There is a dog.", "No.")


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("Was ist links neben dem roten Kreis auf dem Bild zu sehen?", "Ein Hund."),
        ("左边是什么？", "一只狗"),
        ("What is left of the red circle?", "左边是一只狗"),
    ],
)
def test_no_view_is_shown_that_makes_a_text_untrue_which_the_rule_cannot_read(question: str, text: str) -> None:
    record = Record("a" * 16, picture_hash(IMAGE), IMAGE, question, text, "rows:1")
    (case,) = make_cases([record], Scripted(), plan())
    assert {heard.family for heard in case.heard} <= {"contrast", "blur", "noise", "clean"}


def test_bad_and_good_rows_together_from_the_file_to_the_triplets(tmp_path: Path, generator: Any) -> None:
    rows = [row(write(tmp_path), f"There is a red circle, {kind}.") for kind, write in GOOD.items()]
    for write, text, _ in BAD.values():
        rows.append(row(None if write is None else write(tmp_path), text))
    rows.append(rows[0])  # again
    told: list[str] = []
    records = read_records(source(tmp_path, *rows), told.append, most_pixels=40_000)
    found = make_triplets(records, generator, plan(winner="longest", margin=None, shortest=0), tmp_path / "set")
    assert found.tally.kept + sum(found.tally.dropped.values()) == len(GOOD)
    assert "1 seen before" in told[-1]
    lines = (tmp_path / "set" / "triplets.jsonl").read_text("utf-8").splitlines()
    assert len(lines) == found.tally.kept
    for line in lines:
        (name,) = json.loads(line)["images"]
        with Image.open(tmp_path / "set" / name) as kept:
            assert kept.mode == "RGB"


def test_a_run_without_a_single_pair_is_one_line_that_says_why(tmp_path: Path) -> None:
    pytest.importorskip("trl")
    from burnish.align.loop import align
    from burnish.core.run import Run
    from tests.align.scenes import shape

    recipe = shape(tmp_path, rounds=1, probe=None, pairs={"winner": "merger", "margin": 1.0})
    with (
        pytest.raises(UserError, match=r"round 1: not one record yields a pair \(\d+ ") as caught,
        Run(recipe, tmp_path / "run", quiet=True) as run,
    ):
        align(recipe, run)
    assert "not above the margin" in str(caught.value)
    assert "require_better_winners" not in str(caught.value)  # which would not help
    assert "\n" not in str(caught.value)
