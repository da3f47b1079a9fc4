"""What the teacher said of each view of each sample, kept on disk: asked once, never again.

A table belongs to one teacher: its folder is named after the hash of the teacher's weights and of what it looks at.
Below lies a folder a view (plain, or a number of an augmentation with these settings and this seed), with shards of
logits and features in half precision. A row's key is a hash of the sample's pixels and id: a changed file, another set
of frames, another order of the data never reads what is not its own. Shards are whole or absent, so a killed process
loses at most the one that it was filling, and several runs may fill one table at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float16
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from burnish.core.errors import BurnishError
from burnish.core.files import write_atomic
from burnish.distill.footage import Footage, Rows
from burnish.distill.recipe import AugmentSettings
from burnish.distill.records import Taught

SHARD = 1024
"""Rows of a shard: what a kill can lose."""
KEY = 16


@dataclass
class _View:
    """One view's rows, by sample."""

    logits: Float16[np.ndarray, "samples classes"]
    features: Float16[np.ndarray, "samples features"]
    known: Bool[np.ndarray, " samples"]
    on_disk: dict[bytes, tuple[Path, int]]
    waiting: list[int] = field(default_factory=list)


class TeacherTable:
    """The table of one teacher over the samples of one training.

    Args:
        footage: the samples as the teacher sees them.
        classes: numbers of a row of logits.
        width: numbers of a feature.
        teacher: its hash, of :func:`~burnish.distill.models.fingerprint`.
        folder: where tables are kept; none keeps this one in memory alone.
        note: told of a shard that cannot be read; it is computed again.
    """

    def __init__(
        self,
        footage: Footage,
        classes: int,
        width: int,
        teacher: str,
        folder: Path | None = None,
        note: Callable[[str], None] = lambda _message: None,
    ) -> None:
        self._footage, self._classes, self._width = footage, classes, width
        self._folder = None if folder is None else folder / teacher
        self._note = note
        self._views: dict[str, _View] = {}

    def known(self, view: str, rows: Rows) -> Bool[np.ndarray, " rows"]:
        """Which of these samples it has; those on disk are read now.

        Args:
            view: of :func:`view_name`.
            rows: of samples.
        """
        open_view = self._view(view)
        unread = rows[~open_view.known[rows]]
        if open_view.on_disk and len(unread):
            self._read(open_view, unread)
        found: np.ndarray = open_view.known[rows]
        return found

    def put(self, view: str, rows: Rows, taught: Taught) -> None:
        """Take over what the teacher said; samples that are known already keep what they have.

        Raises:
            BurnishError: a number is none, or beyond half precision: the sample is named; or the disk is full.
        """
        open_view = self._view(view)
        with np.errstate(over="ignore"):  # what does not fit becomes infinite, and is named
            logits, features = taught.logits.astype(np.float16), taught.features.astype(np.float16)
        sound = np.isfinite(logits).all(1) & np.isfinite(features).all(1)
        if not sound.all():
            name = self._footage.ids[rows[int(np.flatnonzero(~sound)[0])]]
            raise BurnishError(
                f"teacher: what it says of sample {name} is no number, or beyond half precision; look at its file and "
                "at the teacher's weights"
            )
        new = ~open_view.known[rows]
        fresh = rows[new]
        open_view.logits[fresh], open_view.features[fresh] = logits[new], features[new]
        open_view.known[fresh] = True
        if self._folder is not None:
            open_view.waiting.extend(int(row) for row in fresh)
            if len(open_view.waiting) >= SHARD:
                self._write(view, open_view)

    def flush(self) -> None:
        """Write what waits for its shard to fill.

        Raises:
            BurnishError: the disk is full.
        """
        for name, open_view in self._views.items():
            if open_view.waiting:
                self._write(name, open_view)

    def get(self, view: str, rows: Rows) -> Taught:
        """What the teacher said of samples that are known."""
        open_view = self._view(view)
        return Taught(open_view.logits[rows].astype(np.float32), open_view.features[rows].astype(np.float32))

    def _view(self, name: str) -> _View:
        if name not in self._views:
            samples = len(self._footage)
            self._views[name] = _View(
                np.zeros((samples, self._classes), np.float16),
                np.zeros((samples, self._width), np.float16),
                np.zeros(samples, bool),
                self._keys(name),
            )
        return self._views[name]

    def _keys(self, name: str) -> dict[bytes, tuple[Path, int]]:
        """Where on disk each key lies. The first shard by name wins, so that two openings agree."""
        found: dict[bytes, tuple[Path, int]] = {}
        if self._folder is None:
            return found
        for path in sorted((self._folder / name).glob("*.safetensors")):
            for place, key in enumerate(self._shard(path, "keys", (KEY,))):
                found.setdefault(key.tobytes(), (path, place))
        return found

    def _read(self, view: _View, rows: Rows) -> None:
        wanted: dict[Path, list[tuple[int, int]]] = {}
        for row in rows:
            if (where := view.on_disk.get(self._footage.key(int(row)))) is not None:
                wanted.setdefault(where[0], []).append((int(row), where[1]))
        for path, pairs in wanted.items():
            logits = self._shard(path, "logits", (self._classes,))
            features = self._shard(path, "features", (self._width,))
            for row, place in pairs:
                if place < min(len(logits), len(features)):
                    view.logits[row], view.features[row], view.known[row] = logits[place], features[place], True

    def _shard(self, path: Path, name: str, shape: tuple[int, ...]) -> Any:
        try:
            with safe_open(path, "np") as shard:
                values = shard.get_tensor(name)
            if values.shape[1:] == shape:
                return values
            fault = f"{name} has the shape {values.shape}"
        except (OSError, SafetensorError) as error:
            fault = str(error)
        self._note(f"{path}: cannot be read ({fault}); the teacher is asked again")
        return np.zeros((0, *shape), np.uint8)

    def _write(self, name: str, view: _View) -> None:
        assert self._folder is not None
        rows = np.array(view.waiting)
        keys = np.frombuffer(b"".join(self._footage.key(row) for row in view.waiting), np.uint8).reshape(-1, KEY)
        content = save({"keys": keys, "logits": view.logits[rows], "features": view.features[rows]})
        path = self._folder / name / f"{hashlib.sha256(content).hexdigest()[:24]}.safetensors"
        write_atomic(path, content)
        view.waiting.clear()


def view_name(augment: AugmentSettings, view: int, seed: int) -> str:
    """The folder of a view: one that is not varied is the same for every run; others are of these settings and seed.

    >>> view_name(AugmentSettings(), 0, seed=3)
    'plain'
    """
    if not augment.varies:
        return "plain"
    text = f"{augment.flip} {augment.crop} {augment.jitter} {seed}"
    return f"{hashlib.sha256(text.encode()).hexdigest()[:16]}-{view:04d}"


def table_bytes(samples: int, classes: int, width: int, views: int) -> int:
    """Bytes on disk of a full table."""
    return samples * views * (2 * classes + 2 * width + KEY)
