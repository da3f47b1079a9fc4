"""Which samples a source holds, layout by layout; files are empty, nothing is opened."""

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest

from burnish.core.errors import UserError
from burnish.distill.clip_cache import cache_clips
from burnish.distill.recipe import ClipSettings, DataSettings
from burnish.distill.records import LeftOut, Samples
from burnish.distill.samples import NAMED, read_samples
from tests.distill.films import number_of, numbered, write_film


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def read(source: Path | str, **settings: object) -> Samples:
    return read_samples(DataSettings.model_validate({"source": str(source), **settings}))


def named(samples: Samples) -> list[tuple[str, str]]:
    return [(item.id, samples.labels[item.label]) for item in samples.items]


def test_class_folders(tmp_path: Path) -> None:
    touch(tmp_path / "walk" / "b.mp4", tmp_path / "walk" / "deep" / "a.AVI", tmp_path / "run" / "c.png")
    touch(tmp_path / "run" / "notes.txt", tmp_path / "run" / ".hidden.mp4", tmp_path / ".git" / "d.mp4")
    samples = read(tmp_path)
    assert samples.labels == ("run", "walk")
    assert named(samples) == [("run/c.png", "run"), ("walk/b.mp4", "walk"), ("walk/deep/a.AVI", "walk")]
    assert samples.items[0].path == tmp_path / "run" / "c.png"


def test_class_folders_of_a_split(tmp_path: Path) -> None:
    touch(tmp_path / "train" / "walk" / "a.mp4", tmp_path / "test" / "walk" / "b.mp4")
    assert named(read(tmp_path)) == [("walk/a.mp4", "walk")]
    assert named(read(tmp_path, split="test")) == [("walk/b.mp4", "walk")]


def test_a_class_that_is_called_like_the_split(tmp_path: Path) -> None:
    touch(tmp_path / "train" / "a.mp4", tmp_path / "tram" / "b.mp4")
    assert read(tmp_path).labels == ("train", "tram")


def test_an_empty_class_or_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no class folder in it"):
        read(tmp_path)
    touch(tmp_path / "run" / "a.mp4", tmp_path / "walk" / "notes.txt")
    with pytest.raises(UserError, match="walk: no video or picture in it"):
        read(tmp_path)


def bad_list(folder: Path, kind: str) -> Path:
    """Two good rows, of which one twice; one that names no file, one no class, one a file that is not there."""
    touch(folder / "films" / "a.mp4", folder / "films" / "фильм b.mp4")
    rows = [("a.mp4", "9"), ("", "9"), ("фильм b.mp4", "10"), ("a.mp4", ""), ("gone.mp4", "9"), ("a.mp4", "9")]
    path = folder / f"list.{kind}"
    if kind == "csv":
        text = "path,label\n" + "".join(f"{file},{label}\n" for file, label in rows)
    else:
        text = "".join(json.dumps({"path": file, "label": label}, ensure_ascii=False) + "\n" for file, label in rows)
    path.write_text(text, encoding="utf-8-sig" if kind == "csv" else "utf-8")
    return path


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_lists_name_their_bad_rows_and_count_them(tmp_path: Path, kind: str) -> None:
    path, notes = bad_list(tmp_path, kind), list[str]()
    samples = read_samples(DataSettings(source=str(path), root=str(tmp_path / "films")), notes.append)
    assert samples.labels == ("9", "10")  # as numbers
    assert named(samples) == [("a.mp4", "9"), ("фильм b.mp4", "10"), ("a.mp4#2", "9")]
    lines = (3, 5, 6) if kind == "csv" else (2, 4, 5)
    assert samples.left_out == (
        LeftOut(f"{path}:{lines[0]}", "no `path`"),
        LeftOut(f"{path}:{lines[1]}", "no `label`"),
        LeftOut(f"{path}:{lines[2]}", f"no such file: {tmp_path / 'films' / 'gone.mp4'}"),
    )
    assert notes[0] == f"{path}:{lines[0]}: left out: no `path`"
    assert notes[-1] == f"{path}: 3 samples; 3 left out"
    with pytest.raises(UserError, match=rf"list.{kind}:{lines[0]}: no `path`; mend it, or set data.bad_files: skip"):
        read(path, root=str(tmp_path / "films"), bad_files="fatal")


