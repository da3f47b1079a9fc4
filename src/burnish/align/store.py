"""Triplets in a folder: shards of what became of each record, pictures of the pairs, and the pairs as TRL reads them.

    shards/00000.jsonl      a line that says what it is made of, then a case a line
    pictures/HASH.png       of every pair
    triplets.jsonl          images, prompt, chosen, rejected; written last; paths are relative to the folder

Every file is whole or absent. A shard is there only after its pictures, so that what is there need not be made again.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from burnish.align.cases import Case, from_line, to_line
from burnish.align.gate import Pair, Tally, tally
from burnish.align.generators.counts import TokenCounts
from burnish.align.records import Record, Triplet
from burnish.core.errors import BurnishError, UserError
from burnish.core.files import file_atomic, remove, stale, write_atomic
from burnish.core.packages import Need, not_installed
from burnish.core.streams import batched

FORMAT = 1
TRIPLETS = "triplets.jsonl"


@dataclass(frozen=True)
class TripletSet:
    """The triplets of a folder, and what is known of them before anything is trained.

    Attributes:
        folder: where they are.
        tally: what was kept, what was dropped and why.
        counts: tokens that the generator took.
    """

    folder: Path
    tally: Tally
    counts: TokenCounts

    def cases(self) -> Iterator[Case]:
        """Every record, with a pair or without, in its order."""
        for path in _shards(self.folder):
            yield from _read(path)[1]

    def pairs(self) -> Iterator[tuple[Case, Pair]]:
        """The records with a pair."""
        for case in self.cases():
            if isinstance(case.result, Pair):
                yield case, case.result

    def triplets(self) -> Iterator[Triplet]:
        """The pairs alone, with the whole path of each picture."""
        for case, pair in self.pairs():
            image = self.folder / _picture(case.picture)
            yield Triplet(case.sample, image, case.question, pair.chosen, pair.rejected)

    def dataset(self) -> Any:
        """The rows of ``triplets.jsonl`` as a ``datasets.Dataset`` for TRL's trainers; pictures open when looked at.

        Raises:
            UserError: the package ``datasets`` is not installed; there is no pair.
        """
        datasets = datasets_library()
        rows = [_with_whole_paths(row, self.folder) for row in self._rows()]
        if not rows:
            raise UserError(f"{self.folder}: no pair in it ({_dropped(self.tally)})")
        return datasets.Dataset.from_list(rows, features=_features(datasets))

    def write_parquet(self, path: Path) -> Path:
        """The rows of ``triplets.jsonl`` as one Parquet file with the pictures inside, which any machine can read.

        Raises:
            UserError: the package ``datasets`` is not installed.
            BurnishError: the disk is full; no file is left.
        """
        datasets = datasets_library()
        import pyarrow
        import pyarrow.parquet as parquet

        # with the kinds of the columns in the schema, as the library reads them back
        schema = _features(datasets).arrow_schema
        with file_atomic(path) as file, parquet.ParquetWriter(file, schema) as writer:
            for part in batched(self._rows(), 64):
                rows = [_with_pictures(row, self.folder) for row in part]
                writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))
        return path

    def _rows(self) -> Iterator[dict[str, Any]]:
        with (self.folder / TRIPLETS).open("rb") as file:
            for line in file:
                yield json.loads(line)


def open_triplets(folder: Path) -> TripletSet:
    """The triplets that :func:`burnish.align.factory.make_triplets` made.

    Raises:
        UserError: the folder holds none, or not all of them yet; a shard that cannot be read.
    """
    if not (folder / TRIPLETS).is_file():
        raise UserError(f"{folder}: no {TRIPLETS} in it; the same command that began them makes the rest")
    counts = TokenCounts()
    for path in _shards(folder):
        with path.open("rb") as file:
            counts += TokenCounts(**_header(path, file.readline())["counts"])
    results = (case.result for path in _shards(folder) for case in _read(path)[1])
    return TripletSet(folder, tally(results), counts)


class Shards:
    """The shards of a folder while they are made.

    Args:
        folder: theirs.
        plan: a digest of all settings that decide what is in them.
        system: system turn of the conversations; none leaves it out.
    """

    def __init__(self, folder: Path, plan: str, system: str | None = None) -> None:
        self.folder, self._plan, self._system = folder, plan, system
        self._used: set[Path] = set()
        for part in (folder, folder / "shards", folder / "pictures"):
            for path in stale(part) if part.is_dir() else ():
                remove(path)

    def holds(self, number: int, records: Sequence[Record]) -> bool:
        """Whether a shard of these records is there already.

        Raises:
            UserError: one of other records, or made with other settings, is.
        """
        path = self._path(number)
        self._used.add(path)
        if not path.is_file():
            return False
        with path.open("rb") as file:
            header = _header(path, file.readline())
        for name, own in (("plan", self._plan), ("samples", _digest(records))):
            if header[name] != own:
                made = {"plan": "made with other settings", "samples": "made of other records"}[name]
                raise UserError(f"{path}: {made}; remove {self.folder}, or choose another folder")
        return True

    def write(self, number: int, records: Sequence[Record], cases: Sequence[Case], counts: TokenCounts) -> None:
        """Keep what became of the records; the pictures of pairs first.

        Raises:
            BurnishError: the disk is full; nothing half-written is left.
        """
        for record, case in zip(records, cases, strict=True):
            path = self.folder / _picture(case.picture)
            if isinstance(case.result, Pair) and not path.exists():
                packed = io.BytesIO()
                record.image.save(packed, "png")
                write_atomic(path, packed.getvalue())
        header = {"format": FORMAT, "plan": self._plan, "samples": _digest(records), "counts": asdict(counts)}
        lines = [json.dumps(header), *map(to_line, cases)]
        write_atomic(self._path(number), "\n".join(lines) + "\n")

    def finish(self) -> TripletSet:
        """Write the pairs as TRL reads them.

        Raises:
            UserError: there are shards beyond the last record.
        """
        if others := sorted({*_shards(self.folder)} - self._used):
            raise UserError(f"{others[0]}: made of other records; remove {self.folder}, or choose another folder")
        found = TripletSet(self.folder, tally([]), TokenCounts())
        with file_atomic(self.folder / TRIPLETS) as file:
            for case, pair in found.pairs():
                file.write(json.dumps(_row(case, pair, self._system), ensure_ascii=False).encode() + b"\n")
        return open_triplets(self.folder)

    def _path(self, number: int) -> Path:
        return self.folder / "shards" / f"{number:05}.jsonl"


def _row(case: Case, pair: Pair, system: str | None) -> dict[str, Any]:
    """A pair in TRL's conversational layout for images."""
    turns = [] if system is None else [{"role": "system", "content": system}]
    return {
        "images": [_picture(case.picture)],
        "prompt": [*turns, {"role": "user", "content": pair.question}],
        "chosen": [{"role": "assistant", "content": pair.chosen}],
        "rejected": [{"role": "assistant", "content": pair.rejected}],
    }


