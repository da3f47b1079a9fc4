"""Training data in the layouts in which they are published, as rows of a source: shards of tar files (WebDataset),
Visual Genome's regions, RichHF-18K's heat-maps.

Pictures stay where they are and are opened when they are needed; a tar file is listed once, and each of its pictures is
then read from its place there. Knows files, no model.
"""

from __future__ import annotations

import io
import json
import struct
import tarfile
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from burnish.core.errors import UserError
from burnish.core.files import read_json
from burnish.generate.picture_files import Packed
from burnish.generate.plan import Element, Plan, Wording, problems

Row = tuple[str, Mapping[str, Any], Path]
"""Where it stands, what it says, and the folder that its files are relative to."""
PICTURES = ("png", "jpg", "jpeg", "webp")
REGIONS = "region_descriptions.json"
HEAT_SIDE = 64
"""Heat-maps of 512 x 512 are kept as the highest of each 8 x 8: as fine as patches, and 64 times smaller."""


def published_rows(path: Path, pictures: Path | None, wording: Wording) -> Iterator[Row] | None:
    """The rows of a source that is in one of these layouts; none for one that is not.

    Args:
        path: a shard, a folder of shards or of Visual Genome's list, or RichHF-18K's records.
        pictures: the folder of their pictures; none: that of the list.
        wording: of the plans that are made.
    """
    if (path / REGIONS).is_file():
        return genome_rows(path, pictures or path, wording)
    if path.is_file() and ".tfrecord" in path.suffixes:
        return feedback_rows(path, pictures or path.parent)
    shards = sorted(path.glob("*.tar")) if path.is_dir() else [path] * (path.is_file() and path.suffix == ".tar")
    return chain.from_iterable(map(shard_rows, shards)) if shards else None


def shard_rows(shard: Path) -> Iterator[Row]:
    """The samples of a WebDataset shard: files of one name up to its first dot, which lie one after another.

    ``png``, ``jpg``, ``jpeg`` or ``webp`` is the picture; ``txt`` or ``caption`` the prompt; ``json`` holds further
    columns (of those that a list of rows may have). A sample without a picture has none here either, so it is named
    when it is used.

    Raises:
        UserError: no tar file, a packed one (its pictures cannot be found by their place), or JSON that is none.
    """
    try:
        with tarfile.open(shard, "r:") as archive:
            key, row = "", dict[str, Any]()
            for member in archive:
                if not member.isfile():
                    continue
                folder, _, name = member.name.rpartition("/")
                stem, _, kind = name.partition(".")
                if f"{folder}/{stem}" != key:
                    if row:
                        yield f"{shard}: {key.lstrip('/')}:", row, shard.parent
                    key, row = f"{folder}/{stem}", {}
                row |= _member(archive, member, kind.lower(), shard)
            if row:
                yield f"{shard}: {key.lstrip('/')}:", row, shard.parent
    except (tarfile.TarError, OSError) as error:
        raise UserError(f"{shard}: not a tar file that can be read ({error}); shards are not packed") from None


def _member(archive: tarfile.TarFile, member: tarfile.TarInfo, kind: str, shard: Path) -> dict[str, Any]:
    if kind in PICTURES:
        return {"image": Packed(shard, member.offset_data, member.size, member.name)}
    if kind not in ("txt", "caption", "json"):
        return {}
    file = archive.extractfile(member)
    assert file is not None  # a plain file
    try:
        text = file.read().decode("utf-8")
        said = json.loads(text) if kind == "json" else {"prompt": text.strip()}
    except ValueError as error:
        raise UserError(f"{shard}: {member.name}: cannot be read ({error})") from None
    if not isinstance(said, dict):
        raise UserError(f"{shard}: {member.name}: not a JSON object; a row's columns are one")
    return said


def genome_rows(folder: Path, pictures: Path, wording: Wording) -> Iterator[Row]:
    """Visual Genome's pictures, each with a plan of its regions (``region_descriptions.json``).

    The plan has the largest regions that go together in one (no two in one place, none that the wording cannot say);
    the prompt is their phrases. A picture without any such region is left out.

    Args:
        folder: of the list.
        pictures: holds ``1.jpg`` and so on, itself or in folders such as ``VG_100K``.
        wording: of the plans.

    Raises:
        UserError: the list is none of Visual Genome's, or a picture is missing.
    """
    from PIL import Image

    listed = read_json(folder / REGIONS)
    found = {path.stem: path for pattern in ("*.jpg", "*/*.jpg") for path in sorted(pictures.glob(pattern))}
    for number, entry in enumerate(listed if isinstance(listed, list) else [None], 1):
        where = f"{folder / REGIONS} entry {number}:"
        try:
            name, regions = str(entry.get("id", entry.get("image_id"))), entry["regions"]
            sized = sorted(regions, key=lambda region: -region["width"] * region["height"])
        except (AttributeError, KeyError, TypeError):
            raise UserError(f"{where} not Visual Genome's (an object with `id` and `regions`)") from None
        if name not in found:
            raise UserError(f"{where} no picture {name}.jpg in {pictures} or its folders; set data.pictures")
        with Image.open(found[name]) as file:  # its head alone
            plan = _plan_of(sized, file.size, wording)
        if plan.elements:
            prompt = ", ".join(element.name for element in plan.elements)
            yield where, {"image": str(found[name]), "prompt": prompt, "objects": plan.to_rows()}, Path()


