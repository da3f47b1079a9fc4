"""Random views: what each of the twelve numbers does, colour and grey, and settings that make no sense."""

import math
from typing import Any

import pytest
import torch
from kornia.enhance import adjust_hue
from pydantic import ValidationError

from burnish.prove.contrastive.augment import NUMBERS, random_views, turned
from burnish.prove.contrastive.recipe import ViewSettings

STILL = ViewSettings(scale=(1, 1), ratio=(1, 1), flip=0.0, jitter_probability=0.0, grayscale=0.0)


def numbers(n: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, NUMBERS, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("channels", [1, 3])
def test_the_whole_image_is_itself(channels: int) -> None:
    images = torch.rand(3, channels, 8, 8)
    torch.testing.assert_close(random_views(images, numbers(3), STILL, (8, 8)), images, atol=1e-5, rtol=0)


def test_a_flip_mirrors() -> None:
    images = torch.rand(2, 3, 4, 4)
    flipped = random_views(images, numbers(2), STILL.model_copy(update={"flip": 1.0}), (4, 4))
    torch.testing.assert_close(flipped, images.flip(-1), atol=1e-5, rtol=0)


def test_a_quarter_crop_in_the_corner() -> None:
    images = torch.arange(64.0).reshape(1, 1, 8, 8) / 64
    corner = torch.zeros(1, NUMBERS)  # x = y = 0: upper left
    quarter = STILL.model_copy(update={"scale": (0.25, 0.25)})
    torch.testing.assert_close(random_views(images, corner, quarter, (4, 4)), images[:, :, :4, :4], atol=1e-5, rtol=0)


def test_brightness_and_contrast_by_hand() -> None:
    images = torch.tensor([[0.2, 0.4], [0.4, 0.6]]).reshape(1, 1, 2, 2)
    u = torch.full((1, NUMBERS), 0.5)
    u[0, 6] = 1.0  # brightness factor 1.4
    bright = STILL.model_copy(update={"jitter": (0.4, 0.0, 0.0, 0.0), "jitter_probability": 1.0})
    torch.testing.assert_close(random_views(images, u, bright, (2, 2)), images * 1.4)
    u[0, 7] = 0.0  # contrast factor .6 about the mean .4
    flat = STILL.model_copy(update={"jitter": (0.0, 0.4, 0.0, 0.0), "jitter_probability": 1.0})
    torch.testing.assert_close(random_views(images, u, flat, (2, 2)), 0.4 + 0.6 * (images - 0.4))


def test_greyscale_and_full_desaturation_agree() -> None:
    images = torch.rand(2, 3, 4, 4)
    grey = random_views(images, numbers(2), STILL.model_copy(update={"grayscale": 1.0}), (4, 4))
    assert torch.allclose(grey[:, :1], grey[:, 1:])
    u = torch.zeros(2, NUMBERS)
    dull = STILL.model_copy(update={"jitter": (0.0, 0.0, 1.0, 0.0), "jitter_probability": 1.0})
    torch.testing.assert_close(random_views(images, u, dull, (4, 4)), grey, atol=1e-5, rtol=0)


def test_hue_equals_kornia() -> None:
    images, turn = torch.rand(6, 3, 5, 4), torch.rand(6) - 0.5
    images[0] = 0.3  # grey has no hue
    torch.testing.assert_close(turned(images, turn), adjust_hue(images, 2 * math.pi * turn), atol=1e-5, rtol=0)
    # red turned by a third is green
    red = torch.tensor([1.0, 0.0, 0.0]).reshape(1, 3, 1, 1)
    assert turned(red, torch.tensor([1 / 3])).flatten().tolist() == pytest.approx([0, 1, 0], abs=1e-6)


def test_hue_keeps_the_brightest_channel() -> None:
    images = torch.rand(2, 3, 4, 4)
    turned = random_views(
        images,
        numbers(2),
        STILL.model_copy(update={"jitter": (0.0, 0.0, 0.0, 0.5), "jitter_probability": 1.0}),
        (4, 4),
    )
    assert not torch.allclose(turned, images, atol=1e-2)
    torch.testing.assert_close(turned.amax(1), images.amax(1), atol=1e-4, rtol=0)


def test_images_of_a_batch_do_not_touch_each_other() -> None:
    images, u = torch.rand(5, 3, 9, 7), numbers(5)
    together = random_views(images, u, ViewSettings(), (6, 5))
    alone = torch.cat([random_views(images[i : i + 1], u[i : i + 1], ViewSettings(), (6, 5)) for i in range(5)])
    torch.testing.assert_close(together, alone)
    assert together.min() >= 0
    assert together.max() <= 1


@pytest.mark.parametrize(
    "wrong", [{"scale": (0.5, 0.4)}, {"scale": (0.0, 1.0)}, {"ratio": (0, 1)}, {"jitter": (2, 0, 0, 0)}]
)
def test_settings_out_of_range(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        ViewSettings(**wrong)
