"""Checks an evidence folder that a stranger may have made: hashes, commitment, and every statistic computed again."""

from __future__ import annotations

import json
import math
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from burnish.core.errors import BurnishError, UserError
from burnish.core.files import MANIFEST, sha256
from burnish.prove.evidence.commitment import opens, read_commitment
from burnish.prove.evidence.folder import (
    ANSWERS,
    COMMITMENT,
    FINDINGS,
    FORMAT,
    OLDER,
    REPORT,
    SETTINGS,
    find_analysis,
    made_with,
    seal,
    to_json,
)

RELATIVE, ABSOLUTE = 1e-6, 1e-9
"""How far a number may be off: another processor or version adds up in another order, which nobody should be accused
of."""
SHOWN = 5  # differences listed one by one


@dataclass(frozen=True)
class Verification:
    """What a check found.

    Attributes:
        ok: everything agrees.
        problems: one line each, the file at fault first.
        notes: what was compared and how; no fault.
        seal: SHA-256 of the manifest: compare it with the one noted when the audit ended.
        root: of the commitment; compare it with the one time-stamped before the audit.
    """

    ok: bool
    problems: list[str]
    notes: list[str] = field(default_factory=list)
    seal: str | None = None
    root: str | None = None


def verify(folder: Path | str, commitment: Path | str | None = None) -> Verification:
    """Check the hashes of an evidence folder, its commitment, and compute every statistic again from its answers.

    Args:
        folder: as ``write_evidence`` left it.
        commitment: the small file as it was published before the audit; compared with the folder's.

    Raises:
        UserError: no such folder, nothing of an evidence in it, or ``commitment`` is none.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such evidence folder")
    # A wrong path is no forgery: nobody is accused where nothing of an evidence lies.
    if not any((folder / name).exists() for name in (MANIFEST, ANSWERS, SETTINGS, FINDINGS)):
        raise UserError(f"{folder}: not an evidence folder; an audit leaves it in its run's folder, artifacts/evidence")
    published = None if commitment is None else read_commitment(Path(commitment))
    if strange := _irregular(folder):
        return Verification(ok=False, problems=strange)
    problems, notes = _hashes(folder), list[str]()
    problems += _committed(folder, published)
    if any(problem.startswith((ANSWERS, SETTINGS, FINDINGS, MANIFEST)) for problem in problems):
        notes.append("statistics were not computed again, since what they rest on was changed")
    else:
        problems += _recomputed(folder, notes)
    stored = _strict(folder / COMMITMENT)
    return Verification(
        ok=not problems,
        problems=problems,
        notes=notes,
        seal=seal(folder) if (folder / MANIFEST).is_file() else None,
        root=stored.get("root") if isinstance(stored, dict) else None,
    )


def _irregular(folder: Path) -> list[str]:
    """Links, pipes, devices: a stranger's folder may hold what never ends when it is opened."""
    entries = sorted((path.relative_to(folder), path.lstat().st_mode) for path in folder.rglob("*"))
    return [f"{name}: no regular file" for name, mode in entries if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)]


def _hashes(folder: Path) -> list[str]:
    manifest = _strict(folder / MANIFEST)
    listed = manifest.get("files") if isinstance(manifest, dict) else None
    if not isinstance(listed, dict):
        return [f"{MANIFEST}: missing or unreadable"]
    problems = []
    present = {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()} - {MANIFEST}
    # Only names that belong here are opened: a manifest may come from anyone.
    ours = [ANSWERS, SETTINGS, FINDINGS, REPORT] + [COMMITMENT] * (COMMITMENT in present or COMMITMENT in listed)
    for name in ours:
        entry = listed.get(name)
        if name not in present:
            problems.append(f"{name}: missing")
        elif not isinstance(entry, dict) or not isinstance(entry.get("sha256"), str):
            problems.append(f"{name}: not in {MANIFEST}")
        elif sha256(folder / name) != entry["sha256"]:
            problems.append(f"{name}: changed after the evidence was written (its SHA-256 is not that of {MANIFEST})")
    strangers = sorted((present | set(listed)) - set(ours))
    return problems + [f"{name}: no part of the evidence" for name in strangers]


def _committed(folder: Path, published: dict[str, Any] | None) -> list[str]:
    settings = _strict(folder / SETTINGS)
    if not isinstance(settings, dict):
        return []  # said by whoever reads it as settings
    path = folder / COMMITMENT
    recorded = settings.get("commitment")
    if not path.exists():
        if recorded is not None:
            return [f"{COMMITMENT}: missing; {SETTINGS} says that there was one"]
        return [f"{COMMITMENT}: missing, so it is not the published one"] if published else []
    if sha256(path) != recorded:
        return [f"{COMMITMENT}: not the one that the audit was checked against (its SHA-256 is not that in {SETTINGS})"]
    try:
        found = read_commitment(path)
    except UserError:
        return [f"{COMMITMENT}: no commitment that can be read"]
    if str(settings.get("time")) < found["time"]:
        return [f"{COMMITMENT}: made at {found['time']}, after the evidence ({settings.get('time')})"]
    if published is not None and published["root"] != found["root"]:
        return [f"{COMMITMENT}: not the published one (another root)"]
    return _opened(settings, found["root"])


