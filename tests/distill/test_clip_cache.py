"""Clips of real files, good and broken, built, killed, damaged and built again."""

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from burnish.core.errors import BurnishError, UserError
from burnish.distill import clip_cache
from burnish.distill.clip_cache import cache_both, cache_clips, cache_key, clip_bytes
from burnish.distill.recipe import ClipSettings, DataSettings
from burnish.distill.records import Clips, Sample, Samples
from burnish.distill.samples import read_samples
from burnish.distill.videos import decoding
from tests.distill.films import noise, number_of, numbered, write_film, write_sound

SMALL = ClipSettings(frames=4, size=(16, 24))


def samples_of(*paths: Path) -> Samples:
    return Samples(tuple(Sample(path.name, path, place % 2) for place, path in enumerate(paths)), ("a", "b"))


def films(folder: Path, count: int = 5) -> Samples:
    folder.mkdir(parents=True, exist_ok=True)
    made = [write_film(folder / f"{number}.mp4", numbered(5 + number)) for number in range(count)]
    return samples_of(*made)


def build(samples: Samples, folder: Path, clip: ClipSettings = SMALL, **options: object) -> Clips:
    return cache_clips(samples, clip, folder, **options)  # type: ignore[arg-type]


def pixels_file(folder: Path) -> Path:
    (found,) = folder.glob("*/pixels.u8")
    return found


def test_clips_are_the_chosen_frames_and_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = films(tmp_path / "films")
    clips = build(samples, tmp_path / "cache")
    assert isinstance(clips.pixels, np.memmap)
    assert clips.pixels.shape == (5, 4, 16, 24, 3)
    assert clips.labels.tolist() == [0, 1, 0, 1, 0]
    assert clips.ids == tuple(f"{number}.mp4" for number in range(5))
    assert [number_of(frame) for frame in clips.pixels[4]] == [0, 2, 5, 8]  # of 9 frames, at 0, 2.67, 5.33 and 8
    assert os.path.getsize(pixels_file(tmp_path / "cache")) == 5 * clip_bytes(SMALL)
    monkeypatch.setattr(clip_cache, "read_clip", None)
    assert (build(samples, tmp_path / "cache").pixels == clips.pixels).all()


def test_frames_keep_their_shape(tmp_path: Path) -> None:
    """White left half of a wide film: seen in a square cut out of the middle, it is still half."""
    frames = np.zeros((2, 32, 96, 3), np.uint8)
    frames[:, :, :48] = 255
    (made,) = build(
        samples_of(write_film(tmp_path / "wide.mp4", frames)), tmp_path / "cache", ClipSettings(frames=1, size=(16, 16))
    ).pixels
    assert made[0, :, :6].mean() > 240
    assert made[0, :, 10:].mean() < 15
    frames[:, :, :48] = 0
    frames[:, :, :30] = 255  # outside the middle square
    path = write_film(tmp_path / "left.mp4", frames)
    (made,) = build(samples_of(path), tmp_path / "cache", ClipSettings(frames=1, size=(16, 16))).pixels
    assert made.max() < 40


def test_dense_clips_come_from_the_middle(tmp_path: Path) -> None:
    path = write_film(tmp_path / "film.mp4", numbered(11))
    dense = ClipSettings(frames=3, sampling="dense", stride=2, size=(16, 16))
    (clip,) = build(samples_of(path), tmp_path / "cache", dense).pixels
    assert [number_of(frame) for frame in clip] == [3, 5, 7]


def test_pictures(tmp_path: Path) -> None:
    from PIL import Image

    grey = np.arange(16, dtype=np.uint8).reshape(4, 4) * 16
    Image.fromarray(grey).save(tmp_path / "a.png")
    Image.fromarray(np.full((8, 4, 3), 200, np.uint8)).save(tmp_path / "b", "JPEG")  # as the hub's are stored
    notes: list[str] = []
    samples = samples_of(tmp_path / "a.png", tmp_path / "b")
    clips = build(samples, tmp_path / "cache", ClipSettings(frames=1, size=(4, 4)), note=notes.append)
    assert (clips.pixels[0, 0] == grey[:, :, None]).all()
    assert np.abs(clips.pixels[1].astype(int) - 200).max() <= 2
    assert not notes
    still = build(samples, tmp_path / "cache", ClipSettings(frames=2, size=(4, 4)), note=notes.append)
    assert (still.pixels[:, 0] == still.pixels[:, 1]).all()
    assert notes == ["clips: 2 of 2 files have fewer than 2 frames and are looped"]


