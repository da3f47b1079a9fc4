"""What an architecture is worth on which items: run, score, remember. Knows no search.

A task's score is its accuracy, or exp(-mean negative log-likelihood) a token for plain text (the inverse of
perplexity); its cross-entropy is the mean negative log-likelihood of the right class, choice or token. Tasks count
equally.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn

from burnish.core.errors import UserError
from burnish.core.method import import_object
from burnish.merge.rmm.architecture import Architecture, Blocks
from burnish.merge.rmm.assemble import Assembly, Weights
from burnish.merge.rmm.candidates import Pool
from burnish.merge.rmm.data import IGNORED, TaskData
from burnish.merge.rmm.reward import Subset, everything

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Objective = Literal["score", "cross_entropy"]


@dataclass(frozen=True)
class Items:
    """Per-item results.

    Attributes:
        score: 0 or 1 (a user's function: anything between); exp(-nll) for text.
        nll: negative log-likelihood; NaN from a user's function.
        weight: how much the item counts (tokens, for text; else 1).
    """

    score: NDArray[np.float64]
    nll: NDArray[np.float64]
    weight: NDArray[np.float64]


@dataclass(frozen=True)
class Result:
    """Mean score in [0, 1] and mean cross-entropy of every task, in the tasks' order."""

    scores: tuple[float, ...]
    cross_entropies: tuple[float, ...]

    def reward(self, objective: Objective) -> float:
        """100 x mean task score (RMM, section 3.2), or minus the mean task cross-entropy."""
        if objective == "score":
            return 100 * float(np.mean(self.scores))
        return -float(np.mean(self.cross_entropies))


def class_items(logits: Float[Tensor, "items classes"], labels: Int[Tensor, " items"]) -> Items:
    """Accuracy and cross-entropy of a classifier."""
    nll = nn.functional.cross_entropy(logits, labels, reduction="none").double().numpy()
    return Items((logits.argmax(-1) == labels).double().numpy(), nll, np.ones(len(labels)))


def token_nll(
    logits: Float[Tensor, "rows length vocabulary"], targets: Int[Tensor, "rows length"]
) -> tuple[Float[Tensor, " rows"], Int[Tensor, " rows"]]:
    """Summed negative log-likelihood of the scored tokens, and how many they are."""
    nll = nn.functional.cross_entropy(logits.transpose(1, 2), targets, reduction="none", ignore_index=IGNORED)
    return nll.sum(-1), (targets != IGNORED).sum(-1)


def choice_items(row_nll: Float[Tensor, " rows"], offsets: Sequence[int], answers: Int[Tensor, " items"]) -> Items:
    """Multiple choice by summed log-probability; cross-entropy of the softmax over the choices.

    Args:
        row_nll: of every choice.
        offsets: first row of each item, and the number of rows.
        answers: index of the right choice.
    """
    scores, nlls = [], []
    for start, stop, answer in zip(offsets, offsets[1:], answers.tolist(), strict=False):
        log_probability = torch.log_softmax(-row_nll[start:stop].double(), -1)
        scores.append(float(log_probability.argmax() == answer))
        nlls.append(-float(log_probability[answer]))
    return Items(np.array(scores), np.array(nlls), np.ones(len(scores)))


class Evaluator:
    """Scores architectures of one pool of candidates on one set of tasks.

    Args:
        model: any model of the family.
        pool: the candidates.
        tasks: validation (or test) items.
        heads: head modules of every expert; empty for language models.
        chunk: items a forward pass where everything is scored.

    Attributes:
        known: results so far.
    """

    def __init__(
        self,
        model: "PreTrainedModel",
        pool: Pool,
        tasks: Sequence[TaskData],
        heads: list[Mapping[str, nn.Module]],
        chunk: int = 200,
    ) -> None:
        self.pool = pool
        self.tasks = tasks
        self.full = everything([len(task) for task in tasks], chunk)
        self.assembly = Assembly(model, pool.layout, heads)
        self.known: dict[tuple[Architecture, Subset], Result] = {}

    def result(self, architecture: Architecture, subset: Subset | None = None) -> Result:
        """Scores on a subset (default: everything), remembered by architecture.

        An empty model is legal and scores 0; its cross-entropy is measured like any other's.
        """
        key = (architecture, subset or self.full)
        if key not in self.known:
            self.remember(*key, self.mean(self.compute(*key)))
        return self.known[key]

    def compute(self, architecture: Architecture, subset: Subset) -> list[Items]:
        """Per-item results, not remembered."""
        return self.items(self.pool.weights(architecture), subset)

    def remember(self, architecture: Architecture, subset: Subset, result: Result) -> None:
        """Stores a result, computed here or elsewhere."""
        if architecture == Blocks(()):
            result = Result((0.0,) * len(self.tasks), result.cross_entropies)
        self.known[architecture, subset] = result

    def items(self, weights: Weights, subset: Subset | None = None) -> list[Items]:
        """Per-item results of every task, in the tasks' order."""
        parts: list[list[Items]] = [[] for _ in self.tasks]
        for task, start, stop in subset or self.full:
            parts[task].append(self._chunk(weights, task, start, stop))
        return [
            Items(*(np.concatenate([getattr(part, name) for part in each]) for name in ("score", "nll", "weight")))
            for each in parts
        ]

    def mean(self, items: Sequence[Items]) -> Result:
        """Task means of per-item results."""
        nlls = [float(np.average(each.nll, weights=each.weight)) for each in items]
        scores = [
            float(np.exp(-nll)) if task.kind == "text" else float(np.average(each.score, weights=each.weight))
            for task, each, nll in zip(self.tasks, items, nlls, strict=True)
        ]
        return Result(tuple(scores), tuple(nlls))

    def _chunk(self, weights: Weights, number: int, start: int, stop: int) -> Items:
        task = self.tasks[number]
        if task.kind == "custom":
            return self._custom(weights, task, start, stop)
        rows = task.row_range(start, stop)
        inputs = {name: tensor[rows] for name, tensor in task.inputs.items()}
        logits = self.assembly.run(weights, inputs, task.head).float()
        if task.targets is None:
            return class_items(logits, task.labels[start:stop])
        nll, tokens = token_nll(logits, task.targets[rows])
        if task.offsets is not None:
            return choice_items(
                nll, [at - rows.start for at in task.offsets[start : stop + 1]], task.labels[start:stop]
            )
        mean = (nll / tokens.clamp(min=1)).double().numpy()
        return Items(np.exp(-mean), mean, tokens.double().numpy())

    def _custom(self, weights: Weights, task: TaskData, start: int, stop: int) -> Items:
        function = import_object(task.score, "score")
        with torch.inference_mode():
            values = function(self.assembly.bind(weights, task.head), list(task.rows[start:stop]))
        score = np.asarray(values, dtype=float)
        if score.shape != (stop - start,) or not ((score >= 0) & (score <= 1)).all():
            raise UserError(
                f"{task.score}: expected {stop - start} numbers in [0, 1], got shape {score.shape}: {values!r:.80}"
            )
        return Items(score, np.full(len(score), np.nan), np.ones(len(score)))
