"""How data sets lie on disk: class folders, lists, UCF101, Kinetics, data sets of the hub, rows of a function.

Each layout gives rows: a place for messages, an id, a file (or its bytes) and the name of a class. A row that gives
none of this is said with its reason and the next is read. Opens lists, and no video or picture.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.core.errors import UserError, nearest, raised
from burnish.core.method import import_object
from burnish.core.models import offline
from burnish.core.packages import Need, not_installed
from burnish.distill.records import LeftOut

VIDEOS = {
    ".3gp",
    ".avi",
    ".flv",
    ".gif",
    ".m4v",
    ".mkv",
    ".mov",
    ".mp4",
    ".mpeg",
    ".mpg",
    ".ogv",
    ".ts",
    ".webm",
    ".wmv",
}
PICTURES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}


@dataclass(frozen=True)
class Row:
    """One labelled file.

    Attributes:
        where: for messages.
        id: the same in any order of the source.
        media: where the file is, or what is in it.
        label: name of its class.
    """

    where: str
    id: str
    media: Path | bytes
    label: str


@dataclass(frozen=True)
class Listing:
    """What a layout found.

    Attributes:
        rows: in a fixed order.
        labels: names of the classes, where the layout says them; none: those of its rows.
        endless: read no further than is needed.
    """

    rows: Iterator[Row | LeftOut]
    labels: tuple[str, ...] | None = None
    endless: bool = False


def class_folders(folder: Path, split: str) -> Listing:
    """``CLASS/.../FILE``, below ``split`` where there is such a folder of folders. Ids are paths below the classes.

    Files whose names are neither a video's nor a picture's are passed over.

    Raises:
        UserError: no class folder, or one without a file.
    """
    root = folder / split
    if not root.is_dir() or not _folders(root):
        root = folder
    classes = _folders(root)
    if not classes:
        raise UserError(f"data.source: {root}: no class folder in it (wanted CLASS/FILE; or name a list of files)")
    files = {each.name: _media(each) for each in classes}
    # left out in silence, an empty class would be one that no sample has and that the model still must know
    if empty := [name for name, inside in files.items() if not inside]:
        raise UserError(f"data.source: {root / empty[0]}: no video or picture in it; fill the folder or remove it")
    rows = (
        Row(str(path), path.relative_to(root).as_posix(), path, name)
        for name, inside in files.items()
        for path in inside
    )
    return Listing(rows, tuple(files))


def _folders(folder: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))


def _media(folder: Path) -> list[Path]:
    shown = (each for each in folder.rglob("*") if not each.name.startswith("."))
    return sorted(each for each in shown if each.suffix.lower() in VIDEOS | PICTURES and not each.is_dir())


def listed(path: Path, root: Path) -> Listing:
    """A list with ``path`` and ``label`` in each row, and an ``id`` where paths are not to be it.

    Args:
        path: .csv with a line of names on top, or .jsonl.
        root: folder that paths start from.

    Raises:
        UserError: no such columns, or a file that cannot be read.
    """
    return Listing(_labelled(row, root) for row in read_list(path, ("path", "label")))


def _labelled(row: tuple[str, Mapping[str, Any]] | LeftOut, root: Path) -> Row | LeftOut:
    if isinstance(row, LeftOut):
        return row
    where, values = row
    path, label = values.get("path"), values.get("label")
    if not isinstance(path, str | Path) or not str(path).strip():
        return LeftOut(where, "no `path`")
    if isinstance(label, bool) or not isinstance(label, str | int) or not str(label).strip():
        return LeftOut(where, "no `label`")
    own = values.get("id")
    return Row(where, str(own if own not in (None, "") else path), root / Path(path).expanduser(), str(label).strip())


def read_list(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, Mapping[str, Any]] | LeftOut]:
    """``(place, row)`` of each row of a .csv or .jsonl file, and what is wrong with those that are none.

    Raises:
        UserError: another kind of file, one that cannot be read, or a .csv without these columns.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from (_json_rows if path.suffix == ".jsonl" else _csv_rows)(path, file, columns)
    except OSError as error:
        raise UserError(f"data.source: {path}: {error.strerror}; give a list that can be read") from None
    except UnicodeDecodeError:
        raise UserError(f"data.source: {path}: not UTF-8 text; save the list as UTF-8") from None
    except csv.Error as error:
        raise UserError(f"data.source: {path}: not CSV that can be read ({error})") from None


