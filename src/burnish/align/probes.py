"""Held-out annotated pictures: what is in them, and POPE's questions about them. Knows sources and vocabularies."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from burnish.align.facts import Thing
from burnish.align.pope import Probe, pope_probes
from burnish.align.reading import Vocabulary, read
from burnish.align.recipe import ProbeSettings
from burnish.align.records import MOST_ASPECT, picture_hash
from burnish.core.errors import UserError
from burnish.dialogue.rows import MOST_PIXELS, open_picture
from burnish.dialogue.sources import rows


@dataclass(frozen=True)
class ProbePicture:
    """An annotated picture.

    Attributes:
        picture: hash of the decoded pixels, its id.
        image: its file, or the picture where the source had it opened.
        truth: what is in it, as far as the vocabulary has words for it.
        row: where it came from, for messages.
    """

    picture: str
    image: Image.Image | Path
    truth: tuple[Thing, ...]
    row: str

    def open(self, most_pixels: int = MOST_PIXELS) -> Image.Image:
        """The picture, decoded, RGB, at most so many pixels.

        Raises:
            UserError: it can no longer be read.
        """
        return open_picture(self.image, self.row, most_pixels)


@dataclass(frozen=True)
class ProbeSet:
    """Pictures on which a model is measured.

    Attributes:
        pictures: each once.
        probes: POPE's three splits of them.
    """

    pictures: tuple[ProbePicture, ...]
    probes: tuple[Probe, ...]

    @property
    def hashes(self) -> frozenset[str]:
        """Of the pictures: none of these may be trained on."""
        return frozenset(each.picture for each in self.pictures)


def read_probes(
    settings: ProbeSettings,
    vocabulary: Vocabulary,
    *,
    most_pixels: int = MOST_PIXELS,
    seed: int = 0,
    note: Callable[[str], None] = lambda _line: None,
) -> ProbeSet:
    """The pictures of a source with what is in them, and the questions about them.

    A picture that occurs again is left out, and so are objects that the vocabulary has no word for: no text could be
    read as naming them.

    Args:
        settings: the source, and how many questions a picture gets.
        vocabulary: what texts may speak of.
        most_pixels: larger pictures are shrunk to this many, as for training, so that their hashes agree.
        seed: of POPE's draws.
        note: gets a line on what was left out.

    Raises:
        UserError: no such source; a row without a picture or without a list of objects (it is named); no picture with
            an object that the vocabulary knows, or nothing to ask.
    """
    found: dict[str, ProbePicture] = {}
    again = narrow = unknown = 0
    first = ""
    root = Path(settings.source).expanduser().parent
    for where, row in rows(settings.source, "train", None):
        if not isinstance(row, Mapping):
            raise UserError(f"{where}: {row if isinstance(row, str) else 'no row of `image` and `objects`'}")
        image = _image(row, where, root)
        opened = open_picture(image, where, most_pixels)
        if max(opened.size) > MOST_ASPECT * min(opened.size):
            narrow += 1
            continue
        things = [(each, _thing(each, where, vocabulary)) for each in _objects(row, where)]
        missing = [str(each) for each, thing in things if thing is None]
        unknown, first = unknown + len(missing), first or next(iter(missing), "")
        truth = tuple(dict.fromkeys(thing for _, thing in things if thing is not None))
        picture = picture_hash(opened)
        if picture in found:
            again += 1
        else:
            kept = image if isinstance(image, Path) else opened
            found[picture] = ProbePicture(picture, kept, truth, where)
        if settings.limit is not None and len(found) >= settings.limit:
            break
    if unknown:
        note(f"probe: {unknown:,} objects that the vocabulary has no word for, the first {first}")
    if narrow:
        note(f"probe: {narrow:,} pictures are left out, over {MOST_ASPECT} times as long as wide")
    if again:
        note(f"probe: {again:,} pictures occur again and are measured once")
    if not any(each.truth for each in found.values()):
        raise UserError(
            f"probe: {settings.source}: no picture with an object that the vocabulary knows; check `vocabulary`"
        )
    labels = _labels(found.values())
    probes = pope_probes(labels, each=settings.each, seed=seed, near=_near(found.values()), template=settings.pope)
    return ProbeSet(tuple(found.values()), tuple(probes))


def _image(row: Mapping[str, Any], where: str, root: Path) -> Image.Image | Path | bytes:
    value = row.get("image")
    if isinstance(value, Mapping):  # as Parquet keeps pictures
        value = value.get("bytes") or value.get("path")
    if isinstance(value, str | Path):
        return root / value
    if isinstance(value, bytes | Image.Image):
        return value
    raise UserError(f"{where}: `image` is neither a path nor a picture")


def _objects(row: Mapping[str, Any], where: str) -> Sequence[Any]:
    objects = row.get("objects")
    if not isinstance(objects, Sequence) or isinstance(objects, str):
        raise UserError(f"{where}: `objects` is not a list of names, or of [name, attribute, ...]")
    return objects


def _thing(given: Any, where: str, vocabulary: Vocabulary) -> Thing | None:
    """An object as the vocabulary names it: read from its attributes and its name as from a text."""
    words = [given] if isinstance(given, str) else list(given) if isinstance(given, Sequence) else []
    if not words or not all(isinstance(word, str) and word.strip() for word in words):
        raise UserError(f"{where}: `objects` has {given!r}; write a name, or [name, attribute, ...]")
    name, *attributes = words
    claimed = read(" ".join([*attributes, name]), vocabulary).claimed
    return claimed[-1] if claimed else None


def _labels(pictures: Collection[ProbePicture]) -> dict[str, list[str]]:
    """What may be said of each picture: a big red circle is a red circle too, and no negative for its picture."""
    known = {thing for each in pictures for thing in each.truth}
    return {
        each.picture: sorted(str(thing) for thing in known if any(thing.facts <= own.facts for own in each.truth))
        for each in pictures
    }


def _near(pictures: Any) -> dict[str, list[str]]:
    """Of each label those of the same thing with other attributes."""
    things = {thing for each in pictures for thing in each.truth}
    return {
        str(thing): sorted(str(other) for other in things if other.entity == thing.entity and other != thing)
        for thing in things
    }
