import io
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from burnish.core.errors import UserError
from burnish.dialogue.layouts import Columns, Filters
from burnish.dialogue.readers import QuestionSettings, read_questions
from burnish.dialogue.rows import Question

from .tiny import picture

REPLY = (
    "<SUMMARY>s</SUMMARY>\n<CAPTION>c</CAPTION>\n<REASONING>{reasoning}</REASONING>\n<CONCLUSION>{answer}</CONCLUSION>"
)


def cot(image: str, question: str, answer: str, **more: Any) -> dict[str, Any]:
    turns = [
        {"from": "human", "value": f"<image>\n{question}"},
        {"from": "gpt", "value": REPLY.format(reasoning="Step 1: look.\nStep 2: say.", answer=answer)},
    ]
    return {"id": image, "image": image, "conversations": turns, **more}


def write(path: Path, rows: list[Any]) -> str:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n")
    return str(path)


def read(source: str, **asked: Any) -> tuple[list[Question], list[str]]:
    notes: list[str] = []
    return list(read_questions(QuestionSettings(source=source, **asked), notes.append)), notes


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for folder in ("geoqa+", "CLEVR_v1.0", "chartqa"):
        (tmp_path / folder).mkdir()
        picture(12, 8).save(tmp_path / folder / "1.png")
    return tmp_path


def test_llava_cot_with_the_papers_filters(images: Path) -> None:
    rows = [
        cot("geoqa+/1.png", "Find x.\nA. 30°\nB. 40°", "B"),
        cot("CLEVR_v1.0/1.png", "How many are left?", "4", reasoning_steps=["Count.", " Subtract. "]),
        cot("chartqa/1.png", "How many?", "4"),
        cot("geoqa+/1.png", "Which one?\nA. the first\nB. the second", "A"),
        cot("geoqa+/1.png", "Angle ABC?\nA. 1\nB. 2", "ABC is 2"),
    ]
    paper = Filters(folders=("geoqa+", "CLEVR_v1.0"), open_questions=True, numeric=True)
    found, notes = read(write(images / "train.jsonl", rows), filters=paper)
    assert [(question.question, question.answer, question.steps) for question in found] == [
        ("Find x.", "40°", None),
        ("How many are left?", "4", ("Count.", "Subtract.")),
        ("Angle ABC?\nA. 1\nB. 2", "ABC is 2", None),  # no single letter: as published, it stays as it is
    ]
    assert found[0].rationale == "Step 1: look.\nStep 2: say."
    assert found[0].images == (images / "geoqa+" / "1.png",)
    assert found[1].row == f"{images / 'train.jsonl'}:2"
    assert notes == [
        f"{images / 'train.jsonl'}: 3 questions; left out: 1 not in the folders geoqa+, CLEVR_v1.0, 1 the answer has "
        "no number"
    ]


def test_llava_conversations_without_tags_are_read_by_their_first_turns(images: Path) -> None:
    turns = [
        {"from": "human", "value": "What is it?\n<image>"},
        {"from": "gpt", "value": "A red dog."},
        {"from": "human", "value": "Where?"},
        {"from": "gpt", "value": "Outside."},
    ]
    rows = [
        {"id": "1", "image": "chartqa/1.png", "conversations": turns},
        {"id": "2", "conversations": [{"from": "human", "value": "Hello"}, {"from": "gpt", "value": "Hello!"}]},
        {"id": "3", "image": "chartqa/1.png", "conversations": turns[:1]},
        cot("geoqa+/1.png", "Find x.", "4"),
    ]
    source = write(images / "plain.jsonl", rows)
    found, notes = read(source)
    assert found[0] == Question("What is it?", "A red dog.", images=(images / "chartqa" / "1.png",), row=f"{source}:1")
    assert (found[1].question, found[1].images, found[1].rationale) == ("Hello", (), None)
    assert found[2].answer.startswith("<SUMMARY>s</SUMMARY>")  # the layout is the first row's
    assert notes[0] == f"{source}:3: skipped: `conversations` is not a list of at least two turns"
    assert [question.answer for question in read(source, layout="llava_cot")[0]] == ["4"]


