"""Probe sets as VLMEvalKit's TSV files, and answers as its prediction files.

Source: open-compass/VLMEvalKit: `docs/en/Development.md` (fields), `vlmeval/dataset/image_base.py` (a row's image is
base64, or the index of the row that has it), `image_yorn.py` and `utils/yorn.py` (POPE: `answer` is Yes or No,
`category` the split), `image_caption.py` (`answer` is a list of captions as a literal), `smp/file.py` (names, quoting).
"""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from burnish.align.exporters.sets import Asked, Description, Pictures, check_answers, check_set, png
from burnish.align.pope import Probe
from burnish.core.errors import UserError
from burnish.core.files import write_atomic

Row = Mapping[str, str | int]


def write_pope(folder: Path, probes: Sequence[Probe], pictures: Pictures, name: str = "POPE_burnish") -> Path:
    """POPE's probes as a data set of VLMEvalKit.

    Columns: ``index`` (int), ``image`` (base64 of a PNG, or the index of an earlier row with it), ``question``,
    ``answer`` (Yes or No), ``category`` (the split).

    Args:
        folder: VLMEvalKit's ``$LMUData``, or any other.
        probes: of :func:`burnish.align.pope.pope_probes`.
        pictures: those that the probes ask about.
        name: of the data set; POPE must be in it, by which VLMEvalKit knows the score.

    Returns:
        ``folder/NAME.tsv``.

    Raises:
        UserError: a name without POPE or that is none for a file, no probes, or a picture that is not there.
    """
    if "POPE" not in name:
        raise UserError(f"name: {name!r}: VLMEvalKit scores as POPE what has POPE in its name; take POPE_{name}, say")
    check_set(name, probes, pictures)
    return _write(folder / f"{name}.tsv", [*_with_images(_pope(probes), probes, pictures)])


def write_descriptions(
    folder: Path, descriptions: Sequence[Description], pictures: Pictures, name: str = "Descriptions_burnish"
) -> Path:
    """Pictures to describe as a data set of VLMEvalKit, as its captions are.

    Columns: ``index`` (int), ``image`` (as above), ``question``, ``answer`` (the list of references, as JSON).

    Args:
        folder: VLMEvalKit's ``$LMUData``, or any other.
        descriptions: what is asked about which picture.
        pictures: those pictures.
        name: of the data set.

    Returns:
        ``folder/NAME.tsv``.

    Raises:
        UserError: a name that is none for a file, nothing to ask, or a picture that is not there.
    """
    check_set(name, descriptions, pictures)
    return _write(folder / f"{name}.tsv", _with_images(_descriptions(descriptions), descriptions, pictures))


def write_answers(folder: Path, model: str, asked: Asked, answers: Sequence[str], name: str) -> Path:
    """A model's answers as VLMEvalKit's predictions: the data set without its images, and ``prediction``.

    Args:
        folder: where it goes.
        model: what to call the model; a path's last part is taken.
        asked: the data set, as it was written.
        answers: one to each, in order.
        name: the data set's.

    Returns:
        ``folder/MODEL_NAME.tsv``, where VLMEvalKit looks with ``PRED_FORMAT=tsv``.

    Raises:
        UserError: not as many answers as questions.
    """
    check_answers(name, asked, answers)
    rows = _rows(asked)
    told = [{**row, "prediction": answer} for row, answer in zip(rows, answers, strict=True)]
    return _write(folder / f"{Path(model).name}_{name}.tsv", told)


def _rows(asked: Asked) -> list[Row]:
    probes = [each for each in asked if isinstance(each, Probe)]
    return _pope(probes) if probes else _descriptions([each for each in asked if isinstance(each, Description)])


def _pope(probes: Sequence[Probe]) -> list[Row]:
    return [
        {"index": index, "question": each.question, "answer": each.answer.capitalize(), "category": each.split}
        for index, each in enumerate(probes)
    ]


def _descriptions(descriptions: Sequence[Description]) -> list[Row]:
    return [
        {"index": index, "question": each.question, "answer": json.dumps(each.references)}
        for index, each in enumerate(descriptions)
    ]


def _with_images(rows: Sequence[Row], asked: Asked, pictures: Pictures) -> list[Row]:
    first: dict[str, int] = {}
    found: list[Row] = []
    for index, (row, each) in enumerate(zip(rows, asked, strict=True)):
        known = first.setdefault(each.image, index)
        image = base64.b64encode(png(pictures[each.image])).decode() if known == index else str(known)
        found.append({"index": index, "image": image, **row})
    return found


def _write(path: Path, rows: Sequence[Row]) -> Path:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter="\t", quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return write_atomic(path, text.getvalue())
