"""A plan is what then happens: levels and rotations exactly, seconds, sizes and memory within a factor of two."""

import json
import time
from typing import Any

import numpy as np
import pytest

from burnish.core.errors import BurnishError, UserError
from burnish.private.argmax.all_pairs import all_pairs_from_differences, all_pairs_levels
from burnish.private.argmax.reading import needed_error
from burnish.private.argmax.records import Tournament
from burnish.private.encryption.cost import cost_table
from burnish.private.encryption.parameters import Parameters
from burnish.private.encryption.seal import SealClient, SealEvaluator
from burnish.private.planning import plan_circuit, plan_service
from burnish.private.polynomials.minimax import cheapest


@pytest.fixture(scope="module")
def costs(tmp_path_factory):
    return cost_table(tmp_path_factory.mktemp("costs"))


def test_an_argmax_takes_what_was_planned(costs):
    parameters = Parameters(ring=16384, scale_bits=30, levels=11, end_bits=45)
    sign = cheapest(2.0**-4, needed_error("all_pairs", 8, 2.0**-4), below=4)
    layout = Tournament(8, parameters.slots)
    level = all_pairs_levels(8, sign)

    def circuit(evaluator, question):
        return all_pairs_from_differences(evaluator, question[0], layout, sign)

    plan = plan_circuit(circuit, parameters, level=level, costs=costs)
    assert plan.rotations == (1, 2, 4)
    assert [(step.name, step.first) for step in plan.steps] == [("sign", level), ("product", 4), ("mask", 1)]

    begun = time.thread_time()
    client = SealClient.make(parameters)
    keys = client.evaluation_keys(plan.rotations)
    key_seconds = time.thread_time() - begun
    evaluator = SealEvaluator(parameters, keys)
    cipher = client.encrypt(layout.differences(np.array([[0.0, 0.1, 0.5, 0.2, 0.3, 0.0, 0.1, 0.2]])), level)
    begun = time.thread_time()
    answer = circuit(evaluator, [cipher])
    seconds = time.thread_time() - begun
    for planned, actual in [
        (plan.seconds + plan.first_seconds, seconds),
        (plan.key_seconds, key_seconds),
        (plan.sent_key_bytes, len(keys)),
        (plan.question_bytes, len(client.save(cipher))),
        (plan.answer_bytes, len(evaluator.save(answer))),
    ]:
        assert 0.5 < actual / planned < 2, plan
    assert sum(step.seconds for step in plan.steps) == pytest.approx(plan.seconds)
    assert plan.peak_bytes < 40 * parameters.ciphertext_bytes(level)


def test_a_circuit_that_runs_out_is_refused_with_its_step(costs):
    parameters = Parameters(ring=16384, scale_bits=30, levels=5, end_bits=45)
    sign = cheapest(2.0**-4, 2.0**-8)
    layout = Tournament(8, parameters.slots)
    with pytest.raises(BurnishError, match=r"levels.*"):
        plan_circuit(lambda e, q: all_pairs_from_differences(e, q[0], layout, sign), parameters, costs=costs)


def test_the_ring_follows_eps_and_prompts_cost_little(costs):
    coarse, fine = plan_service(2, 2.0**-3, 1, costs=costs), plan_service(16, 2.0**-8, 1, costs=costs)
    assert coarse.parameters.ring < fine.parameters.ring
    assert coarse.seconds < fine.seconds / 3
    many = plan_service(16, 2.0**-8, 4, parts=4, costs=costs)
    assert many.seconds < 1.2 * fine.seconds
    assert many.noise < 1 / 8


def test_bad_input(costs):
    bad: list[tuple[dict[str, Any], str]] = [
        ({"classes": 1, "eps": 0.1}, "class"),
        ({"classes": 4, "eps": 0.0}, "eps"),
        ({"classes": 4, "eps": 2.0**-19}, "eps"),
        ({"classes": 4, "eps": 0.1, "prompts": 0}, "prompts"),
        ({"classes": 4, "eps": 0.1, "prompts": 100_000}, "prompts"),
        ({"classes": 4, "eps": 0.1, "aggregate": "median"}, "aggregate"),
    ]
    for arguments, complaint in bad:
        with pytest.raises(UserError, match=complaint):
            plan_service(**arguments, costs=costs)


def test_prices_are_kept_and_damaged_ones_measured_again(tmp_path, costs, monkeypatch):
    calls: list[str] = []

    def measured(name):
        calls.append(name)
        return costs

    monkeypatch.setattr("burnish.private.encryption.cost.measured", measured)
    assert cost_table(tmp_path) == costs
    assert cost_table(tmp_path) == costs
    assert len(calls) == 1
    path = next(tmp_path.rglob("costs-*.json"))
    for damage in ("", "{}", "[", json.dumps({"processor": "another", "squares": {}, "lines": {}})):
        path.write_text(damage)
        assert cost_table(tmp_path) == costs
    assert len(calls) == 5


def test_prices_rise_with_level_and_ring(costs):
    for kind in ("relinearise", "rotate", "rescale", "multiply"):
        prices = [costs.seconds(kind, 16384, level) for level in (1, 5, 9)]
        assert prices == sorted(prices)
        assert costs.seconds(kind, 32768, 5) > 2 * costs.seconds(kind, 16384, 5)
    assert costs.seconds("relinearise", 16384, 9) > 3 * costs.seconds("multiply", 16384, 9)