def test_geo170k_and_plain_rows(images: Path) -> None:
    geo = write(images / "test.jsonl", [{"image_path": "geoqa+/1.png", "question": "Find x.", "ground_truth": "55"}])
    assert read(geo)[0] == [Question("Find x.", "55", None, None, (images / "geoqa+" / "1.png",), f"{geo}:1")]
    plain = write(images / "plain.jsonl", [{"q": "1+1?", "a": 2}, {"q": "2+2?", "a": 4.5, "why": "because"}])
    columns = Columns(question="q", answer="a", rationale="why")
    assert [(q.answer, q.rationale) for q in read(plain, columns=columns)[0]] == [("2", None), ("4.5", "because")]
    several = write(
        images / "several.jsonl", [{"question": "?", "answer": "1", "images": ["geoqa+/1.png", "chartqa/1.png"]}]
    )
    assert len(read(several)[0][0].images) == 2


def test_parquet_and_a_folder_of_files(images: Path) -> None:
    import datasets

    rows: dict[str, list[Any]] = {
        "question": [f"q{index}" for index in range(150)],
        "answer": ["1"] * 150,
        "image": [picture(6, 4, index) for index in range(150)],
    }
    data = images / "data"
    data.mkdir()
    datasets.Dataset.from_dict(
        rows,
        datasets.Features(
            {"question": datasets.Value("string"), "answer": datasets.Value("string"), "image": datasets.Image()}
        ),
    ).to_parquet(data / "a.parquet")
    write(data / "b.jsonl", [{"question": "last", "answer": "2"}])
    found, notes = read(str(data))
    assert [question.question for question in found] == [*rows["question"], "last"]
    assert not notes
    seventh = found[7].images[0]
    assert isinstance(seventh, Image.Image)
    assert seventh.tobytes() == picture(6, 4, 7).tobytes()
    assert found[149].row == f"{data / 'a.parquet'}:149"


def hub_rows() -> Iterator[dict[str, Any]]:
    buffer = io.BytesIO()
    picture(6, 4).save(buffer, "png")
    yield {"question": "good", "answer": "1", "image": {"bytes": buffer.getvalue(), "path": None}}
    yield {"question": "bad", "answer": "1", "image": {"bytes": b"no picture", "path": None}}


def test_a_hub_data_set_is_streamed_with_its_pictures_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    features = datasets.Features(
        {"question": datasets.Value("string"), "answer": datasets.Value("string"), "image": datasets.Image()}
    )
    asked: list[Any] = []

    def load(name: str, config: str | None, *, split: str, streaming: bool) -> Any:
        asked.append((name, config, split, streaming))
        return datasets.IterableDataset.from_generator(hub_rows, features=features)

    monkeypatch.setattr(datasets, "load_dataset", load)
    found, notes = read("org/questions", split="test")
    assert asked == [("org/questions", None, "test", True)]
    assert [question.question for question in found] == ["good"]
    assert notes[0].startswith("org/questions[test]:1: skipped: its picture: not a picture")


def mine() -> Iterator[Any]:
    yield Question("a", "1", row="somewhere")
    yield {"question": "b", "answer": "2"}
    yield 3


def broken() -> Iterator[Any]:
    yield Question("a", "1")
    raise RuntimeError("out of ideas")


def endless() -> Iterator[Question]:
    number = 0
    while True:
        number += 1
        yield Question(str(number), "1")


def test_a_function_of_ones_own() -> None:
    found, notes = read(f"{__name__}:mine")
    assert [question.question for question in found] == ["a", "b"]
    assert notes[0] == f"{__name__}:mine:2: skipped: a int, neither a Question nor a mapping"
    with pytest.raises(UserError, match=r"broken raised RuntimeError: out of ideas \(test_readers.py:\d+\)"):
        read(f"{__name__}:broken")
    assert len(read(f"{__name__}:endless", limit=5)[0]) == 5


