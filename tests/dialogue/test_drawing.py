"""Tokens drawn from logits: the distribution, its ends, and texts under way."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from burnish.dialogue.drawing import Replies, draw
from burnish.dialogue.generation import end_tokens


def named(how: tuple[float, int, float]) -> dict[str, Any]:
    return dict(zip(("temperature", "top_k", "top_p"), how, strict=True))


@given(
    st.integers(0, 10**6), st.sampled_from([(1.0, 0, 1.0), (0.7, 5, 1.0), (1.3, 0, 0.8), (0.5, 9, 0.6), (1, 0, 0.99)])
)
def test_drawing_has_the_distribution_that_transformers_samples_from(seed: int, how: tuple[float, int, float]) -> None:
    logits = 2 * torch.randn(1, 200, generator=torch.Generator().manual_seed(seed))
    logits[0, ::7] = -torch.inf
    warpers: list[Any] = [TemperatureLogitsWarper(float(how[0]))]
    warpers += [TopKLogitsWarper(how[1])] if how[1] else []
    warpers += [TopPLogitsWarper(how[2])] if how[2] < 1 else []
    expected = logits
    for warper in warpers:
        expected = warper(None, expected)
    probabilities = expected.softmax(-1)[0]
    grid = (torch.arange(4000) + 0.5) / 4000
    tokens, log_probs = draw(logits.expand(4000, -1), grid, **named(how))
    shares = torch.bincount(tokens, minlength=200) / 4000
    assert torch.allclose(shares, probabilities, atol=1.1 / 4000 * 2)
    assert torch.allclose(log_probs.exp(), probabilities[tokens], atol=1e-5)
    assert torch.equal(draw(logits, grid[:1], temperature=0.0)[0], logits.argmax(-1))


def test_drawing_takes_what_can_come_at_the_very_ends() -> None:
    logits = torch.tensor([[-torch.inf, 0.0, 0.0, -torch.inf]]).expand(2, -1)
    ends = torch.tensor([0.0, 1.0 - 2**-25])
    for how in ((1.0, 0, 1.0), (1.0, 3, 1.0), (1.0, 0, 0.999)):
        tokens, log_probs = draw(logits, ends, **named(how))
        assert tokens.tolist() == [1, 2]
        assert log_probs.tolist() == pytest.approx([-np.log(2)] * 2)


def test_texts_under_way_by_hand() -> None:
    # 4 tokens, of which 3 ends a text, 1 may not come and 4 to 5 only pad
    replies = Replies([3, 2, 3], [0, 0, 0], ends=[3], size=4, banned=[1], device=torch.device("cpu"), temperature=0.0)
    logits = torch.tensor([[0.0, 9, 1, 2, 8, 8], [3, 9, 0, 1, 8, 8], [0, 9, 3, 1, 8, 8]])
    assert replies.step(logits, torch.arange(3)).tolist() == [3, 0, 2]
    assert replies.done.tolist() == [True, False, False]
    # rows that are left, in another order; the first row is passed on by a loop that keeps all and draws no more
    assert replies.step(logits[[2, 1, 0]], torch.tensor([2, 1, 0])).tolist() == [2, 0, 3]
    assert replies.done.tolist() == [True, True, False]
    replies.step(logits[[0]], torch.tensor([2]))
    assert replies.done.all()
    assert replies.finish() == [([3], True), ([0, 0], False), ([2, 2, 3], True)]


def test_a_row_draws_the_same_whoever_its_neighbours_are() -> None:
    logits = torch.randn(6, 9, 50, generator=torch.Generator().manual_seed(0))

    def drawn(rows: list[int]) -> list[list[int]]:
        replies = Replies(
            [6] * len(rows), rows, ends=[], size=50, device=torch.device("cpu"), temperature=0.8, top_p=0.9
        )
        for time in range(6):
            replies.step(logits[time, rows], torch.arange(len(rows)))
        return [ids for ids, _ in replies.finish()]

    together = drawn(list(range(9)))
    assert [drawn([row])[0] for row in range(9)] == together
    assert drawn([7, 2]) == [together[7], together[2]]


def test_what_ends_a_text_is_said_by_model_and_tokenizer() -> None:
    def ends(model: Any, tokenizer: Any) -> list[int]:
        settings = SimpleNamespace(eos_token_id=model)
        return end_tokens(SimpleNamespace(generation_config=settings), SimpleNamespace(eos_token_id=tokenizer))

    assert (ends(None, None), ends(5, None), ends([7, 2], 5), ends(5, 5)) == ([], [5], [2, 5, 7], [5])
