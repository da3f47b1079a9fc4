"""The whole classifier: under encryption it says what the clear one says, or that it cannot tell."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.core.errors import BurnishError, UserError
from burnish.private.argmax.records import Label
from burnish.private.encryption.choose import Backend, make_client, make_evaluator
from burnish.private.encryption.clear import ClearClient, ClearEvaluator
from burnish.private.ensemble.aggregates import PROXY_ERROR, prompt_bound, proxy
from burnish.private.ensemble.circuit import EnsembleCircuit
from burnish.private.ensemble.plan import CircuitPlan, make_plan
from burnish.private.heads import Aggregate, Heads, answers, heads_of
from tests.private.encryption.backends import needs_openfhe

# aggregate, prompts, classes, width, eps, questions, parts
ENSEMBLES: list[tuple[Aggregate, int, int, int, float, int, int]] = [
    ("logits", 5, 2, 24, 2**-6, 128, 1),
    ("logits", 4, 2, 24, 2**-4, 512, 4),
    ("logits", 3, 5, 16, 2**-6, 64, 1),
    ("weighted", 3, 4, 16, 2**-4, 64, 1),
    ("probabilities", 3, 2, 16, 2**-5, 64, 1),
    ("probabilities", 5, 3, 16, 2**-5, 32, 1),
    ("vote", 5, 2, 16, 2**-4, 64, 1),
    ("vote", 3, 3, 16, 2**-4, 16, 1),
]
TEXTS = 256  # of each: 2,048 in all


def heads_for(aggregate: Aggregate, prompts: int, classes: int, width: int, seed: int = 0) -> Heads:
    rng = np.random.default_rng([seed, prompts, classes])
    shares = rng.dirichlet(np.ones(prompts)) if aggregate == "weighted" else None
    return heads_of(
        rng.normal(size=(prompts, classes, width)),
        rng.normal(size=(prompts, classes)) / 10,
        tuple(f"class {number}" for number in range(classes)),
        aggregate,
        shares,
    )


def texts_for(heads: Heads, count: int, seed: int = 1) -> Any:
    found = np.random.default_rng(seed).normal(size=(count, heads.weights.shape[0], heads.weights.shape[2]))
    return found / np.linalg.norm(found, axis=2, keepdims=True)


def clear(circuit: EnsembleCircuit) -> tuple[ClearClient, ClearEvaluator]:
    client = ClearClient(circuit.plan.parameters)
    return client, ClearEvaluator(circuit.plan.parameters, client.evaluation_keys(circuit.plan.rotations))


def asked(circuit: EnsembleCircuit, client: Any, evaluator: Any, texts: Any) -> list[Label]:
    plan, found = circuit.plan, list[Label]()
    for start in range(0, len(texts), plan.packing.questions):
        some = texts[start : start + plan.packing.questions]
        answer = circuit.run(evaluator, [client.encrypt(part) for part in plan.encode(some)])
        found += plan.read(client.decrypt(answer), len(some))
    return found


def margin(circuit: EnsembleCircuit, texts: Any) -> tuple[Any, Any]:
    """The best class of each text, and what it is above the second."""
    differences = circuit.compared(texts)
    best = differences.min(2).argmax(1)
    rows = differences[np.arange(len(texts)), best]
    rows[np.arange(len(texts)), best] = np.inf
    return best, rows.min(1)


@pytest.mark.parametrize("ensemble", ENSEMBLES, ids=lambda each: f"{each[0]}-{each[1]}x{each[2]}")
def test_labels_are_those_of_the_clear_pipeline_outside_eps(
    ensemble: tuple[Aggregate, int, int, int, float, int, int],
) -> None:
    aggregate, prompts, classes, width, eps, questions, parts = ensemble
    heads = heads_for(aggregate, prompts, classes, width)
    circuit = EnsembleCircuit.make(heads, eps, questions=questions, parts=parts)
    texts = texts_for(heads, TEXTS)
    best, gap = margin(circuit, texts)
    limit = circuit.plan.vote_eps if aggregate == "vote" else eps
    labels = asked(circuit, *clear(circuit), texts)
    outside = gap >= limit
    assert outside.sum() > TEXTS / 8
    for label, wanted, clearly in zip(labels, best, outside, strict=True):
        assert label.index == wanted if clearly else label.index in (wanted, None)
    if aggregate in ("logits", "weighted"):  # what the circuit compares is what the clear pipeline's answer is made of
        np.testing.assert_array_equal(best, answers(heads, texts))


def test_a_vote_is_the_whole_one_where_every_prompt_is_decided() -> None:
    heads = heads_for("vote", 5, 3, 16)
    circuit = EnsembleCircuit.make(heads, 2**-4)
    texts = texts_for(heads, 800)
    logits = np.einsum("tpw,pcw->tpc", texts, heads.weights) + heads.biases
    ordered = np.sort(logits, axis=2)
    decided = ((ordered[..., -1] - ordered[..., -2]) / prompt_bound(heads) > 2**-4).all(1)
    votes = np.eye(3)[logits.argmax(2)].mean(1)
    assert decided.sum() > 20
    np.testing.assert_allclose(
        circuit.compared(texts)[decided], (votes[:, :, None] - votes[:, None])[decided], atol=0.25 / 5
    )


def test_a_polynomial_probability_of_two_classes_is_the_softmax() -> None:
    heads = heads_for("probabilities", 3, 2, 4)
    circuit = EnsembleCircuit.make(heads, 2**-4)
    texts = texts_for(heads, 200)
    logits = np.einsum("tpw,pcw->tpc", texts, heads.weights) + heads.biases
    softmax = (np.exp(logits) / np.exp(logits).sum(2, keepdims=True)).mean(1)
    found = circuit.compared(texts)[:, 0, 1]
    assert np.abs(found - (softmax[:, 0] - softmax[:, 1])).max() <= 2 * PROXY_ERROR
    assert proxy(heads).coefficients[::2] == (0.0,) * ((proxy(heads).degree + 1) // 2)


@pytest.mark.parametrize("size", [1.0, 3.0, 10.0])
def test_no_text_is_so_clear_that_the_comparison_swings_back(size: float) -> None:
    """Probabilities of steep heads, by a polynomial that ripples: their differences stay where the sign is one."""
    weights = np.zeros((1, 2, 2))
    weights[0, 0, 0], weights[0, 1, 0] = size, -size
    heads = heads_of(weights, np.zeros((1, 2)), ("a", "b"), "probabilities")
    circuit = EnsembleCircuit.make(heads, 2**-4, questions=256)
    first = np.linspace(0.3, 1, 256)
    texts = np.stack([first, np.sqrt(1 - first**2)], 1)[:, None]
    assert np.abs(circuit.compared(texts)).max() <= 1
    assert {label.index for label in asked(circuit, *clear(circuit), texts)} == {0}


@pytest.mark.parametrize(("prompts", "classes", "eps"), [(5, 3, 0.1), (7, 2, 0.1), (3, 5, 0.25)])
def test_votes_never_pass_all_there_are(prompts: int, classes: int, eps: float) -> None:
    """Prompts that agree, at any confidence: the comparison of votes is made for shares up to 1 and no further."""
    circuit = EnsembleCircuit.make(
        heads_of(_agreeing(prompts, classes), np.zeros((prompts, classes)), _names(classes), "vote"), eps
    )
    sure = np.linspace(eps * 2, 1, 4001)
    texts = np.zeros((len(sure), prompts, classes))
    texts[..., 0] = sure[:, None]
    found = circuit.compared(texts)
    assert np.abs(found).max() <= 1 + 1e-12
    assert found[:, 0, 1:].min() >= circuit.plan.vote_eps


def _agreeing(prompts: int, classes: int) -> Any:
    return np.repeat(np.eye(classes)[None], prompts, axis=0)


def _names(classes: int) -> tuple[str, ...]:
    return tuple(f"class {number}" for number in range(classes))


@settings(max_examples=60)
@given(
    st.floats(-4, 4), st.integers(0, 2), st.sampled_from([1.0, -1.0]), st.integers(0, 10**6)
)  # a difference in eps, on which pair, which way
def test_never_silently_wrong_around_eps(share: float, pair: int, way: float, seed: int) -> None:
    circuit, client, evaluator = NEAR_TIES
    i, j = ((0, 1), (1, 2), (0, 2))[pair]
    # Heads that read three coordinates: v_c = x_c; the text is placed exactly where the difference is what was drawn.
    rng = np.random.default_rng(seed)
    text = np.zeros((1, 1, 3))
    text[0, 0] = rng.uniform(-0.4, 0.4)
    text[0, 0, 3 - i - j] = -0.5
    text[0, 0, i] += way * share * circuit.plan.eps * circuit.heads.bound / 2
    text[0, 0, j] -= way * share * circuit.plan.eps * circuit.heads.bound / 2
    (label,) = asked(circuit, client, evaluator, text)
    best, gap = margin(circuit, text)
    assert label.index in (best[0], None)
    if gap[0] >= circuit.plan.eps:
        assert not label.ambiguous
    elif label.ambiguous and abs(share) > 2**-8:
        # The eps that is named would have told these two apart.
        assert label.resolves is not None
        assert 0 < label.resolves <= gap[0] * 1.01


def _three() -> tuple[EnsembleCircuit, ClearClient, ClearEvaluator]:
    circuit = EnsembleCircuit.make(heads_of(np.eye(3)[None], np.zeros((1, 3)), ("a", "b", "c")), 2**-5)
    return circuit, *clear(circuit)


NEAR_TIES = _three()


def test_scores_beyond_the_public_bound_are_still_right() -> None:
    """The polynomials would swing back beyond what they are made for: a wrong label that looks right."""
    heads = heads_of(np.eye(3)[None], np.zeros((1, 3)), ("a", "b", "c"))
    circuit = EnsembleCircuit.make(dataclasses.replace(heads, bound=heads.bound / 5), 2**-4, questions=64)
    assert circuit.plan.reach == pytest.approx(5)
    texts = texts_for(heads, 64)
    assert np.abs(circuit.compared(texts)).max() > 3
    labels = asked(circuit, *clear(circuit), texts)
    best, gap = margin(circuit, texts)
    for label, wanted, space in zip(labels, best, gap, strict=True):
        assert label.index == wanted if space >= 2**-4 else label.index in (wanted, None)
    swung = circuit.plan.sign(np.linspace(1, 1.2, 1000))
    assert (swung < -0.9).any()  # so it would have been


@pytest.mark.parametrize(
    ("aggregate", "backend"),
    [("logits", "seal"), ("weighted", "seal"), pytest.param("logits", "openfhe", marks=needs_openfhe)],
)
def test_under_encryption_it_is_the_same(aggregate: Aggregate, backend: Backend) -> None:
    """Two classes, three prompts, 256 texts in one ciphertext, in the small ring: the answer is that of `clear`."""
    heads = heads_for(aggregate, 3, 2, 6)
    circuit = EnsembleCircuit.make(heads, 0.1, questions=256)
    plan = circuit.plan
    assert plan.parameters.ring == 16384
    client = make_client(plan.parameters, backend)
    evaluator = make_evaluator(plan.parameters, client.evaluation_keys(plan.rotations), backend)
    texts = texts_for(heads, 256)
    answer = circuit.run(evaluator, [client.encrypt(part) for part in plan.encode(texts)])
    assert answer.level == 0
    slots = client.decrypt(answer)
    other, reference = clear(circuit)
    wanted = circuit.run(reference, [other.encrypt(part) for part in plan.encode(texts)]).values
    # Also where nothing is told: the mask leaves noise only.
    np.testing.assert_allclose(slots, wanted, atol=2**-10)
    assert np.abs(slots[~plan.told]).max() < 2**-10
    best, gap = margin(circuit, texts)
    assert (gap >= plan.eps).sum() > 100
    for label, right, space in zip(plan.read(slots, 256), best, gap, strict=True):
        assert label.index == right if space >= plan.eps else label.index in (right, None)


def test_many_questions_of_many_prompts_cost_what_one_prompt_costs() -> None:
    """P questions in P ciphertexts: as many rotations as for one prompt; in one ciphertext log2 P more."""
    counted = {}
    for prompts, questions, parts in [(1, 8, 1), (8, 8, 8), (8, 1, 1)]:
        heads = heads_for("logits", prompts, 2, 384)
        circuit = EnsembleCircuit.make(heads, 2**-4, questions=questions, parts=parts, ring=32768)
        client, evaluator = clear(circuit)
        asked(circuit, client, evaluator, texts_for(heads, questions))
        counted[prompts, parts] = evaluator.ledger.total("rotate")
    assert counted[8, 8] == counted[1, 1] == counted[8, 1] - 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((3, 1, 8, 0.1), "classes: 1; a classifier needs two or more"),
        ((3, 2, 8, 0.0), "eps: 0; the smallest difference"),
        ((300, 2, 384, 0.1), "1 x 115,200 numbers .* do not fit into 1 x 16,384 slots; take fewer prompts"),
        ((2, 300, 8, 0.1), "classes: 300 for 2 prompts .* need 262,144 slots, .* has 16,384; take fewer"),
        ((9, 8, 8, 2**-8, "vote"), "at 128 bits; ask for a larger eps, or another aggregate"),
    ],
)
def test_what_cannot_be_planned_is_said(arguments: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        make_plan(*arguments)


def test_an_eps_too_fine_for_the_bound_is_said_as_it_was_given() -> None:
    with pytest.raises(UserError, match=r"eps: 0\.001 of a bound that texts can pass 30 times .* take 0\.0018 or more"):
        make_plan(1, 2, 8, 0.001, reach=30.0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda texts: np.repeat(texts, 2, axis=1), "2 prompts of width 3; this circuit takes 1 of 3"),
        (lambda texts: texts * np.nan, "a number is not finite"),
        (lambda texts: texts * 2.1, "scale them to 1"),
        (lambda texts: np.repeat(texts, 9, axis=0), "9 questions: a ciphertext takes 1"),
    ],
)
def test_representations_that_are_refused(change: Any, said: str) -> None:
    plan = NEAR_TIES[0].plan
    texts = np.full((1, 1, 3), 0.5)
    with pytest.raises(UserError, match=said):
        plan.encode(change(texts))


def test_questions_that_are_refused() -> None:
    circuit, client, evaluator = NEAR_TIES
    full = client.encrypt(np.zeros(4))
    for parts, said in [
        ([full, full], "2 ciphertexts; this circuit takes 1"),
        ([client.encrypt(np.zeros(4), 3)], "a ciphertext of level 3 with 2 parts"),
        ([evaluator.multiply(full, full, relinearise=False)], "with 3 parts"),
    ]:
        with pytest.raises(UserError, match=said):
            circuit.run(evaluator, parts)


def test_a_plan_travels() -> None:
    plan = NEAR_TIES[0].plan
    told = json.loads(json.dumps(plan.to_json()))
    assert CircuitPlan.from_json(told) == plan
    assert CircuitPlan.from_json(told).digest == plan.digest
    damages: list[Any] = [
        {},
        None,
        {**told, "other": 1},
        {**told, "width": 4},
        {**told, "degrees": [3]},
        {**told, "packing": {**told["packing"], "slots": 8192}},
        {**told, "parameters": {**told["parameters"], "levels": 3}},
        {**told, "parameters": {**told["parameters"], "ring": 8192}},
    ]
    for damage in damages:
        with pytest.raises(UserError):
            CircuitPlan.from_json(damage)


def test_a_key_that_is_missing_is_named() -> None:
    circuit, client, _ = NEAR_TIES
    evaluator = ClearEvaluator(circuit.plan.parameters, client.evaluation_keys(circuit.plan.rotations[1:]))
    with pytest.raises(BurnishError, match=f"no key for a rotation by {circuit.plan.rotations[0]} "):
        circuit.run(evaluator, [client.encrypt(np.zeros(4))])
