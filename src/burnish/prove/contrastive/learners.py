"""Five ways to learn without labels: an encoder, its heads, a loss over views, and what happens after a step.

A learner gets features of v views of the same images and averages its two-view loss over pairs of views. Knows no data.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from burnish.prove.contrastive import losses
from burnish.prove.contrastive.recipe import TrainSettings

Encode = Callable[[nn.Module, Tensor], Tensor]
Views = Float[Tensor, "views batch channels height width"]


def head(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """A two-layer perceptron with batch normalisation between (the projector and the predictor of all five)."""
    return nn.Sequential(
        nn.Linear(inputs, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True), nn.Linear(hidden, outputs)
    )


class Learner(nn.Module):
    """Base of the five.

    Args:
        encoder: a Hugging Face vision model.
        encode: features [n, width] of the encoder for pixel values [n, channels, height, width].
        width: of the features.
        settings: sizes, temperature, momentum.
    """

    def __init__(self, encoder: nn.Module, encode: Encode, width: int, settings: TrainSettings) -> None:
        super().__init__()
        self.encoder = encoder
        self._encode = encode
        self.settings = settings
        self.projector = head(width, settings.hidden, settings.projection)

    def loss(self, views: Views) -> Float[Tensor, ""]:
        """Mean loss over pairs of views."""
        raise NotImplementedError

    def after_step(self, progress: float) -> None:
        """Called after the optimizer; ``progress`` runs from 0 to 1."""

    def _project(self, views: Views) -> Float[Tensor, "views batch dim"]:
        return self._through(views, self.encoder, self.projector)

    def _through(self, views: Views, encoder: nn.Module, projector: nn.Module) -> Tensor:
        outputs: Tensor = projector(self._encode(encoder, views.flatten(0, 1)))
        return outputs.reshape(*views.shape[:2], -1)


class SimCLR(Learner):
    """Contrast with the other images of the batch. Chen et al. 2020."""

    def loss(self, views: Views) -> Float[Tensor, ""]:
        """Mean NT-Xent over pairs of views."""
        projected = self._project(views)
        pairs = list(itertools.combinations(projected, 2))
        return torch.stack([losses.simclr(a, b, self.settings.temperature) for a, b in pairs]).mean()


class SimSiam(Learner):
    """Predict the other view; the stopped gradient alone keeps it from collapsing. Chen and He 2021."""

    def __init__(self, encoder: nn.Module, encode: Encode, width: int, settings: TrainSettings) -> None:
        super().__init__(encoder, encode, width, settings)
        self.projector.append(nn.BatchNorm1d(settings.projection, affine=False))
        self.predictor = head(settings.projection, max(1, settings.hidden // 4), settings.projection)

    def loss(self, views: Views) -> Float[Tensor, ""]:
        """Minus the mean cosine of each view's prediction with each other view."""
        projected = self._project(views)
        predicted = self.predictor(projected.flatten(0, 1)).reshape(projected.shape)
        pairs = list(itertools.permutations(range(len(views)), 2))
        return torch.stack([losses.negative_cosine(predicted[u], projected[v]) for u, v in pairs]).mean()


class Momentum(Learner):
    """Base of the methods with a slowly following copy of the encoder as their target."""

    def __init__(self, encoder: nn.Module, encode: Encode, width: int, settings: TrainSettings) -> None:
        super().__init__(encoder, encode, width, settings)
        self.target = nn.ModuleList([copy.deepcopy(self.encoder), copy.deepcopy(self.projector)])
        self.target.requires_grad_(False)

    @torch.no_grad()
    def _targets(self, views: Views) -> Float[Tensor, "views batch dim"]:
        return self._through(views, self.target[0], self.target[1])

    @torch.no_grad()
    def after_step(self, progress: float) -> None:
        """Move the target towards the online networks; the momentum rises to 1 by a cosine, as in all three papers."""
        rate = 1 - (1 - self.settings.momentum) * (math.cos(math.pi * progress) + 1) / 2
        online = [*self.encoder.parameters(), *self.projector.parameters()]
        for slow, fast in zip(self.target.parameters(), online, strict=True):
            slow.lerp_(fast, 1 - rate)


class BYOL(Momentum):
    """Predict the slow copy's view of the same image. Grill et al. 2020."""

    def __init__(self, encoder: nn.Module, encode: Encode, width: int, settings: TrainSettings) -> None:
        super().__init__(encoder, encode, width, settings)
        self.predictor = head(settings.projection, settings.hidden, settings.projection)

    def loss(self, views: Views) -> Float[Tensor, ""]:
        """Mean loss of each view's prediction against each other view's slow copy."""
        projected, targets = self._project(views), self._targets(views)
        predicted = self.predictor(projected.flatten(0, 1)).reshape(projected.shape)
        return self._pairs(predicted, targets)

    def _pairs(self, predicted: Tensor, targets: Tensor) -> Tensor:
        pairs = list(itertools.permutations(range(len(predicted)), 2))
        return torch.stack([self._pair(predicted[u], targets[v]) for u, v in pairs]).mean()

    def _pair(self, predicted: Tensor, target: Tensor) -> Tensor:
        return losses.byol(predicted, target)


class MoCoV3(BYOL):
    """Contrast predictions with the slow copy's keys of the batch. Chen, Xie and He 2021."""

    def _pair(self, predicted: Tensor, target: Tensor) -> Tensor:
        return losses.moco_v3(predicted, target, self.settings.temperature)


class DINO(Momentum):
    """Match the slow teacher's centred, sharpened distribution; the teacher sees the first two views. Caron et al.
    2021."""

    centre: Tensor

    def __init__(self, encoder: nn.Module, encode: Encode, width: int, settings: TrainSettings) -> None:
        super().__init__(encoder, encode, width, settings)
        self.register_buffer("centre", torch.zeros(settings.projection))

    def loss(self, views: Views) -> Float[Tensor, ""]:
        """Mean cross-entropy of each student's view under each other teacher's view; in training, moves the centre."""
        student, teacher = self._project(views), self._targets(views[:2])
        pairs = [(u, v) for u in range(len(teacher)) for v in range(len(student)) if u != v]
        found = [
            losses.dino(
                student[v], teacher[u], self.centre, self.settings.temperature, self.settings.teacher_temperature
            )
            for u, v in pairs
        ]
        if self.training:
            self.centre.lerp_(teacher.mean(dim=(0, 1)), 0.1)
        return torch.stack(found).mean()


LEARNERS: dict[str, type[Learner]] = {
    "simclr": SimCLR,
    "byol": BYOL,
    "simsiam": SimSiam,
    "moco_v3": MoCoV3,
    "dino": DINO,
}
