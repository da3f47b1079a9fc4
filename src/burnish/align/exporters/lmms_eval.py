"""Probe sets as data sets and tasks of lmms-eval, and answers as its logs.

A task takes lmms-eval's own one as its template, scorer included: put its YAML beside that one. The data set is a
folder that ``datasets.load_dataset`` reads, so nothing needs the network.

Source: EvolvingLMMs-Lab/lmms-eval: `docs/task_guide.md` (tasks, templates), `lmms_eval/tasks/pope` and `coco_cap` (the
columns that are read, and how an answer is scored), `lmms_eval/loggers/evaluation_tracker.py` (samples),
`lmms_eval/models/simple/from_log.py` (answers scored again); columns and types of POPE: the data set lmms-lab/POPE.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from burnish.align.exporters.sets import Asked, Description, Pictures, check_answers, check_set, png
from burnish.align.pope import SPLITS, Probe
from burnish.align.store import datasets_library
from burnish.core.files import folder_atomic, write_atomic
from burnish.core.streams import batched

POPE_METRICS = ("pope_accuracy", "pope_precision", "pope_recall", "pope_f1_score", "pope_yes_ratio")
CAPTION_METRICS = ("Bleu_4", "Bleu_3", "Bleu_2", "Bleu_1", "METEOR", "ROUGE_L", "CIDEr")
AT_ONCE = 64
"""Rows of a parquet file that are in memory together."""


def write_pope(folder: Path, probes: Sequence[Probe], pictures: Pictures, name: str = "burnish_pope") -> Path:
    """POPE's probes as a data set with the columns of lmms-lab/POPE, and as tasks like lmms-eval's ``pope``.

    Columns: ``id``, ``question_id``, ``question``, ``answer`` (yes or no), ``image_source`` (the picture's id),
    ``image``, ``category`` (the split). Configuration ``default`` has one part, ``test``; ``Full`` has one a split.

    Args:
        folder: where the folder NAME goes; one of that name is replaced.
        probes: of :func:`burnish.align.pope.pope_probes`.
        pictures: those that the probes ask about.
        name: of the data set and the tasks.

    Returns:
        ``folder/NAME``: the data set, with the tasks (``NAME.yaml``, ``NAME_random.yaml``, ...) in its ``tasks``.

    Raises:
        UserError: a name that is none for a file, no probes, a picture that is not there, or the package ``datasets``
            is not installed.
    """
    check_set(name, probes, pictures)
    datasets = datasets_library()
    text = datasets.Value("string")
    features = datasets.Features(
        {
            "id": text,
            "question_id": text,
            "question": text,
            "answer": text,
            "image_source": text,
            "image": datasets.Image(),
            "category": text,
        }
    )
    docs = _pope_docs(probes)
    asked = {probe.split for probe in probes}
    splits = [split for split in SPLITS if split in asked]
    final = (folder / name).resolve()
    with folder_atomic(final) as work:
        for split in splits:
            _write_parquet(
                work / "data" / f"{split}.parquet",
                _with_images([doc for doc in docs if doc["category"] == split], pictures),
                features,
            )
        files: dict[str, Any] = {split: f"data/{split}.parquet" for split in splits}
        _write_card(work, name, {"default": {"test": list(files.values())}, "Full": files})
        _write_task(work, final, name, "pope.yaml", None, "test")
        for split in splits:
            _write_task(work, final, f"{name}_{split}", "pope.yaml", "Full", split)
    return final


def write_descriptions(
    folder: Path, descriptions: Sequence[Description], pictures: Pictures, name: str = "burnish_descriptions"
) -> Path:
    """Pictures to describe as a data set with the columns that lmms-eval's ``coco_cap`` reads, and as a task like it.

    Columns: ``question_id`` (NAME_NUMBER.png), ``id`` (the number), ``question``, ``answer`` (the references),
    ``image_source`` (the picture's id), ``image``. That task asks for a caption of one sentence in words of its own; to
    have ``question`` asked, give the task a ``doc_to_text: question``, as the one written here does.

    Args:
        folder: where the folder NAME goes; one of that name is replaced.
        descriptions: what is asked about which picture.
        pictures: those pictures.
        name: of the data set and the task.

    Returns:
        ``folder/NAME``: the data set, with the task ``NAME.yaml`` in its ``tasks``.

    Raises:
        UserError: a name that is none for a file, nothing to ask, a picture that is not there, or the package
            ``datasets`` is not installed.
    """
    check_set(name, descriptions, pictures)
    datasets = datasets_library()
    text = datasets.Value("string")
    features = datasets.Features(
        {
            "question_id": text,
            "id": datasets.Value("int64"),
            "question": text,
            "answer": datasets.List(text),
            "image_source": text,
            "image": datasets.Image(),
        }
    )
    final = (folder / name).resolve()
    with folder_atomic(final) as work:
        rows = _with_images(_description_docs(descriptions, name), pictures)
        _write_parquet(work / "data" / "test.parquet", rows, features)
        _write_card(work, name, {"default": {"test": "data/test.parquet"}})
        _write_task(work, final, name, "coco2017_cap_val.yaml", None, "test", {"doc_to_text": "question"})
    return final


def write_answers(folder: Path, model: str, asked: Asked, answers: Sequence[str], name: str) -> list[Path]:
    """A model's answers as lmms-eval logs them.

    Args:
        folder: where they go.
        model: what to call the model; a path's last part is taken.
        asked: the data set, as it was written.
        answers: one to each, in order.
        name: the task's.

    Returns:
        ``MODEL/DATE_samples_NAME.jsonl``, a line an answer; and ``MODEL/NAME.json``, which ``lmms_eval --model from_log
        --model_args logs=FOLDER --tasks NAME`` scores again without any model.

    Raises:
        UserError: not as many answers as questions.
    """
    check_answers(name, asked, answers)
    now, called = datetime.now().astimezone(), Path(model).name
    told = sorted(zip(asked, answers, strict=True), key=lambda pair: _split_number(pair[0]))
    answers = [answer for _, answer in told]
    pope = [each for each, _ in told if isinstance(each, Probe)]
    docs = _pope_docs(pope) or _description_docs([each for each, _ in told if isinstance(each, Description)], name)
    lines = [_sample(number, doc, answer) for number, (doc, answer) in enumerate(zip(docs, answers, strict=True))]
    samples = folder / called / f"{now:%Y%m%d_%H%M%S}_samples_{name}.jsonl"
    write_atomic(samples, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    log = {
        "args": {"model": called, "model_args": f"pretrained={model}", "tasks": name, "limit": None},
        "model_configs": {"task": name},
        "logs": [{"doc_id": number, "resps": [[answer]]} for number, answer in enumerate(answers)],
        "time": f"{now:%m%d_%H%M}",
    }
    return [samples, write_atomic(folder / called / f"{name}.json", json.dumps(log, ensure_ascii=False, indent=1))]


def _split_number(asked: Probe | Description) -> int:
    """The files of the splits follow each other in this order, and so must what is said of their rows."""
    return SPLITS.index(asked.split) if isinstance(asked, Probe) else 0


def _pope_docs(probes: Sequence[Probe]) -> list[dict[str, Any]]:
    return [
        {
            "id": str(number),
            "question_id": str(number),
            "question": probe.question,
            "answer": probe.answer,
            "image_source": probe.image,
            "category": probe.split,
        }
        for number, probe in enumerate(sorted(probes, key=_split_number))
    ]


def _description_docs(descriptions: Sequence[Description], name: str) -> list[dict[str, Any]]:
    return [
        {
            "question_id": f"{name}_{number:012d}.png",
            "id": number,
            "question": each.question,
            "answer": list(each.references),
            "image_source": each.image,
        }
        for number, each in enumerate(descriptions)
    ]


def _sample(number: int, doc: Mapping[str, Any], answer: str) -> dict[str, Any]:
    """One line of a samples file: an answer with what lmms-eval's scorer makes of it."""
    if "category" in doc:
        said = answer.lower().strip()
        score = {
            "question_id": doc["question_id"],
            "score": float(said == doc["answer"]),
            "prediction": said,
            "ground_truth": doc["answer"],
        }
        metrics = dict.fromkeys(POPE_METRICS, score)
    else:
        caption = {"answer": doc["answer"], "pred": answer, "image_id": doc["id"], "id": doc["id"]}
        metrics = {f"coco_{metric}": caption for metric in CAPTION_METRICS}
    return {
        "doc_id": number,
        "target": str(doc["answer"]),
        "filtered_resps": [answer],
        "doc_hash": hashlib.sha256(json.dumps(doc, indent=2, ensure_ascii=False).encode()).hexdigest(),
        **metrics,
        "input": doc["question"],
    }


def _with_images(docs: Iterable[Mapping[str, Any]], pictures: Pictures) -> Iterator[dict[str, Any]]:
    encoded: tuple[str, bytes] = ("", b"")  # what is asked about one picture stands together
    for doc in docs:
        image = doc["image_source"]
        if encoded[0] != image:
            encoded = image, png(pictures[image])
        yield {**doc, "image": {"bytes": encoded[1], "path": f"{image}.png"}}


def _write_parquet(path: Path, rows: Iterable[dict[str, Any]], features: Any) -> None:
    """Rows as a file that ``datasets`` reads with these features: they stand in its schema."""
    import pyarrow
    from pyarrow import parquet

    path.parent.mkdir(exist_ok=True)
    schema = features.arrow_schema
    with parquet.ParquetWriter(path, schema) as writer:
        for some in batched(rows, AT_ONCE):
            writer.write_batch(pyarrow.RecordBatch.from_pylist(some, schema=schema))


def _write_card(folder: Path, name: str, configurations: Mapping[str, Mapping[str, Any]]) -> None:
    """The data set's card, whose head says which file is which split."""
    configs = [
        {"config_name": config, "data_files": [{"split": split, "path": path} for split, path in files.items()]}
        for config, files in configurations.items()
    ]
    head = yaml.safe_dump({"configs": configs}, sort_keys=False)
    (folder / "README.md").write_text(f"---\n{head}---\n\n# {name}\n\nA probe set, written by Burnish.\n", "utf-8")


def _write_task(
    work: Path,
    final: Path,
    task: str,
    template: str,
    configuration: str | None,
    split: str,
    more: Mapping[str, str] | None = None,
) -> None:
    settings = {
        "include": template,
        "task": task,
        "dataset_path": str(final),
        "dataset_name": configuration,
        "dataset_kwargs": None,  # the template's ask for a token of the hub
        "test_split": split,
        **(more or {}),
    }
    (work / "tasks").mkdir(exist_ok=True)
    (work / "tasks" / f"{task}.yaml").write_text(yaml.safe_dump(settings, sort_keys=False), "utf-8")
