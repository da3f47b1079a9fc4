"""What a row of each task looks like, and what is wanted of the model there. Knows the script, the codec and the flow.

    draw       [prompt] [plan] [noisy] [noisy] ...       next token of the plan; velocity of every noisy copy
    describe   [clean] [question and answer]             next token of the answer
    reflect    [prompt] [plan] [clean]                   which patches need repair
    correct    [prompt] [plan] [clean, masked] [noisy]   velocity
    read       [clean] [plan]                            next token of the plan

A batch has rows of one task, padded at the front of each text. All randomness comes from the generator that is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from burnish.core.errors import UserError
from burnish.generate.codecs.face import Codec, from_bytes
from burnish.generate.flow import mix, training_times
from burnish.generate.recipe import MintRecipe, Task
from burnish.generate.records import Batch, Layout, Segment
from burnish.generate.script import DESCRIBE, Script, padded
from burnish.generate.steps.state import Mask, Picture
from burnish.generate.training.defects import masked, spoilt
from burnish.generate.training.samples import Sample


@dataclass(frozen=True)
class Lesson:
    """A batch and what is wanted of the model.

    Attributes:
        batch: of one task.
        taught: text tokens that the token before is to foresee.
        data: the pictures of ``batch.noisy`` without noise.
        heat: wanted of clean patches, in 0..1.
        judged: whether the heat of clean pictures counts.
        counted: 1 for a row, 0 for one that only fills up the share of a process.
        rows: their names.
    """

    batch: Batch
    taught: Bool[Tensor, "batch text"]
    data: Float[Tensor, "batch noisies patches dim"]
    heat: Float[Tensor, "batch cleans patches"]
    judged: bool
    counted: Float[Tensor, " batch"]
    rows: tuple[str, ...]

    def part(self, start: int, stop: int) -> Lesson:
        """Some of its rows."""
        return self.chosen(range(start, min(stop, len(self.rows))))

    def chosen(self, places: Sequence[int], counted: int | None = None) -> Lesson:
        """Rows by their places, of which the first ``counted`` count (none: as before)."""
        rows = torch.tensor(list(places), device=self.counted.device)

        def cut(found: Any) -> Any:
            return found[rows] if isinstance(found, Tensor) else found

        batch = replace(self.batch, **{name: cut(value) for name, value in vars(self.batch).items()})
        mine = cut(self.counted) if counted is None else (torch.arange(len(rows), device=rows.device) < counted).float()
        return Lesson(
            batch,
            taught=cut(self.taught),
            data=cut(self.data),
            heat=cut(self.heat),
            judged=self.judged,
            counted=mine,
            rows=tuple(self.rows[place] for place in places),
        )


class Teacher:
    """Makes lessons.

    Args:
        recipe: of the flow, the defects and whether plans are taught.
        script: how text is written.
        codec: of the pictures.
        device: where lessons are wanted.
    """

    def __init__(self, recipe: MintRecipe, script: Script, codec: Codec, device: torch.device | str = "cpu") -> None:
        self._recipe, self._script, self._codec, self._device = recipe, script, codec, device

    def lesson(
        self, task: Task, samples: Sequence[Sample], others: Sequence[Sample], rng: np.random.Generator
    ) -> Lesson:
        """A batch of a task.

        Args:
            task: which.
            samples: a row each.
            others: as many, from which ``reflect`` takes foreign things.
            rng: of noise, times, defects, masks and dropped conditions.

        Raises:
            UserError: a sample without what the task needs, or in words that the tokenizer does not know.
        """
        pictures = [sample.picture(self._codec.size) for sample in samples]
        if task == "describe":
            return self._describe(samples, pictures, rng)
        if task == "read":
            return self._read(samples, pictures)
        texts = [[self._script.prompt(sample.prompt) for sample in samples]]
        left_out = rng.random(len(samples)) < self._recipe.flow.unplanned
        plans = [self._plan(sample, bool(left)) for sample, left in zip(samples, left_out, strict=True)]
        if any(plans):  # one that is empty is padding alone, which nobody sees
            texts.append(plans)
        if task == "draw":
            return self._draw(samples, pictures, texts, rng)
        if task == "reflect":
            return self._reflect(samples, pictures, others, texts, rng)
        return self._correct(samples, pictures, texts, rng)

    def _plan(self, sample: Sample, left_out: bool) -> list[int]:
        wanted = self._recipe.plans and sample.plan is not None and not left_out
        return self._script.plan(sample.plan) if wanted and sample.plan is not None else []

    def _draw(
        self,
        samples: Sequence[Sample],
        pictures: Sequence[Picture],
        texts: list[list[list[int]]],
        rng: np.random.Generator,
    ) -> Lesson:
        tokens, real, lengths = self._texts(texts)
        copies = self._recipe.flow.copies
        clean = self._encode(pictures)
        data = clean[:, None].expand(-1, copies, -1, -1)
        layout = self._layout(lengths, ("noisy", 0, copies))
        batch, noisy_data = self._noised(layout, tokens, real, clean[:, :0].reshape(len(samples), 0, *clean.shape[1:]),
                                         data, len(lengths), rng)  # fmt: skip
        taught = torch.zeros_like(tokens, dtype=torch.bool)
        if len(lengths) > 1:  # after the word that begins a plan
            starts = len(self._script.plan_start)
            for row, plan in enumerate(texts[1]):
                taught[row, tokens.shape[1] - len(plan) + starts :] = True
        return self._lesson(batch, samples, taught=taught, data=noisy_data)

    def _describe(self, samples: Sequence[Sample], pictures: Sequence[Picture], rng: np.random.Generator) -> Lesson:
        rows, answers = [], []
        for sample in samples:
            asked = [(DESCRIBE, sample.caption)] * bool(sample.caption)
            asked += [(sample.question, sample.answer)] * bool(sample.question)
            if not asked:
                raise UserError(f"{sample.row}: neither a caption nor a question to describe; give one")
            question, said = asked[int(rng.integers(len(asked)))]
            answer = self._script.answer(question, said)
            rows.append([*self._script.question(question), *answer])
            answers.append(len(answer))
        return self._said(samples, pictures, rows, answers)

    def _read(self, samples: Sequence[Sample], pictures: Sequence[Picture]) -> Lesson:
        rows = []
        for sample in samples:
            if sample.plan is None:
                raise UserError(f"{sample.row}: no objects to read in the picture; give `objects`")
            rows.append(self._script.plan(sample.plan))
        starts = len(self._script.plan_start)
        return self._said(samples, pictures, rows, [len(row) - starts for row in rows])

    def _said(
        self, samples: Sequence[Sample], pictures: Sequence[Picture], rows: list[list[int]], answers: Sequence[int]
    ) -> Lesson:
        """Pictures, and after each a text whose last tokens are taught."""
        tokens, real, lengths = self._texts([rows])
        clean = self._encode(pictures)[:, None]
        patches = clean.shape[2]
        layout = Layout((Segment("clean", patches, 0), Segment("text", lengths[0])))
        batch = Batch(layout, tokens, clean, clean[:, :0], clean.new_zeros(len(rows), 0), real)
        taught = torch.zeros_like(tokens, dtype=torch.bool)
        for row, length in enumerate(answers):
            taught[row, tokens.shape[1] - length :] = True
        return self._lesson(batch, samples, taught=taught)

    def _reflect(
        self,
        samples: Sequence[Sample],
        pictures: Sequence[Picture],
        others: Sequence[Sample],
        texts: list[list[list[int]]],
        rng: np.random.Generator,
    ) -> Lesson:
        shown, heats = [], []
        for sample, picture, other in zip(samples, pictures, others, strict=True):
            if sample.heat is not None:
                shown.append(picture)
                heats.append(resampled(sample.heat, self._codec.grid))
                continue
            foreign = other.picture(self._codec.size)
            spoiled, mask = spoilt(
                picture, sample.plan, foreign, other.plan, self._codec.grid, self._recipe.defects, rng
            )
            shown.append(spoiled)
            heats.append(mask.astype(np.float32))
        tokens, real, lengths = self._texts(texts)
        clean = self._encode(shown)[:, None]
        batch = Batch(
            self._layout(lengths, ("clean", 0, 1)), tokens, clean, clean[:, :0], clean.new_zeros(len(shown), 0), real
        )
        heat = torch.from_numpy(np.stack(heats)).flatten(1)[:, None].to(self._device)
        return self._lesson(batch, samples, heat=heat, judged=True)

    def _correct(
        self,
        samples: Sequence[Sample],
        pictures: Sequence[Picture],
        texts: list[list[list[int]]],
        rng: np.random.Generator,
    ) -> Lesson:
        masks: list[Mask] = [masked(sample.plan, self._codec.grid, self._recipe.defects, rng) for sample in samples]
        tokens, real, lengths = self._texts(texts)
        clean = self._encode(pictures)[:, None]
        layout = self._layout(lengths, ("clean", 0, 1), ("noisy", 1, 1))
        batch, data = self._noised(layout, tokens, real, clean, clean, len(lengths), rng)
        free = torch.from_numpy(np.stack(masks)).flatten(1)[:, None].to(self._device)
        return self._lesson(replace(batch, masked=free), samples, data=data)

    def _noised(
        self,
        layout: Layout,
        tokens: Tensor,
        real: Tensor | None,
        clean: Tensor,
        data: Tensor,
        conditions: int,
        rng: np.random.Generator,
    ) -> tuple[Batch, Tensor]:
        """A batch whose pictures are noised, some of which must not see the conditions."""
        flow = self._recipe.flow
        rows, copies = data.shape[:2]
        noise = torch.from_numpy(rng.standard_normal(tuple(data.shape), dtype=np.float32)).to(self._device)
        normal = torch.from_numpy(rng.standard_normal((rows, copies), dtype=np.float32)).to(self._device)
        times = training_times(normal, flow.spread, flow.offset)
        chance = torch.from_numpy(rng.random((rows, copies))).to(self._device)
        hidden = torch.zeros(rows, copies, len(layout.segments), dtype=torch.bool, device=self._device)
        hidden[:, :, :conditions] = (chance < flow.drop)[..., None]
        if conditions > 1:
            hidden[:, :, 1] |= chance >= 1 - flow.drop_plan
        return Batch(layout, tokens, clean, mix(data, noise, times), times, real, hidden), data

    def _texts(self, texts: list[list[list[int]]]) -> tuple[Tensor, Tensor | None, list[int]]:
        """Segments one after another: tokens, which are real (none: all), and each segment's length."""
        found = [padded(rows, self._script.stop) for rows in texts]
        tokens = torch.cat([each for each, _ in found], 1)
        real = None
        if any(each is not None for _, each in found):
            real = torch.cat([torch.ones_like(t, dtype=torch.bool) if r is None else r for t, r in found], 1)
        lengths = [each.shape[1] for each, _ in found]
        return tokens.to(self._device), None if real is None else real.to(self._device), lengths

    def _layout(self, lengths: Sequence[int], *pictures: tuple[Any, int, int]) -> Layout:
        patches = self._codec.grid[0] * self._codec.grid[1]
        segments = [Segment("text", length) for length in lengths]
        for kind, image, count in pictures:
            segments += [Segment(kind, patches, image)] * count
        return Layout(tuple(segments))

    def _encode(self, pictures: Sequence[Picture]) -> Float[Tensor, "batch patches dim"]:
        with torch.no_grad():
            return self._codec.encode(from_bytes(np.stack(pictures)).to(self._device)).float().to(self._device)

    def _lesson(
        self,
        batch: Batch,
        samples: Sequence[Sample],
        taught: Tensor | None = None,
        data: Tensor | None = None,
        heat: Tensor | None = None,
        judged: bool = False,
    ) -> Lesson:
        return Lesson(
            batch,
            torch.zeros_like(batch.tokens, dtype=torch.bool) if taught is None else taught,
            batch.noisy if data is None else data,
            torch.zeros_like(batch.clean[..., 0]) if heat is None else heat,
            judged,
            torch.ones(len(samples), device=self._device),
            tuple(sample.row for sample in samples),
        )


def resampled(heat: Float[np.ndarray, "_rows _columns"], grid: tuple[int, int]) -> Float[np.ndarray, "rows columns"]:
    """A heat-map on another grid: the highest of what falls into each cell."""
    rows = np.linspace(0, heat.shape[0], grid[0] + 1)
    columns = np.linspace(0, heat.shape[1], grid[1] + 1)

    def span(edges: np.ndarray, place: int) -> slice:
        first = int(edges[place])
        return slice(first, max(first + 1, int(np.ceil(edges[place + 1]))))

    return np.array(
        [[heat[span(rows, r), span(columns, c)].max() for c in range(grid[1])] for r in range(grid[0])], np.float32
    )
