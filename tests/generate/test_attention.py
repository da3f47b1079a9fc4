"""The three back ends read one rule."""

from typing import Any

import pytest
import torch

from burnish.generate.attention import batch_mask
from tests.generate.small import different_experts, layout, random_batch, small_model

MIXED = layout(("text", 3), ("clean", 4, 0), ("text", 2), ("noisy", 4, 1), ("noisy", 4, 1))
REAL = torch.tensor([[True] * 5, [False, True, True, True, True]])
HIDDEN = torch.zeros(2, 2, 5, dtype=torch.bool)
HIDDEN[1, 1, :2] = True


@pytest.mark.parametrize("extra", [{}, {"real": REAL}, {"hidden": HIDDEN}, {"real": REAL, "hidden": HIDDEN}])
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_back_ends_agree(extra: dict[str, Any]) -> None:
    model = different_experts(small_model("mint"))
    batch = random_batch(MIXED, 2, **extra)
    with torch.no_grad():
        expected = model(batch)
        for backend in ("eager", "flex"):
            model.backend = backend
            said = model(batch)
            for name in ("text_logits", "estimates", "heat"):
                torch.testing.assert_close(getattr(said, name), getattr(expected, name), atol=1e-5, rtol=1e-5)


def test_a_mask_is_built_once_a_layout() -> None:
    kinds = small_model("mint").kinds
    one, two = random_batch(MIXED, 2, seed=1), random_batch(MIXED, 2, seed=2)
    assert batch_mask(one, kinds, "sdpa") is batch_mask(two, kinds, "sdpa")
    assert batch_mask(random_batch(layout(("text", 4)), 1), kinds, "sdpa").dense is None  # plainly causal


def test_a_padded_row_says_what_the_row_alone_says() -> None:
    model = different_experts(small_model("mint"))
    whole = random_batch(layout(("text", 3), ("noisy", 4, 0)), 1)
    padded = random_batch(
        layout(("text", 5), ("noisy", 4, 0)), 1, real=torch.tensor([[False, False, True, True, True]])
    )
    padded.tokens[:, 2:] = whole.tokens
    padded.noisy[:] = whole.noisy
    padded.times[:] = whole.times
    torch.testing.assert_close(model(padded).estimates, model(whole).estimates, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(model(padded).text_logits[:, 2:], model(whole).text_logits, atol=1e-6, rtol=1e-5)


def test_packed_documents_say_what_each_says_alone() -> None:
    model = different_experts(small_model("mint"))
    packed = random_batch(layout(("text", 2), ("noisy", 4, 0), ("text", 3, 1), ("clean", 4, 0, 1)), 1)
    first, second = (
        random_batch(layout(("text", 2), ("noisy", 4, 0)), 1),
        random_batch(layout(("text", 3), ("clean", 4, 0)), 1),
    )
    first.tokens[:], second.tokens[:] = packed.tokens[:, :2], packed.tokens[:, 2:]
    first.noisy[:], first.times[:], second.clean[:] = packed.noisy, packed.times, packed.clean
    said = model(packed)
    torch.testing.assert_close(said.estimates, model(first).estimates, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(said.heat, model(second).heat, atol=1e-6, rtol=1e-5)
