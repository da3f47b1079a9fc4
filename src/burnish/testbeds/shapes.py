"""Procedural pictures whose truth is known by construction: ten noisy shapes, drawn all at once. Knows numpy only."""

from __future__ import annotations

import numpy as np

from burnish.testbeds.data import Images

SHAPES = ("disc", "ring", "square", "frame", "triangle", "plus", "cross", "bar", "column", "checks")


def noisy_shapes(count: int, side: int, seed: int) -> Images:
    """Grey shapes of random place, size, tilt and contrast under heavy noise.

    Args:
        count: images, the ten classes in turn.
        side: pixels.
        seed: of everything.
    """
    rng = np.random.default_rng([seed, 3])
    labels = np.arange(count, dtype=np.int64) % len(SHAPES)

    def draw(low: float, high: float) -> np.ndarray:
        return rng.uniform(low, high, (count, 1, 1))

    axis = np.linspace(-1, 1, side)
    x = (axis[None, None, :] - draw(-0.15, 0.15)) / (size := draw(0.6, 0.9))
    y = (axis[None, :, None] - draw(-0.15, 0.15)) / size
    angle = draw(-0.2, 0.2)
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    mask = inside(u, v)[labels, np.arange(count)]
    background, contrast = draw(0.0, 0.35), draw(0.3, 0.6)
    pixels = background + contrast * mask + rng.normal(0, 0.15, mask.shape)
    return Images(pixels.clip(0, 1).astype(np.float32), labels)


def inside(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Whether a point of the shape's frame, about 1 in radius, is inked; [shapes, ...] in the order of ``SHAPES``."""
    radius, box, narrow = np.hypot(u, v), np.maximum(abs(u), abs(v)), np.minimum(abs(u), abs(v))
    diagonal = np.minimum(abs(u - v), abs(u + v))
    return np.stack(
        [
            radius < 1,
            (radius > 0.6) & (radius < 1),
            box < 0.85,
            (box > 0.5) & (box < 0.9),
            (abs(v) < 0.8) & (abs(u) < (v + 0.8) * 0.6),
            (narrow < 0.25) & (box < 1),
            (diagonal < 0.35) & (box < 0.9),
            (abs(v) < 0.25) & (abs(u) < 1),
            (abs(u) < 0.25) & (abs(v) < 1),
            (u * v > 0) & (box < 0.9),
        ]
    )
