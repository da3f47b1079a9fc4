"""Views: what each family does against slow references, and that a view is the same in any company."""

import builtins
import colorsys
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from burnish.align.settings import FAMILIES, Family, ViewSettings
from burnish.align.views import CLIP_MEAN, CLIP_STD, View, diffuse, diffusion_weights, make_views, plan_views
from burnish.core.errors import UserError

ALL = ViewSettings(views=len(FAMILIES))


def pictures(count: int = 4, size: tuple[int, int] = (12, 10)) -> torch.Tensor:
    return torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(1))


def shown(family: Family, *parameters: float, images: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    images = pictures(1) if images is None else images
    return images, make_views(images, [[View("a", 0, family, parameters, 7)]])


def test_a_plan_takes_each_family_once_in_an_order_of_the_sample() -> None:
    orders = {sample: [view.family for view in plan_views(sample, FAMILIES, ALL)] for sample in "abcdefgh"}
    assert all(sorted(order) == sorted(FAMILIES) for order in orders.values())
    assert len({tuple(order) for order in orders.values()}) > 4
    first = [order[0] for order in orders.values()]
    assert len(set(first)) > 2


def test_a_view_does_not_change_when_there_are_more_or_families_come_in_another_order() -> None:
    many, few = plan_views("a", FAMILIES, ALL), plan_views("a", tuple(reversed(FAMILIES)), ViewSettings(views=3))
    assert many[:3] == few
    assert plan_views("a", FAMILIES, ALL, seed=1) != many


def test_families_come_again_with_other_parameters_but_not_those_without_any() -> None:
    plan = plan_views("a", ("flip", "noise", "rotation"), ViewSettings(views=9))
    assert [view.family for view in plan].count("flip") == 1
    again = [view.parameters for view in plan if view.family == "rotation"]
    assert len(again) == 4
    assert len(set(again)) == 4
    assert {view.family for view in plan_views("a", ("flip",), ALL)[1:]} == {"clean"}
    assert {view.family for view in plan_views("a", (), ALL)} == {"clean"}


def test_a_clean_first_view_moves_the_others_by_one() -> None:
    plan = plan_views("a", FAMILIES, ViewSettings(views=3, clean=True))
    plain = plan_views("a", FAMILIES, ViewSettings(views=3))
    assert [view.family for view in plan] == ["clean", *(view.family for view in plain[:2])]
    images = pictures(1)
    assert torch.equal(make_views(images, [plan])[0], images[0])


@settings(max_examples=20)
@given(st.text(max_size=20), st.integers(0, 2**63 - 1))
def test_parameters_are_in_their_ranges(sample: str, seed: int) -> None:
    for view in plan_views(sample, FAMILIES, ALL.model_copy(update={"views": 16}), seed):
        match view.family:
            case "crop":
                top, left, height, width = view.parameters
                assert 0.6 - 1e-9 <= height * width <= 0.9 + 1e-9
                assert min(top, left) >= 0
                assert max(top + height, left + width) <= 1 + 1e-9
            case "rotation":
                assert 5 <= abs(view.parameters[0]) <= 15
            case "contrast":
                assert all(1.2 <= max(each, 1 / each) <= 1.6 for each in view.parameters)
            case "blur":
                assert 0.005 <= view.parameters[0] <= 0.015
            case "noise":
                assert 300 <= view.parameters[0] <= 500
                assert view.parameters[0].is_integer()
            case "jitter":
                assert all(0.7 <= each <= 1.3 for each in view.parameters[:2])
                assert abs(view.parameters[2]) <= 0.1
            case _:
                assert view.parameters == ()


@settings(max_examples=20)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=6), st.integers(1, 9))
def test_a_view_is_the_same_bit_by_bit_in_any_batch(order: list[int], views: int) -> None:
    images = pictures(6, (9, 14))
    plans = [plan_views(f"sample {number}", FAMILIES, ViewSettings(views=views)) for number in range(6)]
    together = make_views(images[order], [plans[number] for number in order])
    for place, number in enumerate(order):
        last = make_views(images[number : number + 1], [[plans[number][-1]]])
        assert torch.equal(together[(place + 1) * views - 1], last[0])


