"""The k views of a picture: eight families of changes, as plans drawn once and pictures made from them.

A plan is a function of (seed, sample id, view number) and of the families that leave the sample's text true. So a view
is the same in any batch, after a resume, and when k grows. Pictures are batched by family on whatever device they are.
Knows no model and no text.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from burnish.align.settings import FAMILIES, Family, ViewSettings
from burnish.core.errors import UserError
from burnish.core.packages import Need, not_installed

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
"""What CLIP's image processor takes away and divides by; noise is added between the two, as SeVa does."""

DIFFUSION_STEPS = 1000
_FIXED: frozenset[Family] = frozenset({"flip", "grayscale"})
"""Families without parameters: a second view of them would be the first."""


@dataclass(frozen=True)
class View:
    """One view of one picture, before it is made.

    Attributes:
        sample: id of the record.
        number: of the view, from 0.
        family: what is changed; ``clean`` is the picture as it is.
        parameters: crop: top, left, height, width as shares of the picture; rotation: degrees, anticlockwise;
            contrast: exponent of the gamma, factor of the contrast; blur: deviation as a share of the shorter side (at
            least half a pixel is made of it); noise: the step; jitter: factors of brightness and saturation, turn of
            the hue as a share of the circle; the others: none.
        key: of its random numbers.
    """

    sample: str
    number: int
    family: Family | Literal["clean"]
    parameters: tuple[float, ...]
    key: int


def plan_views(sample: str, families: Sequence[Family], settings: ViewSettings, seed: int = 0) -> tuple[View, ...]:
    """The views of a sample: each family once, in an order of the sample's own, then again those with parameters.

    Where no family is left, views are clean: the text is then sampled several times for one picture.

    Args:
        sample: id of the record. Records of one picture with different texts have ids of their own.
        families: those that leave the text true, of :func:`burnish.align.truths.allowed_families`.
        settings: how many views, how strong.
        seed: of the run.
    """
    # in the order of all families, so that the order of a setting draws no other views
    ranks = _uniforms(_key(seed, sample, -1), len(FAMILIES))
    drawn = sorted(set(families), key=lambda family: ranks[FAMILIES.index(family)])
    again = [family for family in drawn if family not in _FIXED]
    plans = []
    for number in range(settings.views):
        place = number - settings.clean
        family: Family | Literal["clean"] = "clean"
        if 0 <= place < len(drawn):
            family = drawn[place]
        elif place >= 0 and again:
            family = again[(place - len(drawn)) % len(again)]
        key = _key(seed, sample, number)
        plans.append(View(sample, number, family, _parameters(family, key, settings), key))
    return tuple(plans)


def _key(seed: int, sample: str, number: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed} {number} {sample}".encode()).digest()[:16], "big")


def _uniforms(key: int, count: int) -> list[float]:
    return [float(each) for each in np.random.Generator(np.random.Philox(key=key)).random(count)]


def _parameters(family: Family | Literal["clean"], key: int, settings: ViewSettings) -> tuple[float, ...]:
    u = _uniforms(key, 4)

    def between(limits: tuple[float, float], uniform: float) -> float:
        return limits[0] + (limits[1] - limits[0]) * uniform

    match family:
        case "crop":
            area = between(settings.crop, u[0])
            # an aspect of at most 4:3 either way, as far as the area lets it fit the frame
            ratio = min(4 / 3, 1 / area) ** (u[1] - 0.5)
            height, width = math.sqrt(area / ratio), math.sqrt(area * ratio)
            return ((1 - height) * u[2], (1 - width) * u[3], height, width)
        case "rotation":
            return (between(settings.rotation, u[0]) * (1 if u[1] < 0.5 else -1),)
        case "contrast":
            gamma, factor = between(settings.contrast, u[0]), between(settings.contrast, u[1])
            return (gamma if u[2] < 0.5 else 1 / gamma, factor if u[3] < 0.5 else 1 / factor)
        case "blur":
            return (between(settings.blur, u[0]),)
        case "noise":
            low, high = settings.noise
            return (float(low + math.floor((high + 1 - low) * u[0])),)
        case "jitter":
            brightness, saturation, hue = settings.jitter
            return (1 + brightness * (2 * u[0] - 1), 1 + saturation * (2 * u[1] - 1), hue * (2 * u[2] - 1))
        case _:
            return ()


def make_views(
    images: Float[Tensor, "batch 3 height width"],
    plans: Sequence[Sequence[View]],
    *,
    mean: tuple[float, float, float] = CLIP_MEAN,
    std: tuple[float, float, float] = CLIP_STD,
) -> Float[Tensor, "views 3 height width"]:
    """The views of all pictures as one batch: those of the first picture, then those of the second ...

    Args:
        images: values in [0, 1], of one size.
        plans: the views of each picture.
        mean: of the model's image processor, for noise.
        std: likewise.

    Returns:
        Values in [0, 1]; noise is cut off there, since what goes to a processor is a picture.

    Raises:
        UserError: not as many plans as pictures; kornia is not installed.
    """
    if len(plans) != len(images):
        raise UserError(f"views: {len(images)} pictures and plans for {len(plans)}")
    rows = [(image, view) for image, views in enumerate(plans) for view in views]
    made = images[[image for image, _ in rows]]
    size = min(images.shape[-2:])
    groups: dict[tuple[str, int], list[int]] = {}
    for row, (_, view) in enumerate(rows):
        # a wider kernel has more taps and other sums: a view must not see who else is in its batch
        kernel = 2 * math.ceil(3 * _deviation(view, size)) + 1 if view.family == "blur" else 0
        groups.setdefault((view.family, kernel), []).append(row)
    for (family, kernel), members in groups.items():
        if family == "clean" or (size < 2 and family in ("crop", "rotation")):  # one pixel has no geometry
            continue
        changed, views = made[members], [rows[row][1] for row in members]
        if family == "noise":
            made[members] = _noised(changed, views, mean, std)
        else:
            made[members] = _changed(family, kernel, changed, views)
    return made.clamp_(0, 1)


