"""The five losses against numbers worked out by hand."""

import math

import pytest
import torch

from burnish.prove.contrastive import losses


def test_simclr_by_hand() -> None:
    # two images, orthogonal; twins equal: each view has its twin at cosine 1 and two others at 0
    views = torch.eye(2)
    expected = -math.log(math.e**2 / (math.e**2 + 2))
    assert float(losses.simclr(views, views, 0.5)) == pytest.approx(expected, rel=1e-5)
    # lengths do not count
    assert float(losses.simclr(3 * views, views, 0.5)) == pytest.approx(expected, rel=1e-5)


def test_negative_cosine_and_byol_by_hand() -> None:
    a, b = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[0.6, 0.8], [0.0, 1.0]])
    assert float(losses.negative_cosine(a, b)) == pytest.approx(-0.8)
    assert float(losses.byol(a, b)) == pytest.approx(0.4, abs=1e-6)


def test_moco_by_hand() -> None:
    query, key = torch.eye(2), torch.tensor([[2.0, 0.0], [0.0, 5.0]])
    expected = 2 * 0.5 * -math.log(math.e**2 / (math.e**2 + 1))
    assert float(losses.moco_v3(query, key, 0.5)) == pytest.approx(expected, rel=1e-5)


def test_dino_by_hand() -> None:
    # a teacher that is sure after sharpening, a student that is not: log 2
    student, teacher = torch.zeros(1, 2), torch.tensor([[1.0, 0.0]])
    assert float(losses.dino(student, teacher, torch.zeros(2), 0.1, 0.01)) == pytest.approx(math.log(2), rel=1e-5)
    # centring takes a common lean away: the teacher is undecided between two, so is the best student
    assert float(losses.dino(student, teacher, teacher[0], 0.1, 0.01)) == pytest.approx(math.log(2), rel=1e-5)
    leaning = torch.tensor([[math.log(3), 0.0]])
    expected = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert float(losses.dino(leaning, leaning, torch.zeros(2), 1.0, 1.0)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", ["negative_cosine", "byol"])
def test_targets_get_no_gradient(name: str) -> None:
    prediction, target = torch.randn(4, 3, requires_grad=True), torch.randn(4, 3, requires_grad=True)
    getattr(losses, name)(prediction, target).backward()
    assert prediction.grad is not None
    assert target.grad is None
