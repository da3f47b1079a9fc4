"""Training data in published layouts, made by hand: tar shards, Visual Genome's regions, RichHF-18K's records."""

import io
import json
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from burnish.core.errors import UserError
from burnish.generate.plan import Wording
from burnish.generate.recipe import SourceSettings
from burnish.generate.training.layouts import HEAT_SIDE, example_class
from burnish.generate.training.samples import Sample, read_samples

WORDING = Wording(most=3)
SIZE = (8, 8)


def read(source: Path, **settings: object) -> list[Sample]:
    return read_samples(SourceSettings.model_validate({"source": str(source), **settings}), WORDING, SIZE)


def png(level: int, size: tuple[int, int] = SIZE) -> bytes:
    memory = io.BytesIO()
    Image.fromarray(np.full((*size, 3), level, dtype=np.uint8)).save(memory, "PNG")
    return memory.getvalue()


def shard(path: Path, files: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def test_shards_are_read_in_order_and_their_pictures_where_they_lie(tmp_path: Path) -> None:
    more = json.dumps({"objects": [{"name": "cat", "box": [0, 0, 0.5, 1]}], "caption": "a cat"}).encode()
    shard(tmp_path / "b.tar", {"x.jpg": png(30), "x.txt": b"third\n"})
    shard(tmp_path / "a.tar", {
        "one/0.png": png(10), "one/0.txt": b"first", "one/0.json": more, "one/0.cls": b"7",
        "two/0.txt": b"second", "two/0.png": png(20),
    })  # fmt: skip
    found = read(tmp_path)
    assert [sample.prompt for sample in found] == ["first", "second", "third"]
    assert [int(sample.picture(SIZE)[0, 0, 0]) for sample in found] == [10, 20, 30]
    assert found[0].plan is not None
    assert found[0].plan.elements[0].name == "cat"
    assert found[0].caption == "a cat"
    assert [sample.prompt for sample in read(tmp_path / "b.tar")] == ["third"]


def test_what_is_wrong_with_a_shard_is_named(tmp_path: Path) -> None:
    shard(tmp_path / "packed.tar", {"0.png": png(1)}, "w:gz")
    with pytest.raises(UserError, match=r"packed\.tar: not a tar file that can be read .*shards are not packed"):
        read(tmp_path / "packed.tar")
    shard(tmp_path / "broken.tar", {"0.png": png(1)[:20], "0.txt": b"a cat"})
    (sample,) = read(tmp_path / "broken.tar")
    with pytest.raises(UserError, match=r"broken\.tar: 0\.png: not a picture that can be read"):
        sample.picture(SIZE)
    shard(tmp_path / "alone.tar", {"0.txt": b"a cat"})
    with pytest.raises(UserError, match=r"alone\.tar: 0:.*no picture; .*mend the row, or set bad_files: skip"):
        read(tmp_path / "alone.tar")
    shard(tmp_path / "json.tar", {"0.png": png(1), "0.json": b"[1]"})
    with pytest.raises(UserError, match=r"json\.tar: 0\.json: not a JSON object"):
        read(tmp_path / "json.tar")


def region(phrase: str, x: int, y: int, width: int, height: int) -> dict[str, object]:
    return {"region_id": 1, "image_id": 1, "phrase": phrase, "x": x, "y": y, "width": width, "height": height}


def test_visual_genome_s_regions_become_a_plan(tmp_path: Path) -> None:
    regions = [
        region("A small dog.", 0, 0, 4, 4),
        region("the street", 0, 5, 30, 5),  # reaches beyond the picture
        region("a street scene", 0, 5, 20, 5),  # in the same place as the one above
        region("a tree", 12, 0, 4, 4),
        region("a cloud", 18, 0, 1, 1),  # a fourth; plans have three
    ]
    (tmp_path / "region_descriptions.json").write_text(
        json.dumps([{"id": 1, "regions": regions}, {"id": 2, "regions": []}])
    )
    for number in (1, 2):
        (tmp_path / "VG_100K").mkdir(exist_ok=True)
        Image.fromarray(np.zeros((10, 20, 3), dtype=np.uint8)).save(tmp_path / "VG_100K" / f"{number}.jpg")
    (sample,) = read(tmp_path)
    assert sample.prompt == "the street, a small dog, a tree"
    assert sample.plan is not None
    assert [element.box for element in sample.plan.elements] == [
        (0.0, 0.5, 1.0, 1.0), (0.0, 0.0, 0.2, 0.4), (0.6, 0.0, 0.8, 0.4),
    ]  # fmt: skip
    assert sample.picture(SIZE).shape == (8, 8, 3)
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(
        UserError, match=r"entry 1: no picture 1\.jpg in .*elsewhere or its folders; set data\.pictures"
    ):
        read(tmp_path, pictures=str(tmp_path / "elsewhere"))
    (tmp_path / "region_descriptions.json").write_text('{"regions": []}')
    with pytest.raises(UserError, match="entry 1: not Visual Genome's"):
        read(tmp_path)


def record(name: str, heat: np.ndarray) -> bytes:
    memory = io.BytesIO()
    Image.fromarray(heat).save(memory, "PNG")
    example = example_class()()
    example.features.feature["filename"].bytes_list.value.append(name.encode())
    example.features.feature["artifact_map"].bytes_list.value.append(memory.getvalue())
    example.features.feature["artifact_score"].float_list.value.append(0.25)
    body = example.SerializeToString()
    return struct.pack("<QI", len(body), 0) + body + struct.pack("<I", 0)


def test_richhf_s_artifact_maps_become_heat(tmp_path: Path) -> None:
    heat = np.zeros((512, 512), dtype=np.uint8)
    heat[500, 3] = 255
    (tmp_path / "train.tfrecord").write_bytes(record("train/abc.png", heat) + record("train/def.png", 0 * heat))
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name in ("abc", "def"):
        (pictures / f"{name}.png").write_bytes(png(50))
        (pictures / f"{name}.txt").write_text(f"a prompt of {name}\n")
    one, two = read(tmp_path / "train.tfrecord", pictures=str(pictures))
    assert one.prompt == "a prompt of abc"
    assert one.heat is not None
    assert two.heat is not None
    assert one.heat.shape == (HEAT_SIDE, HEAT_SIDE)
    assert np.argwhere(one.heat).tolist() == [[62, 0]]
    assert not two.heat.any()
    assert one.picture(SIZE)[0, 0, 0] == 50
    with pytest.raises(UserError, match=r"record 1: no prompt .*abc\.txt; take picture and prompt from Pick-a-Pic"):
        read(tmp_path / "train.tfrecord")


def test_records_that_are_none_are_named(tmp_path: Path) -> None:
    path = tmp_path / "train.tfrecord"
    whole = record("train/abc.png", np.zeros((64, 64), dtype=np.uint8))
    for data, said in (
        (whole[:-9], "is cut off; copy it again"),
        (struct.pack("<QI", 3, 0) + b"\xff\xff\xff" + bytes(4), "not a file of tf.train.Example records"),
        (struct.pack("<QI", 0, 0) + bytes(4), "record 1: not RichHF-18K's"),
    ):
        path.write_bytes(data)
        with pytest.raises(UserError, match=said):
            read(path)
