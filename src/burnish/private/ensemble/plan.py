"""What client and server agree on before a question is asked: parameters, where the numbers lie, which keys are needed.

All of it is public. Made from the numbers of classes, prompts and dimensions and from `eps`, not from the heads.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from burnish.core.errors import UserError
from burnish.private.argmax.reading import needed_error, read_values
from burnish.private.argmax.records import Label
from burnish.private.encryption.parameters import COARSEST, FINEST, STANDARD, Parameters, most_levels
from burnish.private.ensemble.aggregates import Shape, laid_out, shape_of
from burnish.private.ensemble.lanes import Lanes
from burnish.private.ensemble.linear import rotations
from burnish.private.ensemble.packing import Packing, pack
from burnish.private.heads import Aggregate, Representations
from burnish.private.polynomials.minimax import FINEST_EPS, cheapest, check_eps, minimax
from burnish.private.polynomials.records import Sign

LONGER = 1e-5
"""What the length of a representation may be above 1, by rounding."""
END_BITS, HEADROOM = 60, 10
"""The end primes have so many bits above the scale, and no more than a prime can."""
NOISE_BITS = 29
"""Bits of scale that noise takes before a near tie blurs, beyond those of 1 / eps: 21 at the heads, 2 by the slope of a
comparison at a tie over 1 / eps, 6 to stay below a label's own tolerance."""


