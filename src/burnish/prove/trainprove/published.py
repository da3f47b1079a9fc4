"""The published rule and its two variants, kept for comparison. TrainProVe (CVPR 2025), sections 3.2 to 3.4.

A shadow model's values on batches, a suspect's one value, and a low-outlier rule: *rejected* means "not from my
generator". What is wrong with it is said in ``docs/trainprove.md``: above all, the batch size decides who is convicted.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from burnish.core.errors import UserError
from burnish.prove.statistics import Grubbs, grubbs


def batch_means(values: Float[np.ndarray, " n"], batch: int) -> Float[np.ndarray, " b"]:
    """Means over consecutive batches; a partial last batch is kept, as published.

    Raises:
        UserError: no value, or ``batch`` below 1.
    """
    if batch < 1 or len(values) == 0:
        raise UserError(f"batch: {len(values)} values in batches of {batch}; both must be at least 1")
    starts = np.arange(0, len(values), batch)
    sizes = np.diff(np.append(starts, len(values)))
    return np.add.reduceat(values, starts) / sizes


def mixed_order(count: int, seed: int) -> Int[np.ndarray, " n"]:
    """A seeded order of ``count`` images for :func:`by_accuracy`: pictures lie class by class, and a batch of one class
    would measure how classes differ. Published batches are shuffled ones.
    """
    return np.random.default_rng([seed, 2]).permutation(count)


def by_accuracy(
    shadow: Bool[np.ndarray, " n"], suspect: Bool[np.ndarray, " n"], *, batch: int = 128, alpha: float = 0.05
) -> Grubbs:
    """The accuracy rule: shadow accuracy on each batch (images in the order given) against the suspect's on all of
    them."""
    return grubbs(batch_means(shadow.astype(float), batch), float(suspect.mean()), alpha=alpha)


def entropy(logits: Float[np.ndarray, "n c"]) -> Float[np.ndarray, " n"]:
    """Entropy of the softmax, in nats."""
    from scipy.special import log_softmax

    logp = log_softmax(logits.astype(float), axis=1)
    return np.asarray(-(np.exp(logp) * logp).sum(axis=1))


def by_entropy(
    shadow: Float[np.ndarray, "n c"],
    suspect: Float[np.ndarray, "n c"],
    labels: Int[np.ndarray, " n"],
    *,
    batch: int = 128,
    alpha: float = 0.05,
) -> Grubbs:
    """The entropy variant: batches of class-sorted images; a suspect with a *high* mean entropy is the outlier."""
    order = np.argsort(labels, kind="stable")
    return grubbs(-batch_means(entropy(shadow)[order], batch), -float(entropy(suspect).mean()), alpha=alpha)


def class_similarity(logits: Float[np.ndarray, "n c"], labels: Int[np.ndarray, " n"]) -> Float[np.ndarray, " k"]:
    """Mean pairwise cosine of the logits within each class, cosines clamped to [0, 1] as published; one value a class.

    Raises:
        UserError: a class with fewer than two images.
    """
    unit = logits / np.maximum(np.linalg.norm(logits, axis=1, keepdims=True), 1e-12)
    values = []
    for name in np.unique(labels):
        rows = unit[labels == name]
        if len(rows) < 2:
            raise UserError(f"similarity: class {name} has one image; it needs pairs")
        cosines = np.clip(rows @ rows.T, 0.0, 1.0)
        values.append((cosines.sum() - np.trace(cosines)) / (len(rows) * (len(rows) - 1)))
    return np.array(values, dtype=float)


def by_similarity(
    shadow: Float[np.ndarray, "n c"],
    suspect: Float[np.ndarray, "n c"],
    labels: Int[np.ndarray, " n"],
    *,
    alpha: float = 0.05,
) -> Grubbs:
    """The similarity variant: one value a class; a suspect with a *low* mean similarity is the outlier."""
    return grubbs(
        class_similarity(shadow.astype(float), labels),
        float(class_similarity(suspect.astype(float), labels).mean()),
        alpha=alpha,
    )