def test_it_is_a_stream(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", [{"question": "q", "answer": "1"}, "{nonsense"])
    strict = read_questions(QuestionSettings(source=source, bad_rows="fatal"))
    assert next(strict).question == "q"  # the bad row has not been looked at yet
    with pytest.raises(UserError, match=r"a\.jsonl:2: not JSON .*correct the row, or set bad_rows: skip"):
        next(strict)
    assert len(list(islice(read_questions(QuestionSettings(source=f"{__name__}:endless")), 3))) == 3


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("{nonsense", "not JSON"),
        ("[1]", "not a JSON object but a list"),
        ("3", "not a JSON object but a value"),
        ("[" * 100_000, "not JSON that can be read"),
        ('{"question": "q", "answer": ' + "9" * 5000 + "}", "not JSON that can be read"),
        ({"answer": "1"}, "`question` is missing"),
        ({"question": "q"}, "`answer` is missing"),
        ({"question": "q", "answer": ""}, "`answer` is empty"),
        ({"question": "<image>", "answer": "1"}, "`question` is empty"),
        ({"question": ["q"], "answer": "1"}, "`question` is neither text nor a number"),
        ({"question": "q", "answer": True}, "`answer` is neither text nor a number"),
        ({"question": "\ud800", "answer": "1"}, "half a surrogate pair"),
        ({"question": "q", "answer": "1", "rationale": 3}, "`rationale` is not text"),
        ({"question": "q", "answer": "1", "steps": "one"}, "`steps` is not a list of texts"),
        ({"question": "q", "answer": "1", "steps": [1]}, "`steps` is not a list of texts"),
        ({"question": "q", "answer": "1", "images": "a.png"}, "`images` is not a list"),
        ({"question": "q", "answer": "1", "image": 3}, "its image is neither a path nor a picture"),
        ({"question": "q", "answer": "1", "image": "absent.png"}, "absent.png: no such picture"),
        ({"question": "q", "answer": "1", "image": "cut.png"}, "damaged or cut off"),
        ({"question": "q", "answer": "1", "image": "cut.jpg"}, "damaged or cut off"),
        ({"question": "q", "answer": "1", "image": "text.png"}, "not a picture that can be read"),
        ({"question": "q", "answer": "1", "image": "a\u0000b"}, "the picture cannot be read"),
        ({"question": "q", "answer": "1", "image": "."}, "the picture cannot be read"),
        ({"conversations": []}, "not a list of at least two turns"),
        ({"conversations": "talk"}, "not a list of at least two turns"),
        ({"conversations": [1, 2]}, "a turn of `conversations` is not an object"),
        ({"conversations": [{"from": "human", "value": "q"}, {"from": "human", "value": "q"}]}, "no turn from"),
        ({"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "5"}]}, "no <CONCLUSION> block"),
        ({"conversations": [{"from": "human"}, {"from": "gpt", "value": "5"}]}, "`value` is missing"),
    ],
)
def test_a_bad_row_is_named_and_skipped_or_fatal(tmp_path: Path, row: Any, why: str) -> None:
    for name, form in (("cut.png", "png"), ("cut.jpg", "jpeg")):
        buffer = io.BytesIO()
        picture(64, 64).save(buffer, form)
        (tmp_path / name).write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    (tmp_path / "text.png").write_text("hello")
    good = {"question": "q", "answer": "1"}
    if isinstance(row, dict) and "conversations" in row:
        good = cot("x", "q", "1")
        del good["image"]
    source = write(tmp_path / "a.jsonl", [good, row, good])
    found, notes = read(source)
    assert len(found) == 2
    assert notes[0].startswith(f"{source}:2: skipped: ")
    assert why in notes[0]
    assert notes[1] == f"{source}: 2 questions; left out: 1 bad rows"
    with pytest.raises(UserError, match=r"a\.jsonl:2: ") as error:
        read(source, bad_rows="fatal")
    assert why in str(error.value)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"question": "q", "answer": "1"}\n\n{"question": "\xff"}\n')
    found, notes = read(str(tmp_path / "a.jsonl"))
    assert len(found) == 1
    assert notes[0].endswith("a.jsonl:3: skipped: not UTF-8 text")


def test_only_a_few_bad_rows_are_named(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", [{"question": "q", "answer": "1"}, *["nonsense"] * 50])
    notes = read(source)[1]
    assert len(notes) == 6
    assert notes[-1].endswith("50 bad rows")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from(
    ["question", "answer", "image", "images", "rationale", "steps", "conversations", "image_path", "ground_truth"]
)
lines = st.binary(max_size=40) | st.dictionaries(names, json_values, max_size=6).map(
    lambda row: json.dumps(row).encode()
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(lines, max_size=6), st.sampled_from(["auto", "llava", "llava_cot", "geo170k", "generic"]), st.booleans()
)
def test_no_file_does_more_than_one_line_of_harm(
    tmp_path: Path, given_lines: list[bytes], layout: Any, fatal: bool
) -> None:
    path = tmp_path / "fuzz.jsonl"
    path.write_bytes(b"\n".join(given_lines))
    try:
        found, notes = read(
            str(path),
            layout=layout,
            bad_rows="fatal" if fatal else "skip",
            filters=Filters(open_questions=True, numeric=True),
        )
    except UserError as error:
        assert "\n" not in str(error)
        assert str(path) in str(error)
    else:
        assert all(question.question and any(map(str.isdigit, question.answer)) for question in found)
        assert all(isinstance(note, str) for note in notes)


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("absent.jsonl", "no such file or folder"),
        ("/absent/folder", "no such file or folder"),
        ("a\0b", "no such file or folder"),
        ("nomodule_x:f", "no module named"),
        ("math:pi", "math:pi is no function"),
        (__file__, "not a file of questions"),
    ],
)
def test_sources_that_are_none(source: str, why: str) -> None:
    with pytest.raises(UserError, match=why):
        read(source)


