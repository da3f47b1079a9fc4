"""Views: the same for a sample whatever the batch, all frames alike, each change what it says."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from burnish.core.errors import UserError
from burnish.distill.augment import LUMA, make_view, plan_view
from burnish.distill.recipe import AugmentSettings

ALL = AugmentSettings(views=4, flip=True, crop=0.3, jitter=0.5)


def clips(batch: int, time: int = 3, height: int = 20, width: int = 28) -> torch.Tensor:
    rng = np.random.default_rng(5)
    return torch.from_numpy(rng.integers(0, 256, (batch, time, height, width, 3), dtype=np.uint8))


def ids(batch: int) -> list[str]:
    return [f"class/{number}.mp4" for number in range(batch)]


def made(pixels: torch.Tensor, names: Sequence[str], settings: AugmentSettings, view: int = 0) -> torch.Tensor:
    return make_view(pixels, names, view, settings, seed=3)


def test_without_settings_a_clip_stays_as_it_is() -> None:
    pixels = clips(2)
    seen = made(pixels, ids(2), AugmentSettings())
    assert seen.shape == (2, 3, 3, 20, 28)
    assert (seen == pixels.permute(0, 1, 4, 2, 3) / 255).all()


@pytest.mark.parametrize("shape", [(3, 20, 28), (1, 7, 5), (8, 32, 32), (1, 1, 1)])
def test_a_view_is_the_same_in_any_batch(shape: tuple[int, int, int]) -> None:
    pixels, names = clips(16, *shape), ids(16)
    for view in range(2):
        together = made(pixels, names, ALL, view)
        assert ((together >= 0) & (together <= 1)).all()
        for number in (0, 7, 15):
            assert (
                made(pixels[number : number + 1], names[number : number + 1], ALL, view)[0] == together[number]
            ).all()
        backwards = made(pixels.flip(0), names[::-1], ALL, view)
        assert (backwards.flip(0) == together).all()


def test_a_view_is_the_same_on_more_threads() -> None:
    pixels, names = clips(2, 8, 128, 128), ids(2)  # sums beyond what float32 counts exactly
    before = made(pixels, names, ALL)
    torch.set_num_threads(3)
    try:
        assert (made(pixels, names, ALL) == before).all()
        assert (made(pixels[1:], names[1:], ALL)[0] == before[1]).all()
    finally:
        torch.set_num_threads(1)


def test_a_view_is_the_same_in_another_process() -> None:
    """Written down in one: nothing that differs between processes goes in."""
    plan = plan_view("a/фильм.mp4", 2, ALL, 7)
    assert (plan.top, plan.left) == (0.13230756605433014, 0.5015597261545058)
    assert (plan.flip, plan.brightness) == (True, 0.7813442721326773)


def test_samples_views_and_seeds_differ() -> None:
    plans = {plan_view(sample, view, ALL, seed) for sample in ids(3) for view in range(3) for seed in range(3)}
    assert len(plans) == 27
    more = ALL.model_copy(update={"views": 9})
    assert plan_view("a", 1, more, 0) == plan_view("a", 1, ALL, 0)


def test_all_frames_of_a_clip_are_changed_alike() -> None:
    still = clips(4, time=1).expand(4, 6, 20, 28, 3).contiguous()
    seen = made(still, ids(4), ALL)
    assert (seen == seen[:, :1]).all()
    assert not (seen[0] == made(still, ids(4), AugmentSettings())[0]).all()


def test_half_are_flipped() -> None:
    settings = AugmentSettings(flip=True)
    pixels, names = clips(60, 1, 3, 4), ids(60)
    plain, seen = made(pixels, names, AugmentSettings()), made(pixels, names, settings)
    turned = torch.tensor([plan_view(name, 0, settings, 3).flip for name in names])
    assert 15 < int(turned.sum()) < 45
    assert (seen[turned] == plain[turned].flip(-1)).all()
    assert (seen[~turned] == plain[~turned]).all()


def test_a_cut_is_the_part_of_the_plan() -> None:
    """On a ramp the value says the place: it goes from where the cut begins to where it ends, evenly."""
    settings = AugmentSettings(crop=0.2)
    across = torch.arange(28, dtype=torch.uint8) * 5
    down = torch.arange(20, dtype=torch.uint8) * 5
    pixels = torch.zeros(12, 1, 20, 28, 3, dtype=torch.uint8)
    pixels[..., 0] = across
    pixels[..., 1] = down[:, None]
    seen = made(pixels, ids(12), settings) * 255 / 5
    for clip, name in zip(seen, ids(12), strict=True):
        plan = plan_view(name, 0, settings, 3)
        assert 0.2 - 1e-6 <= plan.height * plan.width <= 1
        assert 0.7 < plan.height / plan.width < 1.4
        first = plan.left * 27 * (1 - plan.width)
        expected = torch.linspace(first, first + 27 * plan.width, 28)
        assert torch.allclose(clip[0, 0], expected.expand(20, 28), atol=1e-3)
        first = plan.top * 19 * (1 - plan.height)
        expected = torch.linspace(first, first + 19 * plan.height, 20)
        assert torch.allclose(clip[0, 1], expected[:, None].expand(20, 28), atol=1e-3)


def test_light_and_colour_against_a_plain_reference() -> None:
    settings = AugmentSettings(jitter=0.8)
    pixels = clips(3)
    seen = made(pixels, ids(3), settings)
    luma = torch.tensor(LUMA)[:, None, None]
    for clip, source, name in zip(seen, pixels, ids(3), strict=True):
        plan = plan_view(name, 0, settings, 3)
        assert all(0.2 <= each <= 1.8 for each in (plan.brightness, plan.contrast, plan.saturation))
        values = source.permute(0, 3, 1, 2).double() / 255
        mean = (values * luma).sum(1).mean() * plan.brightness
        values = (values * plan.brightness).clamp(0, 1)
        values = ((values - mean) * plan.contrast + mean).clamp(0, 1)
        grey = (values * luma).sum(1, keepdim=True)
        values = (grey + (values - grey) * plan.saturation).clamp(0, 1)
        assert torch.allclose(clip.double(), values, atol=1e-5)


def test_ids_that_are_missing_are_said() -> None:
    with pytest.raises(UserError, match="views: 3 clips and 2 ids"):
        made(clips(3), ids(2), ALL)
