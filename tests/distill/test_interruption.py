"""Interruption: the rate's course, plans, and what they do to clips and pictures."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from burnish.core.errors import UserError
from burnish.distill.interruption import (
    DROPPED,
    interrupt_frames,
    interrupt_patches,
    interruption_rate,
    plan_interruption,
)
from burnish.distill.settings import InterruptionSettings

PLAIN = InterruptionSettings(threshold=1.0)


@pytest.mark.parametrize(("done", "rate"), [(0, 0), (0.1, 0.09047), (0.5, 0.46411), (0.6, 0.56162), (1, 1)])
def test_published_course(done: float, rate: float) -> None:
    assert interruption_rate(done, PLAIN) == pytest.approx(rate, abs=5e-6)


def test_the_rate_stays_at_the_threshold() -> None:
    settings = InterruptionSettings()
    assert interruption_rate(50 / 100, settings) == pytest.approx(0.4641, abs=5e-5)  # epoch 51 of 100
    assert interruption_rate(54 / 100, settings) == 0.5  # epoch 55: .5029
    crossing = 1 - 0.5 ** (1 / 0.9)
    assert crossing == pytest.approx(0.53706, abs=5e-6)
    assert interruption_rate(crossing - 1e-6, settings) < 0.5 == interruption_rate(crossing + 1e-6, settings)


def test_other_courses() -> None:
    assert interruption_rate(0.3, InterruptionSettings(course="linear")) == 0.3
    assert interruption_rate(0.25, InterruptionSettings(course="cosine")) == pytest.approx((1 - math.sqrt(0.5)) / 2)


@pytest.mark.parametrize(("done", "frames"), [(0.1, 0), (0.3, 2), (0.5, 3)])
def test_frames_dropped_of_eight(done: float, frames: int) -> None:
    plan = plan_interruption("clip", 0, 8, interruption_rate(done, InterruptionSettings()))
    assert int((plan == DROPPED).sum()) == frames
    assert (plan[plan != DROPPED] == np.flatnonzero(plan != DROPPED)).all()


@given(st.integers(1, 33), st.text(max_size=5), st.integers(0, 3))
def test_an_exchange_is_its_own_inverse_and_keeps_all_frames(slots: int, sample: str, evaluation: int) -> None:
    plan = plan_interruption(sample, evaluation, slots, 0.5)
    assert sorted(plan.tolist()) == list(range(slots))
    assert (plan[plan] == np.arange(slots)).all()
    assert int((plan == np.arange(slots)).sum()) == slots % 2


def test_a_plan_is_the_samples_own() -> None:
    assert (plan_interruption("a", 1, 16, 0.5) == plan_interruption("a", 1, 16, 0.5)).all()
    others = [plan_interruption(*each) for each in (("b", 1, 16, 0.5), ("a", 2, 16, 0.5))]
    assert all((plan_interruption("a", 1, 16, 0.5) != other).any() for other in others)
    assert (plan_interruption("a", 1, 16, 0.5, seed=1) != plan_interruption("a", 1, 16, 0.5)).any()


def test_frames_by_hand() -> None:
    """The notes' example: slots {0, 2} exchanged with {1, 3} make badc of abcd, and abcd again."""
    clip = torch.tensor([1.0, 2, 3, 4]).reshape(1, 4, 1, 1, 1)
    exchanged = interrupt_frames(clip, torch.tensor([[1, 0, 3, 2]]))
    assert exchanged.flatten().tolist() == [2, 1, 4, 3]
    assert interrupt_frames(exchanged, torch.tensor([[1, 0, 3, 2]])).equal(clip)
    assert interrupt_frames(clip, torch.tensor([[0, -1, 2, -1]])).flatten().tolist() == [1, 0, 3, 0]


def test_each_clip_of_a_batch_by_its_own_plan() -> None:
    clips = torch.randn(3, 6, 2, 4, 4)
    plans = torch.from_numpy(np.stack([plan_interruption(str(each), 0, 6, 0.4 + 0.1 * each) for each in range(3)]))
    whole = interrupt_frames(clips, plans)
    for row in range(3):
        assert whole[row].equal(interrupt_frames(clips[row : row + 1], plans[row : row + 1])[0])


def test_patches_by_hand() -> None:
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    changed = interrupt_patches(image, torch.tensor([[3, 1, -1, 0]]), 2)
    assert changed[0, 0].tolist() == [[10, 11, 2, 3], [14, 15, 6, 7], [0, 0, 0, 1], [0, 0, 4, 5]]


def test_patches_that_do_not_fit() -> None:
    with pytest.raises(UserError, match="patches of 3 px do not fill pictures of 4 x 4"):
        interrupt_patches(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, dtype=torch.long), 3)
    with pytest.raises(UserError, match="plans of 3 patches for pictures of 4"):
        interrupt_patches(torch.zeros(1, 1, 4, 4), torch.zeros(1, 3, dtype=torch.long), 2)
