"""The check of the owner's split: it sees another camera, and a fair split passes as often as its level says."""

import numpy as np
import pytest

from burnish.core.errors import UserError
from burnish.prove.dov4cl.split_check import check_split
from burnish.prove.images import ImageSet
from burnish.prove.overlap import near_duplicates, refuse_overlap
from burnish.prove.statistics import uniformity_p
from burnish.testbeds.data import load_digits


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    return (load_digits().pixels[:, :, :, None] * 255).astype(np.uint8)


def test_a_fair_split_passes(digits: np.ndarray) -> None:
    found = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        chosen = digits[rng.permutation(len(digits))[:60]]
        found.append(check_split(chosen[:30], chosen[30:], rng=rng, draws=99).p)
    assert uniformity_p(np.array(found)) > 0.01


@pytest.mark.parametrize("change", ["brighter", "blurred", "noisy", "other digits"])
def test_a_shifted_split_is_seen(digits: np.ndarray, change: str) -> None:
    rng = np.random.default_rng(0)
    chosen = digits[rng.permutation(len(digits))[:200]]
    public, private = chosen[:100], chosen[100:].astype(np.float64)
    if change == "brighter":
        private = private * 0.9 + 20
    elif change == "blurred":
        private = (private + np.roll(private, 1, axis=2)) / 2
    elif change == "noisy":
        private = private + rng.normal(0, 12, private.shape)
    else:
        labels = load_digits().labels
        public, private = digits[labels < 5][:100], digits[labels >= 5][:100].astype(np.float64)
    found = check_split(public, np.clip(private, 0, 255).astype(np.uint8), rng=rng, draws=199)
    assert found.p <= 0.01
    assert found.auc > 0.6


def test_colour_and_large_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    from burnish.prove.dov4cl import split_check

    monkeypatch.setattr(split_check, "MOST", 40)
    images = np.random.default_rng(0).integers(0, 256, (100, 20, 24, 3), dtype=np.uint8)
    found = check_split(images[:50], images[50:], rng=np.random.default_rng(1), draws=99)
    assert found.images == 40
    assert found.p > 0.01


def test_too_few(digits: np.ndarray) -> None:
    with pytest.raises(UserError, match="9 public and 20 private"):
        check_split(digits[:9], digits[10:30], rng=np.random.default_rng(0))


def named(pixels: np.ndarray, word: str) -> ImageSet:
    return ImageSet(pixels, tuple(f"{word}-{i}" for i in range(len(pixels))))


def test_overlap_is_refused(digits: np.ndarray) -> None:
    first = named(digits[:20], "public")
    refuse_overlap(first, named(digits[20:40], "private"), ("public", "private"))
    with pytest.raises(UserError, match=r"private-2 is the same picture as public-7 of public; a picture"):
        refuse_overlap(first, named(digits[[30, 31, 7]], "private"), ("public", "private"))
    almost = digits[[30, 31, 7, 8]].astype(np.int64) + np.random.default_rng(0).integers(-2, 3, (4, 8, 8, 1))
    nearly = named(np.clip(almost, 0, 255).astype(np.uint8), "private")
    with pytest.raises(UserError, match=r"private-2 is nearly the same picture as public-7 of public \(and 1 more\)"):
        refuse_overlap(first, nearly, ("public", "private"))


def test_flat_pictures_are_not_duplicates() -> None:
    white = np.full((3, 8, 8, 1), 255, dtype=np.uint8)
    assert near_duplicates(white, white - 1) == []
