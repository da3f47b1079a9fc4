"""What is to be merged and what it is measured on. From models in memory, or from a recipe's folders and files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from burnish.core.errors import UserError
from burnish.merge.rmm.candidates import Pool, build_pool
from burnish.merge.rmm.data import TaskData, load_task
from burnish.merge.rmm.evaluate import Evaluator
from burnish.merge.rmm.files import Dtype, number_format
from burnish.merge.rmm.layout import ModuleLayout, flatten, read_modules
from burnish.merge.rmm.outcome import MergeResult
from burnish.merge.rmm.recipe import MergeCandidate, SearchRecipe

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Problem:
    """Models of one base and tasks for them.

    Attributes:
        model: the base, as a template.
        layout: of its weights.
        base: its flat weights.
        experts: flat weights, one row an expert.
        names: of the experts.
        heads: head modules of every expert; empty for language models.
        tasks: validation items, in an order that is shuffled once.
        tests: items that no search sees.
        source: folder of the base, or None for a model built in memory.
        dtype: what the base is written in, and what is exported; the search itself computes in float32.
        merge_results: uniform merges scored so far, by settings, seed and chunk: several searches share them.
    """

    model: "PreTrainedModel"
    layout: ModuleLayout
    base: Tensor
    experts: Tensor
    names: tuple[str, ...]
    heads: list[Mapping[str, nn.Module]]
    tasks: tuple[TaskData, ...]
    tests: tuple[TaskData, ...]
    source: Path | None = None
    dtype: Dtype = "float32"
    merge_results: dict[tuple[MergeCandidate, int, int], MergeResult] = field(default_factory=dict, repr=False)

    @classmethod
    def from_models(
        cls,
        base: "PreTrainedModel",
        experts: Sequence["PreTrainedModel"],
        tasks: Sequence[TaskData],
        tests: Sequence[TaskData],
        *,
        names: Sequence[str] | None = None,
        seed: int = 0,
        source: Path | None = None,
        dtype: Dtype = "float32",
    ) -> "Problem":
        """Flattens the models and shuffles the validation items.

        Args:
            base: what the experts were fine-tuned from.
            experts: fine-tunes; a classifier's own head reads out the tasks that name it.
            tasks: validation.
            tests: the same tasks, for the final report.
            names: of the experts; default ``expert 0`` and so on.
            seed: of the shuffle.
            source: folder of the base, for its side files.
            dtype: number format of what is exported.

        Raises:
            UserError: experts of other shapes, no items, or a head with fewer classes than the labels.
        """
        layout = read_modules(base)
        names = tuple(names or [f"expert {number}" for number in range(len(experts))])
        flats = [flatten(model, layout, name) for model, name in zip(experts, names, strict=True)]
        heads: list[Mapping[str, nn.Module]] = [
            {name: model.get_submodule(name) for name in layout.heads} for model in experts if layout.heads
        ]
        rng = np.random.default_rng(seed)
        checked = [_checked(task, heads) for task in tasks]
        shuffled = tuple(task.reordered(rng.permutation(len(task))) for task in checked)
        held_out = tuple(_checked(task, heads) for task in tests)
        base_flat = flatten(base, layout, "base")
        return cls(base, layout, base_flat, torch.stack(flats), names, heads, shuffled, held_out, source, dtype)

    def pool(self, specs: Sequence[MergeCandidate], seed: int, stem: int | None = None) -> Pool:
        """Experts and merges; see ``build_pool``."""
        return build_pool(self.layout, self.base, self.experts, specs, self.names, seed, stem)

    def evaluator(self, pool: Pool, chunk: int) -> Evaluator:
        """Scores on the validation items."""
        return Evaluator(self.model, pool, self.tasks, self.heads, chunk)

    def tester(self, pool: Pool, chunk: int) -> Evaluator:
        """Scores on the test items."""
        return Evaluator(self.model, pool, self.tests, self.heads, chunk)

    @cached_property
    def sizes(self) -> list[int]:
        """Validation items of each task."""
        return [len(task) for task in self.tasks]


def _checked(task: TaskData, heads: Sequence[Mapping[str, nn.Module]]) -> TaskData:
    if len(task) == 0:
        raise UserError(f"tasks: {task.name}: no validation or test data; the search needs examples to score merges on")
    if task.kind != "classes":
        return task
    if not heads:
        raise UserError(f"tasks: {task.name}: labels need a classifier; this model has no task head")
    if task.head is None or not 0 <= task.head < len(heads):
        raise UserError(f"tasks: {task.name}: no head {task.head}; there are {len(heads)} experts (counted from 0)")
    if int(task.labels.min()) < 0:
        raise UserError(f"tasks: {task.name}: label {int(task.labels.min())}; classes count from 0")
    outputs = [
        module.out_features
        for part in heads[task.head].values()
        for module in part.modules()
        if isinstance(module, nn.Linear)
    ]
    if outputs and int(task.labels.max()) >= outputs[-1]:
        raise UserError(f"tasks: {task.name}: label {int(task.labels.max())}, but its head has {outputs[-1]} classes")
    return task


def load_problem(recipe: SearchRecipe) -> Problem:
    """Reads the models and data files that a recipe names.

    Raises:
        UserError: anything that is missing, damaged or does not fit; one line that says what.
    """
    from burnish.core.models import load_model, resolve

    base = load_model(recipe.base, dtype="float32")
    experts = [load_model(name, dtype="float32") for name in recipe.experts]
    source = resolve(recipe.base.partition("+")[0])
    classifier = bool(read_modules(base).heads)
    for task in recipe.tasks:
        if classifier and task.head is None and recipe.tasks.index(task) >= len(experts):
            raise UserError(f"tasks: {task.name}: set head: there are more tasks than experts")

    def read(part: str) -> list[TaskData]:
        return [
            load_task(
                task.name,
                getattr(task, part),
                task.score,
                (task.head if task.head is not None else number) if classifier else None,
                base,
                source,
                recipe.max_length,
            )
            for number, task in enumerate(recipe.tasks)
        ]

    names = [Path(name).name for name in recipe.experts]
    if len(set(names)) < len(names):
        names = list(recipe.experts)
    return Problem.from_models(
        base,
        experts,
        read("validation"),
        read("test"),
        names=names,
        seed=recipe.seed,
        source=source,
        dtype=number_format(recipe.base),
    )
