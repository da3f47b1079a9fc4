"""Which mistakes two models share, and kernel ridge regression on that: does a suspect sit with my generator's models?

Knows labels and linear algebra, no model and no p-value. Every number a shadow gets is a leave-one-out one, so that it
can be compared with a suspect's: no model has helped to place itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from burnish.core.errors import UserError

RIDGE = 0.02
CHUNK = 1 << 24
"""Numbers of a one-hot block held at once (64 MB in float32), whatever the queries."""


def label_agreement(
    first: Int[np.ndarray, "a n"], second: Int[np.ndarray, "b n"], sets: Int[np.ndarray, " n"], classes: int
) -> Float[np.ndarray, "a b"]:
    """Share of images that two models label alike, averaged over the validation sets (each set counts the same).

    Args:
        first: labels, a model a row.
        second: labels of the models to compare with, on the same n images.
        sets: which validation set each image belongs to.
        classes: labels lie in 0..classes-1.

    Raises:
        UserError: no image, or a label out of range.
    """
    if first.shape[1] == 0:
        raise UserError("agreement: no images; give at least one validation image")
    for labels in (first, second):
        if labels.size and not (labels.min() >= 0 and labels.max() < classes):
            raise UserError(f"agreement: labels {labels.min()}..{labels.max()} do not fit {classes} classes")
    names = np.unique(sets)
    total = np.zeros((len(first), len(second)))
    rows = max(1, CHUNK // (classes * max(1, len(first) + len(second))))
    eye = np.eye(classes, dtype=np.float32)
    for name in names:
        columns = np.flatnonzero(sets == name)
        alike = np.zeros_like(total)
        for start in range(0, len(columns), rows):
            part = columns[start : start + rows]
            # equal labels of two models = the product of their one-hot rows
            alike += eye[first[:, part]].reshape(len(first), -1) @ eye[second[:, part]].reshape(len(second), -1).T
        total += alike / len(columns)
    return total / len(names)


def family_targets(mine: Bool[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
    """+1 for shadows of my generator and -(their number / the others' number) for innocent ones: the mean is 0.

    Raises:
        UserError: one of the two families is empty.
    """
    own, others = int(mine.sum()), int((~mine).sum())
    if not own or not others:
        raise UserError(f"shadows: {own} of my generator and {others} of other sources; both families need some")
    return np.where(mine, 1.0, -own / others)


@dataclass(frozen=True)
class Ridge:
    """Kernel ridge regression without an intercept: ``inverse`` is (A + ridge I)^-1, ``weights`` is inverse @
    targets."""

    targets: Float[np.ndarray, " m"]
    inverse: Float[np.ndarray, "m m"]
    weights: Float[np.ndarray, " m"]
    ridge: float

    def score(self, kernel: Float[np.ndarray, "k m"]) -> Float[np.ndarray, " k"]:
        """Scores of k suspects from their agreement with each shadow; high: like my generator's models."""
        return np.asarray(kernel @ self.weights)

    def leave_one_out(self) -> Float[np.ndarray, " m"]:
        """The score each shadow gets from a fit without it, in closed form: y_i - weights_i / inverse_ii."""
        return self.targets - self.weights / np.diag(self.inverse)

    def variance(self, kernel: Float[np.ndarray, "k m"], own: float = 1.0) -> Float[np.ndarray, " k"]:
        """Predictive variance own - k'(A + ridge I)^-1 k of k suspects; ``own`` is a model's agreement with itself."""
        return np.asarray(own - np.einsum("km,mn,kn->k", kernel, self.inverse, kernel))

    def leave_one_out_variance(self) -> Float[np.ndarray, " m"]:
        """The variance each shadow has under a fit without it, in closed form: 1 / inverse_ii - ridge."""
        return np.asarray(1.0 / np.diag(self.inverse) - self.ridge)


def fit_ridge(agreement: Float[np.ndarray, "m m"], targets: Float[np.ndarray, " m"], ridge: float = RIDGE) -> Ridge:
    """Fit ``targets`` on the shadows' mutual agreement (prove spec, section 6; kernel ridge as in GPML, section 2.2).

    Raises:
        UserError: ``ridge`` is not positive: identical shadows would make the matrix singular.
    """
    if ridge <= 0:
        raise UserError(f"ridge: must be above 0, not {ridge}")
    inverse = np.linalg.inv(agreement + ridge * np.eye(len(agreement)))
    return Ridge(targets, inverse, inverse @ targets, ridge)


def novelty_p(ridge: Ridge, kernel: Float[np.ndarray, "k m"]) -> Float[np.ndarray, " k"]:
    """Rank of each suspect's predictive variance among the shadows' leave-one-out variances: small = unlike any
    shadow."""
    known = ridge.leave_one_out_variance()
    above = (known[None, :] >= ridge.variance(kernel)[:, None]).sum(axis=1)
    return np.asarray((1.0 + above) / (len(known) + 1.0))


def difference_effect(
    right: Bool[np.ndarray, "k n"], sets: Int[np.ndarray, " n"], *, logit: bool = False
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """Accuracy on my generator's images (set 0), and its excess over the mean accuracy on the other sets, a model a
    row.

    Args:
        right: whether each model labels each image as its prompt said.
        sets: 0 for my generator's validation set, other numbers for reference sets.
        logit: take the difference of log odds.

    Raises:
        UserError: set 0 or every other set is empty.
    """
    from burnish.prove.statistics import difference_in_differences

    names = np.unique(sets)
    if 0 not in names or len(names) < 2:
        raise UserError("difference in differences: needs my generator's images and at least one reference set")
    own = right[:, sets == 0].mean(axis=1)
    others = np.stack([right[:, sets == name].mean(axis=1) for name in names if name != 0], axis=1)
    effect = [difference_in_differences(float(a), b, logit=logit) for a, b in zip(own, others, strict=True)]
    return own, np.array(effect, dtype=float)
