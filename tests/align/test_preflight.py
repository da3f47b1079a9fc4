"""What ``burnish check`` says of a recipe, and what it refuses before anything starts."""

import json
import shutil
from pathlib import Path

import pytest

from burnish.align.preflight import check
from burnish.core.errors import UserError
from tests.align.scenes import shape


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    shape(folder)
    return folder


def test_it_says_what_would_be_done(world: Path) -> None:
    found = dict(check(shape(world)))
    assert found["model"].startswith("LlavaForConditionalGeneration, 0.1")
    assert found["data"].startswith("burnish.testbeds.scenes:training; 20 rows, of the first 20 a text has ")
    assert "left out for their words: " in found["views"]
    assert "jitter 100%" in found["views"]  # every caption speaks of colours
    assert found["a round"] == "60 answers and 0 summaries of at most 24 tokens, in shards of 5 records"
    assert found["generation"].startswith("2 rounds, at most 2,880 tokens; ")
    assert found["training"].startswith("sigmoid, beta 0.1, 2 epochs a round of 4 pairs a step on 1 process(es)")
    assert found["probe"].startswith("6 pictures with ")
    summed = dict(check(shape(world, pairs={"winner": "summary"}, rounds=1, probe=None)))
    assert "60 answers and 20 summaries" in summed["a round"]
    assert summed["probe"].startswith("none: ")
    assert "training" not in dict(check(shape(world, train=False)))


def test_ready_triplets_are_counted(world: Path, tmp_path: Path) -> None:
    turns = {name: [{"role": role, "content": "x"}] for name, role in
             (("prompt", "user"), ("chosen", "assistant"), ("rejected", "assistant"))}  # fmt: skip
    line = json.dumps({"images": ["a.png"], **turns})
    (tmp_path / "t.jsonl").write_text(f"{line}\n{line}\n")
    found = dict(check(shape(world, rounds=1, triplets=str(tmp_path / "t.jsonl"))))
    assert found["triplets"] == f"2 ready ones in {tmp_path / 't.jsonl'}"
    assert "generation" not in found


def test_an_engine_that_is_not_installed_is_missed_before_the_run(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = shape(world, generator={"engine": "vllm"})
    with pytest.raises(UserError, match="vLLM is not installed"):
        check(recipe)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: object())
    assert "a round" in dict(check(recipe))


def test_what_cannot_work_is_refused(world: Path, tmp_path: Path) -> None:
    blind = tmp_path / "blind"
    shutil.copytree(world / "scenes", blind)
    config = json.loads((blind / "config.json").read_text())
    del config["vision_config"]
    (blind / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="takes no images"):
        check(shape(world, model=str(blind)))
    mute = tmp_path / "mute"
    shutil.copytree(world / "scenes", mute)
    (mute / "chat_template.jinja").unlink()
    with pytest.raises(UserError, match="has no chat template"):
        check(shape(world, model=str(mute)))
    with pytest.raises(UserError, match="in the probe set too"):
        check(shape(world, data={"source": "tests.align.test_loop:leaking"}))
    with pytest.raises(UserError, match="vocabulary: cooc: write"):
        check(shape(world, vocabulary="cooc"))
    with pytest.raises(UserError, match="cannot be read"):
        check(shape(world, rounds=1, triplets=str(tmp_path / "absent.jsonl")))
