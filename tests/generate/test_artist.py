"""A model as the steps need it: rows are independent, what is kept is kept byte by byte, bad input is named."""

from pathlib import Path

import numpy as np
import pytest
import torch

from burnish.core.errors import BurnishError, UserError
from burnish.generate.artist import DrawSettings, ModelArtist, wording_of
from burnish.generate.folder import Unified, load_unified
from burnish.generate.plan import Element, Plan
from burnish.generate.plan_text import parse
from burnish.generate.script import Script, padded
from burnish.generate.steps.chain import Policy, run_chain
from burnish.generate.steps.state import State
from burnish.testbeds.easel.sources import make_tokenizer
from tests.generate.untrained import WORDING, untrained

PLAN = parse("red circle r1c1 blue square r2c3 end", WORDING)
QUICK = DrawSettings(steps=2, temperature=1.0)


@pytest.fixture(scope="module")
def unified() -> Unified:
    return untrained()


def test_a_row_does_not_depend_on_its_neighbours(unified: Unified) -> None:
    artist = ModelArtist(unified, QUICK)
    prompts = ["a circle", "two red circles left of a blue square", "a cross"]
    states = [State(prompt, seed) for seed, prompt in enumerate(prompts)]
    policy = Policy(threshold=0.4, rounds=1)
    together = run_chain(states, artist, policy)
    for state, same in zip(states, together, strict=True):
        (alone,) = run_chain([state], artist, policy)
        assert alone.written == same.written
        assert alone.picture is not None
        assert same.picture is not None
        assert np.abs(alone.picture.astype(int) - same.picture.astype(int)).max() <= 1
    assert len({state.written for state in together}) == 3


def test_rows_with_and_without_a_plan_go_in_one_call_in_their_order(unified: Unified) -> None:
    artist = ModelArtist(unified, DrawSettings(steps=2, rows=2))
    prompts, plans, seeds = ["a circle"] * 5, [None, PLAN, None, PLAN, None], [1, 2, 3, 4, 5]
    pictures = artist.draw(prompts, plans, seeds)
    for row in (1, 4):
        (alone,) = artist.draw([prompts[row]], [plans[row]], [seeds[row]])
        assert np.abs(alone.astype(int) - pictures[row].astype(int)).max() <= 1
    assert not np.array_equal(pictures[0], pictures[1])


def test_repainting_changes_the_mask_only(unified: Unified) -> None:
    artist = ModelArtist(unified, QUICK)
    before = np.random.default_rng(0).integers(256, size=(32, 32, 3), dtype=np.uint8)
    mask = np.zeros((4, 4), dtype=bool)
    mask[1, 2] = True
    (after,) = artist.repaint(["a circle"], [PLAN], [before], [mask], [7])
    changed = (after != before).any(axis=-1)
    assert changed[8:16, 16:24].mean() > 0.9
    changed[8:16, 16:24] = False
    assert not changed.any()


def test_heat_is_a_chance_for_each_patch(unified: Unified) -> None:
    artist = ModelArtist(unified, QUICK)
    (heat,) = artist.look(["a circle"], [None], [np.zeros((32, 32, 3), dtype=np.uint8)])
    assert heat.shape == (4, 4)
    assert ((heat > 0) & (heat < 1)).all()


def test_a_plan_that_never_ends_is_done_without(unified: Unified) -> None:
    artist = ModelArtist(unified, DrawSettings(steps=1, constrained=False, longest=3))
    (state,) = run_chain([State("a circle")], artist, Policy(think=("plan",), attempts=1))
    assert state.plan is None
    assert state.written
    assert state.picture is not None


def test_guidance_zero_forgets_the_prompt_and_one_takes_one_branch(unified: Unified) -> None:
    blind = ModelArtist(unified, DrawSettings(steps=2, guidance=0.0))
    first, second = blind.draw(["a circle", "a square"], [None, None], [3, 3])
    assert np.array_equal(first, second)
    told = ModelArtist(unified, DrawSettings(steps=2, guidance=1.0))
    first, second = told.draw(["a circle", "a square"], [None, None], [3, 3])
    assert not np.array_equal(first, second)


def test_bad_input_is_named(unified: Unified) -> None:
    artist = ModelArtist(unified, QUICK)
    with pytest.raises(UserError, match="prompt: asks for nothing"):
        artist.draw([" "], [None], [0])
    with pytest.raises(UserError, match="this model has no word `zwei`"):
        artist.draw(["zwei circles"], [None], [0])
    with pytest.raises(UserError, match="count 0"):
        artist.draw(["a circle"], [Plan((Element("circle", 0),))], [0])
    with pytest.raises(UserError, match=r"picture: has shape \(16, 16, 3\); this model takes 32 x 32"):
        artist.describe([np.zeros((16, 16, 3), dtype=np.uint8)])
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        DrawSettings(steps=0)
    with pytest.raises(UserError, match="no tokenizer"):
        ModelArtist(Unified(unified.model, unified.codec, None))


def test_weights_that_are_no_numbers_are_said(unified: Unified) -> None:
    artist = ModelArtist(unified, QUICK)
    bias = unified.model.flow_head.bias
    kept = bias.detach().clone()
    with torch.no_grad():
        bias[0] = float("nan")
    try:
        with pytest.raises(BurnishError, match="not finite"):
            artist.draw(["a circle"], [None], [0])
    finally:
        with torch.no_grad():
            bias.copy_(kept)


def test_the_wording_is_saved_with_the_model(unified: Unified, tmp_path: Path) -> None:
    unified.save_pretrained(tmp_path)
    assert wording_of(load_unified(tmp_path)) == WORDING


def test_describing_answers_in_the_model_s_words(unified: Unified) -> None:
    artist = ModelArtist(unified, DrawSettings(longest=5))
    blank = np.zeros((32, 32, 3), dtype=np.uint8)
    answers = artist.describe([blank, blank], ["how many circles ?", "is there a red circle ?"])
    assert len(answers) == 2
    assert all(len(answer.split()) <= 5 for answer in answers)
    assert artist.describe([blank], "how many circles ?") == answers[:1]


def test_training_and_drawing_write_the_same_tokens() -> None:
    tokenizer = make_tokenizer()
    script = Script(tokenizer, WORDING)
    assert tokenizer.decode(script.prompt("a red  circle")) == "<bos> a red circle"
    plan = script.plan(PLAN)
    assert plan[: len(script.plan_start)] == script.plan_start
    assert tokenizer.decode(plan) == "plan red circle r1c1 blue square r2c3 end <eos>"
    assert script.text(plan[len(script.plan_start) :]) == "red circle r1c1 blue square r2c3 end"
    question = script.question("how many circles ?")
    assert tokenizer.decode(question + script.answer("how many circles ?", "two")) == "how many circles ? two <eos>"


def test_rows_are_filled_up_at_the_front() -> None:
    tokens, real = padded([[1, 2, 3], [4]], 9)
    assert tokens.tolist() == [[1, 2, 3], [9, 9, 4]]
    assert real is not None
    assert real.tolist() == [[True] * 3, [False, False, True]]
    assert padded([[1], [2]], 9)[1] is None