def _rotten(whole: bytes) -> bytes:
    place = len(whole) * 7 // 10
    return whole[:place] + bytes(255 - byte for byte in whole[place : place + 400]) + whole[place + 400 :]


def _no_frames(whole: bytes) -> bytes:
    """Its track lists no sample: the boxes of sizes and of time say zero."""
    at = whole.index(b"stsz") + 4 + 8
    return whole[:at] + bytes(4) + whole[at + 4 :]


CHANGED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "truncated.mp4": (lambda whole: whole[: len(whole) * 6 // 10], "not a video that can be read"),
    "rotten.mp4": (_rotten, "damaged"),
    "empty.mp4": (lambda _: b"", "not a video that can be read"),
    "text.mp4": (lambda _: b"no film at all\n" * 50, "not a video that can be read"),
    "no frames.mp4": (_no_frames, "no frame in it|no video in it|not a video"),
    "picture.png": (lambda _: b"no picture at all", "not a picture that can be read"),
    "video as picture, cut.jpg": (lambda whole: whole[: len(whole) // 2], "not a picture that can be read"),
}


@pytest.mark.parametrize("name", CHANGED)
def test_broken_files_are_named_counted_skipped_or_fatal(tmp_path: Path, name: str) -> None:
    change, why = CHANGED[name]
    whole = write_film(tmp_path / "whole.mp4", noise(30))
    bad = tmp_path / name
    bad.write_bytes(change(whole.read_bytes()))
    check_left_out(tmp_path, whole, bad, why)


def check_left_out(folder: Path, good: Path, bad: Path, why: str, clip: ClipSettings | None = None) -> None:
    clip = clip or ClipSettings(frames=30, size=(16, 16))
    notes: list[str] = []
    samples = samples_of(good, bad, good)
    clips = build(samples, folder / "skip", clip, note=notes.append)
    assert clips.ids == (good.name, good.name)
    assert clips.labels.tolist() == [0, 0]
    assert (clips.pixels[0] == clips.pixels[1]).all()
    (left,) = clips.left_out
    assert left.where == str(bad)
    assert re.search(why, left.why), left.why
    assert notes == [f"{bad}: left out: {left.why}", "clips: 2; 1 left out"]
    for place in ("fatal", "skip"):  # the second is built already
        with pytest.raises(UserError, match=why) as said:
            build(samples, folder / place, clip, bad_files="fatal")
        assert str(bad) in str(said.value)
        assert "set data.bad_files: skip" in str(said.value)
    with pytest.raises(UserError, match=f"not one of 1 files gives a clip; the first: .*({why})"):
        build(samples_of(bad), folder / "alone", clip)


def test_sound_alone(tmp_path: Path) -> None:
    good = write_film(tmp_path / "good.mp4", noise(30))
    check_left_out(tmp_path, good, write_sound(tmp_path / "sound.mp4"), "no video in it, sound alone")


def test_a_file_that_went_away(tmp_path: Path) -> None:
    check_left_out(tmp_path, write_film(tmp_path / "good.mp4", noise(30)), tmp_path / "gone.mp4", "no such file")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """One that any user may enter."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o777)
        yield Path(made)


def test_a_file_that_may_not_be_read(open_folder: Path) -> None:
    good = write_film(open_folder / "good.mp4", noise(30))
    good.chmod(0o644)
    bad = write_film(open_folder / "secret.mp4", numbered(5))
    bad.chmod(0)
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)  # root may read everything
    try:
        check_left_out(open_folder, good, bad, "may not be read")
    finally:
        os.seteuid(before)


def test_a_strip_of_pixels(tmp_path: Path) -> None:
    strip = write_film(tmp_path / "strip.mkv", noise(30)[:, :1], "ffv1", "bgr0")
    clip = ClipSettings(frames=30, size=(16, 16))
    check_left_out(tmp_path, write_film(tmp_path / "good.mp4", noise(30)), strip, "64 x 1 px are too long", clip)


def test_a_file_that_takes_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = films(tmp_path, 1)
    monkeypatch.setattr(decoding, "CPU_SECONDS", -1)
    with pytest.raises(UserError, match=r"0.mp4: not decoded within -1 s of CPU time"):
        build(samples, tmp_path / "cache")


def test_odd_files_that_are_good(tmp_path: Path) -> None:
    """Last bytes lost, one frame, one pixel, a wrong name, a name that is not ASCII: all give whole clips."""
    whole = write_film(tmp_path / "whole.mp4", numbered(10)).read_bytes()
    (tmp_path / "last bytes lost.mp4").write_bytes(whole[:-40])
    (tmp_path / "notes.txt").write_bytes(whole)
    (tmp_path / "photo.png").write_bytes(whole)
    (tmp_path / "фильм 片.mp4").write_bytes(whole)
    one = write_film(tmp_path / "one frame.mp4", numbered(8)[7:])
    pixel = write_film(tmp_path / "one pixel.mkv", np.full((1, 1, 1, 3), 120, np.uint8), "ffv1", "bgr0")
    names = ["last bytes lost.mp4", "notes.txt", "photo.png", "фильм 片.mp4"]
    notes: list[str] = []
    samples = samples_of(*(tmp_path / name for name in names), one, pixel)
    clips = build(samples, tmp_path / "cache", note=notes.append, bad_files="fatal")
    assert len(clips.ids) == 6
    for clip in clips.pixels[:4]:
        assert [number_of(frame) for frame in clip] == [0, 3, 6, 9]
    assert [number_of(frame) for frame in clips.pixels[4]] == [7, 7, 7, 7]
    assert (clips.pixels[5] == 120).all()
    assert notes == ["clips: 2 of 6 files have fewer than 4 frames and are looped"]


@pytest.mark.slow
def test_thirty_thousand_frames(tmp_path: Path) -> None:
    frames = np.broadcast_to(numbered(1, side=16), (30_000, 16, 16, 3))
    path = write_film(tmp_path / "long.mp4", frames, every=100)
    assert build(samples_of(path), tmp_path / "cache").pixels.shape == (1, 4, 16, 24, 3)


def test_the_key_knows_files_and_settings_and_not_labels(tmp_path: Path) -> None:
    samples = films(tmp_path, 2)
    key = cache_key(samples, SMALL)
    relabelled = Samples(tuple(Sample(item.id, item.path, 0) for item in samples.items), ("c",))
    assert cache_key(relabelled, SMALL) == key
    assert cache_key(samples, SMALL.model_copy(update={"stride": 3})) != key
    assert cache_key(Samples(samples.items[::-1], samples.labels), SMALL) != key
    os.utime(samples.items[0].path, ns=(1, 1))
    assert cache_key(samples, SMALL) != key


def test_it_goes_on_after_any_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped after each part in turn, by an error from outside; with half a line and half a part left behind."""
    monkeypatch.setattr(clip_cache, "PART_CLIPS", 2)
    samples = films(tmp_path / "films", 7)
    whole = build(samples, tmp_path / "whole")
    log = pixels_file(tmp_path / "whole").with_name("log.jsonl").read_bytes()

    class Stopped(Exception):
        pass

    left: list[int | None] = []

    def stopping(items, label, total=None):
        left.append(total)
        yield next(iter(items))
        raise Stopped

    for _ in range(4):
        with pytest.raises(Stopped):
            build(samples, tmp_path / "cut", progress=stopping)
        with pixels_file(tmp_path / "cut").open("ab") as file:
            file.write(b"half a clip")
        with pixels_file(tmp_path / "cut").with_name("log.jsonl").open("ab") as file:
            file.write(b'{"kept": [1')
    assert left == [4, 3, 2, 1]
    monkeypatch.setattr(clip_cache, "read_clip", None)  # nothing is left to decode
    cut = build(samples, tmp_path / "cut")
    assert (cut.pixels == whole.pixels).all()
    build(samples, tmp_path / "whole")
    assert pixels_file(tmp_path / "whole").with_name("log.jsonl").read_bytes() == log


def test_damage_is_seen_and_decoded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clip_cache, "PART_CLIPS", 2)
    samples = films(tmp_path / "films")
    before = np.array(build(samples, tmp_path / "cache").pixels)
    path = pixels_file(tmp_path / "cache")
    with path.open("r+b") as file:
        file.seek(3 * clip_bytes(SMALL) + 5)
        file.write(b"\x77")
    notes: list[str] = []
    assert (build(samples, tmp_path / "cache", note=notes.append).pixels == before).all()
    assert notes == [f"{path}: damaged in part 2 of 3; decoded again from there"]
    log = path.with_name("log.jsonl")
    log.write_text(log.read_text().replace('"kept": [4]', '"kept": [3]'))
    notes.clear()
    assert (build(samples, tmp_path / "cache", note=notes.append).pixels == before).all()
    assert notes == [f"{path}: damaged in part 3 of 3; decoded again from there"]


def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clip_cache, "PART_CLIPS", 2)
    samples = films(tmp_path / "films")
    copied, calls = shutil.copyfileobj, []

    def full(source, target, length):
        calls.append(1)
        if len(calls) == 2:
            target.write(source.read(7))
            raise OSError(errno.ENOSPC, "No space left on device")
        copied(source, target, length)

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(BurnishError, match="the disk is full; free some space and run the same command again"):
        build(samples, tmp_path / "cache")
    assert (build(samples, tmp_path / "cache").pixels == build(samples, tmp_path / "other").pixels).all()
    # and in a worker, which writes its part first
    monkeypatch.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
    with pytest.raises(BurnishError, match="the disk is full"):
        build(samples, tmp_path / "third")


def test_what_gives_no_clip_of_one_kind_is_left_out_of_both(tmp_path: Path) -> None:
    """The middle of the second film is rotten: two frames do not meet it, eight do."""
    samples = films(tmp_path, 3)
    whole = write_film(tmp_path / "whole.mp4", noise(30), every=1).read_bytes()
    samples.items[1].path.write_bytes(_rotten(whole))
    few, many = ClipSettings(frames=2, size=(16, 16)), ClipSettings(frames=30, size=(8, 8))
    assert len(build(samples, tmp_path / "cache", few).ids) == 3
    notes: list[str] = []
    student, teacher = cache_both(samples, few, many, tmp_path / "cache", note=notes.append)
    assert sum("1.mp4: left out: damaged" in line for line in notes) == 1
    assert student.ids == teacher.ids == ("0.mp4", "2.mp4")
    assert student.pixels.shape == (2, 2, 16, 16, 3)
    assert teacher.pixels.shape == (2, 30, 8, 8, 3)
    assert [each.where for each in student.left_out] == [str(samples.items[1].path)]
    samples.items[1].path.unlink()
    notes.clear()
    cache_both(samples, few, many, tmp_path / "cache", note=notes.append)
    assert sum("1.mp4: left out: no such file" in line for line in notes) == 1
    alone, same = cache_both(samples, few, None, tmp_path / "cache")
    assert alone is same


BUILD = """
import sys
from pathlib import Path
from burnish.distill import clip_cache
from burnish.distill.recipe import ClipSettings, DataSettings
from burnish.distill.samples import read_samples
clip_cache.PART_CLIPS = 2
if __name__ == "__main__":
    samples = read_samples(DataSettings(source=sys.argv[1]))
    clip_cache.cache_clips(samples, ClipSettings(frames=4, size=(16, 24)), Path(sys.argv[2]), workers=int(sys.argv[3]))
"""


@pytest.mark.slow
def test_killed_with_workers_and_started_again(tmp_path: Path) -> None:
    """Two workers, killed as soon as a line is in the log: the same bytes in the end as one worker's."""
    films(tmp_path / "films" / "x", 24)
    script = tmp_path / "build.py"
    script.write_text(BUILD)
    cut = tmp_path / "cut"
    command = [sys.executable, str(script), str(tmp_path / "films"), str(cut), "2"]
    process = subprocess.Popen(command)
    while process.poll() is None and not any(path.stat().st_size for path in cut.glob("*/log.jsonl")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() in (-signal.SIGKILL, 0)
    subprocess.run(command, check=True)
    samples = read_samples(DataSettings(source=str(tmp_path / "films")))
    # larger parts here: the bytes are the same whatever the parts
    assert pixels_file(cut).read_bytes() == np.array(build(samples, tmp_path / "whole").pixels).tobytes()