def _csv_rows(path: Path, file: Any, columns: tuple[str, ...]) -> Iterator[tuple[str, Mapping[str, Any]] | LeftOut]:
    reader = csv.DictReader(file)
    found = list(reader.fieldnames or ())
    if missing := [name for name in columns if name not in found]:
        raise UserError(
            f"data.source: {path}: no column `{missing[0]}` in its first line; {nearest(missing[0], found)}"
        )
    for row in reader:
        where = f"{path}:{reader.line_num}"
        if None in row:
            yield LeftOut(where, f"more fields than the {len(found)} columns")
        else:
            yield where, row


def _json_rows(path: Path, file: Any, _: tuple[str, ...]) -> Iterator[tuple[str, Mapping[str, Any]] | LeftOut]:
    for number, line in enumerate(file, 1):
        where = f"{path}:{number}"
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield LeftOut(where, f"not JSON ({str(error)[:60]})")
            continue
        yield (where, row) if isinstance(row, dict) else LeftOut(where, "not a JSON object")


def is_ucf101(folder: Path) -> bool:
    """Whether its lists lie there."""
    return _ucf_lists(folder).joinpath("classInd.txt").is_file()


def _ucf_lists(folder: Path) -> Path:
    below = folder / "ucfTrainTestlist"
    return below if below.is_dir() else folder


def ucf101(folder: Path, split: str, root: Path | None) -> Listing:
    """``trainlist01.txt`` or another list, with ``classInd.txt`` for the order of the classes.

    Args:
        folder: with the lists, or with ``ucfTrainTestlist`` in it.
        split: ``train01`` to ``train03``, ``test01`` to ``test03``; ``train`` and ``test`` are the first.
        root: folder with the class folders; none: ``UCF-101`` in the folder, or the folder.

    Raises:
        UserError: no such lists.
    """
    lists = _ucf_lists(folder)
    kind = split.rstrip("0123456789")
    path = lists / f"{kind}list{split.removeprefix(kind) or '01'}.txt"
    numbers = lists / "classInd.txt"
    for each in (path, numbers):
        if not each.is_file():
            known = sorted(found.stem.replace("list", "") for found in lists.glob("*list[0-9]*.txt"))
            raise UserError(f"data.source: {each}: no such list of UCF101; data.split: {nearest(split, known)}")
    names = dict(_split_line(line)[::-1] for line in _lines(numbers))
    labels = tuple(sorted(names, key=lambda name: int(names[name]) if names[name].isdecimal() else 0))
    videos = root or (folder / "UCF-101" if (folder / "UCF-101").is_dir() else folder)
    return Listing(_ucf_rows(path, videos, names), labels)


def _split_line(line: str) -> tuple[str, str]:
    first, _, rest = line.partition(" ")
    return first, rest.strip()


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"data.source: {path}: cannot be read ({error})") from None


def _ucf_rows(path: Path, videos: Path, names: Mapping[str, str]) -> Iterator[Row | LeftOut]:
    for place, line in enumerate(_lines(path), 1):
        where = f"{path}:{place}"
        name, number = _split_line(line)
        label = name.partition("/")[0]
        if label not in names:
            yield LeftOut(where, f"class `{label}` is not in classInd.txt")
        elif number and number != names[label]:
            yield LeftOut(where, f"class `{label}` has number {names[label]} in classInd.txt, not {number}")
        else:
            yield Row(where, name, videos / name, label)


KINETICS = ("label", "youtube_id", "time_start", "time_end")


def kinetics_list(source: Path, split: str) -> Path | None:
    """The list of a split: the source itself, or in it or in its folder ``annotations``; none where there is none."""
    found = [source] if source.is_file() else [source / f"{split}.csv", source / "annotations" / f"{split}.csv"]
    for path in found:
        if path.suffix == ".csv" and path.is_file():
            try:
                with path.open(encoding="utf-8-sig", newline="") as file:
                    if set(KINETICS[1:]) <= set(next(csv.reader(file), [])):
                        return path
            except (OSError, UnicodeDecodeError, csv.Error):
                continue
    return None


