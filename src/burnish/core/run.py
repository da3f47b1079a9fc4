"""A run is a folder, and seven verbs: rng, restore, progress, log, checkpoint, artifact, save_model.

Knows recipes, checkpoints, metrics and files. Knows no method: a loop brings its own state and gets exact resume.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
from filelock import FileLock, Timeout

from burnish.core import checkpoint as checkpoints
from burnish.core.checkpoint import Stateful
from burnish.core.errors import BurnishError, Interrupted, UserError
from burnish.core.files import explained, read_json, remove, stale, write_atomic
from burnish.core.global_streams import seed_streams, set_streams, stream_states
from burnish.core.hardware import cpu_seconds, environment, usage
from burnish.core.launch import launched
from burnish.core.logs import SAID, RunLog
from burnish.core.metrics import Metrics, Progress, Trackers
from burnish.core.parallel import any_rank
from burnish.core.recipe import Recipe
from burnish.core.result import from_plain, to_plain
from burnish.core.run_folder import did_something, state_of
from burnish.core.stop_signals import StopSignals
from burnish.core.user_code import changes, changes_in_words, lent_code, refuse_stale
from burnish.core.yaml_marks import dump_yaml

T = TypeVar("T")
# All that a run writes into its folder, and so all that a fresh start removes.
OURS = ("run.json", "recipe.yaml", "metrics.jsonl", "run.log", "report.html", "checkpoints", "artifacts", "trackers")


class Run:
    """One run of one recipe, in one folder, owned by one process. Use it as a context manager.

    Args:
        recipe: what was asked.
        path: the run's folder; made if absent. A folder with the same recipe is resumed.
        fresh: throw an earlier run in that folder away first.
        allow_changed_code: go on although code that the recipe lends (:mod:`burnish.core.user_code`) has changed since
            the run began; both hashes are kept in ``run.json``.
        quiet: no progress on the terminal.

    Attributes:
        code: what the recipe lends.
        allow_changed_code: as asked.

    Raises:
        UserError: the folder belongs to another process or holds another recipe (the keys that differ are named), or
            the code that the recipe lends is not that which the run began with (the files are named).
    """

    def __init__(
        self,
        recipe: Recipe,
        path: Path | str,
        *,
        fresh: bool = False,
        allow_changed_code: bool = False,
        quiet: bool = False,
    ) -> None:
        self.recipe = recipe
        self.path = Path(path)
        # Under torchrun or srun every rank opens the run; only the first owns the folder.
        self.is_main = launched().rank == 0
        self.code = lent_code(recipe.model_dump(mode="json"))
        self.allow_changed_code = allow_changed_code
        self._fresh = fresh
        self._progress = Progress(quiet=quiet or not self.is_main)
        self._rngs: dict[str, np.random.Generator] = {}
        self._signals = StopSignals(self.note)
        self._log: RunLog | None = None
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
        set_streams(content["globals"])
        self.cut_metrics(content["metrics"])
        self._resumed_at = step + 1
        if not self._was_finished:
            self.note(f"{self.path}: resumed after step {step}")
        return step + 1

    def progress(self, items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
        """Yield from ``items`` and show how far the loop is, with ETA, once it takes longer than a second."""
        done = 0
        if isinstance(items, range) and (items.start == self._resumed_at or items.stop == total):
            done = items.start
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
            Interrupted: SIGINT, SIGTERM, SIGUSR1 or SIGHUP came; the state is saved.
            BurnishError: the disk is full; the last checkpoint is untouched.
        """
        due = time.monotonic() - self._saved_at >= self.recipe.checkpoint_every
        due, stop = any_rank(due, self.stop_requested)
        if not due and not stop:
            return
        saved = [dict(state.state_dict()) for state in states]
        if self.is_main:
            content = {
                "states": saved,
                "rngs": {name: rng.bit_generator.state for name, rng in self._rngs.items()},
                "globals": stream_states(),
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
        return self._signals.number is not None

    @property
    def stop_signal(self) -> int:
        """The number of the stop signal that came; SIGINT's if none did."""
        return self._signals.number or signal.SIGINT

    def at_once(self) -> AbstractContextManager[None]:
        """Inside, a stop signal does not wait for a checkpoint: see :meth:`StopSignals.at_once`."""
        return self._signals.at_once()

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
        self._start, self._cpu = time.time(), cpu_seconds()
        if self.is_main:
            self._own()
        record = {} if self._fresh else run_record(self.path)  # under the lock: nobody else is finishing it
        self._was_finished = record.get("status") == "finished"
        self._accepted: list[dict[str, Any]] = list(record.get("code_changes_allowed", []))
        self._had_work, self._value = bool(record), record.get("value")
        self._code = self.code.record()
        if self._was_finished and "value" not in record:
            self.note(f"{self.path}: finished by a Burnish that did not keep results; start afresh to have it")
        try:
            seed_streams(self.recipe.seed)
            if self.is_main:
                self._open_folder()
                if not self._was_finished:  # looking at a finished run again leaves it as it is
                    self._log = RunLog(self.path, self.recipe.hidden)
                self._metrics = Metrics(self.path / "metrics.jsonl")
                if self.recipe.tracking.to:
                    config = self.recipe.written()
                    self._trackers = Trackers(self.recipe.tracking, self.path / "trackers", config)
            self._signals.catch()
        except BaseException as error:
            if self._log is not None:
                self._log.close(error)
                self._log = None
            self._disown()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._signals.release()
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
                self._describe("failed", self.recipe.hidden("".join(traceback.format_exception(kind, error, tb))))
        except BurnishError:
            # A full disk must not hide the error that is already on its way.
            if error is None:
                raise
        finally:
            if self._log is not None:
                self._log.close(error)
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
        stored, record = self.path / "recipe.yaml", run_record(self.path)
        if record and self._fresh:
            refuse_stale(self.code)
            for name in OURS:
                remove(self.path / name)
        else:
            state_of(self.recipe, self.path, record)  # refuses what is not this recipe's
            self._compare_code(record)
            if not self._was_finished:
                refuse_stale(self.code)
        artifacts = self.path / "artifacts"
        below = [path for path in artifacts.rglob("*") if path.is_dir()] if artifacts.is_dir() else []
        for folder in (self.path, self.path / "checkpoints", artifacts, *below):
            for path in stale(folder):
                remove(path)
        self._describe("running")  # first: from here on the folder is known as a run
        if not (self._was_finished and stored.exists()):
            write_atomic(stored, self.recipe.to_yaml())

    def _compare_code(self, record: dict[str, Any]) -> None:
        """Refuse code that is not what the run began with, or remember that it was allowed."""
        before, now = record.get("code"), self._code
        if not before:
            return  # of a run that an older Burnish began, nothing is known
        changed = changes(before, now)
        if not changed or not did_something(self.path, record):
            return
        said = f"the code that the recipe lends has changed since the run began ({changes_in_words(changed)})"
        if not self.allow_changed_code:
            raise UserError(
                f"{self.path}: {said}; start afresh, or allow the changed code",
                arguments=("fresh", "allow_changed_code"),
            )
        self.note(f"{self.path}: {said}")
        revisions = {"git_revisions_before": before["git_revisions"], "git_revisions_now": now["git_revisions"]}
        self._accepted.append({"at": self._start, "files": changed, **revisions})

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
            "code": self._code,
            "code_changes_allowed": self._accepted,
        }
        write_atomic(path, json.dumps(content | ({"error": error} if error else {}), indent=1))


def note_report_error(path: Path, error: str | None) -> None:
    """Keep in ``run.json`` why the report of a finished run is not whole; none: it is."""
    record = run_record(path)
    record.pop("report_error", None)
    write_atomic(path / "run.json", json.dumps(record | ({"report_error": error} if error else {}), indent=1))


def run_record(path: Path) -> dict[str, Any]:
    """``run.json`` of a run folder; empty if there is none, or it is damaged."""
    record = read_json(path / "run.json")
    known = isinstance(record, dict) and [type(record.get(key)) for key in ("sessions", "method")] == [list, str]
    return record if known else {}