def test_a_batch_of_large_pictures_is_the_same_as_each_alone() -> None:
    images = pictures(3, (112, 96))
    plans = [plan_views(str(number), FAMILIES, ALL) for number in range(3)]
    alone = torch.cat([make_views(images[number : number + 1], [plans[number]]) for number in range(3)])
    assert torch.equal(make_views(images, plans), alone)


def test_views_leave_the_pictures_alone_and_stay_in_range() -> None:
    images = pictures()
    before = images.clone()
    made = make_views(images, [plan_views(str(number), FAMILIES, ALL) for number in range(4)])
    assert torch.equal(images, before)
    assert made.shape == (32, 3, 12, 10)
    assert made.min() >= 0
    assert made.max() <= 1
    assert not any(torch.equal(view, images[row // 8]) for row, view in enumerate(made))


def test_samples_may_have_different_numbers_of_views() -> None:
    plans = [plan_views("a", FAMILIES, ALL)[:1], (), plan_views("b", FAMILIES, ALL)[:2]]
    assert len(make_views(pictures(3), plans)) == 3
    with pytest.raises(UserError, match="4 pictures and plans for 3"):
        make_views(pictures(4), plans)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 2), (3, 200)])
def test_very_small_pictures_have_views(size: tuple[int, int]) -> None:
    made = make_views(pictures(1, size), [plan_views("a", FAMILIES, ALL)])
    assert made.isfinite().all()
    assert made.shape[-2:] == size


def test_flip_and_grayscale() -> None:
    images, flipped = shown("flip")
    assert torch.equal(flipped, images.flip(-1))
    images, grey = shown("grayscale")
    luma = 0.299 * images[:, 0] + 0.587 * images[:, 1] + 0.114 * images[:, 2]
    for channel in range(3):
        torch.testing.assert_close(grey[:, channel], luma, atol=1e-6, rtol=0)


def test_a_crop_of_a_ramp_is_a_narrower_ramp() -> None:
    ramp = torch.linspace(0, 1, 11).expand(1, 3, 11, 11)
    _, made = shown("crop", 0.0, 2 / 11, 1.0, 5 / 11, images=ramp)  # columns 2 to 6
    torch.testing.assert_close(made, torch.linspace(0.2, 0.6, 11).expand(1, 3, 11, 11), atol=1e-5, rtol=0)


def test_the_whole_crop_and_no_turn_are_the_picture() -> None:
    images, whole = shown("crop", 0.0, 0.0, 1.0, 1.0)
    torch.testing.assert_close(whole, images, atol=1e-5, rtol=0)
    images, still = shown("rotation", 0.0)
    torch.testing.assert_close(still, images, atol=1e-5, rtol=0)


def test_a_quarter_turn_is_anticlockwise() -> None:
    images, turned = shown("rotation", 90.0, images=pictures(1, (9, 9)))
    torch.testing.assert_close(turned, images.rot90(1, (-2, -1)), atol=1e-4, rtol=0)


def test_the_border_is_drawn_out_where_a_turn_looks_beyond_it() -> None:
    white = torch.ones(1, 3, 9, 9)
    torch.testing.assert_close(shown("rotation", 45.0, images=white)[1], white)


def test_views_go_either_way() -> None:
    plans = [view for number in range(20) for view in plan_views(str(number), ("rotation", "contrast"), ALL)]
    turns = [view.parameters[0] > 0 for view in plans if view.family == "rotation"]
    assert 0.3 < sum(turns) / len(turns) < 0.7
    for place in (0, 1):
        stronger = [view.parameters[place] > 1 for view in plans if view.family == "contrast"]
        assert 0.3 < sum(stronger) / len(stronger) < 0.7


def test_gamma_then_contrast_about_the_mean_luma() -> None:
    images, made = shown("contrast", 1.5, 0.8)
    bent = images**1.5
    luma = (0.299 * bent[:, 0] + 0.587 * bent[:, 1] + 0.114 * bent[:, 2]).mean()
    torch.testing.assert_close(made, (luma + 0.8 * (bent - luma)).clamp(0, 1), atol=1e-5, rtol=0)


