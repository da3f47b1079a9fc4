"""The item-response subset: the items a few known models disagree on tell what a new merge would score on all of
them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from burnish.merge.rmm import irt
from burnish.merge.rmm.assemble import Weights
from burnish.merge.rmm.evaluate import Evaluator, Items, Result
from burnish.merge.rmm.problem import Problem
from burnish.merge.rmm.reward import Subset, in_chunks


class AnchorSubset:
    """Anchor items of every task, moved to the front of its items. Source: MERGE3, sections 3.1 and 3.2.

    Args:
        problem: the tasks.
        evaluator: scores on ``problem``'s items as they lie.
        known: models whose answers to all items are looked at: the base, the experts and the tuned merges.
        fraction: s; int(s n) anchors a task.
        chunk: items a forward pass.

    Attributes:
        problem: the same, reordered.
        subset: the anchors.
        orders: how each task's items were rearranged.
    """

    def __init__(
        self, problem: Problem, evaluator: Evaluator, known: Sequence[Weights], fraction: float, chunk: int
    ) -> None:
        answers = [evaluator.items(weights) for weights in known]
        self._items: list[irt.Items2PL] = []
        self._weights: list[irt.Array] = []
        chunks = []
        self.orders: list[NDArray[np.int64]] = []
        for task, size in enumerate(problem.sizes):
            fitted = irt.fit(np.stack([each[task].score for each in answers]))
            anchors, weights = irt.choose_anchors(fitted, int(round(fraction * size, 9)))
            order = np.concatenate([anchors, np.setdiff1d(np.arange(size), anchors)])
            self.orders.append(order)
            chunks += in_chunks(task, 0, len(anchors), chunk)
            self._items.append(irt.Items2PL(fitted.discrimination[order], fitted.difficulty[order], fitted.ability))
            self._weights.append(weights)
        self.problem = problem.reordered(self.orders)
        self.subset: Subset = tuple(chunks)

    def summary(self, items: Sequence[Items]) -> Result:
        """Estimated accuracy on all items, and the cross-entropy of the anchors by the share each stands for."""
        scores = [
            irt.estimate_score(fitted, np.arange(len(each.score)), each.score)
            for fitted, each in zip(self._items, items, strict=True)
        ]
        nlls = [float(np.average(each.nll, weights=w)) for each, w in zip(items, self._weights, strict=True)]
        return Result(tuple(scores), tuple(nlls))
