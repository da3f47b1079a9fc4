"""The run folder for trainers that own their loop (transformers, TRL): their arguments, and :func:`train`.

The trainer's ``output_dir`` is the run's ``checkpoints/``. The libraries keep optimizer, scheduler and random states in
torch's own format; they are read back with ``weights_only=True`` and only from here. A manifest of hashes written after
each save tells a whole checkpoint from a torn one.
"""

from __future__ import annotations

import functools
import json
import re
import time
import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from burnish.core.errors import BurnishError, Interrupted
from burnish.core.files import MANIFEST, damage, explained, read_json, write_atomic, write_manifest
from burnish.core.parallel import any_rank
from burnish.core.run import Run

MARK = "burnish.json"
"""What a checkpoint of a foreign trainer needs of ours: the size of ``metrics.jsonl``, which its start has as well, and
the tokens that TRL has counted, which would begin at 0 again."""


def trainer_arguments(run: Run, stage: str = "") -> dict[str, Any]:
    """Arguments that hand a trainer's folder, seed, saving and reporting to the run; merge them into its config.

    Args:
        run: the run.
        stage: the name of this training, where a run has several, one after another.
    """
    return {
        "output_dir": str(run.path / "checkpoints" / stage),
        "seed": run.recipe.seed % 2**32,
        "data_seed": run.recipe.seed % 2**32,
        "save_strategy": "no",  # the callback asks for a save when one is due
        # A trainer rotates before its new checkpoint is known to be whole: keep at least the one before.
        "save_total_limit": max(2, run.recipe.keep),
        "report_to": "none",
        "disable_tqdm": True,
        # The filter would log a loss that is no number as 0, and the training would go on.
        "logging_nan_inf_filter": False,
    }


def train(trainer: Any, run: Run, boundary: int = 1, stage: str = "") -> None:
    """Train, or go on from the last whole checkpoint, with the run's metrics, progress and stop signals.

    Args:
        trainer: a transformers or TRL trainer built with :func:`trainer_arguments`.
        run: the run.
        boundary: save only after a multiple of this many optimizer steps. A trainer that reuses a generated batch over
            several steps (GRPO) resumes exactly only where no batch is half used.
        stage: as for :func:`trainer_arguments`; its metrics get this name before theirs (``sft/loss``).

    Raises:
        Interrupted: a stop signal came; the state is saved.
        BurnishError: every checkpoint is damaged; the loss is no number.
    """
    import transformers

    keep_to_themselves()
    transformers.utils.logging.disable_progress_bar()
    # The run shows progress and stores the numbers; a second printer would only talk over it.
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.remove_callback(transformers.trainer_callback.ProgressCallback)
    trainer.add_callback(RunCallback(run, boundary, stage, trainer))
    last = last_checkpoint(run, stage)
    if last is not None and hasattr(trainer, "_total_train_tokens"):
        trainer._total_train_tokens = (read_json(Path(last) / MARK) or {}).get("tokens", 0)
    with _own_names(trainer.model):
        trainer.train(resume_from_checkpoint=last)


@contextmanager
def _own_names(model: Any) -> Iterator[None]:
    """Checkpoints with the names that the weights have in the model, while this lasts.

    Of LLaVA and its like transformers saves weights under older names, which ``from_pretrained`` translates and a
    trainer that resumes does not: it would go on from the weights of the start and only log that all are missing.
    """
    from transformers import PreTrainedModel

    if not isinstance(model, PreTrainedModel):
        yield
        return
    model.save_pretrained = functools.partial(model.save_pretrained, save_original_format=False)
    try:
        yield
    finally:
        del model.save_pretrained


def keep_to_themselves() -> None:
    """Silence a warning of transformers about a name that TRL and PEFT still read: no user can act on it."""
    warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)


def wait_for(path: Path, run: Run) -> None:
    """Until the first process has written a file: its work may take hours, longer than a barrier waits.

    Raises:
        Interrupted: a stop signal came.
    """
    while not run.is_main and not path.exists():
        if run.stop_requested:
            raise Interrupted(f"{run.path}: stopped while the first process worked", run.stop_signal)
        time.sleep(0.5)


