"""What `clear` says that no ciphertext says: its noise is that of SEAL, its ledger that of the circuit."""

import gc
from dataclasses import replace

import numpy as np
import pytest

from burnish.private.encryption.clear import ClearClient, ClearEvaluator
from burnish.private.encryption.seal import SealClient, SealEvaluator
from burnish.private.encryption.steps import step
from tests.private.encryption.backends import SMALL, pair


def small_circuit(evaluator, x):
    y = evaluator.rescale(evaluator.multiply(x, x))
    y = evaluator.add(evaluator.rotate(y, 1), y)
    y = evaluator.rescale(evaluator.multiply_plain(y, np.linspace(-1, 1, SMALL.slots)))
    return evaluator.rotate(evaluator.drop(y, 0), 5)


@pytest.mark.parametrize("end_bits", [50, 60])
def test_noise_is_that_of_seal(end_bits):
    """Measured against SEAL's own error, operation by operation: within a factor of two, and never above the bound."""
    values = np.random.default_rng(0).uniform(-1, 1, SMALL.slots)
    circuits = {
        "fresh": lambda e, x: x,
        "rotation": lambda e, x: e.rotate(x, 1),
        "rescaling": lambda e, x: e.rescale(e.multiply_plain(x, 1.0)),
        "product": lambda e, x: e.rescale(e.multiply(x, x)),
        "all": small_circuit,
    }
    parameters = replace(SMALL, end_bits=end_bits, scale_bits=30)
    client = SealClient.make(parameters)
    evaluator = SealEvaluator(parameters, client.evaluation_keys([1, 5]))
    for name, circuit in circuits.items():
        clear_client, clear = ClearClient(parameters), ClearEvaluator(parameters)
        drawn = circuit(clear, clear_client.encrypt(values))
        error = client.decrypt(circuit(evaluator, client.encrypt(values))) - drawn.values
        assert 0.5 < np.median(np.abs(error)) / np.median(np.abs(drawn.drift)) < 2, name
        assert np.abs(error).max() < drawn.noise, name


def test_ledger_by_hand():
    client, evaluator = ClearClient(SMALL), ClearEvaluator(SMALL)
    x = client.encrypt(np.ones(4))
    with step("all"), step("inner"):
        small_circuit(evaluator, x)
    found = {(o.kind, o.level, o.parts): n for o, n in evaluator.ledger.counts.items()}
    assert found == {
        ("square", 3, 2): 1,
        ("relinearise", 3, 3): 1,
        ("rescale", 3, 2): 1,
        ("rotate", 2, 2): 1,
        ("add", 2, 2): 1,
        ("encode", 2, 1): 1,
        ("multiply_plain", 2, 2): 1,
        ("rescale", 2, 2): 1,
        ("multiply_plain", 1, 2): 1,
        ("rescale", 1, 2): 1,
        ("rotate", 0, 2): 1,
    }
    assert {operation.step for operation in evaluator.ledger.counts} == {"all"}
    assert evaluator.ledger.rotations == {1, 5}
    assert evaluator.ledger.total("rotate", "square") == 3


def test_live_ciphertexts_are_counted_while_they_live():
    client, evaluator = ClearClient(SMALL), ClearEvaluator(SMALL)
    x = client.encrypt(np.ones(4))
    kept = [evaluator.negate(x) for _ in range(3)]
    size = SMALL.ciphertext_bytes(3)
    assert evaluator.ledger.live_bytes == 3 * size
    del kept
    gc.collect()
    assert (evaluator.ledger.live_bytes, evaluator.ledger.peak_bytes) == (0, 3 * size)


def test_hoisted_rotations_are_those_after_the_first():
    client, evaluator = ClearClient(SMALL), ClearEvaluator(SMALL)
    x = client.encrypt(np.ones(4))
    evaluator.rotate_many(x, [0, 1, 2, 4])
    evaluator.rotate(x, 8)
    assert evaluator.ledger.total("rotate") == 4
    assert evaluator.ledger.hoisted == 2


def test_the_same_circuit_draws_the_same_errors():
    values = np.linspace(-1, 1, SMALL.slots)
    first, second = (small_circuit(ClearEvaluator(SMALL), ClearClient(SMALL).encrypt(values)) for _ in range(2))
    assert np.array_equal(first.drift, second.drift)
    assert first.noise == pytest.approx(3 * np.abs(first.drift).max())


def test_numbers_beyond_the_modulus_are_lost_as_in_seal():
    """At level 0 of this bottom there is room for 2 ** 14: what is larger wraps round in both."""
    for backend in ("clear", "seal"):
        client, evaluator = pair(backend)
        cipher = client.encrypt(np.full(SMALL.slots, 4000.0), level=0)
        for _ in range(2):
            cipher = evaluator.add(cipher, cipher)
        assert np.abs(client.decrypt(cipher) - 16000).max() < 0.1
        lost = client.decrypt(evaluator.add(cipher, cipher))
        assert np.median(np.abs(lost - 32000)) > 100, backend
