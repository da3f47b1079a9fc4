"""The single checks of the contract. Each raises ContractBroken with what was found. Knows no method."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from burnish.core.errors import UserError
from burnish.core.files import stale
from burnish.core.forecast import NAMES
from burnish.core.method import Method
from burnish.core.recipe import Recipe
from burnish.testing.child import Ended, in_child, run_in_child
from burnish.testing.page import fetched
from burnish.testing.probe import listen_to_check

HEAVY = ("torch", "transformers", "matplotlib", "trl", "datasets", "scipy", "numba", "sklearn", "diffusers")
"""Libraries that take long to import: none may be needed to list methods or to read a recipe."""

FACTOR = 2.0
"""By which a forecast of memory or disk may be wrong."""


class ContractBroken(AssertionError):
    """A method does not do what every method of the house does."""


@dataclass
class Subject:
    """What is checked, and what the checks have found out so far.

    Attributes:
        method: the manifest.
        recipe: a small recipe of it.
        folder: where it runs, with the models and data it names; none: an empty folder.
        work: scratch.
        clocks: patterns of artifacts (by path below the run), metrics and JSON keys that hold what a clock said.
        forecast: what `check` said that it would take, once asked.
        whole: how the undisturbed run ended, once it has run.
    """

    method: Method
    recipe: Recipe
    folder: Path | None
    work: Path
    clocks: tuple[str, ...] = ()
    forecast: dict[str, float] = field(default_factory=dict, init=False)
    whole: Ended | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if self.folder is None:
            self.folder = self.work / "empty"
            self.folder.mkdir()

    def run(self, name: str, **how: Any) -> Ended:
        """Run the recipe in a process of its own, in the run folder ``name``, saving at every chance."""
        path = self.written(name, how.pop("workers", 1))
        assert self.folder is not None
        return run_in_child(path, self.work / name, self.folder, **how)

    def written(self, name: str, workers: int = 1) -> Path:
        """The recipe as a file, saving at every chance."""
        path = self.work / f"{name}.yaml"
        path.write_text(self.recipe.model_copy(update={"checkpoint_every": 0.0, "workers": workers}).to_yaml())
        return path

    def left(self, name: str) -> dict[str, Any]:
        """What a run left: its artifacts (JSON parsed, all else hashed) and its metrics, less what a clock said."""
        path = self.work / name
        found: dict[str, Any] = {}
        for file in sorted(path.glob("artifacts/**/*")):
            name = str(file.relative_to(path))
            if file.is_file() and not self._timed(name):
                found[name] = self._content(file)
        metrics = path / "metrics.jsonl"
        lines = metrics.read_text().splitlines() if metrics.exists() else []
        found["metrics.jsonl"] = [self._plain(json.loads(line)) for line in lines]
        return found

    def same(self, name: str, other: str) -> None:
        """Raise unless two runs left the same, bit for bit."""
        one, two = self.left(name), self.left(other)
        differing = [key for key in {**one, **two} if one.get(key) != two.get(key)]
        if differing:
            shown = f"{differing[0]}: {_first_difference(one.get(differing[0]), two.get(differing[0]))}"
            raise ContractBroken(f"{other} differs from {name} in {', '.join(differing)}; {shown}")

    def _content(self, file: Path) -> Any:
        if file.suffix == ".json":
            return self._plain(json.loads(file.read_text()))
        if file.suffix == ".sqlite":  # its pages lie as its transactions came
            with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as database:
                return list(database.iterdump())
        return hashlib.sha256(file.read_bytes()).hexdigest()

    def _plain(self, data: Any) -> Any:
        if isinstance(data, dict):
            return {key: self._plain(value) for key, value in data.items() if not self._timed(key)}
        return [self._plain(value) for value in data] if isinstance(data, list) else data

    def _timed(self, name: str) -> bool:
        return any(fnmatch.fnmatch(name, pattern) for pattern in self.clocks)


def manifest(subject: Subject) -> None:
    """The manifest can run, and its recipe is one of its own."""
    method = subject.method
    if not method.built:
        raise ContractBroken("planned only: there is nothing to check")
    if not isinstance(subject.recipe, method.settings()):
        raise ContractBroken(f"the recipe is a {type(subject.recipe).__name__}, not a {method.settings().__name__}")
    if method.needs and not method.extra:
        raise ContractBroken(f"it needs {', '.join(method.needs)} and names no extra that brings them")


def settings_described(subject: Subject) -> None:
    """Every setting, in groups too, has a description: the schema for editors and the docs' tables come from them."""
    wordless = [name for name, described in _settings(subject.method.settings()) if not described]
    if wordless:
        raise ContractBroken(f"settings without a description: {', '.join(wordless)}")


def recipe_round_trips(subject: Subject) -> None:
    """The recipe written as YAML and read again is the same recipe."""
    again = type(subject.recipe).load(subject.recipe.to_yaml())
    if again != subject.recipe:
        raise ContractBroken(
            f"read again from its YAML it differs in {', '.join(subject.recipe.differences(_data(again)))}"
        )
    differences = subject.recipe.differences(_data(subject.recipe))
    if differences:
        raise ContractBroken(f"stored and compared with itself it differs in {', '.join(differences)}")