def last_checkpoint(run: Run, stage: str = "") -> str | None:
    """The newest whole ``checkpoint-N`` of a training, for ``resume_from_checkpoint``; ``None`` for a new one.

    Damaged or torn ones are named and skipped, and ``metrics.jsonl`` is cut back to where the good one was taken; for
    a new training to where its stage began.

    Raises:
        BurnishError: there are checkpoints, and none of them is whole.
    """
    folder = run.path / "checkpoints" / stage
    found = [
        (int(match[1]), path)
        for path in folder.glob("checkpoint-*")
        if path.is_dir() and (match := re.fullmatch(r"checkpoint-(\d+)", path.name))
    ]
    torn = 0
    for _, path in sorted(found, reverse=True):
        fault = damage(path)
        mark = read_json(path / MARK)
        if fault is None and mark is not None:
            run.cut_metrics(mark["metrics"])
            run.note(f"{run.path}: resumed from {path.relative_to(run.path / 'checkpoints')}")
            return str(path)
        torn += (path / MANIFEST).exists()  # written last: without it the save was never finished
        run.note(f"{path}: damaged checkpoint ({fault or 'not finished'}); trying the one before")
    if torn:
        raise BurnishError(f"{folder}: every checkpoint is damaged; start afresh", arguments=("fresh",))
    run.cut_metrics(_start(run, folder) if stage else 0)
    return None


def _start(run: Run, folder: Path) -> int:
    """The size of ``metrics.jsonl`` when a stage first began."""
    if run.is_main and not (folder / MARK).exists():
        with explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
            write_atomic(folder / MARK, json.dumps({"metrics": run.metrics_size()}))
    mark = read_json(folder / MARK)
    return 0 if mark is None else int(mark["metrics"])


class RunCallback(TrainerCallback):
    """Gives a trainer the run's metrics, progress, checkpoints and stop signals.

    Args:
        run: the run.
        boundary: as for :func:`train`, which adds this callback.
        stage: as for :func:`train`.
        trainer: that it is a callback of.
    """

    def __init__(self, run: Run, boundary: int, stage: str, trainer: Any) -> None:
        self._run = run
        self._trainer = weakref.proxy(trainer)  # or it would outlive its training, with the optimizer
        self._stage = stage
        self._boundary = boundary
        self._stopped = False
        self._saved_at = time.monotonic()
        self._bar: Iterator[int] = iter(())

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the progress bar where a resumed trainer is."""
        label = f"{self._stage} steps".strip()
        self._bar = self._run.progress(range(state.global_step, state.max_steps), label, state.max_steps)
        next(self._bar, None)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Ask for a save when one is due at a boundary, and for the end when a stop signal came."""
        next(self._bar, None)
        if state.global_step % self._boundary:
            return
        due = time.monotonic() - self._saved_at >= self._run.recipe.checkpoint_every
        due, stop = any_rank(due, self._run.stop_requested)
        if stop:
            self._stopped = True
            control.should_training_stop = True
        # Resumed from a last step that ends no epoch, a trainer would make one more.
        if (due or stop) and state.global_step < state.max_steps:
            control.should_save = True

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Numbers to ``metrics.jsonl`` and the trackers."""
        before = f"{self._stage}/" if self._stage else ""
        self._run.log(state.global_step, **{before + name: value for name, value in (logs or {}).items()})

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Write the manifest: from here on the checkpoint counts."""
        self._saved_at = time.monotonic()
        if not state.is_world_process_zero:
            return
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        with explained(folder):
            tokens = getattr(self._trainer, "_total_train_tokens", 0)
            write_atomic(folder / MARK, json.dumps({"metrics": self._run.metrics_size(), "tokens": tokens}))
            write_manifest(folder)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Tell a trainer that was stopped from one that is done."""
        if self._stopped and state.global_step < state.max_steps:
            raise Interrupted(
                f"{self._run.path}: stopped after step {state.global_step}; the same command goes on",
                self._run.stop_signal,
            )
