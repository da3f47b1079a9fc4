"""What a recipe may ask for, what `check` says of it, and what settings that cannot work get."""

import re
from pathlib import Path
from typing import Any

import pytest

from burnish.core.errors import UserError
from burnish.core.recipe import flatten
from burnish.reason.rftt import METHOD
from burnish.reason.rftt.recipe import RFTTRecipe
from burnish.testbeds.ways_model import write_base

RECIPES = Path(__file__).parents[3] / "recipes" / "rftt"


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ways") / "ways"
    write_base(folder, steps=2, width=16)
    return folder


def recipe(model: Path, **changes: Any) -> RFTTRecipe:
    data = {"source": "burnish.testbeds.ways:training", "limit": 4}
    search = {"rollouts": 2, "max_depth": 3, "tokens": 4, "prompts": str(model / "prompts")}
    found = {"model": str(model), "device": "cpu", "data": data, "warmup": {"search": search}, "rl": {"questions": 4}}
    return RFTTRecipe.model_validate(found | changes)


@pytest.mark.parametrize("name", ["tiny", "paper-qwen2.5-7b", "paper-llama3.1-8b"])
def test_the_recipes_that_ship_have_the_published_numbers(name: str) -> None:
    loaded = RFTTRecipe.load(RECIPES / f"{name}.yaml")
    assert loaded.method == "rftt"
    if name != "tiny":
        published = {
            "warmup.search.questions": 1000, "warmup.search.rollouts": 16, "warmup.search.max_depth": 15,
            "warmup.search.weight": 2.0, "warmup.search.schedule": "constant", "warmup.search.temperature": 0.8,
            "warmup.search.top_k": 40, "warmup.search.top_p": 0.95, "warmup.learning_rate": 7e-6, "warmup.epochs": 10.0,
            "warmup.warmup_steps": 10, "warmup.weight_decay": 0.1, "warmup.max_length": 8192, "warmup.wrong": "learn",
            "warmup.batch": 1, "warmup.accumulate": 32, "dtype": "float32",
            "grammar.max_depth": 18, "rl.layout": "mcts", "rl.samples": 16, "rl.weight": 2.0, "rl.temperature": 0.1,
            "rl.top_p": 0.95, "rl.forced": "include", "rl.advantage": "batch", "rl.kl": "reward", "rl.beta": 0.01,
            "rl.epsilon": 0.2, "rl.learning_rate": 5e-7, "rl.epochs": 1.0,
        }  # fmt: skip
        written = flatten(loaded.model_dump(mode="json"))
        assert {key: written[key] for key in published} == published
        assert loaded.rl is not None
        assert loaded.rl.questions * 8 == 16  # on eight GPUs


def test_check_says_what_the_search_will_take(ways: Path) -> None:
    rows = dict(METHOD.load("check")(recipe(ways)))
    assert rows["model"].startswith("LlamaForCausalLM, 0.0")
    assert rows["data"].endswith("4 questions read, the first: 7 0 5 1")
    # 4 questions x 2 walks of at most 3 steps of at most 4 tokens
    assert "4 questions x 2 walks: about" in rows["search"]
    assert "(at most 24)" in rows["search"]
    assert "(at most 96)" in rows["search"]
    assert rows["reinforcement"].startswith("1 epochs of 4 questions x 16 rollouts (mcts)")
    assert "reinforcement" not in dict(METHOD.load("check")(recipe(ways, rl=None)))
    assert "search" not in dict(METHOD.load("check")(recipe(ways, warmup=None)))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"warmup": None, "rl": None}, "warmup and rl are both none"),
        ({"rl": {"reward": "prm_paper"}}, "rl.reward prm_paper needs a process reward model"),
        ({"rl": {"samples": 4, "questions": 3, "micro_batch": 5}}, "micro_batch 5 does not divide questions x samples"),
        ({"rl": {"trl": {"beta": 0.1}}}, "trl.beta is decided by a setting of the recipe"),
        ({"warmup": {"trl": {"max_length": 3}}}, "trl.max_length is decided by a setting of the recipe"),
        ({"warmup": {"train": False}}, "warmup.train is false and rl is set"),
        ({"rl": {"forced": "importance", "temperature": 0}}, "forced importance needs a temperature above 0"),
        ({"grammar": {"table": "mine:GRAMMAR", "max_depth": 4}}, "max_depth is the table's own"),
    ],
)
def test_settings_that_do_not_fit(ways: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        recipe(ways, **changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"answer": "box"}, "answer: `box` is unknown"),
        ({"answer": "os:sep"}, "answer: `os:sep` cannot be called"),
        ({"grammar": {"table": "os:sep"}}, "grammar.table: `os:sep` is a str, not a Grammar"),
        ({"data": {"source": "no/such.jsonl"}}, "no/such.jsonl"),
        ({"test": {"source": "no/such.jsonl"}}, "no/such.jsonl"),
        ({"prm": {"model": "nosuch:thing"}}, "no module named `nosuch`"),
        ({"rl": {"trl": {"lora": 1}, "questions": 4}}, "rl.trl.lora: not an argument of TRL's GRPOConfig"),
        ({"warmup": {"trl": {"nonsense": 1}, "rows": __file__}}, "warmup.trl.nonsense: not an argument of TRL's SFT"),
        ({"rl": {"layout": "branch16", "questions": 4, "micro_batch": 7}}, "rl.micro_batch: 7 does not divide"),
        ({"rl": {"questions": 8}}, "rl.questions: a step takes 8 and data.limit gives 4"),
        ({"warmup": {"rows": "no-such-rows.jsonl"}}, "warmup.rows: no-such-rows.jsonl: no such file"),
        ({"grammar": {"table": "tests.reason.rftt.test_loop:OWN"}, "warmup": {}}, "none of ours asks for `plan`"),
        ({"warmup": {"search": {"prompts": "no-such-folder"}}}, "no prompt that asks for `clarify` can be read there"),
    ],
)
def test_check_refuses_what_cannot_work(ways: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=re.escape(words)):
        METHOD.load("check")(recipe(ways, **changes))