def kinetics(path: Path, root: Path, split: str) -> Listing:
    """A list of clips of films, whose files are called ``ID_000001_000011.mp4`` after film, start and end in seconds.

    They lie in ``root``, in ``root/SPLIT``, or there in a folder of their class (blanks may be underscores). Many films
    are gone; their rows are left out as files that there are not.

    Raises:
        UserError: a list that cannot be read.
    """
    return Listing(_kinetics_row(row, root, split) for row in read_list(path, KINETICS[1:]))


def _kinetics_row(row: tuple[str, Mapping[str, Any]] | LeftOut, root: Path, split: str) -> Row | LeftOut:
    if isinstance(row, LeftOut):
        return row
    where, values = row
    label, film = values.get("label"), values.get("youtube_id")
    try:
        start, end = (int(float(values[name])) for name in KINETICS[2:])
    except (TypeError, ValueError, OverflowError):
        return LeftOut(where, "time_start and time_end are no seconds")
    if not label or not film:
        return LeftOut(where, "no label" if film else "no youtube_id")
    name = f"{film}_{start:06d}_{end:06d}"
    places = [
        base / folder / f"{name}.mp4"
        for base in (root, root / split)
        for folder in ("", label, label.replace(" ", "_"))
    ]
    return Row(where, name, next((place for place in places if place.is_file()), places[0]), label)


def hub(source: str, split: str) -> Listing:
    """A data set of the hub, or a folder of Parquet files as the hub has them, with videos or pictures and labels.

    The first column of the kind `Image` or `Video` is taken, and the first `ClassLabel`, or the column `label`.

    Raises:
        UserError: `datasets` is not installed, no such data set or split, or no such columns in it.
    """
    try:
        import datasets
    except ModuleNotFoundError:
        raise not_installed(f"data.source: {source}", Need(("datasets",), "post")) from None
    try:
        found = datasets.load_dataset(source, split=split)
    except Exception as error:  # noqa: BLE001 - the library raises its own, the hub's and requests' errors
        reason = offline() or f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
        raise UserError(
            f"data.source: {source}: no such file or folder here, and no data set of that name can be loaded "
            f"(split `{split}`; {reason})"
        ) from None
    features = found.features
    media = [name for name, kind in features.items() if isinstance(kind, datasets.Image | datasets.Video)]
    labels = [name for name, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
    label = labels[0] if labels else "label"
    if not media or label not in features:
        missing = "a label" if media else "a video or a picture"
        raise UserError(f"data.source: {source}: none of its columns ({', '.join(features)}) is {missing}")
    names = tuple(features[label].names) if labels else None
    # files stay files: a broken one is then left out, and not the end of the rows
    found = found.cast_column(media[0], type(features[media[0]])(decode=False)).select_columns([media[0], label])
    rows = (_hub_row(f"{source}[{split}]:{number}", row, media[0], label, names) for number, row in enumerate(found))
    return Listing(rows, names, endless=True)


def _hub_row(
    where: str, row: Mapping[str, Any], media: str, label: str, names: tuple[str, ...] | None
) -> Row | LeftOut:
    held = row[media] or {}
    content = held.get("bytes") or (Path(held["path"]) if held.get("path") else None)
    number = row[label]
    if content is None:
        return LeftOut(where, f"nothing in `{media}`")
    if number is None or (names is not None and not 0 <= number < len(names)):  # -1: not labelled
        return LeftOut(where, f"no class in `{label}`")
    return Row(where, where, content, names[number] if names is not None else str(number))


def function_rows(source: str, root: Path) -> Listing:
    """Rows of ``path`` and ``label`` (and ``id``) that a function of the user's own gives when called without anything.

    Raises:
        UserError: no such function, or it fails.
    """
    function = import_object(source, "data.source")
    if not callable(function):
        raise UserError(f"data.source: {source} is no function; it must give rows of `path` and `label` when called")
    return Listing(_function_rows(source, function, root), endless=True)


def _function_rows(source: str, function: Any, root: Path) -> Iterator[Row | LeftOut]:
    try:
        for number, row in enumerate(function()):
            where = f"{source}:{number}"
            if isinstance(row, Mapping):
                yield _labelled((where, row), root)
            else:
                yield LeftOut(where, f"{type(row).__name__}, not a mapping with `path` and `label`")
    except UserError:
        raise
    except Exception as error:  # the user's own code
        raise UserError(f"data.source: {source} raised {raised(error)}") from error
