import dataclasses
import json
from pathlib import Path

import pytest
import torch

from burnish.core.models import load_model, load_tokenizer
from burnish.testbeds import fine_tunes
from burnish.testbeds.fine_tunes import FINE_TUNES, FineTune, answer_loss, asked, count_right, is_right, prompt, taught
from burnish.testbeds.models import prepare_model
from tests.once import shared_cache

TINY = dataclasses.replace(FINE_TUNES[0], steps=3, batch=4, rank=2, longest=2, learning_rate=0.05)


@pytest.fixture
def base(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BURNISH_CACHE", str(shared_cache(tmp_path_factory, "tiny-llama")))
    return prepare_model("tiny-llama")


@pytest.mark.parametrize("tune", FINE_TUNES, ids=lambda tune: tune.name)
def test_no_problem_is_asked_that_was_taught(tune: FineTune) -> None:
    known, fresh = taught(tune), asked(tune, 60)
    assert len(known) == tune.steps * tune.batch
    assert len({row.question for row in fresh}) == 60
    assert not {row.question for row in known} & {row.question for row in fresh}


def test_an_answer_is_the_first_line_and_exact() -> None:
    assert is_right(" -3\nThe answer is 3", "-3")
    assert is_right("Yes, he said.", "yes, he said")
    assert not is_right("13", "3")
    assert not is_right("", "3")


def test_only_answers_are_learnt(base: Path) -> None:
    """Each row by itself, unpadded, summed over the tokens after its prompt by hand."""
    model, tokenizer = load_model(base, dtype="float32"), load_tokenizer(base)
    rows = taught(TINY)[:3]
    with torch.no_grad():
        found = answer_loss(model, tokenizer, rows)
        total, count = 0.0, 0
        for row in rows:
            start = len(tokenizer(prompt(row))["input_ids"])
            ids = [*tokenizer(f"{prompt(row)} {row.answer}")["input_ids"], tokenizer.eos_token_id]
            logs = model(torch.tensor([ids])).logits[0].log_softmax(-1)
            total -= sum(float(logs[place - 1, ids[place]]) for place in range(start, len(ids)))
            count += len(ids) - start
    assert abs(float(found) - total / count) < 1e-4


def test_a_fine_tune_is_a_model_of_its_own_with_its_recipe(base: Path, tmp_path: Path) -> None:
    before = torch.random.get_rng_state()
    fine_tunes.write_fine_tunes(base, tmp_path, [TINY])
    assert torch.equal(before, torch.random.get_rng_state())
    folder = tmp_path / "sums"
    assert json.loads((folder / "recipe.json").read_text()) == dataclasses.asdict(TINY)
    assert "base_model: HuggingFaceTB" in (folder / "README.md").read_text()
    tuned, came = (load_model(path, dtype="float32").state_dict() for path in (folder, base))
    assert tuned.keys() == came.keys()
    assert any(not torch.equal(tuned[name], came[name].bfloat16().float()) for name in tuned)
    assert set(count_right(folder, [TINY], 4)) == {"sums"}
