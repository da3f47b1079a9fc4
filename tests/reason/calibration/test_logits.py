import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from burnish.reason.calibration.logits import calibrate
from burnish.reason.calibration.settings import Calibration, Decoding

finite = st.floats(-30, 30, width=32)
pairs = st.integers(2, 6).flatmap(lambda size: st.tuples(*[st.lists(finite, min_size=size, max_size=size)] * 2))


def test_hand_examples_of_the_spec() -> None:
    image = torch.tensor([[2.0, 1.0, 0.0]])
    found = calibrate(image, torch.tensor([[3.0, 0.0, 0.0]]), 0.8)
    torch.testing.assert_close(found, torch.tensor([[1.2, 1.8, 0.0]]))
    assert image.argmax() == 0
    assert found.argmax() == 1
    torch.testing.assert_close(calibrate(image, torch.tensor([[2.0, 0.0, 0.0]]), 1.0), torch.tensor([[2.0, 2.0, 0.0]]))


@given(pairs)
def test_gamma_0_is_the_image_branch_bit_for_bit(logits: tuple[list[float], list[float]]) -> None:
    image, text = map(torch.tensor, logits)
    assert torch.equal(calibrate(image, text, 0.0, plausibility=0.5), image)


@given(pairs, st.floats(0, 3), finite)
def test_it_is_guidance_on_log_probabilities_and_blind_to_constants(
    logits: tuple[list[float], list[float]], gamma: float, constant: float
) -> None:
    image, text = (torch.tensor(part, dtype=torch.float64).float() for part in logits)
    mine = calibrate(image, text, gamma).log_softmax(-1)
    guided = (1 + gamma) * image.log_softmax(-1) - gamma * text.log_softmax(-1)
    torch.testing.assert_close(mine, guided.log_softmax(-1), atol=2e-4, rtol=1e-4)
    torch.testing.assert_close(mine, calibrate(image, text + constant, gamma).log_softmax(-1), atol=2e-4, rtol=1e-4)


@given(pairs, st.floats(0.1, 3), st.floats(0.01, 1))
def test_the_cut_off_leaves_what_the_image_makes_plausible(
    logits: tuple[list[float], list[float]], gamma: float, share: float
) -> None:
    image, text = map(torch.tensor, logits)
    found = calibrate(image, text, gamma, share)
    likely = image.softmax(-1)
    ratio = likely / likely.max()
    assert torch.isfinite(found[ratio > share * 1.001]).all()
    assert (found[ratio < share * 0.999] == -math.inf).all()
    assert torch.isfinite(found[image.argmax()])


def test_tokens_ruled_out_stay_so_and_half_precision_is_left_behind() -> None:
    image, text = torch.tensor([1.0, -math.inf, 2.0]), torch.tensor([-math.inf, -math.inf, 1.0])
    assert calibrate(image, text, 1.0).tolist() == [1.0, -math.inf, 3.0]
    half = calibrate(torch.tensor([1.0, 1.00390625]).bfloat16(), torch.tensor([0.0, 0.0]).bfloat16(), 0.8)
    assert half.dtype == torch.float32


@pytest.mark.parametrize(
    "wrong",
    [
        {"gamma": -0.1},
        {"gamma": float("nan")},
        {"gamma": float("inf")},
        {"plausibility": 0},
        {"plausibility": 1.1},
        {"strength": 1},
    ],
)
def test_settings_that_are_none(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Calibration.model_validate(wrong)


def test_defaults_are_the_papers() -> None:
    assert (Calibration().gamma, Calibration().plausibility) == (0.8, None)
    assert (Decoding().max_new_tokens, Decoding().temperature) == (1024, 0.0)
