"""Random views of images: crop, flip, colour, greyscale. A view is a pure function of an image and twelve uniform
numbers.

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
"""Uniform numbers of one view: area, ratio, x, y, flip, jitter or not, its four strengths, greyscale, one to spare
(Philox makes them in fours)."""


def random_views(
    images: Float[Tensor, "n channels height width"],
    uniforms: Float[Tensor, "views numbers"],
    settings: ViewSettings,
    size: tuple[int, int],
) -> Float[Tensor, "views channels _ _"]:
    """As many views of every image.

    Args:
        images: values in [0, 1], one or three channels.
        uniforms: :data:`NUMBERS` numbers in [0, 1) a view; the views of the first image, then those of the second ...
        settings: of this kind of view.
        size: height and width of the views; crops are resampled bilinearly.

    Returns:
        Values in [0, 1].
    """
    u = uniforms.to(images.device).unbind(1)
    # the views of an image are one tall picture to sample, so that no image is copied for each
    count, channels = len(uniforms) // len(images), images.shape[1]
    grid = _crop(u, settings, images, size).reshape(len(images), count * size[0], size[1], 2)
    tall = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    views = tall.reshape(len(images), channels, count, *size).transpose(1, 2).reshape(-1, channels, *size)
    return _colour(views, u, settings)


def _crop(
    u: tuple[Tensor, ...], settings: ViewSettings, images: Tensor, size: tuple[int, int]
) -> Float[Tensor, "views height width 2"]:
    """Where random resized crops lie (torchvision's distribution, clipped to the image), mirrored where flipped.

    Crops are upright: columns share x, rows share y.
    """
    aspect = images.shape[-1] / images.shape[-2]
    low, high = settings.scale
    area = low + (high - low) * u[0]
    narrow, wide = math.log(settings.ratio[0]), math.log(settings.ratio[1])
    ratio = torch.exp(narrow + (wide - narrow) * u[1])
    # shares of width and height; `ratio` is in pixels
    width = torch.sqrt(area * ratio / aspect).clamp(max=1)
    height = torch.sqrt(area / ratio * aspect).clamp(max=1)
    x, y = (1 - width) * (2 * u[2] - 1), (1 - height) * (2 * u[3] - 1)
    mirrored = torch.where(u[4] < settings.flip, -width, width)
    grid = images.new_empty(len(x), *size, 2)
    grid[..., 0] = (x[:, None] + mirrored[:, None] * _centres(images, size[1]))[:, None, :]
    grid[..., 1] = (y[:, None] + height[:, None] * _centres(images, size[0]))[:, :, None]
    return grid


def _centres(images: Tensor, pixels: int) -> Float[Tensor, " pixels"]:
    """Centres of so many pixels between -1 and 1."""
    return (2 * torch.arange(pixels, device=images.device, dtype=images.dtype) + 1) / pixels - 1


def _colour(views: Tensor, u: tuple[Tensor, ...], settings: ViewSettings) -> Tensor:
    """Changes fresh views in place where it can: passes over memory are what views cost."""
    on = u[5] < settings.jitter_probability

    def factor(number: Tensor, strength: float) -> Tensor:
        return torch.where(on, 1 + strength * (2 * number - 1), torch.ones_like(number))[:, None, None, None]

    brightness, contrast, saturation, hue = settings.jitter
    if brightness:
        views = views.mul_(factor(u[6], brightness)).clamp_(0, 1)
    if contrast:
        views = _stretched(views, _grey(views).mean(dim=(1, 2, 3), keepdim=True), factor(u[7], contrast))
    if views.shape[1] == 1:
        return views
    if saturation:
        views = _stretched(views, _grey(views), factor(u[8], saturation))
    if hue:
        views = turned(views, torch.where(on, hue * (2 * u[9] - 1), torch.zeros_like(u[9])))
    lost = u[10] < settings.grayscale
    views[lost] = _grey(views[lost]).expand(-1, 3, -1, -1)
    return views


def _stretched(views: Tensor, middle: Tensor, factor: Tensor) -> Tensor:
    """middle + (views - middle) factor, within [0, 1]; one pass over the views."""
    return torch.addcmul(middle * (1 - factor), views, factor).clamp_(0, 1)


def turned(views: Float[Tensor, "n 3 height width"], turn: Float[Tensor, " n"]) -> Float[Tensor, "n 3 height width"]:
    """Hue turned by a share of the circle; HSV's value and chroma stay.

    kornia's ``adjust_hue`` without the way to HSV and back: the same numbers in a fraction of the time, plane by plane.
    """
    red, green, blue = views.unbind(1)
    value = torch.maximum(torch.maximum(red, green), blue)
    chroma = value - torch.minimum(torch.minimum(red, green), blue)
    sector = torch.where(
        value == red,
        green - blue,
        torch.where(value == green, torch.add(blue - red, chroma, alpha=2), torch.add(red - green, chroma, alpha=4)),
    )
    # grey has no chroma and the sector 0
    hue = sector.div_(chroma.clamp(min=1e-12)).add_(6 * turn[:, None, None]).remainder_(6)
    made = torch.empty_like(views)
    # each channel falls from the value where the hue is away from its own, by up to the chroma
    for plane, (middle, near) in zip(made.unbind(1), ((3, True), (2, False), (4, False)), strict=True):
        away = (hue - middle).abs_()
        away = (2 - away if near else away.sub_(1)).clamp_(0, 1)
        torch.addcmul(value, away, chroma, value=-1, out=plane)
    return made


def _grey(views: Tensor) -> Tensor:
    """Luma (ITU-R 601) of colour, grey as it is; [n, 1, height, width]."""
    if views.shape[1] == 1:
        return views
    return (views[:, :1] * 0.299).add_(views[:, 1:2], alpha=0.587).add_(views[:, 2:], alpha=0.114)