@dataclass(frozen=True)
class CircuitPlan:
    """See the module.

    Attributes:
        parameters: of the encryption; just enough levels.
        packing: where inputs and outputs lie.
        aggregate: of the prompts.
        prompts, classes, width: of the ensemble.
        eps: the smallest difference of scores, in shares of the heads' bound, that is told apart.
        reach: the certain bound, over the heads'. Beyond what they are made for, the comparison's polynomials swing
            back to the other sign and would give a wrong label that looks like a right one: so they are made for all
            that a vector of unit length can do, whatever bound differences are measured by.
        degrees: of the comparison's polynomials, innermost first.
        vote_degrees: of the comparison of votes, which follows that of each prompt's logits.
        proxy_degree: of the polynomial in the place of a softmax; 0 where there is none.
    """

    parameters: Parameters
    packing: Packing
    aggregate: Aggregate
    prompts: int
    classes: int
    width: int
    eps: float
    reach: float
    degrees: tuple[int, ...]
    vote_degrees: tuple[int, ...] = ()
    proxy_degree: int = 0

    @property
    def shape(self) -> Shape:
        """Places of each stage."""
        return shape_of(self.aggregate, self.prompts, self.classes, self.width)

    @property
    def sign(self) -> Sign:
        """The comparison of scores, or of each prompt's logits where prompts vote."""
        return minimax(self.degrees, self.eps / self.reach)

    @property
    def vote_eps(self) -> float:
        """Two shares of votes differ by a vote or not at all; a quarter of one is left to near ties of a prompt."""
        return 0.75 / self.prompts

    @property
    def vote_sign(self) -> Sign:
        """The comparison of votes."""
        return minimax(self.vote_degrees, self.vote_eps)

    @property
    def levels(self) -> dict[str, int]:
        """Of the circuit, step by step."""
        full = self.shape.classes.bit_length() - 1
        steps = {"heads": 1}
        if self.proxy_degree:
            steps["probabilities"] = self.proxy_degree.bit_length()
        steps["comparison"] = sum(degree.bit_length() for degree in self.degrees)
        if self.vote_degrees:
            steps |= {"best of each prompt": full, "comparison of votes": sum(map(int.bit_length, self.vote_degrees))}
        return steps | {"best": full, "mask": 1}

    @property
    def rotations(self) -> tuple[int, ...]:
        """Keys that the server needs, as steps to the left."""
        shape, lanes = self.shape, self.packing.questions
        wanted = set(rotations(self.packing))
        if shape.groups > 1:
            first = shape.groups // 2 if self.aggregate == "vote" else shape.groups
            wanted |= {shape.window * step * lanes for step in doublings(first)}
        if self.aggregate == "vote":
            wanted.add(shape.window * shape.groups // 2 * lanes)
            wanted |= {step * lanes for step in doublings(shape.classes)}
        return tuple(sorted(wanted | set(self.lanes.rotations)))

    @property
    def lanes(self) -> Lanes:
        """Where the classes meet, and where the answers are."""
        stride, only = self.shape.stride, self.aggregate == "vote"
        return Lanes(self.classes, self.parameters.slots, packing=self.packing, stride=stride, only_first=only)

    @property
    def told(self) -> Bool[np.ndarray, " slots"]:
        """The slots that are the answer: a one-hot of the classes for each question."""
        return np.asarray(self.lanes.answers() > 0)

    @property
    def digest(self) -> str:
        """Sixteen characters that differ where the plan does."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:16]

    def encode(self, representations: Representations) -> Float[np.ndarray, "parts slots"]:
        """Up to as many texts as there are lanes, as slots of the ciphertexts to encrypt.

        Raises:
            UserError: of other prompts or another width, too many, or a number that is not finite or beyond unit
                length.
        """
        if representations.shape[1:] != (self.prompts, self.width):
            raise UserError(
                f"representations: {representations.shape[1]} prompts of width {representations.shape[2]}; "
                f"this circuit takes {self.prompts} of {self.width}"
            )
        lengths = np.linalg.norm(representations, axis=2)
        if not np.isfinite(lengths).all():
            raise UserError("representations: a number is not finite; look at the text and the encoder")
        if lengths.size and lengths.max() > 1 + LONGER:
            raise UserError(f"representations: one of length {lengths.max():.3g}; scale them to 1")
        return pack(self.packing, laid_out(self.shape, representations))

    def one_hots(self, slots: Float[np.ndarray, " slots"]) -> Float[np.ndarray, "questions classes"]:
        """The answers in decrypted slots."""
        lanes = self.lanes
        places = [[lanes.place(lane, label) for label in range(self.classes)] for lane in range(lanes.queries)]
        return np.asarray(slots[np.array(places)])

    def read(self, slots: Float[np.ndarray, " slots"], texts: int) -> list[Label]:
        """The labels of the first so many lanes."""
        sign, unit = (self.vote_sign, 1.0) if self.vote_degrees else (self.sign, self.reach)
        found = [read_values(row, self.lanes, sign) for row in self.one_hots(slots)[:texts]]
        return [replace(label, resolves=label.resolves and unit * label.resolves) for label in found]

    def check(self, ciphers: Sequence[Any]) -> None:
        """Refuse a question that this circuit cannot take.

        Raises:
            UserError: another number of ciphertexts, or of another level or kind.
        """
        self.check_count(len(ciphers))
        for cipher in ciphers:
            if cipher.level != self.parameters.levels or cipher.parts != 2:
                raise UserError(
                    f"question: a ciphertext of level {cipher.level} with {cipher.parts} parts; this circuit takes "
                    f"level {self.parameters.levels} with 2"
                )

    def check_count(self, ciphers: int) -> None:
        """Refuse a question of another number of ciphertexts, before any is read.

        Raises:
            UserError: names both numbers.
        """
        if ciphers != self.packing.parts:
            raise UserError(f"question: {ciphers} ciphertexts; this circuit takes {self.packing.parts}")

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "degrees": list(self.degrees), "vote_degrees": list(self.vote_degrees)}

    @classmethod
    def from_json(cls, told: Any) -> CircuitPlan:
        """Read what :meth:`to_json` gave, from a file or from a stranger.

        Raises:
            UserError: something else, or parameters that are refused.
        """
        try:
            given = dict(told)
            given["parameters"] = Parameters.from_json(json.dumps(given["parameters"]))
            given["packing"] = Packing(**given["packing"])
            for name in ("degrees", "vote_degrees"):
                given[name] = tuple(given[name])
            plan = cls(**given)
            shape = plan.shape
            packing = plan.packing
            fits = (packing.slots, packing.groups, packing.window, packing.inputs) == (
                plan.parameters.slots, shape.groups, shape.window, shape.inputs,
            )  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"plan: not one of a circuit ({type(error).__name__}: {error})") from None
        if not fits or sum(plan.levels.values()) != plan.parameters.levels:
            raise UserError("plan: its numbers contradict one another")
        return plan


def doublings(count: int) -> tuple[int, ...]:
    """1, 2, 4, ... below a power of two."""
    return tuple(1 << power for power in range(count.bit_length() - 1))


def make_plan(
    prompts: int,
    classes: int,
    width: int,
    eps: float,
    aggregate: Aggregate = "logits",
    *,
    reach: float = 1.0,
    proxy_degree: int = 0,
    questions: int = 1,
    parts: int = 1,
    ring: int | None = None,
) -> CircuitPlan:
    """The smallest ring and the most exact scale that have the levels for it.

    Args:
        prompts, classes, width: of the ensemble; `width` of a representation.
        eps: smallest difference in shares of the bound.
        aggregate: of the prompts.
        reach: see :class:`CircuitPlan`.
        proxy_degree: of the polynomial probabilities, with that aggregate.
        questions: answered by one ciphertext; a power of two.
        parts: ciphertexts that a question comes in.
        ring: at least this one.

    Raises:
        UserError: too many levels for any ring at 128 bits, or more numbers than slots.
    """
    if classes < 2:
        raise UserError(f"classes: {classes}; a classifier needs two or more")
    check_eps(eps)
    if eps / reach < FINEST_EPS:
        raise UserError(
            f"eps: {eps:g} of a bound that texts can pass {reach:.3g} times is finer than comparisons get; take "
            f"{FINEST_EPS * reach:.2g} or more"
        )
    shape = shape_of(aggregate, prompts, classes, width)
    after = shape.classes.bit_length() - 1
    error = needed_error("all_pairs", classes, eps)
    votes: tuple[int, ...] = ()
    if aggregate == "vote":
        votes = cheapest(0.75 / prompts, error, below=after).degrees
        after += sum(map(int.bit_length, votes)) + shape.classes.bit_length() - 1
        # Of each prompt, so that what all of them lose is within the quarter of a vote that is left to it; half of it
        # is lost by keeping shares within 1.
        error = 1 / (8 * prompts * classes)
    degrees = cheapest(eps / reach, error, below=after + 1).degrees
    levels = 1 + proxy_degree.bit_length() + sum(map(int.bit_length, degrees)) + after + 1
    for size in STANDARD:
        parameters = _finest(size, levels, eps / reach)
        if parameters and (ring is None or size >= ring) and _fits(shape, parameters.slots, questions, parts):
            packing = Packing(parameters.slots, questions, parts, shape.groups, shape.window, shape.inputs)
            return CircuitPlan(
                parameters, packing, aggregate, prompts, classes, width, eps, reach, degrees, votes, proxy_degree
            )
    largest = max(STANDARD)
    if questions * shape.window * shape.groups > largest // 2:
        raise UserError(
            f"classes: {classes} for {prompts} prompts ({aggregate}) and {questions} questions need "
            f"{questions * shape.window * shape.groups:,} slots, and ring {largest} has {largest // 2:,}; take fewer"
        )
    Packing(largest // 2, questions, parts, shape.groups, shape.window, shape.inputs)  # says it if room is what lacks
    raise UserError(
        f"eps: {eps:g} of a bound that is {reach:.3g} times as far with {classes} classes and {prompts} prompts "
        f"({aggregate}) takes {levels} levels, more than ring "
        f"{largest} has at 128 bits; ask for a larger eps, or another aggregate"
    )


def _finest(ring: int, levels: int, eps: float) -> Parameters | None:
    """With the finest scale that there is room for: primes cost the same whatever their bits, and noise is what is left
    of a near tie."""
    for scale in range(FINEST - 5, COARSEST - 1, -1):
        end = min(END_BITS, scale + HEADROOM)
        if scale < NOISE_BITS - math.log2(eps):
            return None
        if levels <= most_levels(ring, scale, end):
            return Parameters(ring, scale, levels, end)
    return None


def _fits(shape: Shape, slots: int, questions: int, parts: int) -> bool:
    try:
        Packing(slots, questions, parts, shape.groups, shape.window, shape.inputs)
    except UserError:
        return False
    return True