def _opened(record: dict[str, Any], published: str) -> list[str]:
    """Were the findings computed with the settings that were committed to?"""
    opened = record.get("opening")
    if not isinstance(opened, dict) or not opens(opened, published):
        return [f"{SETTINGS}: its recipe is not the one of {COMMITMENT} (it does not lead to the root)"]
    recipe, used = opened["recipe"], record.get("settings")
    if not isinstance(recipe, dict) or not isinstance(used, dict):
        return []  # said by whoever reads it as settings
    try:
        wanted = find_analysis(str(record.get("method"))).settings(recipe)
    except (UserError, KeyError, TypeError, ValueError, AttributeError) as error:
        return [f"{SETTINGS}: its recipe is none of method {record.get('method')} ({type(error).__name__}: {error})"]
    other = sorted(key for key in wanted if used.get(key) != wanted[key])
    if other:
        shown = ", ".join(f"{key} is {_brief(used.get(key))}, committed to {_brief(wanted[key])}" for key in other)
        return [f"{SETTINGS}: not the settings that were committed to: {shown}"]
    return []


def _recomputed(folder: Path, notes: list[str]) -> list[str]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    record, stored = _strict(folder / SETTINGS), _strict(folder / FINDINGS)
    if (
        not isinstance(record, dict)
        or record.get("format") not in (FORMAT, *OLDER)
        or not isinstance(record.get("settings"), dict)
    ):
        return [f"{SETTINGS}: not the settings of an audit, or of another version of Burnish"]
    if not isinstance(stored, dict):
        return [f"{FINDINGS}: not the findings of an audit"]
    try:
        arrays = load_file(folder / ANSWERS)
        analyse = find_analysis(str(record.get("method"))).findings
    except SafetensorError as error:
        return [f"{ANSWERS}: cannot be read ({' '.join(str(error).split())[:120]})"]
    except UserError as error:
        return [f"{SETTINGS}: {error}"]
    try:
        computed = json.loads(to_json(analyse(arrays, record["settings"]), FINDINGS))
    except Exception as error:  # noqa: BLE001 - a stranger's answers and settings: what they lead to is a finding
        reason = f"{type(error).__name__}: {error}" if not isinstance(error, BurnishError) else str(error)
        return [f"{ANSWERS} and {SETTINGS}: no findings can be computed from them ({' '.join(reason.split())[:160]})"]
    computed = {key: each for key, each in computed.items() if key not in OLDER.get(record["format"], ())}
    differing = differences(stored, computed, exact=False)
    if not differing:
        exact = not differences(stored, computed, exact=True)
        how = "exactly" if exact else f"within {RELATIVE:g}"
        stated = record.get("made_with")
        theirs = stated if isinstance(stated, dict) else {}
        other = [name for name, each in made_with().items() if theirs.get(name) != each]
        where = f" (here with another {', '.join(other)})" if other else ""
        notes.append(f"{_count(computed)} numbers were computed again and agree {how}{where}")
        if record.get("commitment") is None:
            notes.append("no commitment: nothing here shows that settings and pictures were fixed before the audit")
        return []
    more = f"; and {len(differing) - SHOWN} more" if len(differing) > SHOWN else ""
    return [
        f"{FINDINGS}: does not follow from {ANSWERS} and {SETTINGS}: {'; '.join(differing[:SHOWN])}{more} "
        "(one of the three was changed)"
    ]


def differences(stored: Any, computed: Any, *, exact: bool, path: str = "") -> list[str]:
    """Where two pieces of JSON differ, each place in words; numbers exactly, or within the stated tolerance."""
    if isinstance(stored, dict) and isinstance(computed, dict):
        found = []
        for key in [*computed, *(key for key in stored if key not in computed)]:
            here = f"{path}.{key}" if path else str(key)
            if key not in stored:
                found.append(f"{here} is missing")
            elif key not in computed:
                found.append(f"{here} is not computed from the answers")
            else:
                found += differences(stored[key], computed[key], exact=exact, path=here)
        return found
    if isinstance(stored, list) and isinstance(computed, list) and len(stored) == len(computed):
        pairs = enumerate(zip(stored, computed, strict=True))
        return [each for place, (a, b) in pairs for each in differences(a, b, exact=exact, path=f"{path}.{place}")]
    if _alike(stored, computed, exact):
        return []
    return [f"{path} is {_brief(stored)}, computed {_brief(computed)}"]


def _alike(stored: Any, computed: Any, exact: bool) -> bool:
    numbers = [isinstance(one, int | float) and not isinstance(one, bool) for one in (stored, computed)]
    if all(numbers) and not exact:
        return math.isclose(stored, computed, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
    return type(stored) is type(computed) and bool(stored == computed)


def _strict(path: Path) -> Any:
    """JSON without the NaN that Python's reader would let pass; ``None`` where it is none."""

    def refuse(name: str) -> None:
        raise ValueError(name)

    try:
        return json.loads(path.read_bytes(), parse_constant=refuse)
    except (OSError, ValueError, RecursionError):
        return None


def _count(data: Any) -> int:
    if isinstance(data, dict | list):
        return sum(map(_count, data.values() if isinstance(data, dict) else data))
    return int(isinstance(data, int | float) and not isinstance(data, bool))


def _brief(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
