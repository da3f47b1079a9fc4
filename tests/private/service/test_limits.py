"""Sessions on a clock that is set by hand, and the noise on answers."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from burnish.core.errors import UserError
from burnish.private.encryption.clear import ClearClient, ClearEvaluator
from burnish.private.ensemble.circuit import EnsembleCircuit
from burnish.private.heads import heads_of
from burnish.private.service.flooding import BLUR, Flood, answer_error, flooding, plan_flood
from burnish.private.service.sessions import Limits, Refused, Sessions
from burnish.private.service.workers import Computer, Job


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def refused(sessions: Sessions, name: str, nonce: str) -> tuple[int, int]:
    with pytest.raises(Refused) as caught:
        sessions.question(name, nonce)
    return caught.value.status, caught.value.after


def test_a_session_ends() -> None:
    clock = Clock()
    sessions = Sessions(Limits(session_seconds=10, session_questions=2), clock)
    name = sessions.open("alice")
    assert sessions.question(name, "1") == "alice"
    clock.now += 9.9
    assert sessions.question(name, "2") == "alice"
    assert refused(sessions, name, "3")[0] == 401  # two were all
    name = sessions.open("alice")
    clock.now += 10
    assert refused(sessions, name, "4")[0] == 401


def test_a_new_session_ends_the_one_before_and_nobody_elses() -> None:
    sessions = Sessions(Limits())
    first, other, second = sessions.open("alice"), sessions.open("bob"), sessions.open("alice")
    assert refused(sessions, first, "1")[0] == 401
    assert sessions.question(other, "1") == "bob"
    assert sessions.question(second, "1") == "alice"
    assert refused(sessions, second, "1")[0] == 409
    assert refused(sessions, second, "")[0] == 400
    sessions.close("alice")
    assert refused(sessions, second, "2")[0] == 401


def test_the_rate_is_a_clients_not_a_sessions() -> None:
    clock = Clock()
    sessions = Sessions(Limits(questions_per_minute=2), clock)
    name = sessions.open("alice")
    for nonce in "12":
        sessions.question(name, nonce)
    assert refused(sessions, name, "3") == (429, 31)  # a question each 30 seconds
    name = sessions.open("alice")
    assert refused(sessions, name, "3") == (429, 31)
    sessions.question(sessions.open("bob"), "1")
    clock.now += 30
    assert sessions.question(name, "3") == "alice"
    assert refused(sessions, name, "4")[0] == 429
    clock.now += 1000  # a long pause does not add up
    for nonce in "56":
        sessions.question(name, nonce)
    assert refused(sessions, name, "7")[0] == 429


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(UserError, match="waiting: 0; at least 1"):
        Limits(waiting=0)


def test_the_noise_is_what_the_formula_says() -> None:
    # 10 answers of 4 slots over an error of 2^-20: sqrt(12 * 10 * 4) 2^-20 = 2^-15.547; 10 bits: times 2^5.
    flood = plan_flood(2.0**-20, 4, 10, bits=10)
    assert flood.deviation == pytest.approx(math.sqrt(480) * 2**-15)
    most = 2 * (math.log2(BLUR) + 20 - math.log2(480) / 2)  # 19.09
    assert plan_flood(2.0**-20, 4, 10).bits == pytest.approx(most)
    assert plan_flood(2.0**-20, 4, 10).deviation == BLUR
    with pytest.raises(UserError, match=r"flood_bits: 20 asked for 10 answers, 19\.1 fit over an error of 2\^-20\.0"):
        plan_flood(2.0**-20, 4, 10, bits=20)
    assert plan_flood(1.0, 4, 10).bits == 0  # no security is claimed where there is none


def test_keys_that_were_checked_leave_the_memory_to_those_in_use(tmp_path: Path) -> None:
    heads = heads_of(np.eye(2)[None], np.zeros((1, 2)), ("a", "b"))
    circuit = EnsembleCircuit.make(heads, 0.2)
    computer = Computer(Job(circuit, "clear", Flood(0.0, 0.0, 1), key_memory=1.0))
    client = ClearClient(circuit.plan.parameters)
    for name in ("used", "new"):
        (tmp_path / name).write_bytes(client.evaluation_keys(circuit.plan.rotations))
    computer.check(tmp_path / "new")
    assert not computer._evaluators
    part = client.save(client.encrypt(circuit.plan.encode(np.array([[[1.0, 0.0]]]))[0]))
    assert computer.answer(tmp_path / "used", (part,))
    assert list(computer._evaluators) == [tmp_path / "used"]
    computer.forget(tmp_path / "used")
    computer.forget(tmp_path / "used")  # twice harms nobody
    assert not computer._evaluators
    with pytest.raises(UserError, match="keys: removed meanwhile, or their time is over"):
        computer.answer(tmp_path / "gone", (part,))


def test_the_noise_is_gaussian_and_never_the_same() -> None:
    one, two = flooding(0.5, 20_000), flooding(0.5, 20_000)
    assert stats.kstest(one / 0.5, "norm").pvalue > 1e-6
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.05
    assert not np.array_equal(one, two)


def test_the_error_that_is_flooded_is_that_of_ties() -> None:
    rng = np.random.default_rng(0)
    heads = heads_of(rng.normal(size=(3, 2, 12)), np.zeros((3, 2)), ("a", "b"))
    circuit = EnsembleCircuit.make(heads, 0.2, questions=64)
    error = answer_error(circuit)
    client = ClearClient(circuit.plan.parameters)
    evaluator = ClearEvaluator(circuit.plan.parameters)
    drawn = np.random.default_rng(9).normal(size=(64, 3, 12))
    drawn /= np.linalg.norm(drawn, axis=2, keepdims=True)
    answer = circuit.run(evaluator, [client.encrypt(part) for part in circuit.plan.encode(drawn)])
    told = np.abs(answer.drift[circuit.plan.told])
    assert told.max() < error
    assert np.median(told) < error / 50  # which most texts are far from
