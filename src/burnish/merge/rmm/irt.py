"""Item response theory: which few items tell how good a merge is, as MERGE3 does (arXiv:2502.10436). Pure arithmetic.

Two-parameter logistic model: P(model m answers item i) = sigmoid(a_i (theta_m - b_i)), a_i > 0.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from burnish.core.errors import UserError

Array = NDArray[np.float64]
_ABILITIES = np.linspace(-5, 5, 401)


@dataclass(frozen=True)
class Items2PL:
    """Fitted items.

    Attributes:
        discrimination: a, [items].
        difficulty: b, [items].
        ability: theta of the models it was fitted on.
    """

    discrimination: Array
    difficulty: Array
    ability: Array

    def probability(self, ability: float) -> Array:
        """P(right) of every item for one model."""
        return _sigmoid(self.discrimination * (ability - self.difficulty))


def fit(correct: Array) -> Items2PL:
    """Maximum a posteriori under standard normal theta and b and log-normal a (sd 1/2).

    Args:
        correct: [models, items] of 0 and 1; the experts and a few merges.
    """
    right = torch.tensor(correct, dtype=torch.float64)
    models, items = right.shape
    ability = torch.zeros(models, dtype=torch.float64)
    share = right.mean(1).clamp(0.02, 0.98)
    ability += torch.logit(share) - torch.logit(share).mean()
    difficulty = -torch.logit(right.mean(0).clamp(0.05, 0.95))
    log_discrimination = torch.zeros(items, dtype=torch.float64)
    unknowns = [ability, difficulty, log_discrimination]
    for unknown in unknowns:
        unknown.requires_grad_(True)
    optimizer = torch.optim.LBFGS(unknowns, max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        logits = log_discrimination.exp() * (ability[:, None] - difficulty)
        likelihood = torch.nn.functional.binary_cross_entropy_with_logits(logits, right, reduction="sum")
        prior = ability.square().sum() / 2 + difficulty.square().sum() / 2 + 2 * log_discrimination.square().sum()
        total: torch.Tensor = likelihood + prior
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    a, b, theta = (unknown.detach().numpy() for unknown in (log_discrimination.exp(), difficulty, ability))
    return Items2PL(a, b, theta)


def choose_anchors(items: Items2PL, count: int) -> tuple[NDArray[np.int64], Array]:
    """The middle items of ``count`` strata of equal size, from the easiest to the hardest, and the share each stands
    for.

    MERGE3 takes cluster centres; with the handful of models known here many items get the same parameters, and clusters
    of equal points are arbitrary.

    Raises:
        UserError: no anchor asked for.
    """
    if count < 1:
        raise UserError("subset irt: no whole item: raise subset_fraction or add validation data")
    order = np.lexsort((items.discrimination, items.difficulty))
    strata = np.array_split(order, min(count, len(order)))
    anchors = np.array([stratum[len(stratum) // 2] for stratum in strata])
    shares = np.array([len(stratum) for stratum in strata]) / len(order)
    ascending = anchors.argsort()
    return anchors[ascending], shares[ascending]


def estimate_ability(items: Items2PL, anchors: NDArray[np.int64], correct: Array) -> float:
    """Most probable ability from the answers to the anchors (on a grid of step 1/40, standard normal prior)."""
    logits = items.discrimination[anchors] * (_ABILITIES[:, None] - items.difficulty[anchors])
    log_posterior = (correct * logits - np.logaddexp(0, logits)).sum(1) - _ABILITIES**2 / 2
    return float(_ABILITIES[log_posterior.argmax()])


def estimate_score(items: Items2PL, anchors: NDArray[np.int64], correct: Array) -> float:
    """Estimated accuracy on all items: observed on the anchors, predicted elsewhere."""
    predicted = items.probability(estimate_ability(items, anchors, correct))
    predicted[anchors] = correct
    return float(predicted.mean())


def _sigmoid(x: Array) -> Array:
    result: Array = 1 / (1 + np.exp(-x))
    return result
