from types import SimpleNamespace

import numpy as np
import pytest
import torch

from burnish.distill.cost import Cost, Costs
from burnish.distill.footage import Footage, dealt, gathered
from burnish.distill.interruption import DROPPED
from burnish.distill.passes import interrupted
from burnish.distill.rules import Selection
from burnish.distill.settings import InterruptionSettings
from burnish.distill.spending import Budget, Ledger, Prices, everything
from burnish.distill.states import SampleStates, wanted_by
from tests.distill.tiny import small_recipe, some_clips


def values(*numbers):
    return np.array(numbers, np.float32)


def test_strength_over_two_evaluations_by_hand():
    states = SampleStates(3, 0)
    recipe = small_recipe(difficulty={"strength": "inverse_beta", "rarity": "none"})
    states.judge(values(1, 2, 3), None, None, 0.0, recipe)
    assert states.difficulty.tolist() == [0, 0.5, 1]
    assert states.strength.tolist() == [1, 0.5, 0]
    states.judge(values(0.7, 2.8, 11.2) * values(4, 2, 1), None, None, 0.464113, recipe)
    assert states.difficulty == pytest.approx([0, 1 / 3, 1])
    assert states.strength == pytest.approx([0.517702, 0.328468, 0], abs=1e-6)


def test_features_stay_where_none_are_given():
    states, recipe = SampleStates(2, 1), small_recipe()
    states.judge(values(1, 2), np.array([[1.0], [2.0]], np.float32), None, 0.0, recipe)
    assert states.features.tolist() == [[1], [2]]
    states.judge(values(1, 2), None, None, 0.5, recipe)
    assert states.features.tolist() == [[1], [2]]
    states.judge(values(1, 2), np.array([[3.0], [2.0]], np.float32), None, 0.4, recipe)
    assert states.features[:, 0] == pytest.approx([2.8, 2])


def test_constant_strength_is_a_half_and_nothing_seen_leaves_it():
    states = SampleStates(2, 0)
    states.judge(values(1, 2), None, None, 0.0, small_recipe(difficulty={"strength": "constant"}))
    assert states.strength.tolist() == [0.5, 0.5]
    states.judge(states.remembered_losses(), None, None, 0.0, small_recipe(evaluation="history"))
    assert states.strength.tolist() == [0.5, 0.5]
    states.losses = values(3, np.nan)
    remembered = states.remembered_losses()
    assert remembered is not None
    assert remembered.tolist() == [3, 3]


def test_trust_is_the_strength_and_moves():
    states, recipe = SampleStates(2, 0), small_recipe(difficulty={"strength": "trust"})
    states.judge(None, None, values(0.25, 1), 0.0, recipe)
    states.judge(None, None, values(1, 1), 0.5, recipe)
    assert states.strength == pytest.approx([0.925, 1])


def test_states_survive_their_plain_form():
    states = SampleStates(3, 2)
    states.judge(values(1, 2, 3), np.ones((3, 2), np.float32), values(1, 0, 1), 0.0, small_recipe())
    states.choose(Selection(np.array([0, 2]), values(1, 1)))
    again = SampleStates(3, 2)
    again.load_state_dict(states.state_dict())
    for name, value in states.state_dict().items():
        np.testing.assert_array_equal(value, again.state_dict()[name], name)
    assert again.counts.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({}, "losses features"),
        ({"selection": {"kind": "random"}, "difficulty": {"strength": "constant"}}, "every_epoch"),
        ({"selection": {"kind": "map", "diversity": 1}, "difficulty": {"strength": "constant"}}, "features"),
        ({"selection": {"kind": "map", "diversity": 0}, "difficulty": {"strength": "constant"}}, "losses"),
        ({"selection": {"kind": "trust_pool"}, "difficulty": {"strength": "constant"}}, "trust"),
        (
            {"selection": {"kind": "infobatch"}, "difficulty": {"strength": "trust"}},
            "trust every_epoch training_losses",
        ),
        ({"evaluation": "history"}, "losses features training_losses"),
    ],
)
def test_what_rules_look_at(settings, wanted):
    found = wanted_by(small_recipe(**settings))
    assert {name for name, value in vars(found).items() if value} == set(wanted.split())


def test_a_slot_of_a_plan_stands_for_the_frames_that_come_to_it():
    clip = torch.arange(6.0)[None, :, None, None, None] + 1
    plan = torch.tensor([[2, DROPPED, 0]])
    assert interrupted(clip, plan, InterruptionSettings()).flatten().tolist() == [5, 6, 0, 0, 1, 2]
    coarse = interrupted(clip[:, ::2], plan, InterruptionSettings())
    assert coarse.flatten().tolist() == [5, 0, 1]  # the same moments


def test_patches_of_a_picture_that_is_a_clip_of_one_frame():
    picture = torch.arange(4.0).reshape(1, 1, 1, 2, 2)
    plan = torch.tensor([[3, 1, DROPPED, 0]])
    assert interrupted(picture, plan, InterruptionSettings(grid=2)).flatten().tolist() == [3, 1, 0, 0]


@pytest.mark.parametrize("count", [1, 2, 7])
def test_what_is_dealt_comes_back_in_order(count):
    rows = np.arange(10, 10 + count)
    shares = [dealt(rows, SimpleNamespace(num_processes=3, process_index=index)) for index in range(3)]
    assert len({len(share) for share in shares}) == 1
    stacked = torch.cat([torch.from_numpy(share) for share in shares]).float()[:, None]
    one = SimpleNamespace(num_processes=3, gather=lambda _mine: stacked)
    assert gathered(stacked[: len(shares[0])], count, one)[:, 0].tolist() == rows.tolist()


def test_budget_by_hand():
    prices, ledger = Prices(teacher=10, student=1, training=3), Ledger()
    recipe = small_recipe(epochs=4, augment={"views": 2, "flip": True}, budget={"share": 0.5, "flops": 1000.0})
    assert everything(recipe, prices, 5) == 5 * (4 * 3 + 2 * 10)
    with ledger.charge("frozen", 40.0):
        pass
    budget = Budget(recipe, prices, 5, ledger)
    assert budget.share == 0.5  # 80 FLOPs are half of all
    assert budget.left == pytest.approx(40)
    assert budget.covers(frozen=30, student=10)
    assert not budget.covers(frozen=30, student=11)
    assert budget.done == 0  # nothing was learnt
    with ledger.charge("student", 10.0):
        pass
    assert budget.done == pytest.approx(10 / (10 + 30))
    none = Budget(small_recipe(), prices, 5, ledger)
    assert (none.share, none.left) == (0, np.inf)


def test_seconds_are_reckoned_from_what_parts_took() -> None:
    ledger = Ledger()
    ledger.costs = Costs(student=Cost(100.0, 2.0), frozen=Cost(10.0, 1.0), decoding=Cost(0.0, 500.0))
    budget = Budget(small_recipe(budget={"seconds": 10.0}), Prices(1, 1, 1), 5, ledger)
    assert budget.share == 0.3
    assert budget.covers(frozen=30.0, student=200.0)  # 3 and 4 s
    assert not budget.covers(frozen=31.0, student=200.0)
    assert budget.covers(teacher=1e9)  # of what never happened nothing is known


def test_keys_tell_samples_apart():
    clips = some_clips(4)
    keys = {Footage(clips).key(row) for row in range(4)}
    assert len(keys) == 4
    assert all(len(key) == 16 for key in keys)
