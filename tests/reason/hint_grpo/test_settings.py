"""What a recipe may ask for, what `check` says of it, which questions are kept, and what bad settings get."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from burnish.core.errors import UserError
from burnish.core.recipe import flatten
from burnish.core.run import Run
from burnish.dialogue.models import load_chat_model
from burnish.dialogue.rows import Question
from burnish.reason.hint_grpo import METHOD
from burnish.reason.hint_grpo.questions import write_questions
from burnish.reason.hint_grpo.recipe import SYSTEM, HintGRPORecipe
from burnish.reason.hint_grpo.rows import read_table
from burnish.testbeds.arithmetic import draw_questions
from tests.reason.hint_grpo.trainers import accuracy, chain, recipe

RECIPES = Path(__file__).parents[3] / "recipes" / "hint_grpo"


@pytest.mark.parametrize("name", ["tiny", "paper", "paper-qwen2.5-vl-3b", "paper-qwen2.5-vl-7b"])
def test_the_recipes_that_ship_are_recipes(name: str) -> None:
    loaded = HintGRPORecipe.load(RECIPES / f"{name}.yaml")
    assert loaded.method == "hint_grpo"
    if name != "tiny":
        published = {
            "hints.levels": 2, "generations": 4, "questions": 1, "completion_tokens": 768, "epochs": 2.0, "beta": 0.04,
            "temperature": 0.9, "learning_rate": 1e-6, "loss": "grpo", "most_pixels": 2_359_296, "system": SYSTEM,
            "data.filters.numeric": True, "data.filters.open_questions": True, "data.filters.max_prompt_tokens": 511,
        }  # fmt: skip
        written = flatten(loaded.model_dump(mode="json"))
        assert {key: written[key] for key in published} == published
        assert [reward.name for reward in loaded.rewards] == ["accuracy"]


def test_check_says_what_would_be_done(model: Path) -> None:
    rows = dict(METHOD.load("check")(recipe(model)))
    assert rows["model"].startswith("LlamaForCausalLM, 0.0")
    assert "of the first 12 questions 12 have steps (mean 7.0), 0 have images" in rows["data"]
    assert rows["a step"].startswith("4 questions, 16 to 48 completions")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"micro_batch": 3}, "micro_batch 3 does not divide questions x generations = 16"),
        ({"success": "format"}, "success `format` is none of the rewards accuracy"),
        ({"trl": {"beta": 0.1}}, "trl.beta is decided by a setting of the recipe"),
        ({"hints": {"levels": 2, "level": 2}}, "level 2 is not below levels 2"),
    ],
)
def test_settings_that_do_not_fit(model: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words.replace("(", r"\(")):
        recipe(model, **changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"trl": {"mask_truncated_completion": True}},
            "trl.mask_truncated_completion: .* did you mean `mask_truncated_completions`",
        ),
        ({"rewards": [{"name": "acuracy"}]}, "rewards: `acuracy` is unknown; did you mean `accuracy`"),
        ({"rewards": [{"name": "os:sep"}]}, "rewards: `os:sep` cannot be called"),
        ({"hints": {"schedule": "stairs"}}, "hints.schedule: `stairs` is unknown"),
        ({"questions": 16}, "12 questions are fewer than the 16 of one step"),
        ({"model": "/nowhere"}, "/nowhere: no such folder"),
        ({"data": {"source": "/nowhere.jsonl"}}, "/nowhere.jsonl"),
    ],
)  # fmt: skip
def test_bad_settings_are_one_line(model: Path, tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    asked = recipe(model, test=None, **changes)
    with pytest.raises(UserError, match=words), Run(asked, tmp_path / "run", quiet=True) as run:
        METHOD.load("run")(asked, run)


def test_questions_without_room_for_an_answer_are_left_out(model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(model, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    # 8 digits, `=` and the prefill are 10 tokens; at level 2 of 3 there are 4 of 6 steps and 5 of 8.
    for context, kept in ((28, 6), (29, 12)):
        (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": context}))
        asked, chat = recipe(folder), load_chat_model(folder)
        said: list[str] = []
        asked = asked.model_copy(
            update={"data": asked.data.model_copy(update={"source": f"{__name__}:short_and_long"})}
        )
        table = read_table(write_questions(asked, chat, tmp_path / f"{context}.arrow", said.append))
        assert len(table) == kept
        assert any("6 questions left out" in line for line in said) == (kept == 6)
    asked = asked.model_copy(update={"completion_tokens": 20})
    with pytest.raises(UserError, match="of each of the 12 questions prompt, hint and 20 completion_tokens"):
        write_questions(asked, chat, tmp_path / "none.arrow", said.append)


def short_and_long() -> list[Question]:
    return draw_questions(16, (6, 8), seed=0)


def test_a_merged_adapter_cannot_be_its_own_reference(model: Path, tmp_path: Path) -> None:
    from burnish.reason.hint_grpo.loop import build_trainer

    asked = recipe(model).model_copy(update={"model": f"{model}+adapter"})
    with pytest.raises(UserError, match="the KL term would hold it to its base; merge it first"):
        build_trainer(asked, chain(tmp_path / "chain"), tmp_path / "none.arrow", accuracy())
