"""A packed matrix product against NumPy's, in every way to lay it out."""

from __future__ import annotations

import numpy as np
import pytest

from burnish.core.errors import BurnishError, UserError
from burnish.private.encryption.clear import ClearClient, ClearEvaluator
from burnish.private.encryption.parameters import Parameters
from burnish.private.ensemble.linear import LinearMap, Steps, plan_steps, rotations
from burnish.private.ensemble.packing import Packing, pack

SMALL = Parameters(ring=8192, scale_bits=40, levels=2)

# questions, parts, groups, window, inputs
LAYOUTS = [
    (1, 1, 1, 4, 3000),  # one input a window
    (1, 1, 1, 16, 3000),  # 16 of them
    (4, 1, 1, 4, 700),
    (8, 8, 1, 4, 1000),  # spread over ciphertexts
    (2, 3, 1, 16, 77),
    (1, 1, 8, 8, 300),  # groups of their own
    (2, 2, 4, 16, 90),
    (64, 1, 1, 64, 64),  # one period: nothing is doubled
    (4096, 3, 1, 1, 3),  # a dot product without any rotation
]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_slot_holds_a_true_output(layout: tuple[int, int, int, int, int]) -> None:
    packing = Packing(SMALL.slots, *layout)
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(packing.groups, packing.window, packing.inputs)) / packing.inputs**0.5
    constants = rng.normal(size=(packing.groups, packing.window))
    inputs = rng.normal(size=(packing.questions, packing.groups, packing.inputs))
    wanted = np.einsum("gwi,qgi->qgw", matrix, inputs) + constants

    client = ClearClient(SMALL)
    evaluator = ClearEvaluator(SMALL, client.evaluation_keys(rotations(packing)))
    parts = [client.encrypt(row) for row in pack(packing, inputs)]
    answer = LinearMap(packing, matrix, constants)(evaluator, parts)
    assert answer.level == SMALL.levels - 1
    found = answer.values.reshape(packing.periods, packing.groups, packing.window, packing.questions)
    np.testing.assert_allclose(found, np.broadcast_to(wanted.transpose(1, 2, 0), found.shape), atol=1e-8)
    # No key was made that is not needed.
    assert evaluator.ledger.rotations == set(rotations(packing))


def test_fewer_questions_than_lanes_leave_the_others_zero() -> None:
    packing = Packing(16, 4, 1, 1, 2, 2)
    laid = pack(packing, np.array([[[1.0, 2.0]]]))
    # share 1: period 0 holds input 0 in both places, period 1 input 1; lanes in turn
    np.testing.assert_array_equal(laid, [[1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0]])
    with pytest.raises(UserError, match=r"^5 questions: a ciphertext takes 4"):
        pack(packing, np.zeros((5, 1, 2)))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UserError, match=r"^64 x 1,024 numbers .* do not fit into 1 x 8,192 slots; take fewer prompts"):
        Packing(8192, 1, 1, 64, 4, 1024)
    with pytest.raises(UserError, match="do not fit"):
        Packing(8192, 1, 1, 1, 4, 8193)
    assert Packing(8192, 1, 1, 1, 4, 8192).share == 4
    with pytest.raises(UserError, match="questions: 3 is no power of two"):
        Packing(8192, 3, 1, 1, 4, 8)


def test_a_matrix_of_zeros_is_refused() -> None:
    with pytest.raises(UserError, match="every weight is zero"):
        LinearMap(Packing(16, 1, 1, 1, 4, 4), np.zeros((1, 4, 4)), np.ones((1, 4)))


def test_steps_are_few() -> None:
    assert plan_steps(range(1), 1) == Steps((0,), (0,))
    assert plan_steps(range(64), 1) == Steps(tuple(range(8)), tuple(range(0, 64, 8)))  # 7 + 7 rotations
    assert len(plan_steps(range(64), 4).babies) == 4  # a baby is turned in each of four parts
    assert plan_steps(range(-1, 2), 1).babies[0] == -1


def test_a_missing_key_is_named() -> None:
    packing = Packing(SMALL.slots, 1, 1, 1, 4, 700)
    client = ClearClient(SMALL)
    evaluator = ClearEvaluator(SMALL, client.evaluation_keys([]))
    with pytest.raises(BurnishError, match=r"no key for a rotation by 4$"):
        LinearMap(packing, np.ones((1, 4, 700)), np.zeros((1, 4)))(evaluator, [client.encrypt(np.ones(4096))])
