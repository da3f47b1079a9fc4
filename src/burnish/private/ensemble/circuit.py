"""The whole classifier as one circuit: encrypted representations in, an encrypted one-hot of the best class out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from burnish.core.errors import UserError
from burnish.private.argmax.all_pairs import all_pairs_from_differences
from burnish.private.encryption.interface import Evaluator
from burnish.private.encryption.steps import step
from burnish.private.ensemble.aggregates import emit, prompt_bound, proxy, reach
from burnish.private.ensemble.linear import LinearMap
from burnish.private.ensemble.plan import CircuitPlan, doublings, make_plan
from burnish.private.heads import Heads, Representations, prompt_logits
from burnish.private.polynomials.evaluation import evaluate, evaluate_sign


class EnsembleCircuit:
    """Heads, and the plan that they are computed by.

    Args:
        heads: the server's secret.
        plan: made for them; see :meth:`make`.

    Attributes:
        heads: secret.
        plan: public.

    Raises:
        UserError: a plan of another shape.
    """

    def __init__(self, heads: Heads, plan: CircuitPlan) -> None:
        prompts, classes, width = heads.weights.shape
        if (plan.prompts, plan.classes, plan.width, plan.aggregate) != (prompts, classes, width, heads.aggregate):
            raise UserError("plan: made for other heads; make it again")
        self.heads, self.plan = heads, plan
        emission = emit(heads, plan.shape)
        self._heads = LinearMap(plan.packing, emission.matrix, emission.constants)
        self._proxy = proxy(heads).times(1 / prompts) if heads.aggregate == "probabilities" else None

    @classmethod
    def make(
        cls, heads: Heads, eps: float, *, questions: int = 1, parts: int = 1, ring: int | None = None
    ) -> EnsembleCircuit:
        """With the plan that fits; see :func:`burnish.private.ensemble.plan.make_plan`.

        Raises:
            UserError: no ring has the levels, or the slots.
        """
        prompts, classes, width = heads.weights.shape
        degree = proxy(heads).degree if heads.aggregate == "probabilities" else 0
        plan = make_plan(
            prompts,
            classes,
            width,
            eps,
            heads.aggregate,
            reach=reach(heads),
            proxy_degree=degree,
            questions=questions,
            parts=parts,
            ring=ring,
        )
        return cls(heads, plan)

    def run(self, evaluator: Evaluator, parts: Sequence[Any]) -> Any:
        """From the ciphertexts of a question to that of its answer, at the lowest level.

        Raises:
            UserError: ciphertexts of another number, level or kind.
            BurnishError: a rotation key is missing.
        """
        plan = self.plan
        plan.check(parts)
        with step("heads"):
            cipher = self._heads(evaluator, parts)
        if self._proxy is not None:
            with step("probabilities"):
                cipher = evaluate(evaluator, cipher, self._proxy)
                cipher = self._summed(evaluator, cipher, plan.shape.groups)
        elif plan.vote_degrees:
            cipher = self._votes(evaluator, cipher)
        sign = plan.vote_sign if plan.vote_degrees else plan.sign
        with step("argmax"):
            return all_pairs_from_differences(evaluator, cipher, plan.lanes, sign)

    def compared(self, representations: Representations) -> Float[np.ndarray, "texts classes classes"]:
        """What the circuit compares, in the clear: v_i - v_j of each text, in shares of the heads' bound.

        Of probabilities with the circuit's polynomial; of votes with its comparison, by which a prompt that is
        undecided within eps votes in part for each of the classes.
        """
        heads, classes = self.heads, self.plan.classes
        logits = prompt_logits(heads, representations)
        if heads.aggregate in ("logits", "weighted"):
            scores = np.einsum("p,tpc->tc", heads.weights_of_prompts, logits) / heads.bound
        elif self._proxy is not None:
            centred = logits - logits.mean(2, keepdims=True)
            scores = self._proxy(centred * (classes / ((classes - 1) * prompt_bound(heads)))).sum(1)
        else:
            sign = self.plan.sign.within_one()
            each = (1 + sign((logits[..., :, None] - logits[..., None, :]) / prompt_bound(heads))) / 2
            beaten = float(1 + sign(np.array(1.0))) / 2  # by all: oneself, and classes that fill up
            each[..., np.eye(classes, dtype=bool)] = beaten
            scores = each.prod(-1).mean(1) * beaten ** (self.plan.shape.classes - classes)
        return np.asarray(scores[:, :, None] - scores[:, None, :])

    def _votes(self, evaluator: Evaluator, cipher: Any) -> Any:
        """Each prompt's one-hot of class i less that of j, summed over the prompts, over their number."""
        plan = self.plan
        shape, lanes = plan.shape, plan.packing.questions
        with step("comparison"):
            # Each of the factors brings its root of 1 / prompts, where a product with that would take a level.
            factor = 0.5 * plan.prompts ** (-1 / shape.classes)
            # Within 1: shares above it, of prompts that agree, are beyond what the comparison of votes is made for.
            sign = plan.sign.within_one().times(factor)
            cipher = evaluator.add_plain(evaluate_sign(evaluator, cipher, sign), factor)
        with step("best of each prompt"):
            for rival in doublings(shape.classes):
                turned = evaluator.rotate(cipher, rival * lanes)
                cipher = evaluator.rescale(evaluator.multiply(cipher, turned))
            other = evaluator.rotate(cipher, shape.window * shape.groups // 2 * lanes)
            return self._summed(evaluator, evaluator.subtract(cipher, other), shape.groups // 2)

    def _summed(self, evaluator: Evaluator, cipher: Any, groups: int) -> Any:
        for group in doublings(groups):
            turned = evaluator.rotate(cipher, self.plan.shape.window * group * self.plan.packing.questions)
            cipher = evaluator.add(cipher, turned)
        return cipher
