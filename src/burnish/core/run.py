"""A run is a folder, and seven verbs: rng, restore, progress, log, checkpoint, artifact, save_model.

Knows recipes, checkpoints, metrics and files. Knows no method: a loop brings its own state and gets exact resume.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, TypeVar

import numpy as np
from filelock import FileLock, Timeout

from burnish.core import checkpoint as checkpoints
from burnish.core.checkpoint import Stateful
from burnish.core.errors import BurnishError, Interrupted, UserError
from burnish.core.files import explained, read_json, remove, stale, write_atomic
from burnish.core.hardware import environment, usage
from burnish.core.logs import SAID, RunLog
from burnish.core.metrics import Metrics, Progress, Trackers
from burnish.core.parallel import any_rank
from burnish.core.recipe import Recipe
from burnish.core.result import from_plain, to_plain
from burnish.core.yaml_marks import dump_yaml, load_yaml

T = TypeVar("T")
# All that a run ever writes into its folder, and so all that a fresh start removes.
OURS = ("run.json", "recipe.yaml", "metrics.jsonl", "run.log", "report.html", "checkpoints", "artifacts", "trackers")


class Run:
    """One run of one recipe, in one folder, owned by one process. Use it as a context manager.

    Args:
        recipe: what was asked.
        path: the run's folder; made if absent. A folder with the same recipe is resumed.
        fresh: throw an earlier run in that folder away first.
        quiet: no progress on the terminal.

    Raises:
        UserError: the folder belongs to another process or holds another recipe (the keys that differ are named).
    """

    def __init__(self, recipe: Recipe, path: Path | str, *, fresh: bool = False, quiet: bool = False) -> None:
        self.recipe = recipe
        self.path = Path(path)
        # Under torchrun every rank opens the run; only the first owns the folder.
        self.is_main = int(os.environ.get("RANK", "0")) == 0
        self._fresh = fresh
        self._progress = Progress(quiet=quiet or not self.is_main)
        self._rngs: dict[str, np.random.Generator] = {}
        self._signal: int | None = None
        self._at_once = False
        self._log: RunLog | None = None
        self._handlers: dict[int, Any] = {}
        self._saved_at = time.monotonic()
        self._resumed_at = 0
        self._value: Any = None
        self._had_work = False

    # The seven verbs

    def rng(self, name: str) -> np.random.Generator:
        """The random stream called ``name``: seeded from the recipe's seed and the name, part of every checkpoint."""
        if name not in self._rngs:
            words = [self.recipe.seed, *name.encode()]
            self._rngs[name] = np.random.Generator(np.random.PCG64(np.random.SeedSequence(words)))
        return self._rngs[name]

    def restore(self, *states: Stateful) -> int:
        """Load the last good checkpoint into ``states`` (in the order that :meth:`checkpoint` gets them).

        Returns:
            0 for a new run, otherwise the step after the checkpoint's.
        """
        found = checkpoints.load_latest(self.path / "checkpoints", self.note)
        if found is None:
            self.cut_metrics(0)
            return 0
        step, content = found
        if len(content["states"]) != len(states):
            raise BurnishError(f"{self.path}: the checkpoint holds {len(content['states'])} states, not {len(states)}")
        for state, saved in zip(states, content["states"], strict=True):
            state.load_state_dict(saved)
        for name, rng_state in content["rngs"].items():
            self.rng(name).bit_generator.state = rng_state
        _set_global_rngs(content["globals"])
        self.cut_metrics(content["metrics"])
        self._resumed_at = step + 1
        if not self._was_finished:
            self.note(f"{self.path}: resumed after step {step}")
        return step + 1

    def progress(self, items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
        """Yield from ``items`` and show how far the loop is, with ETA, once it takes longer than two seconds."""
        done = self._resumed_at if isinstance(items, range) and items.start == self._resumed_at else 0
        return self._progress.track(items, label, total, done)

    def log(self, step: int, **values: Any) -> None:
        """Numbers of one step: to ``metrics.jsonl``, the progress line and the recipe's trackers.

        Raises:
            BurnishError: a value whose name contains ``loss`` is not finite.
        """
        self._progress.status(values)
        if self.is_main:
            self._metrics.log(step, values)
            if self._trackers is not None:
                self._trackers.log(step, values)

    def checkpoint(self, step: int, *states: Stateful) -> None:
        """Save ``states`` as of the end of ``step`` if a checkpoint is due; honour a stop signal.

        In a distributed job every rank calls it: all save (``state_dict`` may be collective) and stop together.

        Raises:
            Interrupted: SIGINT or SIGTERM came; the state is saved.
            BurnishError: the disk is full; the last checkpoint is untouched.
        """
        due = time.monotonic() - self._saved_at >= self.recipe.checkpoint_every
        due, stop = any_rank(due, self._signal is not None)
        if not due and not stop:
            return
        saved = [dict(state.state_dict()) for state in states]
        if self.is_main:
            content = {
                "states": saved,
                "rngs": {name: rng.bit_generator.state for name, rng in self._rngs.items()},
                "globals": _global_rngs(),
                "metrics": self._metrics.size(),
            }
            checkpoints.save(self.path / "checkpoints", step, content, self.recipe.keep)
        self._saved_at = time.monotonic()
        if stop:
            raise Interrupted(f"{self.path}: stopped after step {step}; the same command goes on", self.stop_signal)

    def artifact(self, name: str, data: Any) -> Path:
        """Write ``artifacts/NAME`` atomically: bytes and text as they are, anything else as JSON or YAML by suffix."""
        path = self.path / "artifacts" / name
        if not isinstance(data, bytes | str):
            plain = name.endswith((".yaml", ".yml"))
            data = dump_yaml(data) if plain else json.dumps(data, indent=1)
        return write_atomic(path, data) if self.is_main else path

    def save_model(self, model: Any, tokenizer: Any = None, card: str = "") -> Path:
        """Save a model in the Hugging Face layout, with its tokenizer or processor and a model card.

        Returns:
            The folder, ``artifacts/model``.
        """
        path = self.path / "artifacts" / "model"
        if self.is_main:
            from burnish.core.models import save_model

            save_model(model, path, tokenizer, card)
        return path

    # Around the loop

    def note(self, message: str) -> None:
        """One line for the person at the terminal."""
        self._progress.note(message)
        SAID.info(message)

    @property
    def stop_requested(self) -> bool:
        """A stop signal came and no checkpoint has honoured it yet (for trainers that own their loop)."""
        return self._signal is not None

    @property
    def stop_signal(self) -> int:
        """The number of the stop signal that came; SIGINT's if none did."""
        return self._signal or signal.SIGINT

    @contextmanager
    def stops_at_once(self, where: str) -> Iterator[None]:
        """Inside, a stop signal does not wait for a checkpoint: for work whose finished parts are saved already.

        Args:
            where: it stops, for the message: ``between cells``.

        Raises:
            Interrupted: a stop signal came, now or before.
        """
        self._at_once = True
        try:
            if self._signal is not None:
                raise KeyboardInterrupt
            yield
        except KeyboardInterrupt:
            message = f"{self.path}: stopped {where}; the same command goes on"
            raise Interrupted(message, self.stop_signal) from None
        finally:
            self._at_once = False

    def metrics_size(self) -> int:
        """Bytes of ``metrics.jsonl`` so far: what a foreign trainer's checkpoint remembers."""
        return self._metrics.size() if self.is_main else 0

    def cut_metrics(self, size: int) -> None:
        """Forget the lines that a resumed trainer will write again."""
        if self.is_main:
            self._metrics.cut(size)

    @property
    def finished(self) -> bool:
        """The run had already ended well when it was opened."""
        return self._was_finished

    @property
    def resumed(self) -> bool:
        """The folder held work of this run when it was opened."""
        return self._had_work

    @property
    def value(self) -> Any:
        """What the loop returned, in this session or in the one that finished the run."""
        return from_plain(self._value, self.path)

    @value.setter
    def value(self, returned: Any) -> None:
        self._value = to_plain(returned, self.path)

    def __enter__(self) -> Run:
        self._trackers: Trackers | None = None
        self._start, self._cpu = time.time(), time.process_time()
        if self.is_main:
            self._own()
        record = {} if self._fresh else run_record(self.path)  # under the lock: nobody else is finishing it
        self._was_finished = record.get("status") == "finished"
        self._had_work, self._value = bool(record), record.get("value")
        if self._was_finished and "value" not in record:
            self.note(f"{self.path}: finished by a Burnish that did not keep results; start afresh to have it")
        try:
            _seed_globals(self.recipe.seed)
            if self.is_main:
                self._open_folder()
                if not self._was_finished:  # looking at a finished run again leaves it as it is
                    self._log = RunLog(self.path)
                    SAID.info("%s (burnish %s)", " ".join(sys.argv), version)
                self._metrics = Metrics(self.path / "metrics.jsonl")
                if self.recipe.tracking.to:
                    config = self.recipe.model_dump(mode="json")
                    self._trackers = Trackers(self.recipe.tracking, self.path / "trackers", config)
            self._catch_signals()
        except BaseException:
            self._disown()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._progress.close()
        if not self.is_main:
            return
        try:
            self._metrics.close()
            if self._trackers is not None:
                self._trackers.close()
            if error is None:
                self._describe("finished")
            elif isinstance(error, Interrupted | KeyboardInterrupt):
                self._describe("interrupted")
            else:
                self._describe("failed", "".join(traceback.format_exception(kind, error, tb)))
        except BurnishError:
            # A full disk must not hide the error that is already on its way.
            if error is None:
                raise
        finally:
            if self._log is not None:
                if error is not None:
                    SAID.error("%s: %s", type(error).__name__, error, exc_info=(type(error), error, tb))
                self._log.close()
            self._disown()

    def _own(self) -> None:
        with explained(self.path):
            if self.path.exists() and not self.path.is_dir():
                raise UserError(f"{self.path}: is a file; choose another folder", arguments=("out",))
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(self.path / ".lock")
        owner = self.path / ".owner"
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            pid = owner.read_text().strip() if owner.exists() else "another process"
            raise UserError(
                f"{self.path}: in use by process {pid}; wait for it, or choose another folder", arguments=("out",)
            ) from None
        with explained(owner):
            owner.write_text(str(os.getpid()))

    def _disown(self) -> None:
        if self.is_main:
            (self.path / ".owner").unlink(missing_ok=True)
            self._lock.release()

    def _open_folder(self) -> None:
        inside = {path.name for path in self.path.iterdir()} - {".lock", ".owner"}
        left = {path.name for path in stale(self.path)}
        stored = self.path / "recipe.yaml"
        if run_record(self.path):
            if self._fresh:
                for name in OURS:
                    remove(self.path / name)
            elif stored.exists():
                differing = self.recipe.differences(load_yaml(stored)[0] or {})
                if differing and self._did_something():
                    raise UserError(
                        f"{self.path}: holds a run of another recipe (differs in {', '.join(differing)}); "
                        "choose another folder, or start afresh",
                        arguments=("out", "fresh"),
                    )
        elif inside - left:
            raise UserError(f"{self.path}: not empty and not a run; choose another folder", arguments=("out",))
        artifacts = self.path / "artifacts"
        below = [path for path in artifacts.rglob("*") if path.is_dir()] if artifacts.is_dir() else []
        for folder in (self.path, self.path / "checkpoints", artifacts, *below):
            for path in stale(folder):
                remove(path)
        self._describe("running")  # first: from here on the folder is known as a run
        if not (self._was_finished and stored.exists()):
            write_atomic(stored, self.recipe.to_yaml())

    def _did_something(self) -> bool:
        """Whether the run in the folder left anything; one that was refused before it began stands in nobody's way."""
        made = [self.path / name for name in ("artifacts", "checkpoints") if (self.path / name).is_dir()]
        metrics = self.path / "metrics.jsonl"
        anything = any(next(folder.iterdir(), None) for folder in made)
        return anything or self._was_finished or (metrics.exists() and metrics.stat().st_size > 0)

    def _describe(self, status: str, error: str = "") -> None:
        """Write ``run.json``; wall and CPU seconds add up over the sessions of a resumed run."""
        path = self.path / "run.json"
        sessions = list(run_record(self.path).get("sessions", []))
        if sessions and sessions[-1].get("pid") == os.getpid() and sessions[-1].get("start") == self._start:
            sessions = sessions[:-1]
        if self._was_finished and status in ("running", "finished"):
            return  # looking at a finished run again is no work
        session = {"pid": os.getpid(), "start": self._start, "end": time.time(), **usage(self._start, self._cpu)}
        sessions.append(session)
        content = {
            "status": status,
            "method": self.recipe.method,
            "seed": self.recipe.seed,
            "command": " ".join(sys.argv),
            **environment(),
            "sessions": sessions,
            "wall_seconds": sum(one["wall_seconds"] for one in sessions),
            "cpu_seconds": sum(one["cpu_seconds"] for one in sessions),
            "peak_memory_bytes": max(one["peak_memory_bytes"] for one in sessions),
            "value": self._value,
        }
        write_atomic(path, json.dumps(content | ({"error": error} if error else {}), indent=1))

    def _catch_signals(self) -> None:
        def on_signal(number: int, _: FrameType | None) -> None:
            if self._signal is not None:
                raise KeyboardInterrupt  # asked twice: leave at once, the last checkpoint is good
            self._signal = number
            if self._at_once:
                raise KeyboardInterrupt
            self.note("stopping at the next checkpoint; once more stops at once")

        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                self._handlers[number] = signal.signal(number, on_signal)
        except ValueError:
            self._handlers = {}  # not the main thread (a notebook's worker): signals stay whose they are


def run_record(path: Path) -> dict[str, Any]:
    """``run.json`` of a run folder; empty if there is none, or it is damaged."""
    record = read_json(path / "run.json")
    known = (
        isinstance(record, dict) and isinstance(record.get("sessions"), list) and isinstance(record.get("method"), str)
    )
    return record if known else {}


def _seed_globals(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
    import torch

    torch.manual_seed(seed)


def _global_rngs() -> dict[str, Any]:
    import torch

    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "python": [version, list(words), gauss],
        "numpy": [name, np.asarray(keys), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
        "cuda": list(torch.cuda.get_rng_state_all()) if torch.cuda.is_available() else [],
    }


def _set_global_rngs(state: dict[str, Any]) -> None:
    import torch

    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    np.random.set_state(tuple(state["numpy"]))
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.device_count() == len(state["cuda"]):
        torch.cuda.set_rng_state_all(state["cuda"])