def unknown_key_named(subject: Subject) -> None:
    """A misspelt setting is refused by name, with what was meant."""
    try:
        type(subject.recipe).load({**_data(subject.recipe), "sede": 1})
    except UserError as error:
        if "`sede` is not a setting" not in str(error) or "`seed`" not in str(error):
            raise ContractBroken(f"the setting `sede` is refused with: {error}") from None
    else:
        raise ContractBroken("the setting `sede` is accepted")


def loads_light(subject: Subject) -> None:
    """An entry point loads without a heavy library, and ``check`` writes no file and starts no process or connection.

    A method named ``module:OBJECT`` is loaded by its own recipes only: its module may import what it likes.
    """
    assert subject.folder is not None
    places = os.pathsep.join([str(subject.folder), *sys.path])
    line = [sys.executable, "-m", "burnish.testing.probe", subject.recipe.method, *HEAVY]
    alone = subprocess.run(
        line, cwd=subject.folder, env=os.environ | {"PYTHONPATH": places}, capture_output=True, timeout=300, check=False
    )
    if alone.returncode:
        raise ContractBroken(f"it cannot be found: {alone.stderr.decode().strip().splitlines()[-1]}")
    heavy = json.loads(alone.stdout.splitlines()[-1])
    if heavy and ":" not in subject.recipe.method:
        raise ContractBroken(f"finding the method imports {', '.join(heavy)}")
    temporary = subject.work / "temporary"
    temporary.mkdir()
    watched = (subject.folder, temporary)
    before = [_times(place) for place in watched]
    asked = (str(subject.written("asked")), str(temporary))
    found = in_child(listen_to_check, asked, subject.folder, subject.work / "heard.json")
    if "forecast" not in found:
        raise ContractBroken(f"`check` failed: {found.get('failed') or found.get('message') or found['kind']}")
    for place, was in zip(watched, before, strict=True):  # what native code writes is heard by nobody
        found["wrote"] += sorted(name for name, when in _times(place).items() if was.get(name) != when)
    for what in ("started", "wrote"):  # a process writes as well: what it was for is said first
        if found[what]:
            raise ContractBroken(f"`check` {what} {', '.join(found[what])}")
    subject.forecast = found["forecast"]


def missing_packages_named(subject: Subject) -> None:
    """Where what it needs is not installed, a run is refused in one line that names the package and the extra."""
    if not subject.method.needs:
        return
    ended = subject.run("missing", hidden=subject.method.needs)
    wanted = (*subject.method.needs, subject.method.extra)
    if ended.kind != "UserError" or not all(word in ended.message for word in wanted):
        raise ContractBroken(f"without {', '.join(subject.method.needs)} it says: {ended.kind}: {ended.message}")


def runs(subject: Subject) -> None:
    """The recipe runs to its end and leaves a report."""
    ended = subject.whole = subject.run("whole")
    _ended_well(ended)
    if not (subject.work / "whole" / "report.html").is_file():
        raise ContractBroken("it left no report.html")


def forecast_holds(subject: Subject) -> None:
    """Memory and disk that ``check`` gave are within a factor of two of what the run took.

    A method of one's own may give no forecast. Memory is that of the whole process, libraries included; where the
    process that ran held more than the forecast before its loop began (it imports what all methods share), only what
    came on top can contradict it. Disk is the run's folder at its end. Seconds are not held: of a recipe as short as
    these most are what every run costs.
    """
    if not subject.forecast and ":" in subject.recipe.method:
        return
    missing = [name for name in NAMES if name not in subject.forecast]
    if missing:
        raise ContractBroken(f"`check` gives no {', '.join(missing)}: add the rows of a Forecast")
    assert subject.whole is not None
    run = subject.work / "whole"
    taken = {
        "memory_bytes": json.loads((run / "run.json").read_text())["peak_memory_bytes"],
        "disk_bytes": sum(file.stat().st_size for file in run.rglob("*") if file.is_file()),
    }
    said = subject.forecast | {"memory_bytes": max(subject.forecast["memory_bytes"], subject.whole.held_bytes)}
    wrong = [name for name, took in taken.items() if not took / FACTOR <= said[name] <= took * FACTOR]
    if wrong:
        figures = (f"{name} {subject.forecast[name]:,.0f} and took {taken[name]:,}" for name in wrong)
        raise ContractBroken(f"`check` forecasts {'; '.join(figures)}")


def second_call_equal(subject: Subject) -> None:
    """Called again, the finished run gives the same result and does nothing."""
    before = _times(subject.work / "whole")
    again = subject.run("whole")
    _ended_well(again)
    assert subject.whole is not None
    if again.result != subject.whole.result:
        raise ContractBroken(f"the first call gave {subject.whole.result}, the second {again.result}")
    after = _times(subject.work / "whole")
    changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    if changed:
        raise ContractBroken(f"a call of the finished run wrote {', '.join(changed)}")


