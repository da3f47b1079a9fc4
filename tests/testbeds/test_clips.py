"""Clips of motions: what each class does, that no frame tells it, and what a codec leaves of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ks_2samp

from burnish.testbeds.clips import (
    ASLANT,
    FRAMES,
    MOTIONS,
    SIDE,
    Look,
    Scenes,
    coded,
    draw_scenes,
    render,
    write_clips,
)


def scenes_of(motion: str, count: int = 20, seed: int = 0) -> Scenes:
    return draw_scenes(np.full(count, MOTIONS.index(motion)), np.random.default_rng(seed))


def steps(way: np.ndarray) -> np.ndarray:
    """From frame to frame, the shorter way round."""
    found: np.ndarray = (np.diff(way, axis=1) + 0.5) % 1 - 0.5
    return found


@pytest.mark.parametrize(
    ("motion", "across", "down"), [("up", 0, -1), ("down", 0, 1), ("left", -1, 0), ("right", 1, 0)]
)
def test_straight_ways(motion: str, across: int, down: int) -> None:
    mover = scenes_of(motion).mover
    for way, sign in ((mover.x, across), (mover.y, down)):
        assert (np.sign(steps(way).round(9)) == sign).all()
    assert (np.diff(mover.size, axis=1) == 0).all()


def test_motions_of_another_task() -> None:
    mover = draw_scenes(np.arange(4), np.random.default_rng(0), ASLANT).mover
    assert np.sign(steps(mover.x)[:, 0].round(9)).tolist() == [-1, 1, -1, 1]
    assert np.sign(steps(mover.y)[:, 0].round(9)).tolist() == [-1, -1, 1, 1]


@pytest.mark.parametrize(("motion", "sign"), [("clockwise", 1), ("anticlockwise", -1)])
def test_circles(motion: str, sign: int) -> None:
    """Rows count downwards: a positive cross product of successive steps turns clockwise on the screen."""
    mover = scenes_of(motion).mover
    x, y = steps(mover.x), steps(mover.y)
    assert (np.sign(x[:, :-1] * y[:, 1:] - y[:, :-1] * x[:, 1:]) == sign).all()


@pytest.mark.parametrize(("motion", "sign"), [("grows", 1), ("shrinks", -1)])
def test_sizes(motion: str, sign: int) -> None:
    mover = scenes_of(motion).mover
    changes = sign * np.diff(mover.size, axis=1)
    assert (changes != 0).all()
    assert ((changes < 0).sum(1) <= 1).all()  # once at most it begins again
    assert (steps(mover.x) == 0).all()


def test_no_frame_tells_the_motion() -> None:
    """Place and size in any frame are distributed alike in every class: uniform, size on a log scale."""
    for frame in (0, 3, FRAMES - 1):
        for field in ("x", "y", "size"):
            samples = [
                getattr(scenes_of(motion, 400, seed).mover, field)[:, frame] for seed, motion in enumerate(MOTIONS)
            ]
            rest = [np.concatenate(samples[:place] + samples[place + 1 :]) for place in range(len(samples))]
            least = min(ks_2samp(own, other).pvalue for own, other in zip(samples, rest, strict=True))
            assert least > 0.001, (frame, field)


def test_what_is_drawn_moves_as_it_should() -> None:
    scenes = scenes_of("right", 6)
    quiet = Scenes(**{**vars(scenes), "grain": np.zeros(6)})
    clips = render(quiet, np.random.default_rng(0))
    assert clips.shape == (6, FRAMES, SIDE, SIDE, 3)
    again = render(quiet.take([3, 3, 1]), np.random.default_rng(9))
    assert (again == clips[[3, 3, 1]]).all()  # a scene looks the same in any batch, but for its noise
    noisy = render(scenes.take([3, 3]), np.random.default_rng(1))
    assert 0 < np.abs(noisy[0].astype(int) - noisy[1]).mean() < 60
    ways = scenes.mover
    for clip, frame in ((0, 0), (2, 5)):
        column, row = (int(way[clip, frame] * SIDE) for way in (ways.x, ways.y))
        changed = np.abs(clips[clip, frame].astype(int) - clips[clip, (frame + 4) % 8]).sum(-1)
        size = int(np.ceil(ways.size[clip, frame] * SIDE)) + 1
        near = changed[np.ix_(np.arange(row - size, row + size) % SIDE, np.arange(column - size, column + size) % SIDE)]
        assert near.any()


def test_sprites_over_films() -> None:
    sprites = np.zeros((2, 4, 4, 4), np.float32)
    sprites[:, 1:3, 1:3] = (1, 0, 0, 1)  # a red middle, clear around it
    film = np.broadcast_to(np.arange(12, dtype=np.uint8)[:, None, None, None] * 20, (12, 40, 50, 3))
    scenes = scenes_of("down", 5)
    quiet = Scenes(**{**vars(scenes), "grain": np.zeros(5)})
    clips = render(quiet, np.random.default_rng(0), Look(sprites, (film,)))
    red = (clips == (255, 0, 0)).all(-1)
    assert red.any((2, 3)).all()
    grey = clips[~red]
    assert (grey == grey[:, :1]).all()
    level = np.array([clip[~mask][0, 0] for clip, mask in zip(clips[0], red[0], strict=True)])
    assert (np.diff(level.astype(int)) == 20).all()  # frames of the film in their order


def test_a_codec_leaves_the_clips_what_they_are(tmp_path: Path) -> None:
    noisy = draw_scenes(np.arange(16) % 8, np.random.default_rng(2))
    scenes = Scenes(**{**vars(noisy), "grain": np.full(16, 0.05)})
    clips = render(scenes, np.random.default_rng(3))
    found = coded(clips)
    assert all((coded(clips.copy()) == found).all() for _ in range(3))
    assert found.shape == clips.shape
    off = np.abs(found.astype(int) - clips).mean((1, 2, 3, 4))
    assert off.min() > 0
    assert off.max() < 15
    others = np.abs(found[np.arange(16) - 1].astype(int) - clips).mean((1, 2, 3, 4))
    assert (others > off).all()  # each is where it was
    write_clips(tmp_path, clips[:2], scenes.labels[:2], ["a", "b"])
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.mp4")) == ["down/b.mp4", "up/a.mp4"]