@cache
def diffusion_weights() -> Float64[Tensor, " steps"]:
    """abar of each step, the share of the variance that is still the picture's.

    betas = sigmoid(linspace(-6, 6, 1000)) (0.005 - 1e-5) + 1e-5; abar_t is the product of 1 - beta up to t itself.

    Source: SeVa, released code (after VCD, arXiv 2311.16922).
    """
    betas = torch.sigmoid(torch.linspace(-6, 6, DIFFUSION_STEPS, dtype=torch.float64)) * (0.005 - 1e-5) + 1e-5
    return torch.cumprod(1 - betas, dim=0)


def diffuse(
    normalised: Float[Tensor, "batch channels height width"],
    noise: Float[Tensor, "batch channels height width"],
    steps: Sequence[int],
) -> Float[Tensor, "batch channels height width"]:
    """x_t = sqrt(abar_t) x + sqrt(1 - abar_t) eps.

    Args:
        normalised: pictures as the model sees them, less the mean and over the deviation.
        noise: standard normal.
        steps: t of each picture, from 0 to 999.

    Raises:
        UserError: a step that there is not.

    Source: SeVa, released code.
    """
    if bad := [step for step in steps if not 0 <= step < DIFFUSION_STEPS]:
        raise UserError(f"noise: step {bad[0]}; wanted 0 to {DIFFUSION_STEPS - 1}")
    kept = diffusion_weights()[list(steps)].reshape(-1, 1, 1, 1)
    signal, spread = (weight.to(normalised) for weight in (kept.sqrt(), (1 - kept).sqrt()))
    return signal * normalised + spread * noise


def _noised(
    images: Tensor, views: Sequence[View], mean: tuple[float, float, float], std: tuple[float, float, float]
) -> Tensor:
    shape = tuple(images.shape[1:])
    # drawn on the processor, in float32: the same picture on any device
    drawn = np.stack(
        [
            np.random.Generator(np.random.Philox(key=view.key).jumped()).standard_normal(shape, np.float32)
            for view in views
        ]
    )
    middle, width = (images.new_tensor(each).reshape(1, 3, 1, 1) for each in (mean, std))
    noise = torch.from_numpy(drawn).to(images)
    return diffuse((images - middle) / width, noise, [int(view.parameters[0]) for view in views]) * width + middle


def _deviation(view: View, size: int) -> float:
    """Pixels of a Gaussian's deviation; below half a pixel it would change nothing."""
    return max(0.5, view.parameters[0] * size)


def _changed(family: str, kernel: int, images: Tensor, views: Sequence[View]) -> Tensor:
    kornia = _kornia()
    columns = images.new_tensor([view.parameters for view in views]).unbind(1) if views[0].parameters else ()
    made: Tensor
    match family:
        case "flip":
            made = kornia.geometry.hflip(images)
        case "crop":
            made = kornia.geometry.crop_and_resize(images, _boxes(images, views), tuple(images.shape[-2:]))
        case "rotation":
            # the border is drawn out: a reflection would show objects that are not there
            made = kornia.geometry.rotate(images, columns[0], padding_mode="border")
        case "contrast":
            made = kornia.enhance.adjust_gamma(images, columns[0])
            made = kornia.enhance.adjust_contrast_with_mean_subtraction(made, columns[1])
        case "blur":
            size = min(images.shape[-2:])
            sigma = images.new_tensor([[_deviation(view, size)] * 2 for view in views])
            made = kornia.filters.gaussian_blur2d(images, (kernel, kernel), sigma, border_type="replicate")
        case "jitter":
            made = kornia.enhance.adjust_brightness_accumulative(images, columns[0])
            made = kornia.enhance.adjust_saturation_with_gray_subtraction(made, columns[1])
            made = kornia.enhance.adjust_hue(made, 2 * math.pi * columns[2])
        case _:
            made = kornia.color.rgb_to_grayscale(images).expand(-1, 3, -1, -1)
    return made


def _boxes(images: Tensor, views: Sequence[View]) -> Float[Tensor, "views 4 2"]:
    """Corners (x, y) of each crop, clockwise from the upper left, at least two pixels wide and high."""
    height, width = images.shape[-2:]
    boxes = []
    for view in views:
        top, left, high, wide = view.parameters
        rows, columns = max(2, round(high * height)), max(2, round(wide * width))
        y, x = min(round(top * height), height - rows), min(round(left * width), width - columns)
        last_y, last_x = y + rows - 1, x + columns - 1
        boxes.append([[x, y], [last_x, y], [last_x, last_y], [x, last_y]])
    return images.new_tensor(boxes)


def _kornia() -> Any:
    try:
        import kornia
    except ModuleNotFoundError:
        raise not_installed("views", Need(("kornia",), "align")) from None
    return kornia
