"""A disk that fails while a merge is written: nothing that it did not take is counted as done."""

import errno
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from burnish.core.errors import BurnishError
from burnish.merge import merge
from tests.merge.checkpoints import family
from tests.merge.test_engine import bytes_of, entries, ties, two


@pytest.fixture(scope="module")
def llamas(tmp_path_factory) -> list[Path]:
    return family(tmp_path_factory.mktemp("llamas"), "llama", 3)


def test_an_error_of_the_disk_is_heard_whenever_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from burnish.merge import engine

    def failing(handle: int) -> None:
        os.close(handle)
        raise OSError(errno.EIO, "Input/output error")

    paths = two(tmp_path, [0.0, 1.0], [3.0, 2.0])
    monkeypatch.setattr(engine, "_flush", failing)
    with pytest.raises(BurnishError, match="Input/output error"):
        merge({"merge_method": "linear", "models": entries(paths, weight=0.5)}, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_shard_that_the_disk_did_not_take_is_made_again(
    llamas: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interrupted: bool
) -> None:
    """It is told once: the system takes its pages for clean then, and whoever reads them again finds all well."""
    from burnish.merge import engine
    from burnish.merge.journal import Journal

    work, names, recorded, write = tmp_path / ".out.merging", [], threading.Event(), Journal.record

    def record(journal: Journal, shard: int, *digests: dict) -> None:
        write(journal, shard, *digests)
        names.append(journal._plan.shards[shard].name)
        if len(names) == 2:  # the flush of the first one is under way until this one is finished, too
            recorded.set()
            if interrupted:
                raise KeyboardInterrupt

    def failing(handle: int) -> None:
        os.close(handle)
        assert recorded.wait(30)
        raise OSError(errno.EIO, "Input/output error")

    options: dict[str, Any] = {"threads": 1, "shard_size": "20KB", "progress": False}
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "record", record)
        patch.setattr(engine, "_flush", failing)
        with pytest.raises(BurnishError, match="stopped" if interrupted else "Input/output error"):
            merge(ties(llamas), tmp_path / "out", **options)
    assert not (work / names[0]).exists()
    assert (work / names[1]).exists()
    out = merge(ties(llamas), tmp_path / "out", **options)
    assert bytes_of(out) == bytes_of(merge(ties(llamas), tmp_path / "whole", **options))


def test_a_finished_shard_that_cannot_be_flushed_is_made_again(
    llamas: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flush = os.fsync

    def failing(handle: int) -> None:
        if os.path.samestat(os.fstat(handle), shard.stat()):
            raise OSError(errno.ENOSPC, "No space left on device")
        flush(handle)

    shard = tmp_path / ".out.merging" / "model.safetensors"
    with monkeypatch.context() as patch:
        patch.setattr("burnish.merge.engine._flush", os.close)
        patch.setattr(os, "fsync", failing)
        with pytest.raises(BurnishError, match="disk is full"):
            merge(ties(llamas), tmp_path / "out", progress=False)
    assert not shard.exists()
    assert (shard.parent / "config.json").exists()
    out = merge(ties(llamas), tmp_path / "out", progress=False)
    assert bytes_of(out) == bytes_of(merge(ties(llamas), tmp_path / "whole", progress=False))
