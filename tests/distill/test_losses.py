"""Losses of each sample by hand, against autograd and against plain formulas."""

import math

import pytest
import torch
import torch.nn.functional as F

from burnish.core.errors import BurnishError
from burnish.distill.losses import check_losses, cross_entropy, dkd, feature_distance, head_crossing, kd, mixed

STUDENT = torch.tensor([[0.0, 0.0]])
TEACHER = torch.tensor([[4 * math.log(3), 0.0]])


def test_kd_by_hand() -> None:
    assert kd(STUDENT, TEACHER, 4.0).item() == pytest.approx(2.092993, abs=1e-6)
    assert cross_entropy(STUDENT, torch.tensor([0])).item() == pytest.approx(0.693147, abs=1e-6)
    assert kd(TEACHER, TEACHER).item() == 0


def test_the_mixture_by_hand() -> None:
    supervised, distilled = 0.1 * cross_entropy(STUDENT, torch.tensor([0])), 0.9 * kd(STUDENT, TEACHER)
    assert mixed(supervised, distilled, torch.tensor([0.25])).item() == pytest.approx(1.045819, abs=1e-6)
    assert mixed(torch.tensor([0.7]), torch.tensor([0.3]), torch.tensor([0.75])).item() == pytest.approx(0.8)


def test_half_is_the_base_method_bit_for_bit() -> None:
    supervised, distilled = torch.rand(1000), torch.rand(1000)
    assert mixed(supervised, distilled, torch.full((1000,), 0.5)).equal(supervised + distilled)


def test_t_squared_keeps_the_gradient() -> None:
    """At high T the gradient tends to (student - teacher) / classes for centred logits; without T^2 it would vanish."""
    student = torch.randn(1, 5, dtype=torch.float64)
    student = (student - student.mean()).requires_grad_()
    teacher = torch.randn(1, 5, dtype=torch.float64)
    teacher = teacher - teacher.mean()
    kd(student, teacher, 1e4).sum().backward()
    assert student.grad is not None
    assert student.grad == pytest.approx(((student - teacher) / 5).detach(), abs=1e-4)


def test_dkd_by_hand() -> None:
    student, teacher = (torch.tensor([each]).log() for each in ((0.5, 0.25, 0.25), (0.6, 0.3, 0.1)))
    label = torch.tensor([0])
    assert dkd(student, teacher, label, 1.0, 0.0, 1.0).item() == pytest.approx(0.020136, abs=1e-6)
    assert dkd(student, teacher, label, 0.0, 1.0, 1.0).item() == pytest.approx(0.130812, abs=1e-6)
    assert kd(student, teacher, 1.0).item() == pytest.approx(0.072460, abs=1e-6)
    assert dkd(student, teacher, label, 1.0, 0.4, 1.0).item() == pytest.approx(
        kd(student, teacher, 1.0).item(), abs=1e-6
    )


def test_dkd_scales_with_t_squared_and_survives_certain_teachers() -> None:
    student, teacher, labels = torch.randn(4, 6), torch.randn(4, 6), torch.arange(4)
    own = dkd(student, teacher, labels, 1.0, 2.0, 3.0)
    assert own.tolist() == pytest.approx((9 * dkd(student / 3, teacher / 3, labels, 1.0, 2.0, 1.0)).tolist(), rel=1e-5)
    certain = torch.full((1, 6), -500.0)
    certain[0, 2] = 500.0
    logits = torch.randn(1, 6, requires_grad=True)
    dkd(logits, certain, torch.tensor([2]), 1.0, 1.0, 1.0).sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_head_crossing() -> None:
    torch.manual_seed(0)
    head = torch.nn.Linear(8, 5)
    teacher = torch.randn(16, 8)
    logits = head(teacher).detach()
    # features that differ in mean and scale alone are the teacher's once they are standardised
    moved = (3 * teacher + 2).requires_grad_()
    found = head_crossing(moved, teacher, head, logits)
    assert found.tolist() == pytest.approx([0.0] * 16, abs=1e-4)
    head_crossing(torch.randn(16, 8).requires_grad_(), teacher, head, logits).sum().backward()
    single = head_crossing(teacher[:1], teacher[:1], head, logits[:1])
    assert single.item() == pytest.approx(0.0, abs=1e-5)


def test_feature_distance() -> None:
    student, teacher = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([[5.0, 0.0], [1.0, 0.0]])
    assert feature_distance(student, teacher).tolist() == pytest.approx([0, 2])
    other = torch.randn(6, 3)
    assert feature_distance(other, other.flip(0)).tolist() == pytest.approx(
        (2 - 2 * F.cosine_similarity(other, other.flip(0))).tolist(), abs=1e-5
    )


def test_nothing_is_averaged_over_the_batch() -> None:
    student, teacher, labels = torch.randn(3, 4), torch.randn(3, 4), torch.tensor([0, 1, 2])
    for loss in (kd(student, teacher), cross_entropy(student, labels), dkd(student, teacher, labels)):
        assert loss.shape == (3,)
    assert kd(student, teacher)[1].item() == pytest.approx(kd(student[1:2], teacher[1:2]).item(), rel=1e-6)


def test_a_sample_without_a_loss_is_named() -> None:
    check_losses(torch.tensor([1.0, 2.0]), ["a", "b"])
    with pytest.raises(BurnishError, match="sample b is nan"):
        check_losses(torch.tensor([1.0, float("nan")]), ["a", "b"])