def test_rows_that_are_none(tmp_path: Path) -> None:
    touch(tmp_path / "a.mp4")
    path = tmp_path / "list.jsonl"
    good = json.dumps({"path": "a.mp4", "label": 3, "id": "first"})
    path.write_text("\n".join(["{", "[1]", "", good, json.dumps({"path": "a.mp4", "label": True}), "[" * 5000]))
    samples = read(path)
    assert named(samples) == [("first", "3")]
    assert [each.where.rpartition(":")[2] for each in samples.left_out] == ["1", "2", "5", "6"]
    path = tmp_path / "list.csv"
    path.write_text("path,label\na.mp4,x,y\na.mp4,x\n")
    assert read(path).left_out == (LeftOut(f"{path}:2", "more fields than the 2 columns"),)


def test_only_the_first_few_are_named(tmp_path: Path) -> None:
    touch(tmp_path / "a.mp4")
    path, notes = tmp_path / "list.csv", list[str]()
    path.write_text("path,label\na.mp4,x\n" + "gone.mp4,x\n" * 40)
    samples = read_samples(DataSettings(source=str(path)), notes.append)
    assert len(samples.left_out) == 40
    assert len(notes) == NAMED + 1


def test_lists_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    for content, said in (
        (b"path,lable\na.mp4,x\n", "no column `label` in its first line; did you mean `lable`?"),
        (b"path,label\n\xff\xfe,x\n", "not UTF-8 text"),
        (b"path,label\ngone.mp4,x\n", r"not one sample in it \(1 left out; the first: .*list.csv:2: no such file"),
        (b"", "no column `path`"),
    ):
        path.write_bytes(content)
        with pytest.raises(UserError, match=said):
            read(path)
    with pytest.raises(UserError, match="not a list of files"):
        read(Path(__file__))


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    """Opened, it would never end."""
    os.mkfifo(tmp_path / "pipe.mp4")
    path = tmp_path / "list.csv"
    touch(tmp_path / "a.mp4")
    path.write_text("path,label\npipe.mp4,x\na.mp4,x\n" + "n" * 5000 + ".mp4,x\n")
    samples = read(path)
    assert [item.id for item in samples.items] == ["a.mp4"]
    assert "no such file" in samples.left_out[0].why
    assert "File name too long" in samples.left_out[1].why


def ucf(folder: Path) -> Path:
    lists = folder / "ucfTrainTestlist"
    touch(
        lists / "x",
        folder / "UCF-101" / "Zip" / "v_Zip_g08_c01.avi",
        folder / "UCF-101" / "Bowl" / "v_Bowl_g01_c01.avi",
    )
    touch(folder / "UCF-101" / "Zip" / "v_Zip_g01_c01.avi")
    (lists / "classInd.txt").write_text("1 Zip\n2 Bowl\n")
    (lists / "trainlist01.txt").write_text(
        "Zip/v_Zip_g08_c01.avi 1\r\nBowl/v_Bowl_g01_c01.avi 2\r\nBowl/v_Bowl_g01_c01.avi 1\r\nSwim/v.avi 3\r\n"
    )
    (lists / "testlist01.txt").write_text("Zip/v_Zip_g01_c01.avi\n")
    return folder


def test_ucf101(tmp_path: Path) -> None:
    samples = read(ucf(tmp_path))
    assert samples.labels == ("Zip", "Bowl")  # in the order of classInd.txt
    assert named(samples) == [("Zip/v_Zip_g08_c01.avi", "Zip"), ("Bowl/v_Bowl_g01_c01.avi", "Bowl")]
    assert [each.why for each in samples.left_out] == [
        "class `Bowl` has number 2 in classInd.txt, not 1",
        "class `Swim` is not in classInd.txt",
    ]
    assert read(tmp_path, split="train01") == samples
    assert named(read(tmp_path / "ucfTrainTestlist", split="test01", root=str(tmp_path / "UCF-101"))) == [
        ("Zip/v_Zip_g01_c01.avi", "Zip")
    ]
    with pytest.raises(UserError, match=r"trainlist04.txt: no such list of UCF101; data.split: did you mean `train01`"):
        read(tmp_path, split="train04")


