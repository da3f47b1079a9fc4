"""The suspect among its shadows: does its public-private difference stand out from those of models that saw neither
set?

These tests compare models, not images: a fixed difference between the two sets is shared by all models and drops out.
Pure. :func:`geometry_scores` carries TrainProVe's kernel ridge over to embeddings; what it is worth here is in
``docs/dov4cl.md``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float

from burnish.prove.findings import StatisticalTest
from burnish.prove.statistics import cohen_d, conformal_p

RIDGE = 0.02


def family_tests(suspect: Mapping[str, float], shadows: Sequence[Mapping[str, float]]) -> list[StatisticalTest]:
    """Rank test and mean test of each statistic.

    Args:
        suspect: its public-private differences, by statistic.
        shadows: those of the shadow models.

    Returns:
        The rank test where there is a shadow, the mean test where there are two or more that vary.
    """
    found = []
    for name, value in suspect.items():
        values = np.array([shadow[name] for shadow in shadows])
        effect = value - float(values.mean())
        found.append(
            StatisticalTest(
                name=f"rank among the shadows, {name}",
                statistic=value,
                p=conformal_p(values, value),
                effect=effect,
                assumption="an innocent suspect is exchangeable with the shadows",
            )
        )
        if len(values) > 1 and np.ptp(values) > 0:
            p, low, high = prediction(values, value)
            found.append(
                StatisticalTest(
                    name=f"mean test against the shadows, {name}",
                    statistic=cohen_d(np.array([value]), values),
                    p=p,
                    effect=effect,
                    interval=(low, high),
                    assumption="an innocent suspect is exchangeable with the shadows, whose differences are normal",
                )
            )
    return found


def prediction(values: Float[np.ndarray, " shadows"], value: float) -> tuple[float, float, float]:
    """Is ``value`` too large to be one more of ``values``? Student's t for a new observation, s sqrt(1 + 1/S).

    Returns:
        One-sided p, and the 95 % interval of ``value`` minus the shadows' mean.
    """
    from scipy import stats

    n = len(values)
    scale = float(values.std(ddof=1)) * math.sqrt(1 + 1 / n)
    effect = value - float(values.mean())
    half = float(stats.t.ppf(0.975, n - 1)) * scale
    return float(stats.t.sf(effect / scale, n - 1)), effect - half, effect + half


def geometry(
    globals_: Float[np.ndarray, "images m dim"], locals_: Float[np.ndarray, "images n dim"]
) -> Float[np.ndarray, " pairs"]:
    """Which images a model finds alike: centred cosines of the images' mean embeddings, as a unit vector over pairs.

    Products of two models' vectors are their CKA but for the diagonal.
    """
    views = np.concatenate([globals_, locals_], axis=1).astype(np.float64)
    views /= np.maximum(np.linalg.norm(views, axis=2, keepdims=True), 1e-12)
    mean = views.mean(axis=1)
    gram = (mean - mean.mean(axis=0)) @ (mean - mean.mean(axis=0)).T
    pairs = gram[np.triu_indices(len(gram), 1)]
    return np.asarray(pairs / max(float(np.linalg.norm(pairs)), 1e-12))


def geometry_scores(
    vectors: Float[np.ndarray, "models pairs"], guilty: Bool[np.ndarray, " models"]
) -> Float[np.ndarray, " models"]:
    """Leave-one-out score of each model: is its geometry that of the models trained on the public images?

    Kernel ridge on agreement, y = 1 for the guilty and minus their ratio for the others (spec of TrainProVe's default).
    """
    kernel = vectors @ vectors.T + RIDGE * np.eye(len(vectors))
    labels = np.where(guilty, 1.0, -guilty.sum() / max(1, (~guilty).sum()))
    inverse = np.linalg.inv(kernel)
    return np.asarray(labels - (inverse @ labels) / np.diagonal(inverse))
