"""Small image classifiers of the TrainProVe study and its recipe: each a function of (classes, channels, size). Knows
torch only."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def mlp(classes: int, channels: int, size: int) -> nn.Module:
    """One hidden layer."""
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * size**2, 96), nn.ReLU(), nn.Linear(96, classes))


def cnn(classes: int, channels: int, size: int) -> nn.Module:
    """Two strided convolutions and a linear layer."""
    side = (size + 3) // 4
    return nn.Sequential(
        nn.Conv2d(channels, 12, 3, 2, 1),
        nn.ReLU(),
        nn.Conv2d(12, 24, 3, 2, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(24 * side**2, classes),
    )


def normed(classes: int, channels: int, size: int) -> nn.Module:  # noqa: ARG001 - one signature for all
    """A convolutional network with batch norm, pooled over the picture."""
    return nn.Sequential(
        nn.Conv2d(channels, 12, 5, 2, 2),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.Conv2d(12, 32, 3, 2, 1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 4, classes),
    )


class Mixer(nn.Module):
    """One block of an MLP-Mixer (Tolstikhin et al., 2021) over square patches."""

    def __init__(self, classes: int, channels: int, size: int) -> None:
        super().__init__()
        patch = 2 if size % 2 == 0 else 1
        tokens, width = (size // patch) ** 2, 24
        self.embed = nn.Conv2d(channels, width, patch, patch)
        self.across = nn.Sequential(nn.Linear(tokens, 32), nn.GELU(), nn.Linear(32, tokens))
        self.within = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 48), nn.GELU(), nn.Linear(48, width))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width * tokens, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits [batch, classes] of pictures [batch, channels, size, size]."""
        tokens = self.embed(inputs).flatten(2)
        tokens = tokens + self.across(tokens)
        tokens = tokens.transpose(1, 2)
        tokens = tokens + self.within(tokens)
        return torch.as_tensor(self.head(self.norm(tokens).flatten(1)))


def mixer(classes: int, channels: int, size: int) -> nn.Module:
    """See :class:`Mixer`."""
    return Mixer(classes, channels, size)


FACTORIES = {"mlp": mlp, "cnn": cnn, "normed": normed, "mixer": mixer}
