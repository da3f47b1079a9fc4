"""Losses of each sample, without a mean inside: cross-entropy, distillation, and both mixed by the sample's strength.

Pure functions over tensors. ``check_losses`` names a sample whose loss is no number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from burnish.core.errors import BurnishError

Logits = Float[Tensor, "batch classes"]
PerSample = Float[Tensor, " batch"]


def cross_entropy(student: Logits, labels: Int64[Tensor, " batch"]) -> PerSample:
    """-log p(label)."""
    return F.cross_entropy(student, labels, reduction="none")


def kd(student: Logits, teacher: Logits, temperature: float = 4.0) -> PerSample:
    """T^2 KL(teacher || student), both softened by T. Source: Hinton et al. 2015, section 2."""
    divergence = F.kl_div(
        F.log_softmax(student / temperature, -1),
        F.log_softmax(teacher / temperature, -1),
        reduction="none",
        log_target=True,
    )
    return temperature**2 * divergence.sum(-1)


def dkd(
    student: Logits,
    teacher: Logits,
    labels: Int64[Tensor, " batch"],
    alpha: float = 0.1,
    beta: float = 1.0,
    temperature: float = 4.0,
) -> PerSample:
    """T^2 (alpha TCKD + beta NCKD): of the label against the rest, and among the rest.

    Args:
        student: logits.
        teacher: logits.
        labels: the target classes.
        alpha: weight of the target's part (SAKD's release .1, DKD's paper 1).
        beta: weight of the rest (release 1, paper 8).
        temperature: T.

    Source: Zhao et al. 2022, "Decoupled knowledge distillation", equation 7.
    """
    own = F.one_hot(labels, student.shape[-1]).bool()
    log_s, log_t = (F.log_softmax(logits / temperature, -1) for logits in (student, teacher))

    def label_and_rest(log_p: Tensor) -> Tensor:
        rest = log_p.masked_fill(own, -torch.inf).logsumexp(-1)
        return torch.stack([log_p[own], rest], -1)

    def among_rest(log_p: Tensor) -> Tensor:
        return F.log_softmax(log_p[~own].reshape(len(log_p), -1), -1)

    def divergence(target: Tensor, found: Tensor) -> Tensor:
        return F.kl_div(found, target, reduction="none", log_target=True).sum(-1)

    target = divergence(label_and_rest(log_t), label_and_rest(log_s))
    rest = divergence(among_rest(log_t), among_rest(log_s))
    return temperature**2 * (alpha * target + beta * rest)


def head_crossing(
    student: Float[Tensor, "batch features"],
    teacher: Float[Tensor, "batch features"],
    teacher_head: Callable[[Tensor], Tensor],
    teacher_logits: Logits,
    temperature: float = 4.0,
) -> PerSample:
    """The student's features through the teacher's head, against the teacher's own logits.

    Features are standardised over the batch and get the teacher's mean and deviation, so that the head knows them.
    Gradients go through the student's features alone.

    Args:
        student: features of the student, as wide as the teacher's.
        teacher: features of the teacher.
        teacher_head: from features to logits; its weights get no gradient from here if they need none.
        teacher_logits: of the same samples.
        temperature: T.

    Source: CrossKD as SAKD's release has it. Of a batch of one there is no deviation: its features go in as they are.
    """
    crossed = student
    if len(student) > 1:
        middle, spread = student.mean(0), student.std(0).clamp_min(1e-6)
        crossed = (student - middle) / spread * teacher.std(0) + teacher.mean(0)
    return kd(teacher_head(crossed), teacher_logits, temperature)


def feature_distance(student: Float[Tensor, "batch features"], teacher: Float[Tensor, "batch features"]) -> PerSample:
    """Squared distance of both on the unit sphere, 2 - 2 cos: no scale to tune between two models."""
    return (F.normalize(student, dim=-1) - F.normalize(teacher, dim=-1)).square().sum(-1)


def mixed(supervised: PerSample, distilled: PerSample, strength: PerSample) -> PerSample:
    """2 ((1 - alpha) CE + alpha KD), of losses that have their weights already; alpha = .5 is their sum, bit for bit.

    Source: SAKD, its training loss.
    """
    return 2 * ((1 - strength) * supervised + strength * distilled)


def check_losses(losses: PerSample, samples: Sequence[str]) -> None:
    """Stop at a loss that is no number.

    Raises:
        BurnishError: names the first sample whose loss is none.
    """
    finite = losses.isfinite()
    if not bool(finite.all()):
        bad = int((~finite).nonzero()[0, 0])
        raise BurnishError(
            f"training: the loss of sample {samples[bad]} is {losses[bad].item()}; look at its file, or lower the "
            "learning rate"
        )
