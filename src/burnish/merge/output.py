"""The output folder: built under a temporary sibling name, complete when it is renamed. Knows files, no arithmetic."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xxhash

from burnish.core.errors import UserError
from burnish.core.files import explained, read_json
from burnish.core.metrics import Progress
from burnish.merge.card import card, record
from burnish.merge.journal import NAME as JOURNAL
from burnish.merge.journal import Journal, content_digest, shard_digests
from burnish.merge.model_config import merged_config, set_token_ids
from burnish.merge.output_folder import owned, publish, recover, resolved, work_folder, write_json
from burnish.merge.side_files import side_files
from burnish.merge.steps import MergePlan
from burnish.merge.tokenizer import STALE, chat_template, set_template, write_tokenizer

RECORD = "burnish_merge.json"
_UNITS = {"": 1, "B": 1, "K": 1000, "M": 1000**2, "G": 1000**3, "T": 1000**4}


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
        # Only Linux says what a process may use; macOS has no such call.
        allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return min(allowed, 8)
    if threads < 1:
        raise UserError(f"threads: {threads} workers cannot merge; give 1 or more")
    return threads


def write_merge(plan: MergePlan, out: Path, *, device: str, allow_nan: bool, fresh: bool, progress: bool) -> Path:
    """Execute a plan into `out`.

    Raises:
        UserError: `out` is in use, or holds something else; NaN; a device that is not there.
        BurnishError: the disk is full or fails.
    """
    out = resolved(out)
    template = chat_template(plan.config, [checkpoint.folder for checkpoint in plan.checkpoints])
    with explained(out), owned(out):
        recover(out)
        if _finished(plan, out, fresh):
            (out / JOURNAL).unlink(missing_ok=True)  # killed between its last two acts
            return out
        check_device(device)
        if fresh:
            shutil.rmtree(work_folder(out), ignore_errors=True)
        _write(plan, out, template, device=device, allow_nan=allow_nan, progress=progress)
    return out


def _write(plan: MergePlan, out: Path, template: str | None, *, device: str, allow_nan: bool, progress: bool) -> None:
    from burnish.merge.engine import Engine

    work = work_folder(out)
    journal = Journal(work, plan)
    try:
        Engine(plan, work, journal, device=device, allow_nan=allow_nan, progress=Progress(quiet=not progress)).run()
        _write_side_files(plan, work, template)
        write_json(work / "config.json", merged_config(plan))
        if len(plan.shards) > 1:
            write_json(work / "model.safetensors.index.json", _index(plan))
        written = record(plan, journal)
        (work / "mergekit_config.yml").write_text(plan.config.yaml, encoding="utf-8")
        shards = {shard.name for shard in plan.shards}
        written["files"] = {
            str(path.relative_to(work)): xxhash.xxh3_128_hexdigest(path.read_bytes())
            for path in sorted(work.rglob("*"))
            if path.is_file() and path.name not in (*shards, JOURNAL, RECORD, "README.md")
        }
        write_json(work / RECORD, written)
        (work / "README.md").write_text(card(plan, written, out.name), encoding="utf-8")
    finally:
        journal.close()
    publish(work, out)
    (out / JOURNAL).unlink()


def check_device(device: str) -> None:
    """See that arithmetic can run there.

    Raises:
        UserError: it cannot.
    """
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
        raise UserError(f"{out}: is a file; give another folder")
    for checkpoint in plan.checkpoints:
        if out.resolve() == checkpoint.folder.resolve():
            raise UserError(f"{out}: is one of the models to merge; give another folder")
    if not any(out.iterdir()):
        return False
    found = read_json(out / RECORD)
    if not isinstance(found, dict) or "fingerprint" not in found:
        raise UserError(f"{out}: exists and is no merge of ours; give another folder")
    if found["fingerprint"] == plan.fingerprint and not fresh:
        damage = _damage(plan, out, found)
        if damage:
            raise UserError(
                f"{out}: {damage} since it was merged; start afresh to merge it again", arguments=("fresh",)
            )
        return True
    if not fresh:
        raise UserError(
            f"{out}: holds another finished merge; give another folder, or start afresh to replace it",
            arguments=("fresh",),
        )
    return False


def _damage(plan: MergePlan, out: Path, found: Mapping[str, Any]) -> str | None:
    """What happened to a finished merge, in words. Weights and config by content; of the other files that they exist.

    Reading all weights is what it costs to say "done" again; it is far less than to merge them.
    """
    for index, shard in enumerate(plan.shards):
        path = out / shard.name
        if not path.is_file():
            return f"{shard.name} went missing"
        if path.stat().st_size != shard.nbytes:
            return f"{shard.name} changed its size (now {path.stat().st_size:,} bytes of {shard.nbytes:,})"
        digests = shard_digests(plan, index, path)
        if digests is None or content_digest(digests) != found.get("shards", {}).get(shard.name):
            return f"{shard.name} changed"
    for name, digest in found.get("files", {}).items():
        path = out / name
        if not path.is_file():
            return f"{name} went missing"
        decisive = name in ("config.json", "model.safetensors.index.json")
        if decisive and xxhash.xxh3_128_hexdigest(path.read_bytes()) != digest:
            return f"{name} changed"
    return None


def _index(plan: MergePlan) -> dict[str, Any]:
    weights = {step.name: plan.shards[step.shard].name for step in plan.steps}
    return {"metadata": {"total_size": sum(step.nbytes for step in plan.steps)}, "weight_map": weights}


def _write_side_files(plan: MergePlan, work: Path, template: str | None) -> None:
    """Tokenizer, processor and generation settings, from the model that gives the tokenizer."""
    donor = plan.vocabulary.donor if plan.vocabulary else 0
    folders = [checkpoint.folder for checkpoint in plan.checkpoints]
    for name, source in side_files(folders, donor).items():
        (work / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(source, work / name)
        settings = read_json(source) if plan.vocabulary and name == "generation_config.json" else None
        if plan.vocabulary and isinstance(settings, dict):
            set_token_ids(settings, plan.checkpoints[donor].config, plan.vocabulary, folders.index(source.parent))
            write_json(work / name, settings)
    if plan.vocabulary and plan.vocabulary.grown:
        for name in STALE:
            (work / name).unlink(missing_ok=True)
        write_tokenizer(plan.vocabulary.tokenizer, work)
    if template is not None:
        set_template(template, work)
