"""Seventeen cheap sources of pictures beside real ones: stand-ins for other people's generators, at no training cost.

Each makes pictures of given classes from real ones: by a density (PCA + Gaussian mixtures, a kernel density, Gaussians,
a variational autoencoder) or by a distortion. ``temperature`` scales the randomness or the distortion. Grey pictures,
float32 in 0..1, [n, side, side].
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional as F

from burnish.core.errors import UserError, nearest
from burnish.testbeds.generators import Labels, Pixels

Distortion = Callable[[np.ndarray, np.random.Generator, float], np.ndarray]
DENSITIES = ("pca_gmm", "kde", "gaussian", "vae")


@dataclass(frozen=True, eq=False)  # known by identity: what was fitted on it is kept
class Source:
    """A cheap source called ``name`` over real ``pixels`` and their ``labels``; fits what it needs when it draws."""

    name: str
    pixels: Pixels
    labels: Labels

    def draw(self, labels: Labels, seed: int, temperature: float = 1.0) -> Pixels:
        """See ``burnish.testbeds.generators.Generator``.

        Raises:
            UserError: an unknown name, or a class of which there is no real picture.
        """
        rng = np.random.default_rng([seed, *self.name.encode()])
        if self.name not in CHEAP:
            raise UserError(f"source: `{self.name}` is unknown; {nearest(self.name, CHEAP)}")
        if self.name == "vae":
            return _vae(self, labels, rng, temperature)
        out = np.empty((len(labels), *self.pixels.shape[1:]), dtype=np.float32)
        for name in np.unique(labels):
            real, rows = self.pixels[self.labels == name], np.flatnonzero(labels == name)
            if len(real) == 0:
                raise UserError(f"source: {self.name} has no real picture of class {name}")
            if self.name in DENSITIES:
                drawn = _density(self.name, real.reshape(len(real), -1), len(rows), rng, temperature)
                out[rows] = drawn.reshape(len(rows), *self.pixels.shape[1:])
            elif self.name in PAIRS:
                first, second = (real[rng.integers(len(real), size=len(rows))] for _ in range(2))
                out[rows] = PAIRS[self.name](first, second, rng, temperature)
            else:
                picked = real[rng.integers(len(real), size=len(rows))]
                out[rows] = [DISTORTIONS[self.name](one, rng, temperature) for one in picked]
        return np.clip(out, 0.0, 1.0)


def _density(name: str, flat: np.ndarray, count: int, rng: np.random.Generator, temperature: float) -> np.ndarray:
    mean = flat.mean(axis=0)
    keep = 24 if name == "pca_gmm" else 40
    _, spread, axes = np.linalg.svd(flat - mean, full_matrices=False)
    codes = (flat - mean) @ axes[:keep].T
    scale = spread[:keep] / np.sqrt(max(1, len(flat) - 1))
    if name == "gaussian":
        drawn = rng.standard_normal((count, codes.shape[1])) * scale
    elif name == "kde":
        drawn = (
            codes[rng.integers(len(codes), size=count)] + 0.25 * rng.standard_normal((count, codes.shape[1])) * scale
        )
    else:
        from sklearn.mixture import GaussianMixture

        parts = min(5, len(codes))
        seed = int(rng.integers(2**31))
        mixture = GaussianMixture(parts, covariance_type="diag", reg_covar=1e-3, random_state=seed).fit(codes)
        drawn = mixture.sample(count)[0]
        rng.shuffle(drawn)
    return np.asarray(mean + temperature * (drawn @ axes[:keep]), dtype=np.float32)


def _vae(source: Source, labels: np.ndarray, rng: np.random.Generator, temperature: float) -> np.ndarray:
    decoder, classes = _trained_vae(source)
    absent = np.setdiff1d(labels, source.labels)
    if len(absent):
        raise UserError(f"source: vae has no real picture of class {absent[0]}")
    code = torch.from_numpy(temperature * rng.standard_normal((len(labels), VAE_CODES)).astype(np.float32))
    with torch.no_grad():
        drawn = decoder(torch.cat([code, F.one_hot(torch.from_numpy(labels), classes).float()], 1)).sigmoid()
    return np.asarray(drawn.numpy().reshape(len(labels), *source.pixels.shape[1:]))


@functools.lru_cache(maxsize=4)
def _trained_vae(source: Source) -> tuple[torch.nn.Module, int]:
    """A conditional variational autoencoder (Kingma and Welling, 2014) of two small layers: decoder and classes."""
    pixels, known, codes = source.pixels, source.labels, VAE_CODES
    classes, width = int(known.max()) + 1, pixels[0].size
    torch.manual_seed(VAE_SEED)
    random = torch.Generator().manual_seed(VAE_SEED)
    encoder = torch.nn.Sequential(
        torch.nn.Linear(width + classes, 128), torch.nn.ReLU(), torch.nn.Linear(128, 2 * codes)
    )
    decoder = torch.nn.Sequential(torch.nn.Linear(codes + classes, 128), torch.nn.ReLU(), torch.nn.Linear(128, width))
    flat = torch.from_numpy(pixels.reshape(len(pixels), -1))
    onehot = F.one_hot(torch.from_numpy(known), classes).float()
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=3e-3)
    for _ in range(VAE_STEPS):
        rows = torch.randint(len(flat), (128,), generator=random)
        mean, log_variance = encoder(torch.cat([flat[rows], onehot[rows]], 1)).chunk(2, dim=1)
        code = mean + torch.randn(mean.shape, generator=random) * (log_variance / 2).exp()
        logits = decoder(torch.cat([code, onehot[rows]], 1))
        divergence = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum()
        loss = (F.binary_cross_entropy_with_logits(logits, flat[rows], reduction="sum") + divergence) / len(rows)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    return decoder, classes


VAE_SEED, VAE_STEPS, VAE_CODES = 7, 500, 12


def _affine(image: np.ndarray, turn: float, stretch: tuple[float, float], shear: float) -> np.ndarray:
    centre = (np.array(image.shape) - 1) / 2
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    matrix = rotation @ np.array([[1, shear], [0, 1]]) @ np.diag(stretch)
    return np.asarray(ndimage.affine_transform(image, matrix, centre - matrix @ centre, order=1))


def _elastic(image: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    shift = [8 * strength * ndimage.gaussian_filter(rng.standard_normal(image.shape), 2.0) for _ in range(2)]
    grid = np.indices(image.shape) + shift
    return np.asarray(ndimage.map_coordinates(image, grid, order=1))


def _occluded(image: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    side = max(1, round(0.3 * strength * len(image)))
    top, left = rng.integers(len(image) - side + 1, size=2)
    out = image.copy()
    out[top : top + side, left : left + side] = 0.0
    return out


def _pixelated(image: np.ndarray, _rng: np.random.Generator, strength: float) -> np.ndarray:
    small = ndimage.zoom(image, 0.5, order=1)
    coarse = ndimage.zoom(small, [a / b for a, b in zip(image.shape, small.shape, strict=True)], order=0)
    share = min(1.0, 0.9 * strength)
    return np.asarray(share * coarse + (1 - share) * image)


def _cut(first: np.ndarray, second: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    side = first.shape[1]
    line = np.clip(rng.integers(side // 3, side - side // 3, size=len(first)) * strength, 1, side - 1)
    return np.where(np.arange(side)[None, :, None] < line[:, None, None], first, second)


def _mixed(first: np.ndarray, second: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    share = np.clip(strength * rng.uniform(0.2, 0.5, size=(len(first), 1, 1)), 0, 1)
    return np.asarray((1 - share) * first + share * second)


PAIRS: dict[str, Callable[[np.ndarray, np.ndarray, np.random.Generator, float], np.ndarray]] = {
    "mixup": _mixed,
    "cutmix": _cut,
}
DISTORTIONS: dict[str, Distortion] = {
    "affine": lambda image, rng, k: _affine(
        image, 0.3 * k * rng.standard_normal(), tuple(rng.uniform(0.85, 1.2, 2)), 0.0
    ),
    "blur": lambda image, rng, k: ndimage.gaussian_filter(image, 0.8 * k * rng.uniform(0.7, 1.3)),
    "elastic": _elastic,
    "thick": lambda image, _rng, k: np.minimum(1, k * ndimage.grey_dilation(image, size=2)),
    "thin": lambda image, _rng, k: image * (1 - 0.8 * k * (1 - ndimage.grey_erosion(image, size=2))),
    "occluded": _occluded,
    "pixelated": _pixelated,
    "sheared": lambda image, rng, k: _affine(image, 0.0, (1.0, 1.0), 0.4 * k * rng.choice([-1.0, 1.0])),
    "noisy": lambda image, rng, k: image + 0.2 * k * rng.standard_normal(image.shape),
    "shrunk": lambda image, _rng, k: _affine(image, 0.0, (1 + 0.35 * k, 1 + 0.35 * k), 0.0),
    "contrast": lambda image, rng, k: 0.5 + rng.uniform(0.25, 0.6) * k * (image - 0.5),
}
CHEAP: tuple[str, ...] = (*DENSITIES, *PAIRS, *DISTORTIONS)
"""Names of the sources, in order."""


@dataclass(frozen=True)
class Real:
    """Real pictures, as they are: a drawing picks, without repeats while they last."""

    pixels: Pixels
    labels: Labels

    def draw(self, labels: Labels, seed: int, _temperature: float = 1.0) -> Pixels:
        """See ``burnish.testbeds.generators.Generator``; a temperature changes nothing.

        Raises:
            UserError: a class of which there is no picture.
        """
        rng = np.random.default_rng(seed)
        out = np.empty((len(labels), *self.pixels.shape[1:]), dtype=np.float32)
        for name in np.unique(labels):
            real, rows = self.pixels[self.labels == name], np.flatnonzero(labels == name)
            if len(real) == 0:
                raise UserError(f"source: no real picture of class {name}")
            rounds = -(-len(rows) // len(real))
            order = np.concatenate([rng.permutation(len(real)) for _ in range(rounds)])
            out[rows] = real[order[: len(rows)]]
        return out
