"""Training one shadow: the released focal loss, what is drawn for it, the same model again, a loss that is not
finite."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from burnish.core.errors import BurnishError, UserError
from burnish.prove.trainprove.recipe import Training, Variation
from burnish.prove.trainprove.training import (
    Draw,
    draw_variation,
    focal_loss,
    logits_of,
    predict,
    to_input,
    train_classifier,
)
from burnish.testbeds.classifiers import FACTORIES
from tests.prove.trainprove.painters import stripes

LABELS = (np.arange(160) % 4).astype(np.int64)
PICTURES = stripes(0, LABELS, 1, 0.5)
TRAINING = Training(steps=60, batch=32, learning_rate=3e-3, weight_decay=0.01)


def plain(**changes: object) -> Draw:
    settings = {"rows": np.arange(160), "shift": 0, "flip": False, "noise": 0.0, "steps": 1.0}
    return Draw(**(settings | changes))  # type: ignore[arg-type]


def test_focal_loss_by_hand() -> None:
    # two classes at equal logits: cross-entropy ln 2, p = 1/2, so .25 * .25 * ln 2
    loss = focal_loss(torch.zeros(3, 2), torch.tensor([0, 1, 0]))
    assert loss.item() == pytest.approx(0.0625 * np.log(2))
    # on the batch mean: one sure hit and one even guess give exp(-ln2 / 2), not the mean of two focal losses
    logits = torch.tensor([[0.0, 0.0], [60.0, 0.0]])
    half = np.log(2) / 2
    assert focal_loss(logits, torch.tensor([0, 0])).item() == pytest.approx(0.25 * (1 - np.exp(-half)) ** 2 * half)


def test_inputs() -> None:
    found = to_input(torch.tensor([0, 255], dtype=torch.uint8).reshape(1, 1, 2, 1))
    assert found.shape == (1, 1, 1, 2)
    assert found.flatten().tolist() == [-1.0, 1.0]
    with pytest.raises(UserError, match="must answer logits"):
        logits_of("nothing")


@given(st.integers(0, 5000))
def test_what_is_drawn_stays_within_the_ranges(seed: int) -> None:
    temperature = np.repeat([0.8, 1.0, 1.2], 40)
    variation = Variation(shift=3, flip=True, noise=0.2, share=(0.5, 0.9), steps=(0.5, 2.0))
    drawn = draw_variation(variation, temperature, np.random.default_rng(seed))
    kept = np.unique(temperature[drawn.rows])
    assert 1 <= len(kept) <= 3
    available = np.isin(temperature, kept).sum()
    assert 0.5 * 40 - 1 <= len(drawn.rows) <= 0.9 * 120 + 1
    assert len(drawn.rows) <= available
    assert len(np.unique(drawn.rows)) == len(drawn.rows)
    assert 0 <= drawn.shift <= 3
    assert 0 <= drawn.noise <= 0.2
    assert 0.5 <= drawn.steps <= 2.0


@pytest.mark.parametrize("kind", FACTORIES)
@pytest.mark.parametrize("loss", ["cross_entropy", "focal"])
def test_every_small_model_learns_and_comes_out_the_same_again(kind: str, loss: str) -> None:
    logits = []
    training = TRAINING.model_copy(update={"loss": loss, "steps": 120})
    for _ in range(2):
        torch.manual_seed(3)
        model = train_classifier(FACTORIES[kind](4, 1, 8), PICTURES, LABELS, training, plain(), 3)
        logits.append(predict(model, stripes(0, LABELS, 2, 0.5), batch=50))
    assert (logits[0].argmax(1) == LABELS).mean() > 0.6  # chance: .25
    np.testing.assert_array_equal(logits[0], logits[1])
    np.testing.assert_allclose(predict(model, stripes(0, LABELS, 2, 0.5), batch=160), logits[0], atol=1e-5)


def test_epochs_steps_and_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    model = FACTORIES["mlp"](4, 1, 8)
    model.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    rows = np.arange(0, 160, 4)  # class 0 only
    train_classifier(model, PICTURES, LABELS, Training(epochs=3, batch=16), plain(rows=rows, steps=2.0), 0)
    assert seen == [16] * 18  # 40 pictures: 3 batches an epoch, 3 epochs, twice the steps
    assert (predict(model, PICTURES).argmax(1) == 0).mean() > 0.5


def test_distortions_change_what_is_seen() -> None:
    found = []
    for change in ({}, {"shift": 2}, {"noise": 0.3}, {"flip": True}):
        torch.manual_seed(0)
        model = train_classifier(FACTORIES["mlp"](4, 1, 8), PICTURES, LABELS, TRAINING, plain(**change), 0)
        found.append(predict(model, PICTURES))
    assert all(not np.array_equal(found[0], other) for other in found[1:])


def test_a_loss_that_is_not_finite_is_named() -> None:
    wild = Training(steps=20, batch=16, learning_rate=1e30, weight_decay=0.0)
    with pytest.raises(BurnishError, match=r"lower training\.learning_rate"):
        train_classifier(FACTORIES["cnn"](4, 1, 8), PICTURES, LABELS, wild, plain(), 0)
