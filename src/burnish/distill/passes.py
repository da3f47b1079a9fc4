"""What is asked of frozen models: the teacher about a view (once, by its table), both about interrupted clips, the
student about clean ones.

Each pass goes batch by batch and yields after each, so that whoever drives it can save in between; what it found so far
is in :class:`Judging`, and a resumed pass goes on with the same batches.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from burnish.distill.difficulty import Values
from burnish.distill.footage import PLAIN, Footage, Rows, batches, dealt, gathered, named
from burnish.distill.interruption import DROPPED, interrupt_frames, interrupt_patches, plan_interruption
from burnish.distill.losses import check_losses, kd
from burnish.distill.models import Classifier
from burnish.distill.recipe import AugmentSettings, SakdRecipe
from burnish.distill.records import Taught
from burnish.distill.settings import InterruptionSettings
from burnish.distill.spending import Ledger, Prices
from burnish.distill.table import TeacherTable, view_name

Clip = Float[Tensor, "batch time channels height width"]


@dataclass(frozen=True)
class Seat:
    """A model and the samples as it sees them.

    Attributes:
        classifier: the model.
        footage: the samples.
        columns: for each class of the data the place of the model's logit.
    """

    classifier: Classifier
    footage: Footage
    columns: Int64[Tensor, " classes"]

    def ordered(self, logits: Float[Tensor, "batch classes"]) -> Float[Tensor, "batch classes"]:
        """Logits in the order of the data's classes."""
        return logits.index_select(1, self.columns.to(logits.device))


class Judging:
    """A pass over all samples that is under way: what it found so far."""

    def __init__(self, samples: int, width: int, rate: float) -> None:
        self.rate = rate
        """Of the interruption."""
        self.losses: Values = np.full(samples, np.nan, np.float32)
        self.features = np.zeros((samples, width), np.float32)
        self.done = 0
        """Batches."""

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {"losses": self.losses, "features": self.features, "done": self.done, "rate": self.rate}

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> Judging:
        """From the checkpoint."""
        found = cls(0, 0, state["rate"])
        found.losses, found.features, found.done = state["losses"], state["features"], int(state["done"])
        return found


