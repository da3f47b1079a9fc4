"""Can public and private pictures be told apart by looks alone? A two-sample classifier test, before anything is asked.

If a classifier can, so can a model that saw neither: an audit on that split would accuse the innocent. Kernel ridge
regression on small pictures and on what cameras and compression leave behind; cross-validated; p by permuting the
labels. Pure numpy; the folds are drawn without the labels, so every relabelling costs one product of matrices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8

from burnish.core.errors import UserError

SIDE, FOLDS, RIDGE, MOST = 8, 5, 0.1, 2000
"""Pixels of a side of the small pictures; folds; ridge penalty; pictures looked at, half of each set."""


@dataclass(frozen=True)
class SplitCheck:
    """The classifier's area under the ROC curve on pictures it was not fitted to (.5: no difference seen), and its
    p."""

    auc: float
    p: float
    draws: int
    images: int


def check_split(
    public: UInt8[np.ndarray, "n height width channels"],
    private: UInt8[np.ndarray, "m height width channels"],
    *,
    rng: np.random.Generator,
    draws: int = 999,
) -> SplitCheck:
    """Test that the two sets come from one distribution, as far as a simple classifier sees.

    Args:
        public: 8-bit pictures.
        private: 8-bit pictures.
        rng: of folds, relabellings and, beyond 1,000 of a set, the choice of pictures.
        draws: relabellings.

    Raises:
        UserError: fewer than 10 pictures in a set.
    """
    if min(len(public), len(private)) < 10:
        raise UserError(f"split check: {len(public)} public and {len(private)} private pictures; it needs 10 of each")
    chosen = [_some(images, rng) for images in (public, private)]
    labels = np.repeat([1.0, -1.0], [len(images) for images in chosen])
    pixels = np.concatenate(chosen)
    predict = _cross_fitted(_kernel(_small(pixels)) / 2 + _kernel(_traces(pixels)) / 2, rng)
    relabelled = np.concatenate([labels[None], rng.permuted(np.tile(labels, (draws, 1)), axis=1)])
    found = _auc(relabelled @ predict.T, relabelled > 0)
    p = (1 + int(np.count_nonzero(found[1:] >= found[0] - 1e-12))) / (1 + draws)
    return SplitCheck(float(found[0]), p, draws, len(labels))


def _some(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if len(images) <= MOST // 2:
        return images
    return np.asarray(images[np.sort(rng.choice(len(images), MOST // 2, replace=False))])


def _small(pixels: np.ndarray) -> Float[np.ndarray, "n numbers"]:
    """Means over a grid of up to 8 x 8 cells: what is in the picture."""
    rows, columns = (np.linspace(0, side, min(SIDE, side) + 1).astype(int)[:-1] for side in pixels.shape[1:3])
    sums = np.add.reduceat(np.add.reduceat(pixels.astype(np.float64), rows, axis=1), columns, axis=2)
    return _standard(sums.reshape(len(pixels), -1))


def _traces(pixels: np.ndarray) -> Float[np.ndarray, "n numbers"]:
    """Brightness, contrast, extremes, colour, and the energy of fine detail: what a camera or a codec leaves behind."""
    values = pixels.astype(np.float64)
    flat = values.reshape(len(values), -1, values.shape[3])
    fine_rows, fine_columns = np.diff(values, axis=1), np.diff(values, axis=2)
    curved = np.diff(fine_columns, axis=2)
    # steps at multiples of 8 pixels: the blocks of JPEG
    blocks = np.abs(fine_columns[:, :, 7::8]).mean(axis=(1, 2)) if values.shape[2] > 8 else flat.mean(1)
    detail = [np.log1p(np.abs(each).mean(axis=(1, 2))) for each in (fine_rows, fine_columns, curved)]
    extremes = [(flat == 0).mean(1), (flat == 255).mean(1)]
    return _standard(np.concatenate([flat.mean(1), flat.std(1), *detail, np.log1p(blocks), *extremes], axis=1))


def _standard(numbers: np.ndarray) -> np.ndarray:
    spread = numbers.std(axis=0)
    return np.asarray((numbers - numbers.mean(axis=0)) / np.where(spread > 0, spread, 1))


def _kernel(numbers: Float[np.ndarray, "n numbers"]) -> Float[np.ndarray, "n n"]:
    """Gaussian kernel, its width the median distance."""
    squares = (numbers**2).sum(1)
    distances = np.maximum(squares[:, None] + squares - 2 * numbers @ numbers.T, 0)
    return np.asarray(np.exp(-distances / max(float(np.median(distances)), 1e-12)))


def _cross_fitted(kernel: Float[np.ndarray, "n n"], rng: np.random.Generator) -> Float[np.ndarray, "n n"]:
    """The matrix that takes labels to predictions, each from the folds that the picture is not in."""
    n = len(kernel)
    fold = rng.permutation(n) % FOLDS
    predict = np.zeros((n, n))
    for number in range(FOLDS):
        inside, outside = np.flatnonzero(fold == number), np.flatnonzero(fold != number)
        gram = kernel[np.ix_(outside, outside)] + RIDGE * len(outside) / 100 * np.eye(len(outside))
        predict[np.ix_(inside, outside)] = np.linalg.solve(gram, kernel[np.ix_(outside, inside)]).T
    return predict


def _auc(scores: Float[np.ndarray, "draws n"], positive: Bool[np.ndarray, "draws n"]) -> Float[np.ndarray, " draws"]:
    from scipy.stats import rankdata

    ranks = rankdata(scores, axis=1)
    n = positive.sum(1)
    return np.asarray(((ranks * positive).sum(1) - n * (n + 1) / 2) / (n * (positive.shape[1] - n)))
