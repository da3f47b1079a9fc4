"""Small generators: whole, seeded, within 0..1; the twin's target; cheap sources keep classes, without copies."""

import numpy as np
import pytest
import torch

from burnish.core.errors import UserError
from burnish.testbeds import digit_sources
from burnish.testbeds.generator_training import distill, train_cascade, train_ddpm, train_flow
from burnish.testbeds.generators import Diffusion, Generator, Spend
from burnish.testbeds.sources import CHEAP, Real, Source

LABELS = (np.arange(40) % 4).astype(np.int64)
# a class is a bright quarter
PIXELS = np.full((40, 14, 14), 0.1, np.float32)
for row, label in enumerate(LABELS):
    top, left = 7 * (label // 2), 7 * (label % 2)
    PIXELS[row, top : top + 7, left : left + 7] = 0.9
TINY = Spend(ddpm=2, distill=2, flow=2, cascade=2, solver=2, few=1, batch=8)


@pytest.fixture(scope="module")
def ddpm() -> Diffusion:
    return train_ddpm(PIXELS, LABELS, 4, TINY, 0)


def families(ddpm: Diffusion) -> dict[str, Generator]:
    return {
        "ddpm": ddpm,
        "twin": distill(ddpm, PIXELS, LABELS, TINY, 1),
        "flow": train_flow(PIXELS, LABELS, 4, TINY, 2),
        "cascade": train_cascade(PIXELS, LABELS, 4, TINY, 3),
    }


def test_every_family_draws_pictures_that_depend_on_the_seed_only(ddpm: Diffusion) -> None:
    for name, generator in families(ddpm).items():
        assert isinstance(generator, Generator), name
        first = generator.draw(LABELS, 5)
        assert first.shape == (40, 14, 14)
        assert first.dtype == np.float32
        assert first.min() >= 0
        assert first.max() <= 1
        np.testing.assert_array_equal(first, generator.draw(LABELS, 5))
        assert not np.array_equal(first, generator.draw(LABELS, 6)), name
        assert not np.array_equal(first, generator.draw(LABELS, 5, 0.5)), name


def test_training_again_gives_the_same_generator(ddpm: Diffusion) -> None:
    again = train_ddpm(PIXELS, LABELS, 4, TINY, 0)
    np.testing.assert_array_equal(ddpm.draw(LABELS[:4], 0), again.draw(LABELS[:4], 0))


@pytest.mark.slow
def test_families_learn_what_a_class_looks_like() -> None:
    spend = Spend(ddpm=60, distill=10, flow=200, cascade=120, solver=4, few=2, batch=16)
    learned: dict[str, Generator] = {
        "ddpm": train_ddpm(PIXELS, LABELS, 4, spend, 0),
        "flow": train_flow(PIXELS, LABELS, 4, spend, 2),
        "cascade": train_cascade(PIXELS, LABELS, 4, spend, 3),
    }
    for name, generator in learned.items():
        drawn = generator.draw(LABELS, 1)
        quarters = drawn.reshape(40, 2, 7, 2, 7).mean(axis=(2, 4)).reshape(40, 4)
        assert (quarters.argmax(1) == LABELS).mean() > 0.9, name


class Pull(torch.nn.Module):
    """Predicts a fixed picture: every DDIM path ends there, so one step must land where many do."""

    def forward(self, now: torch.Tensor, step: torch.Tensor, class_labels: torch.Tensor) -> object:
        return type("Out", (), {"sample": torch.full_like(now, 0.5)})()


def test_the_twins_target_is_where_the_teacher_lands(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []

    def spy(model: torch.nn.Module, steps: int, loss: object, rate: float) -> None:
        for _ in range(4):
            loss()  # type: ignore[operator]

    def record(predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        seen.append(target)
        return torch.zeros(())

    monkeypatch.setattr("burnish.testbeds.generator_training._optimise", spy)
    monkeypatch.setattr("burnish.testbeds.generator_training.F.mse_loss", record)
    distill(Diffusion(Pull(), 4, 14), PIXELS, LABELS, Spend(solver=4, few=2, batch=8), 0)
    assert len(seen) == 4
    for target in seen:
        torch.testing.assert_close(target, torch.full_like(target, 0.5), atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", CHEAP)
def test_cheap_sources_keep_the_class(name: str) -> None:
    rng = np.random.default_rng(0)
    pixels = np.clip(PIXELS + 0.05 * rng.standard_normal(PIXELS.shape), 0, 1).astype(np.float32)
    source = Source(name, pixels, LABELS)
    drawn = source.draw(LABELS, 3)
    assert drawn.shape == PIXELS.shape
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    quarters = drawn.reshape(40, 2, 7, 2, 7).mean(axis=(2, 4)).reshape(40, 4)
    assert (quarters.argmax(1) == LABELS).mean() > 0.9
    np.testing.assert_array_equal(drawn, source.draw(LABELS, 3))


def test_real_pictures_are_not_repeated_while_they_last() -> None:
    pixels = np.random.default_rng(0).random((40, 14, 14)).astype(np.float32)
    drawn = Real(pixels, LABELS).draw(LABELS, 0)
    assert len(np.unique(drawn.reshape(40, -1), axis=0)) == 40


def test_what_cannot_be_made() -> None:
    with pytest.raises(UserError, match="do not divide"):
        Spend(solver=5, few=2)
    with pytest.raises(UserError, match="even side"):
        train_flow(PIXELS[:, :13, :13], LABELS, 4, TINY, 0)
    with pytest.raises(UserError, match="0 pictures"):
        train_ddpm(PIXELS[:0], LABELS[:0], 4, TINY, 0)
    with pytest.raises(UserError, match="unknown"):
        Source("nothing", PIXELS, LABELS).draw(LABELS, 0)
    with pytest.raises(UserError, match="class 9"):
        Source("blur", PIXELS, LABELS).draw(np.array([9]), 0)
    with pytest.raises(UserError, match="class 9"):
        Real(PIXELS, LABELS).draw(np.array([9]), 0)


def test_digit_sources_are_functions_of_a_recipe() -> None:
    labels = (np.arange(20) % 10).astype(np.int64)
    drawn = digit_sources.blur([str(each) for each in range(10)], labels, 0, 1.0)
    assert drawn.shape == (20, 14, 14, 1)
    assert drawn.dtype == np.uint8
    real = digit_sources.real([], labels, 0, 1.0)
    assert not np.array_equal(drawn, real)
    said = digit_sources.innocent(real)
    assert (said == labels).mean() > 0.5  # it is a classifier of digits
    with pytest.raises(AttributeError):
        digit_sources.nothing  # noqa: B018