def killed_and_resumed(subject: Subject) -> None:
    """SIGKILL in the middle of its work and twice inside a write of it; then resumed: bit-identical.

    The moments are counted from when the loop is called. What it had saved by then must be there, so that a method that
    begins anew each time does not pass.
    """
    whole = subject.whole
    assert whole is not None
    for part in (2, 4, 8):  # a machine that was busy and is idle now may be over too soon: then earlier
        shutil.rmtree(subject.work / "killed", ignore_errors=True)
        kills = sum(_killed(subject, moment) for moment in _moments(whole, part))
        if kills >= 2:
            break
    else:
        raise ContractBroken("the run was over before it could be killed: take a longer recipe")
    rooms = [subject.work / "killed" / room for room in ("checkpoints", "artifacts")]
    torn = {path for room in rooms if room.is_dir() for path in stale(room)}
    if not any(file.is_file() and file.stat().st_size for room in rooms for file in {*room.rglob("*")} - torn):
        raise ContractBroken(f"killed {kills} times in the middle of its work, it had saved nothing to go on from")
    last = subject.run("killed")
    _ended_well(last)
    if last.result != whole.result:
        raise ContractBroken(f"undisturbed it gives {whole.result}, killed and resumed {last.result}")
    subject.same("whole", "killed")


def _moments(whole: Ended, part: int) -> list[dict[str, Any]]:
    return [
        {"die_after": whole.seconds / part},
        {"die_at_write": max(1, whole.writes // 4)},
        {"die_at_write": max(1, whole.writes // 6)},
    ]


def _killed(subject: Subject, moment: dict[str, Any]) -> bool:
    ended = subject.run("killed", **moment)
    if ended.kind not in ("killed", "finished"):
        raise ContractBroken(f"it should have been killed at {moment}; it ended with {ended.kind}: {ended.message}")
    return ended.kind == "killed"


def workers_equal(subject: Subject) -> None:
    """Two workers give what one gives, bit for bit."""
    if subject.method.parallel == "executor":
        ended = subject.run("workers", workers=2)
        _ended_well(ended)
        assert subject.whole is not None
        if ended.result != subject.whole.result:
            raise ContractBroken(f"one worker gives {subject.whole.result}, two give {ended.result}")
        subject.same("whole", "workers")


def report_needs_no_network(subject: Subject) -> None:
    """The report fetches nothing: no script, style sheet, font or picture from outside."""
    found = fetched((subject.work / "whole" / "report.html").read_text())
    if found:
        raise ContractBroken(f"the report fetches {', '.join(sorted(set(found))[:5])}")


CHECKS: tuple[Callable[[Subject], None], ...] = (
    manifest,
    settings_described,
    recipe_round_trips,
    unknown_key_named,
    loads_light,
    missing_packages_named,
    runs,
    forecast_holds,
    second_call_equal,
    report_needs_no_network,
    killed_and_resumed,
    workers_equal,
)
"""In the order in which they run: the cheap ones first."""


def _ended_well(ended: Ended) -> None:
    if ended.kind != "finished":
        raise ContractBroken(f"the run ended with {ended.kind}: {ended.message}")


def _data(recipe: Recipe) -> dict[str, Any]:
    return recipe.model_dump(mode="json")


def _times(path: Path) -> dict[str, int]:
    return {str(file.relative_to(path)): file.stat().st_mtime_ns for file in path.rglob("*") if _lasting(file)}


def _lasting(file: Path) -> bool:
    passing = file.name in (".lock", ".owner") or any(
        part == "__pycache__" or part.startswith("torchinductor") for part in file.parts
    )
    return file.is_file() and not passing


def _settings(group: type[BaseModel], prefix: str = "", above: tuple[type, ...] = ()) -> Iterator[tuple[str, bool]]:
    for name, setting in group.model_fields.items():
        yield prefix + name, bool((setting.description or "").strip())
        for inner in _groups(setting.annotation):
            if inner not in above:
                yield from _settings(inner, f"{prefix}{name}.", (*above, inner))


def _groups(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _groups(inner)


def _first_difference(one: Any, two: Any, path: str = "") -> str:
    """Where two plain values first differ, in words."""
    if isinstance(one, dict) and isinstance(two, dict):
        for key in {**one, **two}:
            if one.get(key) != two.get(key):
                return _first_difference(one.get(key), two.get(key), f"{path}.{key}")
    if isinstance(one, list) and isinstance(two, list):
        for index, (a, b) in enumerate(zip(one, two, strict=False)):
            if a != b:
                return _first_difference(a, b, f"{path}[{index}]")
        return f"{path or 'it'} has {len(one)} entries, then {len(two)}"
    return f"{path.lstrip('.') or 'it'} is {str(one)[:120]}, then {str(two)[:120]}"
