"""The training of a student: evaluate, choose, train on the chosen, again. One generator of small units of work.

Everything between two units lies in the state, and everything random is drawn from (seed, epoch, step): a training that
is resumed from a checkpoint goes on bit by bit. Knows no run folder. Through accelerate: one process, DDP or FSDP2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from burnish.distill.footage import PLAIN, Footage, Rows, batches, dealt, gathered, named
from burnish.distill.interruption import interruption_rate
from burnish.distill.losses import check_losses, cross_entropy, dkd, feature_distance, head_crossing, kd, mixed
from burnish.distill.passes import Frozen, Judging, Seat, computes_half, seed_generator
from burnish.distill.recipe import SakdRecipe
from burnish.distill.records import Taught
from burnish.distill.rules import Selection, select
from burnish.distill.spending import Budget, Ledger, Prices
from burnish.distill.states import SampleStates, wanted_by
from burnish.distill.table import TeacherTable
from burnish.distill.weights import TrainingState, make_optimizer

Logged = dict[str, Any]
BINS = 20
"""Of the histograms of difficulty and strength."""


class Distiller:
    """A student, its teacher and their samples, and how far the training is.

    Args:
        recipe: what was asked.
        student: model and samples; the model is trained in place.
        teacher: model and samples.
        table: of the teacher.
        prices: FLOPs of a sample.
        accelerator: of accelerate; it wraps the student.
        test: what accuracy is measured on.
    """

    def __init__(
        self,
        recipe: SakdRecipe,
        student: Seat,
        teacher: Seat,
        table: TeacherTable,
        prices: Prices,
        accelerator: Any,
        test: Footage | None = None,
    ) -> None:
        self.recipe, self.student, self.teacher, self._test = recipe, student, teacher, test
        self.accelerator, self._prices, self.ledger = accelerator, prices, Ledger()
        alone = accelerator.num_processes == 1
        optimizer = make_optimizer(recipe, student.classifier.model, fused=alone)
        self.model, prepared = accelerator.prepare(student.classifier.model, optimizer)
        # accelerate's wrapper looks for packages at each step, and has nothing to do for one process
        self._optimizer = optimizer if alone else prepared
        self.frozen = Frozen(recipe, student, teacher, self.model, table, accelerator, prices, self.ledger)
        self._weights = TrainingState(self.model, self._optimizer, accelerator.num_processes)
        self._half = computes_half(recipe, accelerator.device)
        self._budget = Budget(recipe, prices, len(student.footage), self.ledger)
        self._over = False
        self.wanted = wanted_by(recipe)
        samples = len(student.footage)
        self.states = SampleStates(samples, teacher.classifier.width if self.wanted.features else 0)
        self.selection = Selection(np.zeros(0, np.int64), np.zeros(0, np.float32))
        self.seen = np.zeros(samples, np.uint8)
        # of each sample the whole loss and its distillation loss, when it was last trained on
        self._losses = torch.full((samples, 2), torch.nan, device=accelerator.device)
        self.epoch = self.at = self.step = 0
        self.judged = self.chosen = self.measured = -1
        self.accuracy: float | None = None
        self._judging: Judging | None = None
        self.on_selection: Callable[[int, Selection], None] = lambda _epoch, _selection: None

    def units(self) -> Iterator[Logged]:
        """The training, from where it is to its end, as small units; each gives what there is to log (often nothing).

        Raises:
            BurnishError: a loss, or what the teacher says, is no number; the sample is named.
            UserError: a selection that cannot be made.
        """
        while self.epoch < self.recipe.epochs and not self.spent:
            if self.epoch % self.recipe.interval == 0:
                yield from self._measure(self.epoch)
                if self.judged < self.epoch and self._pass_is_covered():
                    yield from self._judge()
            if self.chosen < self.epoch and (self.wanted.every_epoch or self.epoch % self.recipe.interval == 0):
                if not self._budget.covers(selection=self._selection_flops()):
                    self._over = True
                    break
                yield self._choose()
            yield from self._train()
        yield from self._measure(self.recipe.epochs)
        self.frozen.flush()

    @property
    def spent(self) -> bool:
        """Whether the budget is used up: it does not cover another step."""
        return self._over or self._in_time(self._budget.share) >= 1

    @property
    def progress(self) -> float:
        """How much of the training is over, in [0, 1]: of its epochs, or of what its budget pays for, if less."""
        within = self.at / max(1, self._steps()) if self.chosen >= 0 else 0.0
        return min(1.0, max((self.epoch + within) / self.recipe.epochs, self._in_time(self._budget.done)))

    def expected_units(self) -> int:
        """About how many units there are; a budget may end them earlier."""
        samples, processes = len(self.student.footage), int(self.accelerator.num_processes)
        share = 1.0 if self.recipe.selection.kind == "infobatch" else self.recipe.selection.share
        training = math.ceil(share * samples / (self.recipe.batch * processes)) * self.recipe.epochs
        passes = math.ceil(samples / (self.recipe.frozen_batch * processes))
        evaluations = math.ceil(self.recipe.epochs / self.recipe.interval)
        return training + passes * (evaluations if self.wanted.losses and self.recipe.evaluation != "history" else 1)

    # Evaluation and selection

    def _measure(self, moment: int) -> Iterator[Logged]:
        if self._test is None or self.measured >= moment:
            return
        self.accuracy = self.frozen.accuracy(self._test)
        self.measured = moment
        yield {"epoch": self.epoch, "test_accuracy": self.accuracy, **self.ledger.numbers()}

    def _pass_is_covered(self) -> bool:
        """Whether the budget has room for a look at all samples and for the training it is for, up to the next one.

        Else training goes on with what is known. The first is needed, and one that has begun goes on.
        """
        wanted, price = self.wanted, self._prices
        cost = 0.0
        if self.judged >= 0 and wanted.losses and self.recipe.evaluation != "history":
            cost = price.student + price.teacher * (self.recipe.evaluation == "interrupted")
        if cost == 0 or self._judging is not None:
            return True
        steps = min(self.recipe.interval, self.recipe.epochs - self.epoch) * len(self.selection.indices)
        covered = self._budget.covers(
            frozen=cost * len(self.student.footage), selection=self._selection_flops(), student=steps * price.training
        )
        return self._in_time(covered) > 0

    def _judge(self) -> Iterator[Logged]:
        """What the rules look at: no more is measured than that."""
        wanted, mode, frozen = self.wanted, self.recipe.evaluation, self.frozen
        if self._judging is None:
            rate = interruption_rate(self.progress, self.recipe.interruption)
            self._judging = Judging(len(self.student.footage), self.states.features.shape[1], rate)
        judging = self._judging
        # Nothing is interrupted at the first evaluation: that pass is the teacher's table of plain clips.
        disturbed = wanted.losses and mode == "interrupted" and self.judged >= 0
        passes = wanted.losses and mode != "history"
        if wanted.trust or (not disturbed and (wanted.features or passes)):
            for _ in frozen.ask(PLAIN, 0, frozen.everything):
                yield {}
        if passes:
            for _ in frozen.interrupted(judging, self.epoch) if disturbed else frozen.clean(judging):
                yield {}
        losses = judging.losses if passes else self._remembered() if wanted.losses else None
        features = None
        if disturbed and wanted.features and judging.rate < self.recipe.interruption.threshold:
            features = judging.features
        elif wanted.features and self.states.sightings == 0:
            features = frozen.told(PLAIN, 0, frozen.everything).features
        with self.ledger.charge("selection"):
            self.states.judge(losses, features, frozen.trust() if wanted.trust else None, judging.rate, self.recipe)
        self._judging, self.judged = None, self.epoch
        if wanted.losses or wanted.trust:
            yield {"epoch": self.epoch, "rate": judging.rate, **self._histograms()}

    def _remembered(self) -> Any:
        self.states.losses = self._losses[:, 1].cpu().numpy().copy()
        return self.states.remembered_losses()

    def _choose(self) -> Logged:
        """The next selection: made by the first process, and told to the others."""
        before = self.selection.indices
        with self.ledger.charge("selection", self._selection_flops()):
            whole = self.recipe.selection.kind == "infobatch"
            self.states.losses = self._losses[:, 0 if whole else 1].cpu().numpy().copy()
            rng = np.random.default_rng([self.recipe.seed, self.epoch, 2])
            labels = self.student.footage.labels
            rules, rarity = self.recipe.selection, self.recipe.difficulty.rarity
            states = self.states.record()
            selection = select(states, self.states.trust, rules, labels, rng=rng, rarity=rarity, done=self.progress)
            self.selection = self._same(selection)
            self.states.choose(self.selection)
        chosen = self.selection.indices
        self.seen[chosen] = 1
        self.chosen = self.epoch
        self.on_selection(self.epoch, self.selection)
        classes = np.bincount(labels[chosen], minlength=len(self.student.columns)) / max(1, len(chosen))
        logged: Logged = {"epoch": self.epoch, "selected": len(chosen), "ever_seen": float(self.seen.mean())}
        if len(before):
            logged["overlap"] = len(np.intersect1d(before, chosen)) / max(1, min(len(before), len(chosen)))
        return {**logged, "class_shares": classes.round(4).tolist(), **self.ledger.numbers()}

    def _same(self, selection: Selection) -> Selection:
        if self.accelerator.num_processes == 1:
            return selection
        from accelerate.utils import broadcast

        weights = torch.zeros(len(self.student.footage), device=self.accelerator.device)
        weights[torch.from_numpy(selection.indices).to(weights.device)] = torch.from_numpy(selection.weights).to(
            weights.device
        )
        agreed = broadcast(weights).cpu().numpy()
        indices = np.flatnonzero(agreed)
        return Selection(indices, agreed[indices])

    def _selection_flops(self) -> float:
        """A floor for the diverse rules: each row once, and an update of the inverse a pick."""
        if not self.wanted.features:
            return 0.0
        samples, width = self.states.features.shape
        return float(2 * samples * width + 4 * self.recipe.selection.share * samples * width**2)

    def _histograms(self) -> Logged:
        def counts(values: np.ndarray) -> list[int]:
            return [int(count) for count in np.histogram(values, BINS, (0.0, 1.0))[0]]

        return {
            "difficulty_histogram": counts(self.states.difficulty),
            "strength_histogram": counts(self.states.strength),
            "strength_mean": float(self.states.strength.mean()),
        }

    # Training

    def _steps(self) -> int:
        return math.ceil(len(self.selection.indices) / (self.recipe.batch * int(self.accelerator.num_processes)))

    def _in_time(self, number: float) -> float:
        """What a budget says; of seconds the first process's, since clocks differ."""
        return number if self.recipe.budget.seconds is None else self._agreed(number)

    def _agreed(self, number: float) -> float:
        """The first process's number, in all of them."""
        if self.accelerator.num_processes == 1:
            return number
        from accelerate.utils import broadcast

        return float(broadcast(torch.tensor(float(number), device=self.accelerator.device)))

    def _train(self) -> Iterator[Logged]:
        """An epoch over what is chosen, in an order of its own."""
        order = np.random.default_rng([self.recipe.seed, self.epoch, 1]).permutation(len(self.selection.indices))
        rows, weights = self.selection.indices[order], self.selection.weights[order]
        view = self.epoch % self.recipe.augment.views
        size = self.recipe.batch * self.accelerator.num_processes
        steps = list(zip(batches(rows, size), batches(weights, size), strict=True))
        end = self.at + self._paid([chosen for chosen, _ in steps[self.at :]], view)
        if self.recipe.loss.distilled > 0:
            for _ in self.frozen.ask(self.recipe.augment, view, rows[self.at * size : end * size]):
                yield {}
        while self.at < end and not self.spent:
            chosen, counted = steps[self.at]
            with self.ledger.charge("student", len(chosen) * self._prices.training):
                logged = self._learn(chosen, counted, view)
            self.at += 1
            self.step += 1
            yield {**logged, "total_flops": self.ledger.flops}
        self._over = self.at == end < len(steps)
        if self.at == len(steps):
            self.epoch, self.at = self.epoch + 1, 0

    def _paid(self, steps: Sequence[Rows], view: int) -> int:
        """How many of these steps the FLOPs that are left cover, the teacher's word on their samples included."""
        left, unasked = self._budget.left, self.frozen.unasked(self.recipe.augment, view)
        for number, rows in enumerate(steps):
            asked = self._prices.teacher * int(unasked[rows].sum()) if self.recipe.loss.distilled > 0 else 0.0
            left -= len(rows) * self._prices.training + asked
            if left < 0:
                return number
        return len(steps)

    def _learn(self, rows: Rows, weights: np.ndarray, view: int) -> Logged:
        """One step: the mean over the batch of all processes, in passes of ``micro_batch``."""
        device, processes = self.accelerator.device, self.accelerator.num_processes
        seed_generator(self.recipe.seed * 1_000_003 + self.step * processes + self.accelerator.process_index, device)
        if not self.model.training:
            self.model.train()
        rate = self._learning_rate()
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        places = dealt(np.arange(len(rows)), self.accelerator)
        counted = torch.from_numpy(weights[places]).to(device)
        if len(rows[self.accelerator.process_index :: processes]) < len(places):
            counted[-1] = 0  # the row that only fills up the share
        parts = batches(np.arange(len(places)), self.recipe.micro_batch or len(places))
        said = []
        for number, part in enumerate(parts):
            with self.accelerator.no_sync(self.model) if number < len(parts) - 1 else nullcontext():
                losses = self._losses_of(rows[places[part]], view)
                loss = (losses[:, 0] * counted[part]).sum() / len(rows) * processes
                self.accelerator.backward(loss)
            said.append(losses.detach())
        every = gathered(torch.cat(said), len(rows), self.accelerator)
        check_losses(every[:, 0], named(rows, self.student.footage))
        if self.recipe.max_grad_norm is not None:
            self.accelerator.clip_grad_norm_(self.model.parameters(), self.recipe.max_grad_norm)
        self._optimizer.step()
        self._optimizer.zero_grad()
        self._losses[torch.from_numpy(rows).to(device)] = every[:, [0, 3]]
        loss, supervised, distilled, _ = every.mean(0).tolist()
        return {
            "epoch": self.epoch,
            "loss": loss,
            "supervised_loss": supervised,
            "distilled_loss": distilled,
            "lr": rate,
        }

    def _losses_of(self, rows: Rows, view: int) -> Tensor:
        """Of each sample [batch, 4]: the mixed loss, its two parts without their weights, and Hinton's loss."""
        base, device = self.recipe.loss, self.accelerator.device
        footage, augment = self.student.footage, self.recipe.augment
        clip = footage.seen_by(self.student.classifier, rows, device, augment, view, self.recipe.seed)
        logits, features = self.student.classifier.taught(clip, self.model, half=self._half)
        logits = self.student.ordered(logits)
        labels = torch.from_numpy(footage.labels[rows]).to(device)
        strength = torch.from_numpy(self.states.strength[rows]).to(device)
        supervised = cross_entropy(logits, labels)
        distilled = hinton = torch.zeros_like(supervised)
        if base.distilled > 0:
            taught = self.frozen.told(augment, view, rows)
            distilled = self._distilled(logits, features, labels, taught)
            with torch.no_grad():
                said = torch.from_numpy(taught.logits).to(device)
                hinton = distilled.detach() if base.kind == "kd" else kd(logits, said, base.temperature)
        both = mixed(base.supervised * supervised, base.distilled * distilled, strength)
        return torch.stack([both, supervised, distilled, hinton], 1)

    def _distilled(self, logits: Tensor, features: Tensor, labels: Tensor, taught: Taught) -> Tensor:
        base = self.recipe.loss
        said, caught = (torch.from_numpy(values).to(logits.device) for values in (taught.logits, taught.features))
        if base.kind == "kd":
            return kd(logits, said, base.temperature)
        if base.kind == "dkd":
            return dkd(logits, said, labels, base.alpha, base.beta, base.temperature)
        if base.kind == "feature":
            return feature_distance(features, caught)
        head = self.teacher.classifier.head

        def through_head(crossed: Tensor) -> Tensor:
            bias = None if head.bias is None else head.bias.float()
            return self.teacher.ordered(F.linear(crossed, head.weight.float(), bias))

        return head_crossing(features, caught, through_head, said, base.temperature)

    def _learning_rate(self) -> float:
        """By the share of the training that is over, so that its course ends where the budget does."""
        done = self.progress
        course = {"constant": 1.0, "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}
        risen = min(1.0, (self.step + 1) / self.recipe.warmup_steps) if self.recipe.warmup_steps else 1.0
        return self.recipe.learning_rate * course[self.recipe.lr_scheduler] * risen

    # State

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint; all processes call it. What the teacher said is on disk before it is called known."""
        self.frozen.flush()
        return {
            **self._weights.state_dict(),
            "states": self.states.state_dict(),
            "losses": self._losses,
            "selection": {"indices": self.selection.indices, "weights": self.selection.weights},
            "place": [self.epoch, self.at, self.step, self.judged, self.chosen, self.measured],
            "judging": None if self._judging is None else self._judging.state_dict(),
            "accuracy": self.accuracy,
            "seen": self.seen,
            "asked": self.frozen.asked,
            "ledger": self.ledger.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """From the checkpoint."""
        self._weights.load_state_dict(state)
        self.states.load_state_dict(state["states"])
        self._losses = state["losses"].to(self.accelerator.device)
        self.selection = Selection(state["selection"]["indices"], state["selection"]["weights"])
        self.epoch, self.at, self.step, self.judged, self.chosen, self.measured = state["place"]
        self._judging = None if state["judging"] is None else Judging.restored(state["judging"])
        self.accuracy, self.seen = state["accuracy"], state["seen"]
        self.frozen.asked = dict(state["asked"])
        self.ledger.load_state_dict(state["ledger"])
