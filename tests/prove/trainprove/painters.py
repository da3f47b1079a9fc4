"""Sources of striped pictures of 8 x 8 for small audits: a class is a direction, a source has its own texture."""

import os
import signal
from pathlib import Path

import numpy as np

from burnish.testbeds.classifiers import mlp

__all__ = ["mlp"]
SIDE, CLASSES = 8, 4
CALLS: list[int] = []


def stripes(texture: int, labels: np.ndarray, seed: int, temperature: float) -> np.ndarray:
    rng = np.random.default_rng([texture, seed])
    mask = np.random.default_rng(texture).uniform(0, 0.6, (CLASSES, SIDE, SIDE))
    y, x = np.mgrid[:SIDE, :SIDE]
    base = np.stack([(np.cos(k * np.pi / CLASSES) * x + np.sin(k * np.pi / CLASSES) * y) for k in range(CLASSES)])
    phase = rng.uniform(0, 2 * np.pi, (len(labels), 1, 1))
    waves = 0.5 + 0.3 * np.sin(base[labels] * 1.5 + phase) + mask[labels] - 0.3
    noisy = waves + 0.25 * temperature * rng.standard_normal(waves.shape)
    return (255 * np.clip(noisy, 0, 1)).astype(np.uint8)[..., None]


def mine(classes, labels, seed, temperature):
    return stripes(0, labels, seed, temperature)


def one(classes, labels, seed, temperature):
    return stripes(1, labels, seed, temperature)


def two(classes, labels, seed, temperature):
    return stripes(2, labels, seed, temperature)


def three(classes, labels, seed, temperature):
    return stripes(3, labels, seed, temperature)


def four(classes, labels, seed, temperature):
    return stripes(4, labels, seed, temperature)


def wrong_size(classes, labels, seed, temperature):
    return stripes(0, labels, seed, temperature)[:, :-1]


def raises(classes, labels, seed, temperature):
    raise RuntimeError("no brush")


def repeats(classes, labels, seed, temperature):
    return stripes(9, labels, 0, temperature)


def suspect(images: np.ndarray) -> np.ndarray:
    CALLS.append(len(images))
    return images.reshape(len(images), -1).astype(int).sum(1) % CLASSES


def suspect_that_notes(images: np.ndarray) -> np.ndarray:
    """Writes down what it is asked, in the file ``ASKED``; SIGKILL at the question of the number ``KILL``."""
    with Path(os.environ["ASKED"]).open("a") as log:
        log.write(f"{len(images)}\n")
    if os.environ.get("KILL") == str(len(Path(os.environ["ASKED"]).read_text().splitlines())):
        os.kill(os.getpid(), signal.SIGKILL)
    return suspect(images)


def suspect_with_strange_labels(images: np.ndarray) -> np.ndarray:
    return np.full(len(images), 7)


def suspect_logits(images: np.ndarray) -> np.ndarray:
    return np.eye(CLASSES, dtype=np.float32)[suspect(images)] + 0.01 * images.reshape(len(images), -1)[:, :CLASSES]


_DRAWS = np.random.default_rng(5)


def fickle(images: np.ndarray) -> np.ndarray:
    """A suspect that draws its labels anew each time it is asked."""
    return _DRAWS.integers(0, 4, len(images))