class Frozen:
    """Passes in which nothing is learnt.

    Args:
        recipe: what was asked.
        student: model and samples.
        teacher: model and samples, row by row the student's; it is put in evaluation mode, and gets no gradients.
        model: the student's, wrapped for training.
        table: of the teacher.
        accelerator: of accelerate.
        prices: FLOPs of a sample.
        ledger: what is charged.
    """

    def __init__(
        self,
        recipe: SakdRecipe,
        student: Seat,
        teacher: Seat,
        model: nn.Module,
        table: TeacherTable,
        accelerator: Any,
        prices: Prices,
        ledger: Ledger,
    ) -> None:
        self._recipe, self.student, self.teacher, self._model = recipe, student, teacher, model
        self._table, self._accelerator, self._prices, self._ledger = table, accelerator, prices, ledger
        self._half = computes_half(recipe, accelerator.device)
        self.asked: dict[str, np.ndarray] = {}
        """Of each view, of which samples this training has asked (uint8, by sample)."""
        self._looked: dict[str, np.ndarray] = {}  # of these, which are in this process's memory
        teacher.classifier.model.eval().requires_grad_(False)

    @property
    def everything(self) -> Rows:
        """All samples."""
        return np.arange(len(self.student.footage))

    @property
    def _size(self) -> int:
        return int(self._recipe.frozen_batch * self._accelerator.num_processes)

    def ask(self, augment: AugmentSettings, view: int, rows: Rows) -> Iterator[None]:
        """Have the teacher's word on a view of these samples: from then on :meth:`told` has it. Yields by batch."""
        name = view_name(augment, view, self._recipe.seed)
        asked = self.asked.setdefault(name, np.zeros(len(self.student.footage), np.uint8))
        looked = self._looked.setdefault(name, np.zeros(len(self.student.footage), np.uint8))
        # After a resume: what was asked before lies on disk, and is not charged again.
        for chunk in batches(np.sort(rows[(asked[rows] == 1) & (looked[rows] == 0)]), self._size):
            self._look_up(name, augment, view, chunk)
            looked[chunk] = 1
        for chunk in batches(np.sort(rows[asked[rows] == 0]), self._size):
            with self._ledger.charge("teacher", len(chunk) * self._prices.teacher):
                self._look_up(name, augment, view, chunk)
            asked[chunk] = looked[chunk] = 1
            yield

    def unasked(self, augment: AugmentSettings, view: int) -> Bool[np.ndarray, " samples"]:
        """Of which samples the teacher's word on a view has not been paid for."""
        asked = self.asked.get(view_name(augment, view, self._recipe.seed))
        return np.ones(len(self.student.footage), bool) if asked is None else asked == 0

    def flush(self) -> None:
        """Put on disk what the table still holds back: before a checkpoint, and at the end."""
        self._table.flush()

    def told(self, augment: AugmentSettings, view: int, rows: Rows) -> Taught:
        """What the teacher said, in half precision; logits in the order of the data's classes."""
        said = self._table.get(view_name(augment, view, self._recipe.seed), rows)
        return Taught(said.logits[:, self.teacher.columns.numpy()], said.features)

    def trust(self) -> Values:
        """The teacher's probability of each label, from its table of plain clips."""
        logits = torch.from_numpy(self.told(PLAIN, 0, self.everything).logits)
        labels = torch.from_numpy(self.student.footage.labels)
        found: Values = logits.softmax(-1).gather(1, labels[:, None])[:, 0].numpy()
        return found

    def interrupted(self, judging: Judging, evaluation: int) -> Iterator[None]:
        """Losses, and the teacher's features if there is room for them, on interrupted clips. Yields by batch.

        Args:
            judging: what was found so far; it gets the rest.
            evaluation: number of the pass; interruptions are drawn from it and the sample's id.
        """
        plan = self._recipe.interruption
        price = self._prices.teacher + self._prices.student
        for chunk in self._left(judging):
            with self._ledger.charge("frozen", len(chunk) * price):
                share = dealt(chunk, self._accelerator)
                views = []
                for seat in (self.student, self.teacher):
                    clip = self._view(seat, share, PLAIN, 0)
                    plans = self._plans(named(share, seat.footage), evaluation, judging.rate, clip)
                    views.append(interrupted(clip, plans, plan))
                logits, _ = self._student_says(views[0])
                said, caught = self._teacher_says(views[1])
                self._keep(judging, chunk, kd(logits, said, self._recipe.loss.temperature), caught)
            yield

    def clean(self, judging: Judging) -> Iterator[None]:
        """Losses of the student on clean clips against the teacher's table of them. Yields by batch."""
        for chunk in self._left(judging):
            with self._ledger.charge("frozen", len(chunk) * self._prices.student):
                share = dealt(chunk, self._accelerator)
                logits, _ = self._student_says(self._view(self.student, share, PLAIN, 0))
                said = torch.from_numpy(self.told(PLAIN, 0, share).logits).to(logits.device)
                self._keep(judging, chunk, kd(logits, said, self._recipe.loss.temperature), None)
            yield

    def accuracy(self, test: Footage) -> float:
        """Share of ``test`` that the student names rightly. No part of the cost."""
        right = 0.0
        for chunk in batches(np.arange(len(test)), self._size):
            share = dealt(chunk, self._accelerator)
            clip = test.seen_by(self.student.classifier, share, self._accelerator.device, PLAIN, 0, 0)
            logits, _ = self._student_says(clip)
            labels = torch.from_numpy(test.labels[share]).to(logits.device)
            right += float(gathered((logits.argmax(-1) == labels).float(), len(chunk), self._accelerator).sum())
        return right / len(test)

    def _left(self, judging: Judging) -> list[Rows]:
        return batches(self.everything, self._size)[judging.done :]

    def _keep(self, judging: Judging, chunk: Rows, losses: Tensor, features: Tensor | None) -> None:
        every = gathered(losses, len(chunk), self._accelerator)
        check_losses(every, named(chunk, self.student.footage))
        judging.losses[chunk] = every.cpu().numpy()
        if features is not None and judging.features.shape[1]:
            judging.features[chunk] = gathered(features, len(chunk), self._accelerator).cpu().numpy()
        judging.done += 1

    def _view(self, seat: Seat, rows: Rows, augment: AugmentSettings, view: int) -> Clip:
        device, seed = self._accelerator.device, self._recipe.seed
        return seat.footage.seen_by(seat.classifier, rows, device, augment, view, seed)

    def _plans(self, ids: list[str], evaluation: int, rate: float, clip: Clip) -> Int64[Tensor, "batch slots"]:
        """The same moments for both models: drawn for as many slots as divide the frames of both."""
        student, teacher = self.student.footage, self.teacher.footage
        slots = math.gcd(student.frames, teacher.frames)
        if student.frames == 1:
            slots = self._recipe.interruption.grid**2
        threshold, seed = self._recipe.interruption.threshold, self._recipe.seed
        plans = [plan_interruption(each, evaluation, slots, rate, threshold, seed) for each in ids]
        return torch.from_numpy(np.stack(plans)).to(clip.device)

    @torch.no_grad()
    def _student_says(self, clip: Clip) -> tuple[Tensor, Tensor]:
        self._model.eval()
        logits, features = self.student.classifier.taught(clip, self._model, half=self._half)
        return self.student.ordered(logits), features

    @torch.no_grad()
    def _teacher_says(self, clip: Clip) -> tuple[Tensor, Tensor]:
        logits, features = self.teacher.classifier.taught(clip, half=self._half)
        return self.teacher.ordered(logits), features

    def _look_up(self, name: str, augment: AugmentSettings, view: int, chunk: Rows) -> None:
        """Get rows into the table: from the disk of the first process, else from the teacher."""
        known = torch.from_numpy(self._table.known(name, chunk))
        if self._accelerator.num_processes > 1:
            known = self._told_by_first(name, chunk, known)
        if known.all():
            return
        share = dealt(chunk, self._accelerator)
        with torch.no_grad():
            clip = self._view(self.teacher, share, augment, view)
            logits, features = self.teacher.classifier.taught(clip, half=self._half)
        said = [gathered(each, len(chunk), self._accelerator).cpu().numpy() for each in (logits, features)]
        self._table.put(name, chunk, Taught(*said))

    def _told_by_first(self, name: str, chunk: Rows, known: Tensor) -> Tensor:
        from accelerate.utils import broadcast

        said = self._table.get(name, chunk)
        packed = torch.from_numpy(np.concatenate([known.numpy()[:, None], said.logits, said.features], 1))
        packed = broadcast(packed.float().to(self._accelerator.device)).cpu()
        known = packed[:, 0] > 0
        rows, classes = chunk[known.numpy()], said.logits.shape[1]
        values = packed[known].numpy()
        self._table.put(name, rows, Taught(values[:, 1 : 1 + classes], values[:, 1 + classes :]))
        return known


