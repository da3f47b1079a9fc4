"""Training encoders: all five methods learn, a killed training ends bit-identical, a finished one is left alone."""

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from burnish.core.errors import BurnishError, UserError
from burnish.core.models import load_model
from burnish.prove.contrastive import train
from burnish.prove.contrastive.backbones import features, new_encoder, normalise, width_of
from burnish.prove.contrastive.learners import Momentum
from burnish.prove.contrastive.recipe import Objective, TrainSettings, ViewSettings
from burnish.prove.suspects import SuspectSettings, open_suspect
from burnish.testbeds.data import load_digits

SMALL: dict[str, Any] = {"epochs": 12, "batch": 32, "hidden": 32, "projection": 16, "lr": 3e-3}


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    return (load_digits().pixels[:64, :, :, None] * 255).astype(np.uint8)


@pytest.fixture
def pixels(tmp_path: Path, digits: np.ndarray) -> Path:
    np.save(tmp_path / "pixels.npy", digits)
    return tmp_path / "pixels.npy"


@pytest.mark.parametrize("objective", get_args(Objective))
def test_every_method_learns(objective: Objective, digits: np.ndarray, tmp_path: Path) -> None:
    # without negatives it takes longer, and needs room: in 16 numbers it nearly collapses
    longer = {"simsiam": 450, "byol": 300}
    own = {"epochs": 150}
    if objective in longer:
        own = {"epochs": longer[objective], "hidden": 128, "projection": 64}
    easy = ViewSettings(scale=(0.6, 1.0), flip=0.0)
    settings = TrainSettings(objective=objective, **(SMALL | own | {"batch": 64}), momentum=0.9, view=easy)
    torch.manual_seed(0)
    learner = train.make_learner(settings, 1, 8)

    def found() -> float:
        """How often a view finds its twin among 64 images, by the projector's cosine (chance: .016)."""
        learner.eval()
        images = torch.from_numpy(digits).permute(0, 3, 1, 2).float() / 255
        views = train.training_views(images, settings, seed=9, step=0)
        with torch.no_grad():
            projected = learner.projector(features(learner.encoder, views.flatten(0, 1)))
        first, second = torch.nn.functional.normalize(projected - projected.mean(0), dim=1).unflatten(0, (2, 64))
        return float(((first @ second.T).argmax(1) == torch.arange(64)).float().mean())

    before = found()
    losses: list[float] = []
    train.fit(learner, digits, np.arange(64), 0, tmp_path / "work", 1e9, lambda step, loss: losses.append(loss))
    assert losses[-1] < losses[0]
    assert found() > before + 0.1


def test_a_killed_training_ends_the_same(pixels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = TrainSettings(objective="byol", **SMALL)
    whole = train.train_encoder(train.Training(settings, pixels, 3, tmp_path / "whole"))
    real, calls = train.training_views, 0

    def dying(*args: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == 15:
            raise KeyboardInterrupt
        return real(*args)

    task = train.Training(settings, pixels, 3, tmp_path / "killed", every=0)
    monkeypatch.setattr(train, "training_views", dying)
    with pytest.raises(KeyboardInterrupt):
        train.train_encoder(task)
    monkeypatch.setattr(train, "training_views", real)
    assert not task.folder.exists()
    train.train_encoder(task)
    name = "model.safetensors"
    assert (task.folder / name).read_bytes() == (whole / name).read_bytes()
    assert not task.folder.with_name("killed.training").exists()
    # and it is never trained again; killed once it was saved, it leaves no checkpoints either
    monkeypatch.setattr(train, "training_views", dying)
    task.folder.with_name("killed.training").mkdir()
    assert train.train_encoder(task) == task.folder
    assert not task.folder.with_name("killed.training").exists()


def test_the_saved_encoder_is_a_model_like_any_other(pixels: Path, digits: np.ndarray, tmp_path: Path) -> None:
    for backbone, width in (("resnet", 64), ("vit", 64)):
        folder = train.train_encoder(
            train.Training(TrainSettings(backbone=backbone, **(SMALL | {"epochs": 1})), pixels, 0, tmp_path / backbone)
        )
        model = load_model(folder)
        images = torch.from_numpy(digits).permute(0, 3, 1, 2).float() / 255
        assert features(model, normalise(images)).shape == (64, width)
        # as an audit asks, views of half the size too; the same numbers where the size is right
        with open_suspect(SuspectSettings(model=str(folder)), "embeddings") as oracle:
            assert oracle.ask(digits[:, ::2, ::2]).shape == (64, width)
            with torch.inference_mode():
                expected = features(model, normalise(images)).numpy()
            np.testing.assert_allclose(oracle.ask(digits), expected, atol=1e-5)
        # from its config: another encoder of the same kind, with weights of its own
        again = new_encoder(str(folder), 1, 8)
        assert width_of(again, 1, 8) == width
        assert not torch.equal(next(again.parameters()), next(model.parameters()))


def test_rows_choose_the_images(pixels: Path, tmp_path: Path) -> None:
    settings = TrainSettings(**(SMALL | {"epochs": 1}))
    first = train.train_encoder(train.Training(settings, pixels, 0, tmp_path / "a", rows=tuple(range(32))))
    other = train.train_encoder(train.Training(settings, pixels, 0, tmp_path / "b", rows=tuple(range(32, 64))))
    assert (first / "model.safetensors").read_bytes() != (other / "model.safetensors").read_bytes()


def test_the_slow_copy_follows_and_stops() -> None:
    learner = train.make_learner(TrainSettings(objective="byol", momentum=0.9, hidden=8, projection=4), 1, 8)
    assert isinstance(learner, Momentum)
    slow, fast = next(learner.target.parameters()), next(learner.encoder.parameters())
    with torch.no_grad():
        slow.zero_()
        fast.fill_(1.0)
    learner.after_step(0.0)
    assert torch.allclose(slow, torch.full_like(slow, 0.1))
    learner.after_step(1.0)  # momentum 1 at the end
    assert torch.allclose(slow, torch.full_like(slow, 0.1))


def test_every_epoch_takes_each_image_once(digits: np.ndarray) -> None:
    stream = train.batches(digits, np.arange(64), 16, seed=1, start=0)
    epoch = torch.cat([next(stream) for _ in range(4)])
    assert len({row.numpy().tobytes() for row in epoch}) == 64
    late = train.batches(digits, np.arange(64), 16, seed=1, start=6)
    for _ in range(2):
        next(stream)
    assert torch.equal(next(stream), next(late))


def test_bad_input(pixels: Path, tmp_path: Path) -> None:
    settings = TrainSettings(**SMALL)
    with pytest.raises(UserError, match="two or more"):
        train.train_encoder(train.Training(settings, pixels, 0, tmp_path / "one", rows=(0,)))
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "config.json").write_text('{"model_type": "bert", "num_channels": 1}')
    with pytest.raises(UserError, match="does not take images"):
        new_encoder(str(tmp_path / "text"), 1, 8)
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "config.json").write_text('{"model_type": "nonsense", "num_channels": 1}')
    with pytest.raises(UserError, match="no model can be made"):
        new_encoder(str(tmp_path / "odd"), 1, 8)
    with pytest.raises(UserError, match="takes 3 channels, the images have 1"):
        (tmp_path / "odd" / "config.json").write_text('{"model_type": "resnet"}')
        new_encoder(str(tmp_path / "odd"), 1, 8)
    with pytest.raises(BurnishError, match="lower lr"):
        train.train_encoder(train.Training(settings.model_copy(update={"lr": 1e30}), pixels, 0, tmp_path / "wild"))