def _plan_of(regions: list[Mapping[str, Any]], size: tuple[int, int], wording: Wording) -> Plan:
    """The first regions that make a valid plan together."""
    elements: list[Element] = []
    for region in regions:
        left, top = (max(0.0, region[side] / whole) for side, whole in zip("xy", size, strict=True))
        right, bottom = (
            min(1.0, (region[side] + region[length]) / whole)
            for side, length, whole in zip("xy", ("width", "height"), size, strict=True)
        )
        phrase = " ".join(str(region["phrase"]).lower().split()).rstrip(" .")
        more = [*elements, Element(phrase, box=(left, top, right, bottom))]
        if not problems(Plan(tuple(more)), wording):
            elements = more
    return Plan(tuple(elements))


def feedback_rows(records: Path, pictures: Path) -> Iterator[Row]:
    """RichHF-18K's records (``train.tfrecord``), each with its artifact map as heat.

    The records hold no picture and no prompt, only the name of one of Pick-a-Pic's files.

    Args:
        records: the file.
        pictures: holds, for a record of ``train/NAME.png``, ``NAME.png`` and ``NAME.txt`` with its prompt.

    Raises:
        UserError: records that are none of RichHF-18K's or are cut off, or a picture or prompt that is missing.
    """
    for number, example in enumerate(_examples(records), 1):
        where = f"{records} record {number}:"
        features = example.features.feature
        try:
            name = Path(features["filename"].bytes_list.value[0].decode("utf-8"))
            heat = _heat(features["artifact_map"].bytes_list.value[0])
        except (IndexError, ValueError, OSError) as error:
            raise UserError(f"{where} not RichHF-18K's (`filename` and `artifact_map`: {error})") from None
        told = pictures / f"{name.stem}.txt"
        if not told.is_file():
            raise UserError(f"{where} no prompt {told}; take picture and prompt from Pick-a-Pic, set data.pictures")
        prompt = told.read_text(encoding="utf-8").strip()
        yield where, {"image": f"{name.stem}.png", "prompt": prompt, "heat": heat}, pictures


def _heat(data: bytes) -> Float32[np.ndarray, "rows columns"]:
    from PIL import Image

    with Image.open(io.BytesIO(data)) as file:
        levels: UInt8[np.ndarray, "rows columns"] = np.asarray(file.convert("L"))
    step = max(1, min(levels.shape) // HEAT_SIDE)
    rows, columns = (side // step for side in levels.shape)
    whole = levels[: rows * step, : columns * step].reshape(rows, step, columns, step)
    return np.asarray(whole.max((1, 3)) / 255, dtype=np.float32)


def _examples(records: Path) -> Iterator[Any]:
    """The ``tf.train.Example`` of each record: its length, a checksum, itself, a checksum."""
    from google.protobuf.message import DecodeError

    with records.open("rb") as file:
        while head := file.read(12):
            length = struct.unpack("<Q", head[:8])[0] if len(head) == 12 else 0
            body = file.read(length + 4)
            if len(head) < 12 or len(body) < length + 4:
                raise UserError(f"{records}: is cut off; copy it again")
            try:
                yield example_class().FromString(body[:-4])
            except DecodeError as error:
                raise UserError(f"{records}: not a file of tf.train.Example records ({error})") from None


@cache
def example_class() -> Any:
    """TensorFlow's ``tf.train.Example``, from its published definition; so nobody needs TensorFlow to read one."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="burnish/example.proto", package="burnish.tf", syntax="proto3")

    def message(name: str, *fields: tuple[str, int, int, str, bool]) -> Any:
        found = file.message_type.add(name=name)
        for title, number, kind, of, many in fields:
            label = field.LABEL_REPEATED if many else field.LABEL_OPTIONAL
            new = found.field.add(name=title, number=number, type=kind, label=label)
            if of:
                new.type_name = f".burnish.tf.{of}"
        return found

    message("BytesList", ("value", 1, field.TYPE_BYTES, "", True))
    message("FloatList", ("value", 1, field.TYPE_FLOAT, "", True))
    message("Int64List", ("value", 1, field.TYPE_INT64, "", True))
    lists = [
        (f"{name.lower()}_list", number, f"{name}List") for number, name in enumerate(("Bytes", "Float", "Int64"), 1)
    ]
    message("Feature", *((title, number, field.TYPE_MESSAGE, of, False) for title, number, of in lists))
    features = message("Features", ("feature", 1, field.TYPE_MESSAGE, "Features.FeatureEntry", True))
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    entry.field.add(
        name="value", number=2, type=field.TYPE_MESSAGE, label=field.LABEL_OPTIONAL, type_name=".burnish.tf.Feature"
    )
    message("Example", ("features", 1, field.TYPE_MESSAGE, "Features", False))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("burnish.tf.Example"))
