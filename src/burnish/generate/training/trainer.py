"""The steps of a training: lessons of all tasks, one step of the optimizer, the moving average. Knows no run folder.

Everything random is drawn from (seed, stage, step), so a training that is resumed from a checkpoint goes on bit by bit.
Through accelerate: one process, DDP or FSDP2. A process that has no row of some task gets one that does not count, so
that all make the same passes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from burnish.core.errors import BurnishError, UserError
from burnish.generate.codecs.face import Codec
from burnish.generate.experts import copy_expert
from burnish.generate.model import UnifiedModel
from burnish.generate.recipe import MintRecipe, StageSettings, Task
from burnish.generate.script import Script
from burnish.generate.training.average import MovingAverage
from burnish.generate.training.course import rate_of, rows_by_task, rows_of, stage_of
from burnish.generate.training.lessons import Lesson, Teacher
from burnish.generate.training.losses import NAMES, sums, tokens_of
from burnish.generate.training.samples import Sample
from burnish.generate.training.weights import Weights

Logged = dict[str, Any]


class Trainer:
    """A model, its samples, and how far the training is.

    Args:
        recipe: what was asked.
        model: trained in place.
        script: how text is written.
        codec: of the pictures.
        samples: of each stage.
        accelerator: of accelerate; it wraps the model.
        test: on which losses are measured at the end of every stage.
        shards: where several processes write their parts of a checkpoint.

    Raises:
        UserError: a task for which a stage has no sample.
    """

    def __init__(
        self,
        recipe: MintRecipe,
        model: UnifiedModel,
        script: Script,
        codec: Codec,
        samples: Sequence[Sequence[Sample]],
        accelerator: Any,
        test: Sequence[Sample] = (),
        shards: Path | None = None,
    ) -> None:
        self.recipe, self.accelerator, self._samples, self._test = recipe, accelerator, samples, test
        self._candidates = [
            {task: _fit(task, mine, stage) for task in stage.tasks}
            for stage, mine in zip(recipe.stages, samples, strict=True)
        ]
        optimizer = torch.optim.AdamW(
            model.parameters(), lr=recipe.stages[0].learning_rate, betas=recipe.betas, weight_decay=recipe.weight_decay
        )
        self._routing = model.config.routing
        self.model, self._optimizer = accelerator.prepare(model, optimizer)
        self._half = accelerator.device.type != "cpu" if recipe.bf16 is None else recipe.bf16
        self.average = None if recipe.ema is None else MovingAverage(self.model, recipe.ema)
        self._teacher = Teacher(recipe, script, codec, accelerator.device)
        self._weights = Weights(self.model, self._optimizer, self.average, accelerator, shards)
        self.step = 0
        self.steps = sum(stage.steps for stage in recipe.stages)

    def units(self) -> Iterator[Logged]:
        """The steps that are left; each gives what there is to log.

        Raises:
            BurnishError: a loss is no number; the samples are named.
        """
        while self.step < self.steps:
            number, at = stage_of(self.recipe.stages, self.step)
            stage = self.recipe.stages[number]
            if at == 0:
                self._begin(stage)
            logged = self._learn(stage, number, at)
            self.step += 1
            if at == stage.steps - 1 and self._test:
                logged |= {f"test_{name}": value for name, value in self.measure(self._test, stage).items()}
            yield logged

    def measure(self, samples: Sequence[Sample], stage: StageSettings) -> dict[str, float]:
        """Losses on samples (each task of a stage, the same noise every time), with the averaged weights."""
        totals = torch.zeros(2, 3, device=self.accelerator.device)
        self.model.eval()
        with torch.no_grad(), self.average.instead() if self.average is not None else nullcontext():
            for task, rows in rows_by_task(stage).items():
                fit = _fit(task, samples, stage)[: 4 * rows]
                rng = np.random.default_rng([self.recipe.seed, 13])
                chosen = [samples[place] for place in fit]
                lesson = self._teacher.lesson(task, chosen, chosen[::-1], rng)
                found = sums(self._say(lesson), lesson)
                totals += torch.stack([found.losses.sum(0), found.tokens.sum(0)])
        self.model.train()
        means = (totals[0] / totals[1].clamp(min=1)).tolist()
        counts = totals[1].tolist()
        return {f"{name}_loss": mean for name, mean, count in zip(NAMES, means, counts, strict=True) if count}

    def lessons(self, number: int, at: int) -> list[Lesson]:
        """This process's share of the lessons of a step, one a task."""
        stage, samples = self.recipe.stages[number], self._samples[number]
        processes, own = self.accelerator.num_processes, self.accelerator.process_index
        found: list[Lesson] = []
        for task, count in rows_by_task(stage).items():
            chosen = rows_of(self._candidates[number][task], self.recipe.seed, number, task, at, count)
            rng = np.random.default_rng([self.recipe.seed, number, at, len(found), 12])
            others = rng.integers(len(samples), size=count)
            lesson = self._teacher.lesson(
                task, [samples[place] for place in chosen], [samples[place] for place in others], rng
            )
            found.append(_dealt(lesson, processes, own))
        return found

    def _learn(self, stage: StageSettings, number: int, at: int) -> Logged:
        """One step. Each loss is the mean over its tokens of all tasks and processes."""
        self.model.train()
        rate = rate_of(stage, at)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        parts = [part for lesson in self.lessons(number, at) for part in self._parts(lesson)]
        tokens = torch.stack([tokens_of(part).sum(0) for part in parts]).sum(0)
        counts = self._everywhere(tokens)
        weights = torch.tensor([getattr(self.recipe.loss, name) for name in NAMES], device=counts.device)
        share = weights / counts.clamp(min=1) * self.accelerator.num_processes
        losses: list[Tensor] = []
        for place, part in enumerate(parts):
            with self.accelerator.no_sync(self.model) if place < len(parts) - 1 else nullcontext():
                found = sums(self._say(part), part)
                self.accelerator.backward((found.losses.sum(0) * share).sum())
            losses.append(found.losses.detach())
        totals = self._everywhere(torch.stack([each.sum(0) for each in losses]).sum(0))
        if not totals.isfinite().all():  # in every process alike: none goes on to wait for one that stops
            self._refuse(losses, parts)
        norm = None
        if self.recipe.max_grad_norm is not None:
            norm = self.accelerator.clip_grad_norm_(self.model.parameters(), self.recipe.max_grad_norm)
        self._optimizer.step()
        self._optimizer.zero_grad()
        if self.average is not None:
            self.average.update()
        means = totals / counts.clamp(min=1)
        logged: Logged = {"stage": number, "lr": rate, "loss": float((means * weights).sum())}
        for name, mean, count in zip(NAMES, means.tolist(), counts.tolist(), strict=True):
            if count:
                logged |= {f"{name}_loss": mean, f"{name}_tokens": int(count)}
        if norm is not None:
            logged["gradient_norm"] = float(norm)
        return logged

    def _say(self, lesson: Lesson) -> Any:
        kind = self.accelerator.device.type
        with torch.autocast(kind, torch.bfloat16) if self._half else nullcontext():
            return self.model(lesson.batch)

    def _parts(self, lesson: Lesson) -> list[Lesson]:
        size = self.recipe.micro_batch or len(lesson.rows)
        return [lesson.part(start, start + size) for start in range(0, len(lesson.rows), size)]

    def _refuse(self, losses: Sequence[Tensor], parts: Sequence[Lesson]) -> NoReturn:
        from accelerate.utils import gather_object

        wrong = [
            part.rows[row]
            for found, part in zip(losses, parts, strict=True)
            for row in (~found.isfinite().all(1)).nonzero().flatten().tolist()
        ]
        wrong = gather_object(wrong)  # of all processes, so that each can name them
        raise BurnishError(
            f"loss: no number at step {self.step} for {len(wrong)} rows: {', '.join(wrong[:3])}; "
            "look at their pictures, or lower the learning rate"
        )

    def _everywhere(self, values: Tensor) -> Tensor:
        if self.accelerator.num_processes == 1:
            return values
        summed: Tensor = self.accelerator.reduce(values, "sum")
        return summed

    def _begin(self, stage: StageSettings) -> None:
        """Experts become copies of others, with their averages and moments."""
        for target, source in stage.copy_experts.items():
            one, two = self._routing[source], self._routing[target]
            if one == two:
                continue
            copy_expert(self.model, one, two, self._optimizer.state)
            if self.average is not None:
                with self.average.instead():
                    copy_expert(self.model, one, two)

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint; all processes call it."""
        return {"step": self.step, **self._weights.state_dict(self.step)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """From the checkpoint."""
        self.step = int(state["step"])
        self._weights.load_state_dict(state)

    def finished_weights(self) -> dict[str, Tensor]:
        """What is saved at the end, whole, in the first process; all call it."""
        return self._weights.whole()


def _fit(task: Task, samples: Sequence[Sample], stage: StageSettings) -> list[int]:
    """Places of the samples that a task can use. A picture that is marked as needing repair is to be looked at; nobody
    learns from it how to draw or what to say."""
    found = [place for place, sample in enumerate(samples) if task == "reflect" or sample.heat is None]
    if task == "describe":
        found = [place for place in found if samples[place].caption or samples[place].question]
    if task == "read":
        found = [place for place in found if samples[place].plan is not None]
    if not found:
        needs = {"describe": "`caption`, or `question` and `answer`", "read": "`objects` and no `heat`"}.get(
            task, "a picture and no `heat`"
        )
        raise UserError(f"stage `{stage.name}`: {task} needs rows with {needs}")
    return found


def _dealt(lesson: Lesson, processes: int, own: int) -> Lesson:
    """A process's share of the rows; where others have one more, a row that does not count."""
    if processes == 1:
        return lesson
    rows = len(lesson.rows)
    mine = list(range(own, rows, processes))
    filler = [0] * (-(-rows // processes) - len(mine))
    return lesson.chosen(mine + filler, len(mine))
