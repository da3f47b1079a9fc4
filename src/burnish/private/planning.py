"""What a circuit will take, before a key is made: it is run on the clear back end, which counts, and priced.

Levels, keys, rotations, memory and seconds, step by step. Seconds are of one core that has nothing else to do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from burnish.core.errors import UserError
from burnish.private.encryption.clear import ClearClient, ClearEvaluator, Ledger, Operation
from burnish.private.encryption.cost import CostTable, cost_table
from burnish.private.encryption.parameters import STANDARD, Parameters
from burnish.private.encryption.seal import chain_of
from burnish.private.ensemble.circuit import EnsembleCircuit
from burnish.private.heads import Aggregate, heads_of

Circuit = Callable[[ClearEvaluator, list[Any]], Any]
"""Runs on any evaluator, from the ciphertexts of a question to that of its answer."""


@dataclass(frozen=True)
class PlannedStep:
    """One step of a circuit.

    Attributes:
        name: as in errors.
        first, last: the highest and the lowest level that it works at.
        operations: number of each kind.
        seconds: predicted.
    """

    name: str
    first: int
    last: int
    operations: dict[str, int]
    seconds: float


@dataclass(frozen=True)
class PlannedCircuit:
    """What a circuit takes.

    Attributes:
        parameters: of the encryption.
        steps: in order.
        rotations: to the left, one key each.
        hoistable: rotations that follow another of the same ciphertext: what a library that hoists would save most of.
        key_bytes: of all keys in the server's memory.
        sent_key_bytes: of all keys, sent once.
        question_bytes, answer_bytes: sent each time; about.
        peak_bytes: of the ciphertexts that live at once, keys not counted.
        seconds: of the circuit.
        first_seconds: more that the first question takes: the server's own numbers are encoded once, and remembered.
        key_seconds: of making the keys, at the client.
        noise: bound on the error of an answer's slots.
    """

    parameters: Parameters
    steps: tuple[PlannedStep, ...]
    rotations: tuple[int, ...]
    hoistable: int
    key_bytes: int
    sent_key_bytes: int
    question_bytes: int
    answer_bytes: int
    peak_bytes: int
    seconds: float
    first_seconds: float
    key_seconds: float
    noise: float


def plan_circuit(
    circuit: Circuit,
    parameters: Parameters,
    ciphertexts: int = 1,
    level: int | None = None,
    costs: CostTable | None = None,
) -> PlannedCircuit:
    """Run a circuit on numbers near zero, and price what it did.

    Args:
        circuit: what it does must not depend on the numbers; under encryption nothing can.
        parameters: to run with.
        ciphertexts: that a question has.
        level: that they come at; the highest by default.
        costs: prices; this machine's by default, measured if they were not yet.

    Raises:
        UserError: TenSEAL is not installed.
        BurnishError: levels run out; the step is named.
    """
    costs = costs or cost_table()
    level = parameters.levels if level is None else level
    client, evaluator = ClearClient(parameters), ClearEvaluator(parameters)
    question = [client.encrypt(np.full(parameters.slots, 2.0**-10), level) for _ in range(ciphertexts)]
    answer = circuit(evaluator, question)
    ledger = evaluator.ledger
    keys = 1 + len(ledger.rotations)
    return PlannedCircuit(
        parameters=parameters,
        steps=_steps(ledger, parameters.ring, costs),
        rotations=tuple(sorted(ledger.rotations)),
        hoistable=ledger.hoisted,
        key_bytes=keys * parameters.key_bytes,
        sent_key_bytes=keys * parameters.sent_key_bytes,
        question_bytes=ciphertexts * parameters.sent_bytes(level),
        answer_bytes=2 * parameters.sent_bytes(answer.level),
        peak_bytes=ledger.peak_bytes + ciphertexts * parameters.ciphertext_bytes(level),
        seconds=costs.total(parameters.ring, _each_time(ledger)),
        first_seconds=costs.total(parameters.ring, ((o, n) for o, n in ledger.counts.items() if o.kind == "encode")),
        key_seconds=costs.keys(parameters, len(ledger.rotations)),
        noise=answer.noise,
    )


def plan_service(
    classes: int,
    eps: float,
    prompts: int = 1,
    *,
    width: int = 384,
    aggregate: Aggregate = "logits",
    questions: int = 1,
    parts: int = 1,
    costs: CostTable | None = None,
) -> PlannedCircuit:
    """What one question to a private classifier takes: heads of all prompts, their aggregate, the argmax.

    Args:
        classes: of the classifier.
        eps: smallest difference of two classes' scores that must be told apart, in shares of the largest possible.
        prompts: of the ensemble.
        width: of a representation.
        aggregate: of the prompts.
        questions: answered at once.
        parts: ciphertexts that a question comes in.
        costs: prices; this machine's by default.

    Raises:
        UserError: no ring has the levels or the slots at 128 bits, or SEAL refuses the parameters.
    """
    if aggregate not in get_args(Aggregate):
        raise UserError(f"aggregate: {aggregate}; known: {', '.join(get_args(Aggregate))}")
    if prompts < 1 or width < 1:
        raise UserError(f"prompts: {prompts} of width {width}; at least 1 of each")
    if prompts * width > parts * max(STANDARD) // 2:
        raise UserError(
            f"prompts: {prompts:,} of width {width} are more numbers than {parts} ciphertext{'s' * (parts > 1)} can "
            f"hold; take {parts * max(STANDARD) // 2 // width} or fewer, or more parts"
        )
    labels = tuple(f"class {number}" for number in range(classes))
    weights = np.random.default_rng(0).normal(size=(prompts, classes, width))
    heads = heads_of(weights, np.zeros((prompts, classes)), labels, aggregate)
    circuit = EnsembleCircuit.make(heads, eps, questions=questions, parts=parts)
    parameters = circuit.plan.parameters
    chain_of(parameters)
    return plan_circuit(circuit.run, parameters, circuit.plan.packing.parts, costs=costs)


def _steps(ledger: Ledger, ring: int, costs: CostTable) -> tuple[PlannedStep, ...]:
    by_name: dict[str, list[tuple[Operation, int]]] = {}
    for operation, number in _each_time(ledger):
        by_name.setdefault(operation.step, []).append((operation, number))
    planned = []
    for name, done in by_name.items():
        kinds: Counter[str] = Counter()
        for operation, number in done:
            kinds[operation.kind] += number
        levels = [operation.level for operation, _ in done]
        planned.append(PlannedStep(name, max(levels), min(levels), dict(kinds), costs.total(ring, done)))
    return tuple(planned)


def _each_time(ledger: Ledger) -> list[tuple[Operation, int]]:
    return [(operation, number) for operation, number in ledger.counts.items() if operation.kind != "encode"]
