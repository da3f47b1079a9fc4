"""The losses of five self-supervised methods, pure. Each takes outputs of two views of the same images, row by row."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

Rows = Float[Tensor, "batch dim"]
Scalar = Float[Tensor, ""]


def simclr(first: Rows, second: Rows, temperature: float) -> Scalar:
    """NT-Xent (SimCLR, equation 1): each view must find its twin among the other 2n - 1 views, by cosine."""
    n = len(first)
    views = F.normalize(torch.cat([first, second]), dim=1)
    scores = views @ views.T / temperature
    scores = scores.masked_fill(torch.eye(2 * n, dtype=torch.bool, device=scores.device), float("-inf"))
    twins = torch.arange(2 * n, device=scores.device).roll(n)
    return F.cross_entropy(scores, twins)


def negative_cosine(prediction: Rows, target: Rows) -> Scalar:
    """Minus the mean cosine to a target that gets no gradient (SimSiam, equation 1)."""
    return -F.cosine_similarity(prediction, target.detach(), dim=1).mean()


def byol(prediction: Rows, target: Rows) -> Scalar:
    """Squared distance of the unit vectors, 2 - 2 cos (BYOL, equation 2)."""
    return 2 + 2 * negative_cosine(prediction, target)


def moco_v3(query: Rows, key: Rows, temperature: float) -> Scalar:
    """InfoNCE of queries against the batch's momentum keys, times 2 temperature (MoCo v3, algorithm 1)."""
    scores = F.normalize(query, dim=1) @ F.normalize(key.detach(), dim=1).T / temperature
    return 2 * temperature * F.cross_entropy(scores, torch.arange(len(scores), device=scores.device))


def dino(
    student: Rows, teacher: Rows, centre: Float[Tensor, " dim"], student_temperature: float, teacher_temperature: float
) -> Scalar:
    """Cross-entropy of the student under the centred, sharpened teacher (DINO, equation 2 and section 3.1)."""
    target = ((teacher.detach() - centre) / teacher_temperature).softmax(dim=1)
    return -(target * (student / student_temperature).log_softmax(dim=1)).sum(dim=1).mean()