def _picture(name: str) -> str:
    return f"pictures/{name}.png"


def _digest(records: Sequence[Record]) -> str:
    return hashlib.sha256(" ".join(record.sample for record in records).encode()).hexdigest()[:32]


def _shards(folder: Path) -> list[Path]:
    return sorted((folder / "shards").glob("[0-9]*.jsonl"))


def _header(path: Path, line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
        if found["format"] != FORMAT or not {"plan", "samples", "counts"} <= found.keys():
            raise ValueError("another format")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a shard of triplets ({error}); remove it to have it made again") from None
    return dict(found)


def _read(path: Path) -> tuple[dict[str, Any], list[Case]]:
    header, *lines = path.read_bytes().splitlines()
    try:
        return _header(path, header), [from_line(line) for line in lines]
    except ValueError as error:
        raise BurnishError(f"{path}: damaged ({error}); remove it to have it made again") from None


def _dropped(found: Tally) -> str:
    return ", ".join(f"{count:,} dropped: {reason}" for reason, count in found.dropped.items()) or "no records"


def _with_whole_paths(row: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    return {**row, "images": [str((folder / name).absolute()) for name in row["images"]]}


def _with_pictures(row: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    return {**row, "images": [{"bytes": (folder / name).read_bytes(), "path": None} for name in row["images"]]}


def _features(datasets: Any) -> Any:
    turns = datasets.List({"role": datasets.Value("string"), "content": datasets.Value("string")})
    return datasets.Features(
        {"images": datasets.List(datasets.Image()), "prompt": turns, "chosen": turns, "rejected": turns}
    )


def datasets_library() -> Any:
    """The package ``datasets``.

    Raises:
        UserError: it is not installed.
    """
    try:
        import datasets
    except ModuleNotFoundError:
        raise not_installed("align", Need(("datasets",), "align")) from None
    return datasets
