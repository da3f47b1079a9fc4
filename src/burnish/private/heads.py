"""The server's secret: one linear head a prompt, how their scores become one, and a public bound of what comes out.

Pure functions over arrays; what is done here in the clear is what the circuit must do under encryption.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int64

from burnish.core.errors import UserError
from burnish.private.prompts import refuse_classes

Aggregate = Literal["logits", "probabilities", "weighted", "vote"]
Representations = Float[np.ndarray, "texts prompts width"]
Scores = Float[np.ndarray, "texts classes"]


@dataclass(frozen=True)
class Heads:
    """Linear heads of P prompts: the logit of prompt p and class c of a representation x is ``weights[p, c] . x[p] +
    biases[p, c]``. Centred: of each prompt the classes' mean is zero, which changes no answer.

    Attributes:
        weights: of the heads.
        biases: of the heads.
        labels: names of the classes.
        bound: public; what differences of two classes' aggregated logits, and eps, are measured by. The certain one
            is exceeded by no representation of unit length; a calibrated one may be, and the circuit is made for that.
        aggregate: mean of ``logits``; mean of ``probabilities`` (a softmax of each prompt); ``weighted`` mean of
            logits; ``vote`` (a prompt votes for its best class).
        weights_of_prompts: rising to 1 together; equal ones but for ``weighted``.

    Raises:
        UserError: shapes that do not fit, a number that is not finite, duplicate or too few classes, a bound that is
            not above zero.
    """

    weights: Float[np.ndarray, "prompts classes width"]
    biases: Float[np.ndarray, "prompts classes"]
    labels: tuple[str, ...]
    bound: float
    aggregate: Aggregate
    weights_of_prompts: Float[np.ndarray, " prompts"]

    def __post_init__(self) -> None:
        refuse_classes(self.labels)
        prompts, classes = self.biases.shape
        fits = self.weights.shape[:2] == (prompts, classes) and self.weights_of_prompts.shape == (prompts,)
        if not fits or classes != len(self.labels):
            raise UserError(
                f"heads: weights {self.weights.shape}, biases {self.biases.shape}, {len(self.labels)} classes and "
                f"{len(self.weights_of_prompts)} weights of prompts do not fit together; fit them again"
            )
        for name in ("weights", "biases", "weights_of_prompts"):
            if not np.isfinite(getattr(self, name)).all():
                raise UserError(f"heads: {name}: a number is not finite; fit them again")
        if not (np.isfinite(self.bound) and self.bound > 0):
            raise UserError(f"heads: bound {self.bound}: must be finite and above 0")
        shares = self.weights_of_prompts
        if (shares < 0).any() or abs(float(shares.sum()) - 1) > 1e-6:
            raise UserError("heads: weights_of_prompts: must not be below 0, and be 1 together")


def heads_of(
    weights: Float[np.ndarray, "prompts classes width"],
    biases: Float[np.ndarray, "prompts classes"],
    labels: tuple[str, ...],
    aggregate: Aggregate = "logits",
    weights_of_prompts: Float[np.ndarray, " prompts"] | None = None,
) -> Heads:
    """Heads, centred, with equal weights where none are given, and the bound that holds for every unit vector."""
    prompts = len(weights)
    shares = np.full(prompts, 1 / prompts) if weights_of_prompts is None else np.asarray(weights_of_prompts, float)
    centred = weights - weights.mean(1, keepdims=True)
    levelled = biases - biases.mean(1, keepdims=True)
    return Heads(centred, levelled, labels, certain_bound(centred, levelled, shares), aggregate, shares)


def certain_bound(
    weights: Float[np.ndarray, "prompts classes width"],
    biases: Float[np.ndarray, "prompts classes"],
    weights_of_prompts: Float[np.ndarray, " prompts"],
) -> float:
    """max over classes i, j of sum over p of a_p (|w_pi - w_pj| + |b_pi - b_pj|): by Cauchy and Schwarz no unit vectors
    make a larger difference."""
    steps = weights[:, :, None] - weights[:, None, :]
    each = np.linalg.norm(steps, axis=-1) + np.abs(biases[:, :, None] - biases[:, None, :])
    return float(np.einsum("p,pij->ij", weights_of_prompts, each).max())


def calibrated(heads: Heads, representations: Representations, margin: float = 1.5) -> Heads:
    """Heads with the bound that was seen, times a margin, and never above the certain one: eps is then a share of what
    differences are like and not of what they could be. :func:`beyond_bound` tells the texts beyond it; the circuit's
    polynomials reach to the certain bound, so that their answers hold too."""
    seen = float(spread(mean_scores(heads, representations)).max())
    return replace(heads, bound=min(heads.bound, max(margin * seen, 1e-6)))


def spread(scores: Scores) -> Float[np.ndarray, " texts"]:
    """The largest difference of two classes."""
    return np.asarray(scores.max(1) - scores.min(1))


def beyond_bound(heads: Heads, representations: Representations) -> Bool[np.ndarray, " texts"]:
    """Which texts have scores beyond the public bound."""
    return np.asarray(spread(mean_scores(heads, representations)) > heads.bound)


def prompt_logits(heads: Heads, representations: Representations) -> Float[np.ndarray, "texts prompts classes"]:
    """Of each prompt.

    Raises:
        UserError: representations of other prompts or another width, or with a number that is not finite.
    """
    if representations.shape[1:] != (heads.weights.shape[0], heads.weights.shape[2]):
        raise UserError(
            f"representations: {representations.shape[1]} prompts of width {representations.shape[2]}; the heads have "
            f"{heads.weights.shape[0]} of {heads.weights.shape[2]}"
        )
    if not np.isfinite(representations).all():
        raise UserError("representations: a number is not finite")
    return np.asarray(np.einsum("tpw,pcw->tpc", representations, heads.weights) + heads.biases)


def mean_scores(heads: Heads, representations: Representations) -> Scores:
    """Weighted mean of the logits."""
    return np.asarray(np.einsum("p,tpc->tc", heads.weights_of_prompts, prompt_logits(heads, representations)))


def aggregate_scores(heads: Heads, representations: Representations) -> Scores:
    """What the argmax is taken of, by the heads' aggregate."""
    if heads.aggregate in ("logits", "weighted"):
        return mean_scores(heads, representations)
    logits = prompt_logits(heads, representations)
    if heads.aggregate == "vote":
        each = np.eye(logits.shape[2])[logits.argmax(2)]
    else:
        raised = np.exp(logits - logits.max(2, keepdims=True))
        each = raised / raised.sum(2, keepdims=True)
    return np.asarray(np.einsum("p,tpc->tc", heads.weights_of_prompts, each))


