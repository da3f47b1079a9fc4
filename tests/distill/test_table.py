import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from burnish.core.errors import BurnishError
from burnish.distill import table as tables
from burnish.distill.footage import Footage
from burnish.distill.recipe import AugmentSettings
from burnish.distill.records import Clips, Taught
from burnish.distill.table import TeacherTable, table_bytes, view_name
from tests.distill.tiny import some_clips

CLIPS = some_clips(6)
EVERYTHING = np.arange(6)


def opened(folder, clips=CLIPS, teacher="t", classes=3, note=lambda _: None):
    return TeacherTable(Footage(clips), classes, 2, teacher, folder, note)


def taught(rows, add=0.0):
    return Taught(
        np.stack([np.arange(3) + row + add for row in rows]).astype(np.float32),
        np.stack([np.arange(2) - row + add for row in rows]).astype(np.float32),
    )


def test_what_was_put_is_read_by_the_next(tmp_path):
    first = opened(tmp_path)
    first.put("plain", EVERYTHING[:4], taught(range(4)))
    first.flush()
    again = opened(tmp_path)
    assert again.known("plain", EVERYTHING).tolist() == [True] * 4 + [False] * 2
    found = again.get("plain", np.array([3, 1]))
    assert found.logits.tolist() == [[3, 4, 5], [1, 2, 3]]
    assert found.features.tolist() == [[-3, -2], [-1, 0]]


def test_what_is_known_stays(tmp_path):
    table = opened(tmp_path)
    table.put("plain", EVERYTHING[:2], taught(range(2)))
    table.put("plain", EVERYTHING[:3], taught(range(3), add=0.5))
    assert table.get("plain", EVERYTHING[:3]).logits[:, 0].tolist() == [0, 1, 2.5]


def test_numbers_are_rounded_alike_before_and_after_the_disk(tmp_path):
    table = opened(tmp_path)
    third = Taught(np.full((1, 3), 1 / 3, np.float32), np.full((1, 2), 1e-5, np.float32))
    table.put("plain", EVERYTHING[:1], third)
    table.flush()
    again = opened(tmp_path)
    again.known("plain", EVERYTHING[:1])
    assert np.array_equal(again.get("plain", EVERYTHING[:1]).logits, table.get("plain", EVERYTHING[:1]).logits)
    assert table.get("plain", EVERYTHING[:1]).logits[0, 0] == np.float16(1 / 3)


def test_no_other_teacher_view_or_sample_reads_it(tmp_path):
    table = opened(tmp_path)
    table.put("plain", EVERYTHING, taught(range(6)))
    table.flush()
    assert opened(tmp_path).known("plain", EVERYTHING).all()
    assert not opened(tmp_path, teacher="u").known("plain", EVERYTHING).any()
    assert not opened(tmp_path).known("flipped", EVERYTHING).any()
    pixels = CLIPS.pixels.copy()
    pixels[2, 0, 0, 0, 0] ^= 1
    renamed = ("x", *CLIPS.ids[1:])
    assert opened(tmp_path, Clips(pixels, CLIPS.labels, renamed)).known("plain", EVERYTHING).tolist() == [
        False,
        True,
        False,
        True,
        True,
        True,
    ]


def test_another_order_of_the_data_finds_its_own(tmp_path):
    table = opened(tmp_path)
    table.put("plain", EVERYTHING, taught(range(6)))
    table.flush()
    back = Clips(CLIPS.pixels[::-1].copy(), CLIPS.labels[::-1].copy(), CLIPS.ids[::-1])
    turned = opened(tmp_path, back)
    assert turned.known("plain", EVERYTHING).all()
    assert turned.get("plain", EVERYTHING).logits[:, 0].tolist() == [5, 4, 3, 2, 1, 0]


def test_views_are_told_apart_by_all_that_makes_them():
    flip, other = AugmentSettings(views=3, flip=True), AugmentSettings(views=3, flip=True, crop=0.5)
    given = [(AugmentSettings(views=9), 1, 0), (flip, 0, 0), (flip, 1, 0), (flip, 0, 1), (other, 0, 0)]
    seen = [view_name(*each) for each in given]
    assert seen[0] == "plain"
    assert len(set(seen)) == 5
    assert view_name(AugmentSettings(views=5, flip=True), 0, 0) == seen[1]


def test_a_number_that_is_none_or_too_large_names_its_sample(tmp_path):
    for value in (np.nan, 1e6):
        said = taught(range(6))
        said.features[4, 1] = value
        with pytest.raises(BurnishError, match="teacher: what it says of sample s4 is no number"):
            opened(tmp_path).put("plain", EVERYTHING, said)


def test_a_damaged_shard_is_named_and_asked_again(tmp_path):
    table = opened(tmp_path)
    table.put("plain", EVERYTHING, taught(range(6)))
    table.flush()
    (shard,) = tmp_path.rglob("*.safetensors")
    shard.write_bytes(shard.read_bytes()[:20])
    notes: list[str] = []
    again = opened(tmp_path, note=notes.append)
    assert not again.known("plain", EVERYTHING).any()
    assert "cannot be read" in notes[0]
    assert str(shard) in notes[0]
    again.put("plain", EVERYTHING, taught(range(6)))
    again.flush()
    assert opened(tmp_path).known("plain", EVERYTHING).all()


def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    table = opened(tmp_path)
    table.put("plain", EVERYTHING, taught(range(6)))
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(BurnishError, match="the disk is full; free some space") as caught:
            table.flush()
    assert "\n" not in str(caught.value)
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]
    table.flush()
    assert opened(tmp_path).known("plain", EVERYTHING).all()


def test_killed_while_it_fills_it_keeps_whole_shards(tmp_path):
    script = f"""
import os, signal, numpy as np
from pathlib import Path
from burnish.distill import table as tables
from tests.distill.test_table import EVERYTHING, opened, taught
tables.SHARD = 2
table = opened(Path({str(tmp_path)!r}))
for row in EVERYTHING[:5]:
    table.put("plain", EVERYTHING[row : row + 1], taught([row]))
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[2], check=False, env=os.environ)
    assert done.returncode == -9
    assert opened(tmp_path).known("plain", EVERYTHING).tolist() == [True] * 4 + [False] * 2


def test_size_on_disk_is_what_check_says(tmp_path):
    table = opened(tmp_path)
    table.put("plain", EVERYTHING, taught(range(6)))
    table.flush()
    (shard,) = tmp_path.rglob("*.safetensors")
    header = int.from_bytes(shard.read_bytes()[:8], "little") + 8
    assert shard.stat().st_size - header == table_bytes(6, 3, 2, views=1)


def test_shards_close_when_they_are_full(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "SHARD", 3)
    table = opened(tmp_path)
    for row in EVERYTHING:
        table.put("plain", EVERYTHING[row : row + 1], taught([row]))
    assert len(list(tmp_path.rglob("*.safetensors"))) == 2
