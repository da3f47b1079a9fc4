"""Random views of images: crop, flip, colour, greyscale. A view is a pure function of an image and twelve uniform numbers.

So whoever owns the random numbers owns reproducibility: a trainer draws them by step, an audit by image. Batched, on
whatever device the images are; grey images (one channel) skip what needs colour. Knows no model.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from burnish.prove.contrastive.recipe import ViewSettings

NUMBERS = 12
"""Uniform numbers of one view: area, ratio, x, y, flip, jitter or not, its four strengths, greyscale, one to spare (Philox
makes them in fours)."""


def random_views(
    images: Float[Tensor, "n channels height width"],
    uniforms: Float[Tensor, "n numbers"],
    settings: ViewSettings,
    size: tuple[int, int],
) -> Float[Tensor, "n channels _ _"]:
    """One view of every image.

    Args:
        images: values in [0, 1], one or three channels.
        uniforms: :data:`NUMBERS` numbers in [0, 1) an image.
        settings: of this kind of view.
        size: height and width of the views; crops are resampled bilinearly.

    Returns:
        Values in [0, 1].
    """
    u = uniforms.to(images.device).unbind(1)
    theta = _crop(u, settings, images.shape[-1] / images.shape[-2])
    grid = F.affine_grid(theta, [len(images), images.shape[1], *size], align_corners=False)
    views = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    return _colour(views, u, settings)


def _crop(u: tuple[Tensor, ...], settings: ViewSettings, aspect: float) -> Float[Tensor, "n 2 3"]:
    """Affine maps of random resized crops (torchvision's distribution, clipped to the image), mirrored where flipped."""
    low, high = settings.scale
    area = low + (high - low) * u[0]
    narrow, wide = math.log(settings.ratio[0]), math.log(settings.ratio[1])
    ratio = torch.exp(narrow + (wide - narrow) * u[1])
    # shares of width and height; `ratio` is in pixels
    width = torch.sqrt(area * ratio / aspect).clamp(max=1)
    height = torch.sqrt(area / ratio * aspect).clamp(max=1)
    x, y = (1 - width) * (2 * u[2] - 1), (1 - height) * (2 * u[3] - 1)
    mirrored = torch.where(u[4] < settings.flip, -width, width)
    none = torch.zeros_like(x)
    return torch.stack([torch.stack([mirrored, none, x], 1), torch.stack([none, height, y], 1)], 1)


def _colour(views: Tensor, u: tuple[Tensor, ...], settings: ViewSettings) -> Tensor:
    on = u[5] < settings.jitter_probability

    def factor(number: Tensor, strength: float) -> Tensor:
        return torch.where(on, 1 + strength * (2 * number - 1), torch.ones_like(number))[:, None, None, None]

    brightness, contrast, saturation, hue = settings.jitter
    if brightness:
        views = (views * factor(u[6], brightness)).clamp(0, 1)
    if contrast:
        mean = _grey(views).mean(dim=(1, 2, 3), keepdim=True)
        views = (mean + (views - mean) * factor(u[7], contrast)).clamp(0, 1)
    if views.shape[1] == 1:
        return views
    if saturation:
        grey = _grey(views)
        views = (grey + (views - grey) * factor(u[8], saturation)).clamp(0, 1)
    if hue:
        views = turned(views, torch.where(on, hue * (2 * u[9] - 1), torch.zeros_like(u[9])))
    lost = (u[10] < settings.grayscale)[:, None, None, None]
    return torch.where(lost, _grey(views), views)


def turned(views: Float[Tensor, "n 3 height width"], turn: Float[Tensor, " n"]) -> Float[Tensor, "n 3 height width"]:
    """Hue turned by a share of the circle; HSV's value and chroma stay.

    kornia's ``adjust_hue`` without the way to HSV and back: the same numbers in half the time.
    """
    value, brightest = views.max(dim=1)
    chroma = value - views.amin(dim=1)
    red, green, blue = views.unbind(1)
    share = 1 / torch.where(chroma > 0, chroma, torch.ones_like(chroma))
    sector = torch.where(
        brightest == 0,
        (green - blue) * share,
        torch.where(brightest == 1, (blue - red) * share + 2, (red - green) * share + 4),
    )
    hue = sector + 6 * turn[:, None, None]
    place = (hue[:, None] + views.new_tensor([5.0, 3.0, 1.0])[:, None, None]) % 6
    return value[:, None] - chroma[:, None] * torch.minimum(place, 4 - place).clamp(0, 1)


def _grey(views: Tensor) -> Tensor:
    """Luma (ITU-R 601) of colour, grey as it is; [n, 1, height, width]."""
    if views.shape[1] == 1:
        return views
    return (views * views.new_tensor([0.299, 0.587, 0.114])[None, :, None, None]).sum(1, keepdim=True)