def answers(heads: Heads, representations: Representations) -> Int64[np.ndarray, " texts"]:
    """The best class of each text; of equals the first."""
    return np.asarray(aggregate_scores(heads, representations).argmax(1), np.int64)


def margins(scores: Scores) -> Float[np.ndarray, " texts"]:
    """The best class less the second."""
    ordered = np.sort(scores, axis=1)
    return np.asarray(ordered[:, -1] - ordered[:, -2])


def unit_of(heads: Heads) -> float:
    """What eps is a share of: the bound where logits are compared, 1 of probabilities and votes."""
    return heads.bound if heads.aggregate in ("logits", "weighted") else 1.0


def chosen_prompts(heads: Heads, places: list[int]) -> Heads:
    """Heads of some of the prompts, with equal weights."""
    return heads_of(heads.weights[places], heads.biases[places], heads.labels, heads.aggregate)


def fit_heads(
    representations: Representations,
    labels: Int64[np.ndarray, " texts"],
    names: tuple[str, ...],
    prior: Float[np.ndarray, "prompts classes width"],
    ridge: float,
) -> tuple[Float[np.ndarray, "prompts classes width"], Float[np.ndarray, "prompts classes"]]:
    """Heads fitted to labelled texts, drawn towards the verbaliser's: of each prompt the W, b that minimise

        mean over texts of c |W x + b - y|^2 + ridge |W - W_0|^2

    with y the one-hot label, W_0 the verbaliser's directions, c such that every class weighs the same. In closed form.

    Args:
        representations: of labelled texts.
        labels: places in ``names``.
        names: of the classes.
        prior: W_0.
        ridge: how far from the verbaliser the labels may take it; 0 forgets it.

    Raises:
        UserError: a class without a text.
    """
    counts = np.bincount(labels, minlength=len(names))
    if (counts == 0).any():
        raise UserError(f"heads: no text of class `{names[int(counts.argmin())]}` to fit on; give some of each")
    each = (len(labels) / (len(names) * counts))[labels] / len(labels)
    aims = np.eye(len(names))[labels]
    weights, biases = [], []
    for place in range(representations.shape[1]):
        x = representations[:, place].astype(float)
        middle, goal = each @ x, each @ aims
        centred = x - middle
        left = (centred * each[:, None]).T @ centred + max(ridge, 1e-9) * np.eye(x.shape[1])
        right = (centred * each[:, None]).T @ (aims - goal) + ridge * prior[place].T
        solved = np.linalg.solve(left, right).T
        weights.append(solved)
        biases.append(goal - solved @ middle)
    return np.stack(weights), np.stack(biases)
