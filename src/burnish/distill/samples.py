"""The samples of a data set: every labelled file with an id of its own, in a fixed order, and what was left out.

Opens no video or picture. Files that come as bytes (data sets of the hub) are written once into the user's cache.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from burnish.core.embedded import located
from burnish.core.errors import UserError
from burnish.core.files import write_atomic
from burnish.core.paths import cache
from burnish.distill import layouts
from burnish.distill.layouts import Listing, Row
from burnish.distill.recipe import DataSettings
from burnish.distill.records import LeftOut, Sample, Samples

Note = Callable[[str], None]
NAMED = 5
"""So many of the left out are named to the user; the record has them all."""


def silent(_: str) -> None:
    """A note that nobody reads."""


def read_samples(settings: DataSettings, note: Note = silent) -> Samples:
    """List what a source holds.

    Classes are in the order that the layout says (UCF101, the hub), else sorted, numbers as numbers.

    Args:
        settings: where it is.
        note: gets a line for each of the first few that are left out, and one that counts them.

    Raises:
        UserError: no such source, not one sample in it, or (``bad_files: fatal``) the first row that gives none.
    """
    listing = _listing(settings)
    bad: list[LeftOut] = []
    rows = list(islice(_kept(listing, settings, bad), settings.limit if listing.endless else None))
    if not rows:
        first = f"; the first: {bad[0].where}: {bad[0].why}" if bad else ""
        raise UserError(f"data.source: {settings.source}: not one sample in it ({len(bad):,} left out{first})")
    labels = listing.labels or tuple(sorted({row.label for row in rows}, key=_number_or_name))
    places = {name: place for place, name in enumerate(labels)}
    times = Counter[str]()
    items = []
    for row in _in_turn(rows, settings.limit):
        times[row.id] += 1
        # the same file may be listed twice; its second sample has states of its own
        own = row.id if times[row.id] == 1 else f"{row.id}#{times[row.id]}"
        items.append(Sample(own, row.media if isinstance(row.media, Path) else _stored(row.media), places[row.label]))
    tell(bad, f"{settings.source}: {len(items):,} samples", note)
    return Samples(tuple(items), labels, tuple(bad))


def tell(bad: Sequence[LeftOut], kept: str, note: Note) -> None:
    """Name the first few of what is left out, and count all after saying what is kept."""
    for each in bad[:NAMED]:
        note(f"{each.where}: left out: {each.why}")
    if bad:
        note(f"{kept}; {len(bad):,} left out")


def _kept(listing: Listing, settings: DataSettings, bad: list[LeftOut]) -> Iterator[Row]:
    for row in listing.rows:
        found = _checked(row) if isinstance(row, Row) else row
        if isinstance(found, Row):
            yield found
        elif settings.bad_files == "fatal":
            raise UserError(f"{found.where}: {found.why}; mend it, or set data.bad_files: skip")
        else:
            bad.append(found)


def _checked(row: Row) -> Row | LeftOut:
    if isinstance(row.media, bytes):
        return row
    try:
        there = row.media.is_file()  # a pipe or a device might never end
    except OSError as error:
        return LeftOut(row.where, f"{row.media}: {error.strerror}")
    return row if there else LeftOut(row.where, f"no such file: {row.media}")


def _listing(settings: DataSettings) -> Listing:
    source, layout = settings.source, settings.layout
    try:
        path = Path(source).expanduser()
        is_file, is_folder = path.is_file(), path.is_dir()
        root = Path(settings.root).expanduser() if settings.root is not None else None
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"data.source: {source[:80]}: not a path ({error})") from None
    if root is not None and not root.is_dir():
        raise UserError(f"data.root: {root}: no such folder")
    if not (is_file or is_folder):
        path = located(path)
        is_file, is_folder = path.is_file(), path.is_dir()
    if is_file or is_folder:
        return _on_disk(path, is_file, root, settings)
    if layout == "auto" and ":" in source and "/" not in source:
        return layouts.function_rows(source, root or Path.cwd())
    if layout == "auto" and source.count("/") == 1 and not source.startswith(("/", ".", "~")):
        return layouts.hub(source, settings.split)
    raise UserError(
        f"data.source: {source}: no such file or folder (or write a hub id, org/name, or a function of yours, "
        "module:function)"
    )


def _on_disk(path: Path, is_file: bool, root: Path | None, settings: DataSettings) -> Listing:
    layout, split = settings.layout, settings.split
    folder = path.parent if is_file else path
    clips = layouts.kinetics_list(path, split) if layout in ("auto", "kinetics") else None
    if clips is not None:
        return layouts.kinetics(clips, root or folder, split)
    if layout == "kinetics":
        raise UserError(f"data.source: {path}: no list {split}.csv with the columns {', '.join(layouts.KINETICS)}")
    if is_file:
        if layout in ("auto", "list") and path.suffix in (".csv", ".jsonl"):
            return layouts.listed(path, root or folder)
        raise UserError(f"data.source: {path}: not a list of files (.csv, .jsonl with `path` and `label`)")
    if layout == "ucf101" or (layout == "auto" and layouts.is_ucf101(path)):
        return layouts.ucf101(path, split, root)
    if layout == "list":
        raise UserError(f"data.source: {path}: a folder; a list is a file (.csv, .jsonl)")
    if layout == "auto" and any(path.glob("*.parquet")) | any(path.glob("data/*.parquet")):
        return layouts.hub(str(path), split)
    return layouts.class_folders(path, split)


def _number_or_name(name: str) -> tuple[bool, int, str]:
    digits = name.removeprefix("-").isdecimal()
    return not digits, int(name) if digits else 0, name


def _in_turn(rows: Sequence[Row], limit: int | None) -> Sequence[Row]:
    """The first of each class, the second of each ..., as many as are wanted, in the order of the source."""
    if limit is None or len(rows) <= limit:
        return rows
    seen: dict[str, int] = defaultdict(int)
    turns = []
    for place, row in enumerate(rows):
        turns.append((seen[row.label], place))
        seen[row.label] += 1
    return [rows[place] for place in sorted(place for _, place in sorted(turns)[:limit])]


def _stored(content: bytes) -> Path:
    digest = hashlib.sha256(content).hexdigest()
    path = cache() / "media" / digest[:2] / digest
    return path if path.is_file() and path.stat().st_size == len(content) else write_atomic(path, content)
