"""Rectified flow in the paper's convention: t = 0 is noise, t = 1 is data; x_t = t x + (1 - t) noise.

The model says x (x-prediction): a narrow model cannot carry the noise of a patch, and velocity needs it to. Source:
MINT, section 3.3; Esser et al., 2024, for shifted schedules; Ho and Salimans, 2022, for guidance. Knows torch only.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from burnish.core.errors import UserError

NEAR = 0.1
"""Least 1 - t in a training target: nearer to the data, errors of x would count without bound."""


def mix(
    data: Float[Tensor, "batch noisies patches dim"],
    noise: Float[Tensor, "batch noisies patches dim"],
    times: Float[Tensor, "batch noisies"],
) -> Float[Tensor, "batch noisies patches dim"]:
    """x_t = t x + (1 - t) noise."""
    t = times[..., None, None]
    return t * data + (1 - t) * noise


def velocity(
    estimates: Float[Tensor, "*rest patches dim"],
    noisy: Float[Tensor, "*rest patches dim"],
    times: Float[Tensor, "*rest"],
    near: float = NEAR,
) -> Float[Tensor, "*rest patches dim"]:
    """v = (x - x_t) / max(1 - t, near): the velocity that an estimate of x means. With the true x: x - noise."""
    return (estimates - noisy) / (1 - times).clamp(min=near)[..., None, None]


def training_times(
    normal: Float[Tensor, "*shape"], spread: float = 1.2, offset: float = -1.8
) -> Float[Tensor, "*shape"]:
    """Noise levels to train at: sigmoid(spread z + offset) of standard normal z.

    The default leans to noise: where things stand is decided there, and a flat object is visible at t < .1 already.
    """
    return torch.sigmoid(spread * normal + offset)


def shifted(level: Float[Tensor, "*shape"], shift: float) -> Float[Tensor, "*shape"]:
    """Noise level s -> shift s / (1 + (shift - 1) s); noise level is 1 - t. 1 leaves it."""
    return shift * level / (1 + (shift - 1) * level)


def schedule(steps: int, shift: float) -> tuple[float, ...]:
    """Times of a drawing, from 0 (noise) to 1 (data): ``steps`` steps, equally far apart before the shift.

    Raises:
        UserError: no steps, or a shift that is not positive.
    """
    if steps < 1:
        raise UserError(f"steps: {steps}; drawing takes at least one step")
    if not shift > 0:
        raise UserError(f"shift: {shift}; it is above 0 (1 leaves the schedule as it is)")
    levels = shifted(torch.linspace(1, 0, steps + 1, dtype=torch.float64), shift)
    return tuple((1 - levels).tolist())


def euler(
    noisy: Float[Tensor, "batch patches dim"], estimate: Float[Tensor, "batch patches dim"], now: float, then: float
) -> Float[Tensor, "batch patches dim"]:
    """One Euler step along v = (x - x_t) / (1 - t). A step to t = 1 is the estimate itself: no noise is left over."""
    return estimate if then >= 1 else noisy + (then - now) / (1 - now) * (estimate - noisy)


def guided(
    velocities: Float[Tensor, "batch branches patches dim"], weights: Sequence[float], renorm: bool = False
) -> Float[Tensor, "batch patches dim"]:
    """Classifier-free guidance: the weighted sum of what the branches say.

    Args:
        velocities: of each branch, the fully conditioned one first.
        weights: of each branch; they sum to 1. For one condition of weight w: (w, 1 - w).
        renorm: keep the sum no longer than the first branch's velocity, over the whole picture.
    """
    sums: Tensor = torch.einsum(
        "bgpd,g->bpd", velocities, torch.tensor(weights, dtype=velocities.dtype).to(velocities.device)
    )
    if not renorm:
        return sums
    length = sums.flatten(1).norm(dim=1)
    scale: Tensor = (velocities[:, 0].flatten(1).norm(dim=1) / length.clamp(min=1e-12)).clamp(max=1)
    return sums * scale[:, None, None]
