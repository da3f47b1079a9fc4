"""Noise on an answer before it goes out, so that what it decrypts to tells the label and no more.

CKKS decrypts to the label *plus an error that depends on the secret key and on what was computed*. Who sees decrypted
answers can compute on that error (Li and Micciancio, EUROCRYPT 2021: IND-CPA-D). Fresh noise that is much larger hides
it: with a Gaussian of deviation sigma over an error of length rho, an answer tells at most rho^2 / (2 sigma^2) nats
about the error, tau answers tau times as much (Gaussian mechanism; Li, Micciancio, Schultz and Sorrell, CRYPTO 2022).
With

    sigma = sqrt(12 tau) 2^(bits / 2) rho

that is 2^(-bits) / 24 in all. How many bits fit is decided by the room between the error and what would blur a label.
"""

from __future__ import annotations

import math
import secrets
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from burnish.core.errors import UserError
from burnish.private.encryption.clear import MARGIN, ClearClient, ClearEvaluator
from burnish.private.encryption.interface import Evaluator
from burnish.private.ensemble.aggregates import laid_out
from burnish.private.ensemble.circuit import EnsembleCircuit
from burnish.private.ensemble.packing import pack

BLUR = 1 / 64
"""The largest deviation that a label may have: six of them are within the eighth of a slot that noise may take from a
label before it is called ambiguous."""


@dataclass(frozen=True)
class Flood:
    """How much noise.

    Attributes:
        deviation: of the Gaussian on each slot.
        bits: of statistical security that this gives.
        answers: that one key decrypts, for which it is given.
    """

    deviation: float
    bits: float
    answers: int


def plan_flood(error: float, slots: int, answers: int, bits: float | None = None) -> Flood:
    """The noise for a circuit.

    Args:
        error: bound on CKKS's error in a slot; the error's length is this times the root of the slots.
        slots: of a ciphertext: who has a decrypted answer has all of them.
        answers: that one key decrypts, tau.
        bits: of statistical security; without, all the noise that a label bears, and the bits that this gives, which
            may be none.

    Raises:
        UserError: so many bits would blur the label; says how many fit.
    """
    unit = math.sqrt(12 * answers * slots) * error
    most = max(0.0, 2 * math.log2(BLUR / unit))
    if bits is None:
        return Flood(BLUR, most, answers)
    if not 0 <= bits <= most:
        raise UserError(
            f"flood_bits: {bits:g} asked for {answers:,} answers, {most:.1f} fit over an error of "
            f"2^{math.log2(error):.1f}; take fewer, fewer answers (session_questions), or a larger eps"
        )
    return Flood(unit * 2 ** (bits / 2), bits, answers)


def flooding(deviation: float, slots: int) -> Float[np.ndarray, " slots"]:
    """The noise of one answer, from the system's generator for secrets; never the same twice."""
    from scipy.special import ndtri

    drawn = np.frombuffer(secrets.token_bytes(8 * slots), np.uint64)
    return np.asarray(deviation * ndtri(((drawn >> np.uint64(11)) + 0.5) * 2.0**-53))


def flooded(evaluator: Evaluator, answer: Any, flood: Flood) -> Any:
    """An answer with its noise."""
    return evaluator.add_plain(answer, flooding(flood.deviation, evaluator.parameters.slots))


def answer_error(circuit: EnsembleCircuit, draws: int = 4, seed: int = 0) -> float:
    """A bound on CKKS's error in an answer's slots, with high probability: what the back end `clear` draws.

    The comparison is steepest at a tie, and multiplies what came before it by its slope: so the texts are ties, found
    between pairs of random ones with different labels.

    Args:
        circuit: with its heads.
        draws: answers that are computed.
        seed: of the texts.
    """
    rng = np.random.default_rng(seed)
    plan, worst = circuit.plan, 0.0
    client = ClearClient(plan.parameters)
    evaluator = ClearEvaluator(plan.parameters)
    lanes = min(plan.packing.questions, 64)
    for _ in range(draws):
        ends = rng.normal(size=(2, lanes, plan.prompts, plan.width))
        ends /= np.linalg.norm(ends, axis=3, keepdims=True)
        best = circuit.compared(ends[0]).min(2).argmax(1)
        for _ in range(40):
            middle = ends.mean(0)
            same = circuit.compared(middle).min(2).argmax(1) == best
            ends = np.where(same[None, :, None, None] == np.array([True, False])[:, None, None, None], middle, ends)
        parts = pack(plan.packing, laid_out(plan.shape, ends[0]))
        answer = circuit.run(evaluator, [client.encrypt(part) for part in parts])
        worst = max(worst, MARGIN * float(np.abs(answer.drift).max()))
    return worst