def test_blur_by_hand() -> None:
    images, made = shown("blur", 0.1, images=pictures(1, (10, 12)))  # deviation 1 pixel
    weights = [math.exp(-(offset**2) / 2) for offset in range(-3, 4)]
    total = sum(weights) ** 2
    for y, x in ((0, 0), (5, 6), (9, 11), (2, 1)):
        expected = torch.zeros(3)
        for row, own in enumerate(weights):
            for column, other in enumerate(weights):
                at = min(max(y + row - 3, 0), 9), min(max(x + column - 3, 0), 11)
                expected += own * other / total * images[0, :, at[0], at[1]]
        torch.testing.assert_close(made[0, :, y, x], expected, atol=1e-5, rtol=0)


def test_jitter_by_hand() -> None:
    images, bright = shown("jitter", 1.2, 1.0, 0.0)
    torch.testing.assert_close(bright, (images * 1.2).clamp(0, 1), atol=1e-5, rtol=0)
    images, dull = shown("jitter", 1.0, 0.0, 0.0)
    torch.testing.assert_close(dull, shown("grayscale", images=images)[1], atol=1e-5, rtol=0)
    images, turned = shown("jitter", 1.0, 1.0, 0.1)
    hue, saturation, value = colorsys.rgb_to_hsv(*images[0, :, 3, 4].tolist())
    expected = colorsys.hsv_to_rgb((hue + 0.1) % 1, saturation, value)
    assert turned[0, :, 3, 4].tolist() == pytest.approx(expected, abs=1e-4)


def test_sevas_schedule_by_hand() -> None:
    found = diffusion_weights()
    expected = {100: 0.99659, 300: 0.96233, 500: 0.74480, 800: 0.21810}
    signal = {100: 0.9983, 300: 0.9810, 500: 0.8630, 800: 0.4670}
    kept = 1.0
    for step in range(1000):
        x = -6 + 12 * step / 999
        kept *= 1 - ((0.005 - 1e-5) / (1 + math.exp(-x)) + 1e-5)
        assert found[step].item() == pytest.approx(kept, rel=1e-9)
        if step in expected:
            assert kept == pytest.approx(expected[step], abs=6e-6)
            one = diffuse(torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1), [step])
            assert one.item() == pytest.approx(signal[step], abs=6e-5)


def test_noise_keeps_the_variance_and_has_steps() -> None:
    both = diffuse(torch.zeros(2, 1, 1, 1), torch.ones(2, 1, 1, 1), [500, 800]).flatten()
    assert both.square().tolist() == pytest.approx([1 - 0.74480, 1 - 0.21810], abs=1e-5)
    for wrong in (-1, 1000):
        with pytest.raises(UserError, match=f"step {wrong}"):
            diffuse(torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 1, 1), [wrong])


def test_noise_is_added_to_the_normalised_picture() -> None:
    images, made = shown("noise", 500.0)
    mean, std = (torch.tensor(each).reshape(1, 3, 1, 1) for each in (CLIP_MEAN, CLIP_STD))
    drawn = np.random.Generator(np.random.Philox(key=7).jumped()).standard_normal((3, 12, 10), np.float32)
    normal = math.sqrt(0.7447985) * (images - mean) / std + math.sqrt(1 - 0.7447985) * torch.from_numpy(drawn)
    torch.testing.assert_close(made, (normal * std + mean).clamp(0, 1), atol=1e-5, rtol=0)
    own = make_views(images, [[View("a", 0, "noise", (500.0,), 7)]], mean=(0.5,) * 3, std=(0.5,) * 3)
    assert not torch.allclose(own, made, atol=0.01)


@pytest.mark.parametrize(
    "wrong",
    [
        {"crop": (0.9, 0.6)},
        {"crop": (0.0, 1.0)},
        {"rotation": (-1, 3)},
        {"contrast": (0.5, 2)},
        {"blur": (0.0, 0.1)},
        {"noise": (500, 1000)},
        {"jitter": (0.1, 0.1, 0.6)},
        {"families": ("flip", "flip")},
        {"families": ()},
        {"families": ("mosaic",)},
        {"views": 0},
    ],
)
def test_settings_out_of_range(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        ViewSettings(**wrong)


def test_without_kornia_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def hidden(name: str, *more: Any, **options: Any) -> Any:
        if name.startswith("kornia"):
            raise ModuleNotFoundError(name)
        return real(name, *more, **options)

    monkeypatch.setattr(builtins, "__import__", hidden)
    with pytest.raises(UserError, match="views needs kornia; the extra `align` brings it"):
        shown("flip")
