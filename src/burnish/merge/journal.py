"""What of a merge is already on the disk: the finished shards and their hashes, so that a killed merge goes on.

What is fsynced while merging is not relied on: after a power cut the hashes tell which shards are whole, and only those
are kept. The folder is fsynced as a whole before it takes its final name. Whoever opens a journal holds the lock on the
output.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import xxhash

from burnish.merge.safetensors_file import read_exactly
from burnish.merge.steps import MergePlan

NAME = "journal.jsonl"
_PIECE = 1 << 22


class Journal:
    """The journal in a merge's working folder.

    Args:
        folder: the working folder; made if it is not there.
        plan: what is being merged; the journal of another merge is thrown away, and its shards with it.
    """

    def __init__(self, folder: Path, plan: MergePlan) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._plan = folder, plan
        self._file: IO[str] = (folder / NAME).open("a+", encoding="utf-8")
        self.outputs: dict[str, str] = {}
        self.inputs: dict[tuple[str, str], str] = {}
        self.finished = self._resume()

    def record(self, shard: int, outputs: dict[str, str], inputs: dict[tuple[str, str], str]) -> None:
        """A shard is complete under its final name."""
        self.outputs |= outputs
        self.inputs |= inputs
        entry = {"shard": shard, "outputs": outputs, "inputs": [[*key, value] for key, value in inputs.items()]}
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _resume(self) -> set[int]:
        self._file.seek(0)
        lines = [_parse(line) for line in self._file.read().splitlines()]
        if not lines or lines[0].get("fingerprint") != self._plan.fingerprint:
            self._file.truncate(0)
            for path in self._folder.iterdir():
                if path.name != NAME and path.is_file():
                    path.unlink()
            self._file.write(json.dumps({"fingerprint": self._plan.fingerprint}) + "\n")
            self._file.flush()
            return set()
        finished = set()
        for entry in lines[1:]:
            if "shard" in entry and self._whole(entry):
                finished.add(entry["shard"])
                self.outputs |= entry["outputs"]
                self.inputs |= {(path, name): digest for path, name, digest in entry["inputs"]}
        return finished

    def _whole(self, entry: dict[str, Any]) -> bool:
        """Whether a finished shard's bytes are still those that were written."""
        path = self._folder / self._plan.shards[entry["shard"]].name
        return path.is_file() and bool(shard_digests(self._plan, entry["shard"], path) == entry["outputs"])


def shard_digests(plan: MergePlan, index: int, path: Path) -> dict[str, str] | None:
    """XXH3-128 of every tensor's bytes in a written shard, or `None` if the file has another size or header."""
    shard = plan.shards[index]
    if path.stat().st_size != shard.nbytes:
        return None
    digests: dict[str, str] = {}
    handle = os.open(path, os.O_RDONLY)
    try:
        buffer = memoryview(bytearray(_PIECE))
        header = memoryview(bytearray(len(shard.header)))
        read_exactly(handle, header, 0, path)
        if header != shard.header:
            return None
        for step in plan.steps:
            if step.shard != index:
                continue
            digest = xxhash.xxh3_128()
            for start in range(0, step.nbytes, _PIECE):
                piece = buffer[: min(_PIECE, step.nbytes - start)]
                read_exactly(handle, piece, step.offset + start, path)
                digest.update(piece)
            digests[step.name] = digest.hexdigest()
    finally:
        os.close(handle)
    return digests


def content_digest(digests: Mapping[str, str]) -> str:
    """One hash of many tensors: XXH3-128 over their names and hashes in the order of the names."""
    digest = xxhash.xxh3_128()
    for name in sorted(digests):
        digest.update(f"{name} {digests[name]}\n".encode())
    return str(digest.hexdigest())


def _parse(line: str) -> dict[str, Any]:
    # The line that a kill cut in half is as good as not written.
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}