def test_more_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no file of questions in it"):
        read(str(tmp_path / "empty"))
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(UserError, match=r"a\.parquet: row 0: not Parquet"):
        read(str(tmp_path / "a.parquet"))
    (tmp_path / "nothing.jsonl").write_text("\n")
    with pytest.raises(UserError, match=r"not one usable question in it \(it is empty"):
        read(str(tmp_path / "nothing.jsonl"))
    (tmp_path / "odd.jsonl").write_text('{"q": "one and one", "a": "2"}\n')
    with pytest.raises(
        UserError, match=r"\(1 bad rows\); the first: .*odd\.jsonl:1: skipped: `question` is missing; `columns`"
    ):
        read(str(tmp_path / "odd.jsonl"))
    with pytest.raises(UserError, match=r"image_root: .*no such folder"):
        read(str(tmp_path / "nothing.jsonl"), image_root=str(tmp_path / "absent"))
    import datasets

    def refuse(*_: Any, **__: Any) -> Any:
        raise ConnectionError("no\nnetwork")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(UserError, match="org/absent: no such file here, and the hub's data set"):
        read("org/absent")
    with pytest.raises(ValidationError):
        QuestionSettings(source="a", limit=0)


def test_the_length_filter_measures_many_prompts_at_once() -> None:
    sizes: list[int] = []

    def measure(questions: Any) -> list[int]:
        sizes.append(len(questions))
        return [int(question.question) for question in questions]

    asked = QuestionSettings(source=f"{__name__}:endless", limit=300, filters=Filters(max_prompt_tokens=400))
    assert len(list(read_questions(asked, measure=measure))) == 300
    assert sizes == [256, 256]
    with pytest.raises(UserError, match=r"filters\.max_prompt_tokens: a model's tokenizer is needed"):
        list(read_questions(asked))


def ready_made() -> Iterator[Question]:
    yield Question("good", "1", images=(picture(8, 8),))
    yield Question("no answer", " ")
    yield Question("half \ud800", "1")
    yield Question("no such picture", "1", images=(Path("absent.png"),))
    yield Question("steps", "1", steps=("\udfff",))


def test_ready_made_questions_are_held_to_what_rows_are() -> None:
    found, notes = read(f"{__name__}:ready_made")
    assert [question.question for question in found] == ["good"]
    assert [note.split("skipped: ")[-1] for note in notes[:4]] == [
        "`answer` is empty",
        "`question` is not valid Unicode (half a surrogate pair)",
        "absent.png: no such picture; check the image root",
        "`rationale` is not valid Unicode (half a surrogate pair)",
    ]
    with pytest.raises(UserError, match="ready_made:1: `answer` is empty; correct the row"):
        read(f"{__name__}:ready_made", bad_rows="fatal")