def test_kinetics(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text(
        "label,youtube_id,time_start,time_end,split\n"
        "air drumming,-0a,1,11,train\nair drumming,bbb,20,30,train\nwaving hand,ccc,3,13,train\n"
        "waving hand,ddd,no,13,train\nwaving hand,eee,3,13,train\n,fff,1,11,train\n"
    )
    touch(tmp_path / "train" / "-0a_000001_000011.mp4", tmp_path / "air_drumming" / "bbb_000020_000030.mp4")
    touch(tmp_path / "train" / "waving hand" / "ccc_000003_000013.mp4")
    samples = read(tmp_path)
    assert samples.labels == ("air drumming", "waving hand")
    assert named(samples) == [
        ("-0a_000001_000011", "air drumming"),
        ("bbb_000020_000030", "air drumming"),
        ("ccc_000003_000013", "waving hand"),
    ]
    assert [each.why.partition(":")[0] for each in samples.left_out] == [
        "time_start and time_end are no seconds",
        "no such file",
        "no label",
    ]
    assert read(tmp_path / "train.csv") == samples
    with pytest.raises(UserError, match=r"no list test.csv with the columns label, youtube_id"):
        read(tmp_path, layout="kinetics", split="test")


def test_a_limit_takes_in_turn_from_each_class(tmp_path: Path) -> None:
    touch(*(tmp_path / name / f"{number}.mp4" for name in ("a", "b", "c") for number in range(5)))
    samples = read(tmp_path, limit=4)
    assert [item.id for item in samples.items] == ["a/0.mp4", "a/1.mp4", "b/0.mp4", "c/0.mp4"]
    assert samples.labels == ("a", "b", "c")


def test_a_data_set_as_the_hub_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    from PIL import Image

    monkeypatch.setenv("BURNISH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hub")
    encoded = []
    for level in (0, 99, 200):
        held = io.BytesIO()
        Image.fromarray(np.full((4, 4, 3), level, np.uint8)).save(held, "PNG")
        encoded.append({"bytes": held.getvalue(), "path": None})
    table = datasets.Dataset.from_dict(
        {"number": [0, 1, 2], "image": encoded, "label": [1, 0, -1]},
        features=datasets.Features(
            {
                "number": datasets.Value("int64"),
                "image": datasets.Image(),
                "label": datasets.ClassLabel(names=["dog", "cat"]),
            }
        ),
    )
    (tmp_path / "set" / "data").mkdir(parents=True)
    table.to_parquet(tmp_path / "set" / "data" / "train-00000-of-00001.parquet")
    samples = read(tmp_path / "set")
    assert samples.labels == ("dog", "cat")
    assert [item.label for item in samples.items] == [1, 0]
    assert samples.items[1].path.read_bytes() == encoded[1]["bytes"]
    assert [each.why for each in samples.left_out] == ["no class in `label`"]
    assert len(read(tmp_path / "set", limit=1).items) == 1
    with pytest.raises(UserError, match="no data set of that name can be loaded"):
        read("nobody/nothing")


def test_videos_of_a_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setenv("BURNISH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hub")
    film = write_film(tmp_path / "film.mp4", numbered(3))
    features = datasets.Features({"clip": datasets.Video(), "label": datasets.Value("string")})
    rows = {"clip": [{"bytes": film.read_bytes(), "path": None}, None], "label": ["walk", "run"]}
    (tmp_path / "set").mkdir()
    datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "set" / "test.parquet")
    samples = read(tmp_path / "set", split="test")
    assert samples.labels == ("walk",)
    assert samples.items[0].path.read_bytes() == film.read_bytes()
    assert [each.why for each in samples.left_out] == ["nothing in `clip`"]
    clips = cache_clips(samples, ClipSettings(frames=3, size=(16, 16)), tmp_path / "clips")
    assert [number_of(frame) for frame in clips.pixels[0]] == [0, 1, 2]


def test_rows_of_a_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_films.py").write_text(
        "def rows():\n"
        "    yield {'path': 'a.mp4', 'label': 'x'}\n    yield 7\n    yield {'path': 'a.mp4', 'label': 'y'}\n"
        "def broken():\n    yield {'path': 'a.mp4', 'label': 'x'}\n    raise KeyError('dough')\n"
    )
    touch(tmp_path / "a.mp4")
    monkeypatch.chdir(tmp_path)
    samples = read("my_films:rows", root=str(tmp_path))
    assert named(samples) == [("a.mp4", "x"), ("a.mp4#2", "y")]
    assert samples.left_out == (LeftOut("my_films:rows:1", "int, not a mapping with `path` and `label`"),)
    with pytest.raises(UserError, match=r"my_films:broken raised KeyError: 'dough' \(\S+.py:\d+\)"):
        read("my_films:broken")


def test_nothing_of_that_name(tmp_path: Path) -> None:
    for source, said in (
        (tmp_path / "no" / "such", "no such file or folder"),
        ("x\0", "no such file or folder|not a path"),
    ):
        with pytest.raises(UserError, match=said):
            read(source)
    with pytest.raises(UserError, match=r"data.root: .*: no such folder"):
        read(tmp_path, root=str(tmp_path / "nowhere"))
