"""`burnish reason answer` and `burnish.reason.answer`: the same thing in two ways."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from burnish.cli import app
from burnish.core.errors import UserError
from burnish.reason import answer
from tests.dialogue.tiny import build, picture, save, text_model

QUESTION = "how many?"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    save(build("llava"), folder / "eyes")
    save(build("llava", seed=1), folder / "tuned")
    save(build("text"), folder / "text")
    other = text_model()
    other.tokenizer.add_tokens(["hello"])
    save(other, folder / "other")
    save(text_model(template=False), folder / "mute")
    picture(20, 16).save(folder / "a.png")
    picture(16, 16, 1).save(folder / "b.png")
    (folder / "cut.png").write_bytes((folder / "a.png").read_bytes()[:200])
    return folder


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["reason", "answer", *arguments])


def test_the_command_and_the_function_say_the_same(shop: Path) -> None:
    options = ["--question", QUESTION, "--tokens", "8", "--calibrate", "0.8", "--device", "cpu"]
    images = ["--image", str(shop / "a.png"), "--image", str(shop / "b.png")]
    found = json.loads(run(str(shop / "eyes"), *images, *options, "--json").stdout)
    mine = answer(
        str(shop / "eyes"),
        QUESTION,
        [shop / "a.png", str(shop / "b.png")],
        calibrate=0.8,
        max_new_tokens=8,
        device="cpu",
    )
    assert {**found, "seconds": 0} == {**mine, "seconds": 0}
    assert (found["tokens"], found["finished"], found["calibrate"]) == (8, False, 0.8)
    plain = answer(build("llava"), QUESTION, [picture(20, 16), picture(16, 16, 1)], max_new_tokens=8)
    assert plain["answer"] != found["answer"]
    streamed = run(str(shop / "eyes"), *images, *options)
    assert streamed.stdout.strip() == found["answer"]
    assert "cut off after 8 tokens" in streamed.stderr


def test_the_answer_is_written_as_it_comes(shop: Path) -> None:
    pieces: list[str] = []
    found = answer(build("llava"), QUESTION, [shop / "a.png"], calibrate=1, max_new_tokens=12, write=pieces.append)
    assert "".join(pieces).strip() == found["answer"]


def test_a_second_model_has_a_say(shop: Path) -> None:
    options = ["--question", QUESTION, "--image", str(shop / "a.png"), "--tokens", "8", "--device", "cpu", "--json"]
    plain = json.loads(run(str(shop / "eyes"), *options).stdout)
    beside = [*options, "--with-model", str(shop / "tuned")]
    found = json.loads(run(str(shop / "eyes"), *beside, "--weight", "0.6").stdout)
    mine = answer(
        shop / "eyes",
        QUESTION,
        [shop / "a.png"],
        with_model=build("llava", seed=1),
        weight=0.6,
        max_new_tokens=8,
        device="cpu",
    )
    assert (found["answer"], found["weight"]) == (mine["answer"], 0.6)
    assert (found["with_model"], mine["with_model"]) == (str(shop / "tuned"), "llava")
    assert found["answer"] != plain["answer"]
    assert "weight" not in plain
    assert json.loads(run(str(shop / "eyes"), *beside).stdout)["weight"] == 0.3
    alone = json.loads(run(str(shop / "eyes"), *beside, "--weight", "0").stdout)
    assert alone["answer"] == plain["answer"]
    words = answer(shop / "eyes", QUESTION, [shop / "a.png"], with_model=shop / "text", max_new_tokens=2, device="cpu")
    assert words["tokens"] == 2


def test_words_alone_need_no_eyes(shop: Path) -> None:
    found = answer(shop / "text", QUESTION, max_new_tokens=4, temperature=1.0, seed=1, system="be brief")
    assert found["tokens"] == 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["eyes", "--calibrate", "0.8"],
            "calibrate: compares the model with and without the picture; give one",
        ),
        (
            ["eyes", "--image", "a.png", "--calibrate", "-1"],
            "calibrate: `gamma`: input should be greater than or equal to 0",
        ),
        (["eyes", "--image", "a.png", "--calibrate", "nan"], "calibrate: `gamma`"),
        (["eyes", "--image", "a.png", "--plausibility", "2"], "calibration: `plausibility`"),
        (["eyes", "--tokens", "0"], "decoding: `max_new_tokens`: input should be greater than or equal to 1"),
        (["eyes", "--top-p", "0"], "decoding: `top_p`"),
        (["eyes", "--temperature", "-1"], "decoding: `temperature`"),
        (["eyes", "--image", "absent.png"], "absent.png: no such picture"),
        (["eyes", "--image", "cut.png"], "cut.png: the picture cannot be read"),
        (["text", "--image", "a.png"], "takes none; choose an image-text model"),
        (["mute"], "has no chat template"),
        (["nothing"], "nothing: no such folder"),
        (["eyes", "--device", "cuda:77"], "device: cuda:77: not here"),
        (["eyes", "--weight", "0.3"], "weight: is a second model's, and there is none"),
        (["eyes", "--with-model", "tuned", "--weight", "1.1"], "fusion: `weight`: input should be less than or equal"),
        (["eyes", "--with-model", "tuned", "--weight", "nan"], "fusion: `weight`"),
        (["eyes", "--with-model", "nothing"], "nothing: no such folder"),
        (["eyes", "--with-model", "mute"], "has no chat template"),
        (["text", "--with-model", "other"], "is none in text and 'hello' in other; their logits can only be mixed"),
        (["eyes", "--image", "a.png", "--with-model", "tuned", "--calibrate", "1"], "one at a time; leave one of them"),
        (["eyes", "--device", "toaster"], "device: toaster: not here"),
    ],
)
def test_a_mistake_is_one_line(shop: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str) -> None:
    monkeypatch.chdir(shop)
    done = run(*arguments, "--question", QUESTION)
    assert isinstance(done.exception, UserError)
    assert said in str(done.exception)
    assert "\n" not in str(done.exception)


def test_an_empty_question() -> None:
    with pytest.raises(UserError, match="question: is empty"):
        answer("nothing", "  ")


def test_importing_the_door_is_cheap() -> None:
    import subprocess

    code = (
        "import burnish.reason, burnish.cli.reason, sys; print({'torch', 'transformers', 'numpy', 'PIL'} & "
        "set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "set()"
