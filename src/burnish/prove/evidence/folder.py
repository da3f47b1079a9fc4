"""The evidence of an audit: one folder that another person can check. Answers and numbers in it; never a picture.

``answers.safetensors``  what suspect and shadows answered
``settings.json``        method, settings and versions with which the findings were computed
``findings.json``        every statistic, the verdict, the assumptions
``commitment.json``      what was committed to before the audit (where it was)
``report.html``          the same for people
``manifest.json``        SHA-256 of each; its own hash is the *seal* to note elsewhere
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from burnish.core.errors import BurnishError, UserError, nearest
from burnish.core.files import MANIFEST, folder_atomic, sha256, write_manifest
from burnish.core.hardware import hardware
from burnish.core.method import all_methods, find_method, method_names
from burnish.core.report import Section, moment, write_report
from burnish.prove.evidence.analysis import Analysis
from burnish.prove.evidence.commitment import opening, read_commitment
from burnish.prove.findings import Record

ANSWERS, SETTINGS, FINDINGS = "answers.safetensors", "settings.json", "findings.json"
COMMITMENT, REPORT = "commitment.json", "report.html"
FORMAT = "burnish evidence 2"
OLDER = {"burnish evidence 1": frozenset({"deciding"})}
"""Earlier formats that are still checked, and what their findings did not have."""
PACKAGES = ("burnish", "numpy", "scipy", "torch")


def write_evidence(
    folder: Path,
    *,
    method: str,
    settings: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    findings: Record | Mapping[str, Any],
    commitment: Path | str | None = None,
    sections: Sequence[Section] = (),
) -> Path:
    """Write an evidence folder that appears whole or not at all.

    Args:
        folder: its final name; an earlier one is replaced.
        method: whose ``analyse`` gave the findings.
        settings: what ``analyse`` got; plain data, ``seed`` in it.
        arrays: what ``analyse`` got.
        findings: what ``analyse`` gave, unchanged: whatever else is in it could not be re-computed.
        commitment: the small file of ``burnish prove commit``, already checked, with the secret one beside it; the
            recipe is opened in the evidence, pictures are not.
        sections: of the report.

    Returns:
        ``folder``; its seal is :func:`seal`.

    Raises:
        UserError: an unknown method, or a commitment or its secret that cannot be read.
        BurnishError: settings or findings that JSON cannot hold (NaN among them), or a full disk.
    """
    from safetensors.numpy import save_file

    find_analysis(method)
    committed = None if commitment is None else read_commitment(Path(commitment))
    with folder_atomic(folder) as work:
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, work / ANSWERS)
        if commitment is not None:
            (work / COMMITMENT).write_bytes(Path(commitment).read_bytes())
        record = {
            "format": FORMAT,
            "method": method,
            "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "made_with": made_with(),
            "commitment": None if commitment is None else sha256(work / COMMITMENT),
            "opening": None if commitment is None else opening(Path(commitment)),
            "settings": dict(settings),
        }
        (work / SETTINGS).write_text(to_json(record, SETTINGS), encoding="utf-8")
        (work / FINDINGS).write_text(to_json(findings, FINDINGS), encoding="utf-8")
        root = f" Committed to before the audit, on {committed['time']}." if committed else " No commitment was made."
        lead = f"Method {method}. Every number can be re-computed from the stored answers.{root}"
        when = moment(datetime.datetime.fromisoformat(str(record["time"])).timestamp())
        write_report(work / REPORT, "Audit", lead, sections, f"burnish prove verify {folder}", when)
        write_manifest(work)
    return folder


def seal(folder: Path) -> str:
    """One hash for the whole folder, to be noted or time-stamped elsewhere: SHA-256 of its manifest."""
    return sha256(folder / MANIFEST)


def find_analysis(method: str) -> Analysis:
    """How an installed method turns answers into findings. A folder of evidence cannot name code of its own.

    Raises:
        UserError: no such method, or one that leaves no evidence.
    """
    found = find_method(method).load("analyse") if method in method_names() else None
    if found is None:
        known = (known.name for known in all_methods()[0] if known.analyse is not None)
        raise UserError(f"method: `{method}` has no findings to compute; {nearest(method, known)}")
    if not isinstance(found, Analysis):
        raise UserError(f"method: `{method}`: its `analyse` is a {type(found).__name__}, not an Analysis")
    return found


def made_with() -> dict[str, str]:
    """What decides the last digits of a statistic: versions of what computes it, and the processor."""
    found = {"python": platform.python_version(), "processor": str(hardware()["processor"])}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def to_json(data: Any, name: str) -> str:
    """JSON as it is stored and compared.

    Raises:
        BurnishError: NaN, an infinite number, or an object that JSON has no form for.
    """
    try:
        return json.dumps(data, indent=1, allow_nan=False, default=_plain, ensure_ascii=False)
    except (ValueError, TypeError) as error:
        raise BurnishError(f"{name}: cannot be stored ({error})") from None


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        return value.to_json()
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} has no form in JSON")
