"""Chosen frames of files, whole and broken, against decoding everything."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.core.errors import UserError
from burnish.distill.videos import decoding
from burnish.distill.videos.decoding import BadVideo, read_chosen, read_frames, scan_video
from burnish.distill.videos.sampling import dense, looped, two_rates, uniform, uniform_in_time
from tests.distill.films import noise, number_of, numbered, write_film, write_sound


def everything(path: Path) -> np.ndarray:
    import av

    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@pytest.mark.parametrize("every", [1, 5, 250])
def test_chosen_frames_are_those_of_the_whole_file(tmp_path: Path, every: int) -> None:
    path = write_film(tmp_path / "film.mp4", noise(40), every=every)
    video, whole = scan_video(path), everything(path)
    assert (video.frames, video.declared, video.height, video.width) == (40, 40, 64, 64)
    for wanted in ([0, 13, 39], [39], [7, 7, 3, 20], range(40)):
        assert (read_frames(video, list(wanted)) == whole[list(wanted)]).all()
        same, chosen = read_chosen(path, lambda _: list(wanted))  # noqa: B023 - called at once
        assert (chosen == whole[list(wanted)]).all()
        assert (same.stamps == video.stamps).all()


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("film.mkv", "libx264"),
        ("film.avi", "mpeg4"),  # as UCF101: its packets do not say when they are shown
        ("film.ts", "libx264"),  # no index
        ("film.mpg", "mpeg2video"),
        ("film.flv", "libx264"),
        ("film.h264", "libx264"),  # nothing but the stream: no times at all
        ("film.webm", "libvpx-vp9"),
    ],
)
def test_each_frame_alone_is_that_of_the_whole_file(tmp_path: Path, name: str, codec: str) -> None:
    """Key frames close together, frames that need later ones between them: whatever the container does about jumps."""
    path = write_film(tmp_path / name, noise(24, side=32), codec, every=6, between=2)
    video, whole = scan_video(path), everything(path)
    assert video.frames == len(whole) == 24
    for number in range(24):
        assert (read_frames(video, [number])[0] == whole[number]).all(), number
    for wanted in ([1, 13, 23], [14], [0, 22]):
        assert (read_frames(video, wanted) == whole[wanted]).all()
        assert (read_chosen(path, lambda _: wanted)[1] == whole[wanted]).all()  # noqa: B023 - called at once


@pytest.mark.parametrize(
    ("name", "codec", "wanted"),
    [
        ("film.ts", "libx264", [1, 13, 23]),
        ("film.mpg", "mpeg2video", [11]),  # lands on the key frame after it and decodes it, from frames that it lacks
    ],
)
def test_jumps_that_land_late_are_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, codec: str, wanted: list[int]
) -> None:
    """As in a file whose index is missing: these kinds never have one."""
    monkeypatch.setattr(decoding, "INDEXED", {"mpegts", "mpeg"})
    path = write_film(tmp_path / name, noise(24, side=32), codec, every=6, between=2)
    video, whole = scan_video(path), everything(path)
    assert len(video.keys) > 1
    assert (read_frames(video, wanted) == whole[wanted]).all()


@pytest.mark.parametrize(
    ("name", "codec", "said"),
    [
        ("film.mkv", "libx264", r"cut off: 1\.\d+ of 3\.00 s"),
        ("film.webm", "libvpx-vp9", r"cut off: 1\.\d+ of 3\.00 s"),
        ("film.avi", "libx264", r"cut off (in frame 1\d|: 1\d of 30 frames)"),
        ("film.flv", "libx264", r"cut off in frame 1\d"),
    ],
)
def test_a_container_that_can_be_read_up_to_its_end_is_seen_to_be_cut_off(
    tmp_path: Path, name: str, codec: str, said: str
) -> None:
    path = write_film(tmp_path / name, noise(30), codec)
    assert scan_video(path).frames == 30
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    with pytest.raises(BadVideo, match=said):
        scan_video(path)


def test_it_jumps_only_over_key_frames_and_stops_after_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []
    inside = decoding._decoded

    def counted(*given: Any) -> Any:
        for frame in inside(*given):
            decoded.append(1)
            yield frame

    monkeypatch.setattr(decoding, "_decoded", counted)
    one_key = scan_video(write_film(tmp_path / "one.mp4", numbered(40), every=250))
    assert [number_of(frame) for frame in read_frames(one_key, [0, 30])] == [0, 30]
    assert 5 < len(decoded) <= 31
    decoded.clear()
    many = scan_video(write_film(tmp_path / "many.mp4", numbered(40), every=5))
    assert [number_of(frame) for frame in read_frames(many, [2, 31])] == [2, 31]
    assert len(decoded) <= 3 + 2 + 5  # 0..2, then from the key frame at 30
    decoded.clear()
    between = scan_video(write_film(tmp_path / "between.mp4", noise(41), every=250, between=3))
    assert (read_frames(between, [40]) == everything(between.path)[40]).all()
    assert len(decoded) < 25  # those that no other frame needs are passed over


def test_frames_are_known_by_their_time(tmp_path: Path) -> None:
    stamps = [0, 10, 15, 60, 61, 100]
    video = scan_video(write_film(tmp_path / "uneven.mp4", numbered(6), stamps=stamps))
    assert video.times == pytest.approx(np.array(stamps) / 100)
    wanted = uniform_in_time(video.times, 5)  # at 0, .25, .5, .75 and 1 s
    assert wanted.tolist() == [0, 2, 2, 4, 5]
    assert [number_of(frame) for frame in read_frames(video, wanted.tolist())] == [0, 2, 2, 4, 5]


def test_frames_that_the_file_does_not_show_do_not_count(tmp_path: Path) -> None:
    """Cut without decoding: the first frames are there for the later ones to be made from, and an edit list hides
    them."""
    import av

    whole = write_film(tmp_path / "whole.mp4", numbered(20), every=250, between=0)
    cut = tmp_path / "cut.mp4"
    with av.open(str(whole)) as source, av.open(str(cut), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.pts is not None and packet.dts is not None:
                packet.pts, packet.dts = packet.pts - 5 * 1024, packet.dts - 5 * 1024
                packet.stream = stream
                target.mux(packet)
    video = scan_video(cut)
    assert (video.frames, video.declared) == (15, 20)
    assert [number_of(frame) for frame in read_chosen(cut, lambda _: [0, 7, 14])[1]] == [5, 12, 19]


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_turned_as_the_file_asks(tmp_path: Path, rotation: int) -> None:
    """White in the upper left corner; the file says by how much a player turns it, against the clock."""
    frames = np.zeros((2, 32, 48, 3), np.uint8)
    frames[:, :16, :24] = 255
    video = scan_video(write_film(tmp_path / "turned.mp4", frames, rotation=rotation))
    shown = read_frames(video, [1])[0]
    expected = np.rot90(frames[1], rotation // 90)
    assert shown.shape == expected.shape
    assert np.abs(shown.astype(int) - expected).mean() < 8
    small = read_frames(video, [1], size=(8, 10))[0]
    assert small.shape == (8, 10, 3)


def test_scaled_while_it_is_converted(tmp_path: Path) -> None:
    video = scan_video(write_film(tmp_path / "film.mp4", numbered(5, side=64)))
    assert read_frames(video, [3], size=(16, 24)).shape == (1, 16, 24, 3)


def _rotten(whole: bytes) -> bytes:
    place = len(whole) * 7 // 10
    return whole[:place] + bytes(255 - byte for byte in whole[place : place + 400]) + whole[place + 400 :]


BROKEN: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "truncated": (lambda whole: whole[: len(whole) * 6 // 10], "not a video that can be read"),
    "empty": (lambda _: b"", "not a video that can be read"),
    "text": (lambda _: b"no film at all\n" * 50, "not a video that can be read"),
    "rotten": (lambda whole: _rotten(whole), "damaged at [0-9.]+ s"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_said_and_never_short(tmp_path: Path, name: str) -> None:
    breaks, said = BROKEN[name]
    path = tmp_path / f"{name}.mp4"
    path.write_bytes(breaks(write_film(tmp_path / "whole.mp4", noise(30)).read_bytes()))
    with pytest.raises(BadVideo, match=said):
        read_frames(scan_video(path), list(range(30)))


def test_last_bytes_lost(tmp_path: Path) -> None:
    path = tmp_path / "cut.mp4"
    whole = write_film(tmp_path / "whole.mp4", noise(30)).read_bytes()
    path.write_bytes(whole[:-40])  # the end holds nothing that frames need
    assert scan_video(path).frames == 30


def test_good_video_under_a_wrong_name(tmp_path: Path) -> None:
    path = write_film(tmp_path / "whole.mp4", numbered(4)).rename(tmp_path / "notes.txt")
    assert number_of(read_frames(scan_video(path), [3])[0]) == 3


def test_a_name_that_is_not_ascii(tmp_path: Path) -> None:
    path = write_film(tmp_path / "film.mp4", numbered(4)).rename(tmp_path / "фильм 片.mp4")
    assert scan_video(path).frames == 4


def test_sound_alone(tmp_path: Path) -> None:
    with pytest.raises(BadVideo, match="no video in it, sound alone"):
        scan_video(write_sound(tmp_path / "sound.mp4"))


def test_one_frame_and_one_pixel(tmp_path: Path) -> None:
    video = scan_video(write_film(tmp_path / "tiny.mkv", numbered(1, side=1), "ffv1", "bgr0"))
    assert (video.frames, video.height, video.width) == (1, 1, 1)
    assert read_frames(video, [0, 0]).shape == (2, 1, 1, 3)


def test_missing_and_forbidden(tmp_path: Path) -> None:
    with pytest.raises(BadVideo, match="no such file"):
        scan_video(tmp_path / "nowhere.mp4")
    path = write_film(tmp_path / "film.mp4", numbered(2))
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(BadVideo, match="may not be read"):
        scan_video(path)


def test_a_frame_that_there_is_not(tmp_path: Path) -> None:
    video = scan_video(write_film(tmp_path / "film.mp4", numbered(4)))
    for number in (-1, 4):
        with pytest.raises(UserError, match=f"frame {number} of 4"):
            read_frames(video, [0, number])


@pytest.mark.slow
def test_thirty_thousand_frames(tmp_path: Path) -> None:
    frames = np.broadcast_to(numbered(1, side=16), (30_000, 16, 16, 3))
    video = scan_video(write_film(tmp_path / "long.mp4", frames, every=100))
    assert video.frames == 30_000
    assert read_frames(video, uniform(video.frames, 8).tolist()).shape == (8, 16, 16, 3)


@given(st.integers(1, 500), st.integers(1, 64))
def test_clips_have_their_length_and_stay_inside(frames: int, count: int) -> None:
    for clip in (uniform(frames, count), dense(frames, count, 3, 2), looped(frames, count)):
        assert clip.shape == (count,)
        assert clip.min() >= 0
        assert clip.max() < frames
    if frames >= count:
        assert len(set(uniform(frames, count).tolist())) == count


def test_two_rates() -> None:
    slow, fast = two_rates(uniform(64, 32), 8)
    assert (len(slow), len(fast)) == (4, 32)
    assert slow.tolist() == fast[::8].tolist()
    with pytest.raises(UserError, match="alpha 5 does not divide a clip of 32"):
        two_rates(fast, 5)


def test_no_frames_are_refused() -> None:
    for wrong in (lambda: uniform(0, 3), lambda: uniform(3, 0), lambda: dense(3, 2, 0)):
        with pytest.raises(UserError, match="frames: "):
            wrong()
