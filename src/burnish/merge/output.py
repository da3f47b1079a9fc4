"""The output folder: built under a temporary sibling name, complete when it is renamed. Knows files, no arithmetic."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from burnish.core.errors import UserError
from burnish.core.files import explained, fsync_folder, read_json
from burnish.core.metrics import Progress
from burnish.merge.card import card, record
from burnish.merge.journal import NAME as JOURNAL
from burnish.merge.journal import Journal
from burnish.merge.model_config import merged_config
from burnish.merge.planning import MergePlan
from burnish.merge.tokenizer import STALE, chat_template, set_template, write_tokenizer

RECORD = "burnish_merge.json"
_UNITS = {"": 1, "B": 1, "K": 1000, "M": 1000**2, "G": 1000**3, "T": 1000**4}
# What makes a model usable beside weights and config. Code (*.py) is never taken along: nothing here would run it.
_COMPANIONS = (
    "tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt", "*.model", "chat_template.*",
    "generation_config.json", "*processor_config.json", "additional_chat_templates/*",
)  # fmt: skip


def parse_size(text: str | int) -> int:
    """Bytes from `5GB`, `500MB`, `2GiB`, mergekit's `5B` (billions), or a number.

    Raises:
        UserError: not a size, or not above zero.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(I?)(B?)", str(text).strip().upper())
    if not match or float(match[1]) <= 0:
        raise UserError(f"shard_size: {text!r} is no size; write for example 5GB or 500MB")
    if match[4] and not match[2]:
        return int(float(match[1]) * 1000**3)
    power = " KMGT".index(match[2] or " ")
    return max(1, int(float(match[1]) * (1024**power if match[3] else _UNITS[match[2]])))


def worker_count(threads: int | None) -> int:
    """The workers asked for, or as many as this process may use cores.

    Raises:
        UserError: fewer than one.
    """
    if threads is None:
        return min(len(os.sched_getaffinity(0)), 8)
    if threads < 1:
        raise UserError(f"threads: {threads} workers cannot merge; give 1 or more")
    return threads


def write_merge(plan: MergePlan, out: Path, *, device: str, allow_nan: bool, fresh: bool, progress: bool) -> Path:
    """Execute a plan into `out`.

    Raises:
        UserError: `out` is in use, or holds something else; NaN; a device that is not there.
        BurnishError: the disk is full or fails.
    """
    out = out.expanduser().absolute()
    if _finished(plan, out, fresh):
        return out
    template = chat_template(plan.config, [checkpoint.folder for checkpoint in plan.checkpoints])
    work = out.parent / f".{out.name}.merging"
    if fresh:
        shutil.rmtree(work, ignore_errors=True)
    _check_device(device)
    from burnish.merge.engine import Engine

    with explained(out):
        journal = Journal(work, plan)
        try:
            Engine(plan, work, journal, device=device, allow_nan=allow_nan, progress=Progress(quiet=not progress)).run()
            _write_companions(plan, work, template)
            _write_json(work / "config.json", merged_config(plan))
            if len(plan.shards) > 1:
                _write_json(work / "model.safetensors.index.json", _index(plan))
            written = record(plan, journal)
            _write_json(work / RECORD, written)
            (work / "README.md").write_text(card(plan, written, out.name), encoding="utf-8")
            (work / "mergekit_config.yml").write_text(plan.config.yaml, encoding="utf-8")
            _publish(work, out)
        finally:
            journal.close()
    return out


def _check_device(device: str) -> None:
    if device == "cpu":
        return
    import torch

    try:
        torch.empty(1, device=device).float().add_(1).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(f"device: {device!r} cannot be used ({' '.join(str(error).split())[:120]}); try cpu") from None


def _finished(plan: MergePlan, out: Path, fresh: bool) -> bool:
    """Whether `out` already holds this merge; refuses to touch anything that is not ours."""
    if not out.exists():
        return False
    if not out.is_dir():
        raise UserError(f"{out}: is a file; give the name of a new folder")
    for checkpoint in plan.checkpoints:
        if out.resolve() == checkpoint.folder.resolve():
            raise UserError(f"{out}: is one of the models to merge; give the name of a new folder")
    if not any(out.iterdir()):
        return False
    found = read_json(out / RECORD)
    if not isinstance(found, dict) or "fingerprint" not in found:
        raise UserError(f"{out}: exists and is no merge of ours; give the name of a new folder")
    if found["fingerprint"] == plan.fingerprint and not fresh:
        return True
    if not fresh:
        raise UserError(f"{out}: holds another finished merge; give a new name, or pass --fresh to replace it")
    return False


def _publish(work: Path, out: Path) -> None:
    """The folder takes its final name; until then nothing was there under it."""
    (work / JOURNAL).unlink()
    if out.exists():
        old = out.parent / f".{out.name}.replaced"
        shutil.rmtree(old, ignore_errors=True)
        os.rename(out, old)
        os.rename(work, out)
        shutil.rmtree(old)
    else:
        os.rename(work, out)
    fsync_folder(out.parent)


def _index(plan: MergePlan) -> dict[str, Any]:
    weights = {step.name: plan.shards[step.shard].name for step in plan.steps}
    return {"metadata": {"total_size": sum(step.nbytes for step in plan.steps)}, "weight_map": weights}


def _write_companions(plan: MergePlan, work: Path, template: str | None) -> None:
    """Tokenizer, processor and generation settings, from the model that gives the tokenizer."""
    donor = plan.checkpoints[plan.vocabulary.donor if plan.vocabulary else 0].folder
    folders = [donor, *(checkpoint.folder for checkpoint in plan.checkpoints)]
    # A base that was saved without its tokenizer should not cost the merge one.
    with_tokenizer = next((folder for folder in folders if any(folder.glob("tokenizer*"))), donor)
    _copy(with_tokenizer, work, _COMPANIONS)
    for name in ("generation_config.json", "preprocessor_config.json", "processor_config.json"):
        source = next((folder / name for folder in folders if (folder / name).is_file()), None)
        if source is not None and not (work / name).exists():
            shutil.copyfile(source, work / name)
    if plan.vocabulary and plan.vocabulary.grown:
        for name in STALE:
            (work / name).unlink(missing_ok=True)
        write_tokenizer(plan.vocabulary.tokenizer, work)
    if template is not None:
        set_template(template, work)


def _copy(source: Path, target: Path, patterns: Sequence[str]) -> None:
    for pattern in patterns:
        for path in source.glob(pattern):
            if path.is_file():
                place = target / path.relative_to(source)
                place.parent.mkdir(exist_ok=True)
                shutil.copyfile(path, place)


def _write_json(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
