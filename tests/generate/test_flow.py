"""Rectified flow: the hand examples of the method's notes, and diffusers' scheduler with sign and time turned round."""

import pytest
import torch

from burnish.core.errors import UserError
from burnish.generate.flow import euler, guided, mix, schedule, shifted, training_times, velocity


def patch(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64).reshape(1, 1, -1)


def test_the_example_by_hand() -> None:
    time = torch.tensor([[0.25]], dtype=torch.float64)
    noisy = mix(patch(2)[None], patch(-1)[None], time)
    assert noisy.item() == -0.25
    assert velocity(patch(2)[None], noisy, time).item() == 3  # data - noise
    state = noisy[0]
    for now in (0.25, 0.5, 0.75):
        state = euler(state, patch(2), now, now + 0.25)
    assert state.item() == 2


def test_diffusers_scheduler_gives_the_same() -> None:
    from diffusers import FlowMatchEulerDiscreteScheduler

    scheduler = FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(sigmas=[0.75, 0.5, 0.25])
    estimates = [patch(2.0, -0.3), patch(1.5, 0.2), patch(1.9, 0.1)]
    theirs = ours = patch(-0.25, 0.7)
    for time, now, then, estimate in zip(
        scheduler.timesteps, (0.25, 0.5, 0.75), (0.5, 0.75, 1.0), estimates, strict=True
    ):
        speed = (estimate - theirs) / (1 - now)
        theirs = scheduler.step(-speed, time, theirs).prev_sample
        ours = euler(ours, estimate, now, then)
    torch.testing.assert_close(ours, theirs.double(), atol=1e-6, rtol=0)
    assert torch.equal(ours, estimates[-1])  # the last step leaves no noise


def test_near_the_data_the_target_is_clamped() -> None:
    speed = velocity(patch(1.0)[None], patch(0.9)[None], torch.tensor([[0.99]], dtype=torch.float64))
    assert speed.item() == pytest.approx(1.0)


def test_shift_and_schedule() -> None:
    assert shifted(torch.tensor(0.5), 3).item() == 0.75
    assert schedule(4, 1.0) == (0, 0.25, 0.5, 0.75, 1)
    assert schedule(2, 3.0) == (0, 0.25, 1)
    assert schedule(1, 6.0) == (0, 1)
    with pytest.raises(UserError, match="steps: 0"):
        schedule(0, 6.0)
    with pytest.raises(UserError, match="shift: -1"):
        schedule(4, -1.0)


def test_training_leans_to_noise() -> None:
    times = training_times(torch.randn(20000))
    assert times.median().item() == pytest.approx(0.142, abs=0.01)  # sigmoid(-1.8)
    assert 0.3 < (times < 0.1).float().mean() < 0.42


def test_guidance() -> None:
    both = torch.stack([patch(1, 0), patch(0, 1)], dim=1)
    assert guided(both, (3, -2)).flatten().tolist() == [3, -2]
    assert guided(both, (1, 0)).flatten().tolist() == [1, 0]
    assert guided(both, (0, 1)).flatten().tolist() == [0, 1]
    scaled = guided(both, (3, -2), renorm=True).flatten().tolist()
    assert scaled == pytest.approx([3 / 13**0.5, -2 / 13**0.5])
    short = torch.stack([patch(2, 0), patch(4, 0)], dim=1)
    assert guided(short, (1.5, -0.5), renorm=True).flatten().tolist() == [1, 0]  # never made longer