def seed_generator(number: int, device: torch.device) -> None:
    """Seed what dropout draws from, on a device: all generators at once take as long as a step of a small model."""
    if device.type == "cpu":
        torch.default_generator.manual_seed(number % 2**63)
    else:
        torch.manual_seed(number % 2**63)


def computes_half(recipe: SakdRecipe, device: torch.device) -> bool:
    """Whether models compute in bfloat16: as asked, or on a GPU."""
    return device.type == "cuda" if recipe.bf16 is None else recipe.bf16


def interrupted(clip: Clip, plans: Int64[Tensor, "batch slots"], settings: InterruptionSettings) -> Clip:
    """A clip with frames, or a picture with patches, dropped or exchanged.

    Args:
        clip: as the model takes it.
        plans: for as many slots as divide its frames; each slot stands for as many frames as come to it.
        settings: the grid of a picture's patches.

    Raises:
        UserError: the grid does not divide the picture.
    """
    frames = clip.shape[1]
    if frames == 1:
        return interrupt_patches(clip[:, 0], plans, max(1, clip.shape[-2] // settings.grid))[:, None]
    each = frames // plans.shape[1]
    spread = plans[:, :, None] * each + torch.arange(each, device=plans.device)
    spread = torch.where(plans[:, :, None] == DROPPED, DROPPED, spread)
    return interrupt_frames(clip, spread.flatten(1))
