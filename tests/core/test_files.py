"""Folders that are made once, errors of the operating system in words."""

import threading
import time
from functools import partial
from pathlib import Path

import pytest

from burnish.core.errors import UserError
from burnish.core.files import MANIFEST, NotMade, explained, make_once, nothing_made, told_together, write_atomic


def test_a_folder_of_the_cache_is_made_once_and_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    left = tmp_path / ".set.0123abcd"
    left.mkdir()
    (left / "half").touch()
    other = tmp_path / ".other.0123abcd"  # of somebody who may be at work
    other.mkdir()
    made = []

    def make(work: Path) -> None:
        made.append(work)
        time.sleep(0.1)
        (work / MANIFEST).touch()

    both = [threading.Thread(target=make_once, args=(tmp_path / "set", make)) for _ in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join()
    assert make_once(tmp_path / "set", make) == tmp_path / "set"
    assert len(made) == 1
    assert not left.exists()
    assert other.exists()


def test_what_fails_leaves_nothing_but_its_lock(tmp_path: Path) -> None:
    def make(work: Path) -> None:
        (work / "half").touch()
        raise UserError("no network")

    with pytest.raises(UserError, match="no network"):
        make_once(tmp_path / "set", make)
    assert [path.name for path in tmp_path.iterdir()] == [".set.lock"]


def test_a_cache_that_cannot_be_written_names_its_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/burnish")):
        monkeypatch.setenv("BURNISH_CACHE", str(place))
        with pytest.raises(UserError, match="set BURNISH_CACHE to a folder that you may write to"):
            make_once(place / "data" / "emoji", lambda work: work.touch())
        with pytest.raises(UserError, match="set BURNISH_CACHE"):
            write_atomic(place / "kernels" / "x.o", b"")
    with pytest.raises(UserError, match=r"choose a place that you may write to$"), explained(tmp_path / "run"):
        (tmp_path / "file" / "below").mkdir()


def test_looking_ahead_makes_nothing_and_finds_what_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "set"
    with (
        nothing_made(),
        pytest.raises(UserError, match=r"data set: not in the cache yet.*`burnish data set` prepares it"),
    ):
        make_once(folder, lambda work: (work / MANIFEST).write_text("{}"))
    assert list(tmp_path.iterdir()) == []
    both = [partial(make_once, tmp_path / "data" / name, Path.touch, takes=f"{name} MB") for name in ("1", "2")]
    with nothing_made(), pytest.raises(NotMade, match="data 1 and data 2: not in the cache yet") as caught:
        told_together(*both)
    assert caught.value.parts == (("data 1", "1 MB"), ("data 2", "2 MB"))
    make_once(folder, lambda work: (work / MANIFEST).write_text("{}"))
    with nothing_made():
        assert make_once(folder, lambda _work: pytest.fail("made")) == folder
