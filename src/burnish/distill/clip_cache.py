"""Decoded clips as one memory map of bytes, built once by worker processes and never decoded again.

A cache is a folder named after what its clips depend on: files (id, size, time of change) and clip settings. Workers
decode a part of the samples into a file; the parent appends it to the map, then a line to the log, both synced: a
killed build goes on after its last line and ends with the same bytes. A file without a clip leaves no hole. On opening
each part is compared with its hash; from a damaged one on, all is decoded again. Memory: a part or two a worker.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
import xxhash
from filelock import FileLock

from burnish.core.errors import UserError
from burnish.core.files import explained, remove, write_atomic
from burnish.core.parallel import executor
from burnish.distill.recipe import ClipSettings
from burnish.distill.records import Clips, LeftOut, Samples
from burnish.distill.samples import Note, silent, tell
from burnish.distill.videos.clips import read_clip
from burnish.distill.videos.decoding import BadVideo

FORMAT = 1
PART_BYTES, PART_CLIPS = 32 << 20, 16
"""A part holds at most so many bytes (but at least one clip) and clips."""
PIXELS, LOG, PARTS = "pixels.u8", "log.jsonl", "parts"

T = TypeVar("T")


class Progress(Protocol):
    """Passes on what it is given and shows how far it is, as :meth:`burnish.core.run.Run.progress`."""

    def __call__(self, items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
        """``items``, one after the other."""
        ...


def quiet(items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:  # noqa: ARG001 - a Progress
    """Progress that nobody sees."""
    return iter(items)


@dataclass(frozen=True)
class Part:
    """A line of the log: what became of some samples that follow one another.

    Attributes:
        kept: places of those that gave a clip.
        left_out: places of the others, and why.
        looped: how many files had fewer frames than a clip.
        hash: xxh3 of the clips' bytes.
    """

    kept: tuple[int, ...]
    left_out: tuple[tuple[int, str], ...]
    looped: int
    hash: str


@dataclass(frozen=True)
class _Job:
    first: int
    paths: tuple[Path, ...]
    clip: ClipSettings
    out: Path


def clip_bytes(clip: ClipSettings) -> int:
    """Of one clip."""
    return clip.frames * clip.size[0] * clip.size[1] * 3


def cache_key(samples: Samples, clip: ClipSettings) -> str:
    """Changes with any file, the order of the samples and the clip settings; not with their labels or their folder."""
    digest = hashlib.sha256(f"{FORMAT} {clip.model_dump_json()}".encode())
    for item in samples.items:
        try:
            state = item.path.stat()
            digest.update(json.dumps([item.id, state.st_size, state.st_mtime_ns]).encode())
        except OSError:
            digest.update(json.dumps([item.id]).encode())
    return digest.hexdigest()[:32]


def cache_clips(
    samples: Samples,
    clip: ClipSettings,
    folder: Path,
    *,
    bad_files: Literal["skip", "fatal"] = "skip",
    workers: int = 1,
    kind: str = "local",
    ray_address: str | None = None,
    note: Note = silent,
    progress: Progress = quiet,
) -> Clips:
    """The clips of all samples, decoded now where they are not yet.

    Processes that ask for the same clips at the same time wait for the first to decode them.

    Args:
        samples: of :func:`burnish.distill.samples.read_samples`.
        clip: which frames, how large.
        folder: that holds caches; with Ray one that all machines see.
        bad_files: what to do about a file that gives no clip.
        workers: processes that decode.
        kind: of executor, ``local`` or ``ray``.
        ray_address: of a cluster.
        note: gets a line for each of the first few files that are left out, one that counts them, and one that counts
            the looped ones.
        progress: shown while decoding, one step a part; what it raises stops the build, which can go on later.

    Returns:
        A memory map; files without a clip are not among its samples.

    Raises:
        UserError: a file gives no clip (``bad_files: fatal``), or none does; PyAV is not installed.
        BurnishError: the disk is full; the same call goes on where it was.
    """
    store = folder / cache_key(samples, clip)
    parts = _sound_parts(store, clip)
    if _done(parts) < len(samples.items):
        with explained(store):
            store.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{store}.lock"):
            parts = _sound_parts(store, clip)  # another process may have gone on meanwhile
            _cut(store, parts, clip, note)
            size = max(1, min(PART_CLIPS, PART_BYTES // clip_bytes(clip)))
            paths = [item.path for item in samples.items]
            jobs = [
                _Job(first, tuple(paths[first : first + size]), clip, store / PARTS / f"{first}")
                for first in range(_done(parts), len(paths), size)
            ]
            with executor(kind, max(1, min(workers, len(jobs))), ray_address) as pool:
                for job, part in zip(jobs, progress(pool.map(_decode, jobs), "clips", total=len(jobs)), strict=True):
                    if part.left_out and bad_files == "fatal":
                        raise _fatal(samples, part)
                    _append(store, job.out, part)
                    parts.append(part)
            remove(store / PARTS)
    return _opened(store, parts, samples, clip, bad_files, note)


def cache_both(
    samples: Samples, student: ClipSettings, teacher: ClipSettings | None, folder: Path, **options: Any
) -> tuple[Clips, Clips]:
    """Clips of two kinds of the same samples: what gives no clip of one kind is left out of the other.

    Args:
        samples: of :func:`burnish.distill.samples.read_samples`.
        student: clips of the student.
        teacher: the teacher's; none: the student's.
        folder: that holds caches.
        options: of :func:`cache_clips`.

    Raises:
        UserError: as :func:`cache_clips`.
        BurnishError: likewise.
    """
    said: set[str] = set()
    note = options.pop("note", silent)

    def once(line: str) -> None:
        if line not in said:
            said.add(line)
            note(line)

    options["note"] = once
    first = cache_clips(samples, student, folder, **options)
    second = first if teacher is None else cache_clips(samples, teacher, folder, **options)
    if first.ids == second.ids:
        return first, second
    both = set(first.ids) & set(second.ids)
    left = tuple(item for item in samples.items if item.id in both)
    if not left:
        raise UserError("clips: no file gives a clip of the student and one of the teacher")
    gone = tuple({each.where: each for each in (*first.left_out, *second.left_out)}.values())
    made = [
        cache_clips(replace(samples, items=left), clip, folder, **options) for clip in (student, teacher or student)
    ]
    return replace(made[0], left_out=gone), replace(made[1], left_out=gone)


def _decode(job: _Job) -> Part:
    """In a worker: the clips of one part, into one file."""
    clips = np.empty((len(job.paths), job.clip.frames, *job.clip.size, 3), np.uint8)
    kept: list[int] = []
    left_out: list[tuple[int, str]] = []
    looped = 0
    for place, path in enumerate(job.paths, job.first):
        try:
            clips[len(kept)], short = read_clip(path, job.clip)
        except BadVideo as error:
            left_out.append((place, str(error)))
        else:
            kept.append(place)
            looped += short
    content = clips[: len(kept)].tobytes()
    write_atomic(job.out, content)
    return Part(tuple(kept), tuple(left_out), looped, xxhash.xxh3_128_hexdigest(content))


def _append(store: Path, made: Path, part: Part) -> None:
    """The clips first, then the line that says that they are there."""
    with explained(store):
        with made.open("rb") as source, (store / PIXELS).open("ab") as target:
            shutil.copyfileobj(source, target, 1 << 20)
            target.flush()
            os.fsync(target.fileno())
        with (store / LOG).open("a", encoding="utf-8") as log:
            log.write(json.dumps(asdict(part)) + "\n")
            log.flush()
            os.fsync(log.fileno())
        made.unlink()


def _sound_parts(store: Path, clip: ClipSettings) -> list[Part]:
    """The parts up to the first that is torn or damaged."""
    log, pixels = store / LOG, store / PIXELS
    if not log.is_file() or not pixels.is_file():
        return []
    parts: list[Part] = []
    with pixels.open("rb") as file:
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
            part = _part(line)
            if part is None:
                break
            content = file.read(len(part.kept) * clip_bytes(clip))
            places = sorted([*part.kept, *(place for place, _ in part.left_out)])
            follows = places == list(range(_done(parts), _done(parts) + len(places)))
            if not follows or xxhash.xxh3_128_hexdigest(content) != part.hash:
                break
            parts.append(part)
    return parts


def _done(parts: Sequence[Part]) -> int:
    """How many samples they deal with."""
    return sum(len(part.kept) + len(part.left_out) for part in parts)


def _part(line: str) -> Part | None:
    try:
        found = json.loads(line)
        left_out = tuple((int(place), str(why)) for place, why in found["left_out"])
        return Part(tuple(found["kept"]), left_out, int(found["looped"]), str(found["hash"]))
    except (ValueError, KeyError, TypeError):
        return None


def _cut(store: Path, parts: Sequence[Part], clip: ClipSettings, note: Note) -> None:
    """Forget what comes after the sound parts: a build goes on from there."""
    remove(store / PARTS)  # of a killed build
    log, pixels = store / LOG, store / PIXELS
    said = log.read_text(encoding="utf-8", errors="replace").count("\n") if log.is_file() else 0
    if said > len(parts):
        note(f"{pixels}: damaged in part {len(parts) + 1} of {said}; decoded again from there")
    write_atomic(log, "".join(json.dumps(asdict(part)) + "\n" for part in parts))
    with explained(pixels):
        pixels.touch()
        os.truncate(pixels, sum(len(part.kept) for part in parts) * clip_bytes(clip))


def _fatal(samples: Samples, part: Part) -> UserError:
    place, why = part.left_out[0]
    return UserError(f"{samples.items[place].path}: {why}; mend or remove it, or set data.bad_files: skip")


def _opened(
    store: Path, parts: Sequence[Part], samples: Samples, clip: ClipSettings, bad_files: str, note: Note
) -> Clips:
    if bad_files == "fatal" and (bad := [part for part in parts if part.left_out]):
        raise _fatal(samples, bad[0])
    left_out = tuple(LeftOut(str(samples.items[place].path), why) for part in parts for place, why in part.left_out)
    items = [samples.items[place] for part in parts for place in part.kept]
    if not items:
        first = f"; the first: {left_out[0].where}: {left_out[0].why}" if left_out else ""
        raise UserError(f"clips: not one of {len(samples.items):,} files gives a clip{first}")
    tell(left_out, f"clips: {len(items):,}", note)
    if looped := sum(part.looped for part in parts):
        note(f"clips: {looped:,} of {len(items):,} files have fewer than {clip.frames} frames and are looped")
    pixels = np.memmap(store / PIXELS, np.uint8, "r", shape=(len(items), clip.frames, *clip.size, 3))
    labels = np.array([item.label for item in items], np.int64)
    return Clips(pixels, labels, tuple(item.id for item in items), left_out)
