"""Hint levels, schedules, memory and selection against the method's hand examples and corner cases."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.core.errors import UserError
from burnish.reason.hint_grpo.hints import distinct_levels, hint_lengths, hint_text, steps_before_answer
from burnish.reason.hint_grpo.memory import QuestionMemory
from burnish.reason.hint_grpo.schedule import (
    PRESETS,
    SELF,
    Exhaustive,
    Fixed,
    Ladder,
    Memory,
    Random,
    Rounds,
    Schedule,
    SelfHint,
    View,
    make_schedule,
)
from burnish.reason.hint_grpo.selection import Outcome, is_mixed, select, solve_rate, tally, tally_metrics


def test_hint_lengths_by_hand() -> None:
    assert hint_lengths(5, 3) == [0, 1, 3]
    assert hint_lengths(4, 2) == [0, 2]
    assert hint_lengths(2, 3) == [0, 0, 1]
    assert hint_text(["a", "b", "c", "d", "e"], hint_lengths(5, 3)[2]) == "a b c"
    assert hint_lengths(90, 10)[7] == 63 != int(90 * (7 / 10))  # why the lengths are integers throughout


def test_levels_that_repeat_a_lower_one_are_left_out() -> None:
    assert distinct_levels(2, 3) == {0: 0, 2: 1}
    assert distinct_levels(1, 5) == {0: 0}
    assert distinct_levels(0, 3) == {0: 0}
    assert distinct_levels(6, 3, most=3) == {0: 0, 1: 2, 2: 3}
    assert distinct_levels(6, 3, most=2) == {0: 0, 1: 2}
    assert distinct_levels(6, 3, most=0) == {0: 0}


@given(st.integers(0, 300), st.integers(1, 12))
def test_a_ladder_rises_and_never_gives_the_whole_solution(steps: int, levels: int) -> None:
    lengths = list(distinct_levels(steps, levels).values())
    assert lengths == sorted(set(lengths))
    assert lengths[0] == 0
    assert lengths[-1] < max(steps, 1)


def test_no_step_from_the_answer_on_is_given() -> None:
    assert steps_before_answer([False, False, True, False]) == 2
    assert steps_before_answer([True]) == 0
    assert steps_before_answer([False, False]) == 2
    assert steps_before_answer([]) == 0


LEVELS = View((0, 1, 2))


def test_the_presets_rounds() -> None:
    assert Ladder().rounds(LEVELS) == ((0,), (1,), (2,))
    assert Exhaustive().rounds(LEVELS) == ((0, 1, 2),)
    assert Fixed(2).rounds(LEVELS) == ((2,),)
    assert Fixed(1).rounds(View((0, 2))) == ((0,),)
    assert [Random().rounds(View((0, 1, 2), draw=draw)) for draw in (0.0, 0.5, 0.999)] == [((0,),), ((1,),), ((2,),)]
    assert SelfHint().rounds(View((0,))) == ((0,), (SELF,))


def test_the_ladder_starts_where_memory_says_and_withdraws_hints() -> None:
    ladder = Ladder(decay=0.5, withdraw_above=0.5)
    assert ladder.rounds(View((0, 1, 2), Memory(2, 0.25))) == ((2,),)
    assert ladder.rounds(View((0, 1, 2), Memory(2, 0.5))) == ((1,), (2,))
    assert ladder.rounds(View((0, 1, 2), Memory(0, 1.0))) == ((0,), (1,), (2,))
    assert ladder.rounds(View((0, 2), Memory(1, 0.0))) == ((0,), (2,))  # the question lost that level
    assert Ladder(remembers=False).rounds(View((0, 1, 2), Memory(2, 0.0))) == ((0,), (1,), (2,))


def test_the_ladders_memory_by_hand() -> None:
    ladder = Ladder(decay=0.5)
    first = ladder.remember(None, {0: 0.0, 1: 0.5}, 1)
    assert first == Memory(1, 0.5)
    assert ladder.remember(first, {1: 1.0}, 1) == Memory(1, 0.75)
    assert ladder.remember(first, {0: 0.25}, 0) == Memory(0, 0.25)  # another level, another average
    assert ladder.remember(first, {1: 0.0, 2: 0.0}, None) == Memory(2, 0.0)
    assert Ladder(remembers=False).remember(first, {0: 1.0}, 0) is None


def test_hints_are_withdrawn_as_the_model_improves() -> None:
    ladder, memory, starts = Ladder(), Memory(2, 0.25), []
    for _ in range(6):  # from now on every completion is right
        start = ladder.rounds(View((0, 1, 2), memory))[0][0]
        starts.append(start)
        memory = ladder.remember(memory, {start: 1.0}, start) or memory
    assert starts == [2, 1, 0, 0, 0, 0]


@given(st.dictionaries(st.integers(0, 4), st.lists(st.sampled_from([0.0, 1.0]), min_size=4, max_size=4), min_size=1))
def test_the_ladder_selects_what_exhaustive_does(rewards: dict[int, list[float]]) -> None:
    levels = tuple(sorted({0, *rewards}))
    outcome = {level: solve_rate(rewards.get(level, [0.0] * 4)) for level in levels}

    def climb(schedule: Schedule) -> dict[int, float]:
        rates: dict[int, float] = {}
        for level_round in schedule.rounds(View(levels)):
            if select(rates) is None:
                rates |= {level: outcome[level] for level in level_round}
        return rates

    lazy, eager = climb(Ladder(remembers=False)), climb(Exhaustive())
    assert select(lazy) == select(eager)
    assert len(lazy) <= len(eager)


class Annealed:
    """Deep hints early, none late: a schedule of a user's own."""

    def rounds(self, view: View) -> Rounds:
        return ((view.levels[round((1 - view.progress) * (len(view.levels) - 1))],),)

    def remember(self, memory: Memory | None, rates: Mapping[int, float], selected: int | None) -> Memory | None:
        return None


annealed = Annealed()


def test_schedules_by_name() -> None:
    for name in PRESETS:
        assert isinstance(make_schedule(name), Schedule)
    own = make_schedule("tests.reason.hint_grpo.test_schedule:annealed")
    assert own.rounds(View((0, 1, 2), progress=0.0)) == ((2,),)
    assert own.rounds(View((0, 1, 2), progress=1.0)) == ((0,),)
    with pytest.raises(UserError, match="did you mean `ladder`"):
        make_schedule("lader")
    with pytest.raises(UserError, match="has no methods `rounds` and `remember`"):
        make_schedule("tests.reason.hint_grpo.test_schedule:LEVELS")
    with pytest.raises(UserError, match="has no methods"):
        make_schedule("tests.reason.hint_grpo.test_schedule:Annealed")  # the class, not an instance


def test_memory_survives_its_state() -> None:
    memory = QuestionMemory(3)
    assert memory[1] is None
    memory.record(1, Memory(2, 0.3))
    memory.record(2, None)
    other = QuestionMemory(3)
    other.load_state_dict(memory.state_dict())
    assert other[1] == Memory(2, 0.3)
    assert [other.attempts(question) for question in range(3)] == [0, 1, 1]
    other.record(1, None)
    assert memory[1] == Memory(2, 0.3)  # the state was copied
    with pytest.raises(ValueError, match="3 questions, not of 4"):
        QuestionMemory(4).load_state_dict(memory.state_dict())


def chosen(rewards: list[list[float]]) -> tuple[int, bool]:
    rates = {level: solve_rate(group) for level, group in enumerate(rewards)}
    level = select(rates) or 0
    return level, is_mixed(rewards[level])


def test_selection_by_hand() -> None:
    prompts: list[list[list[float]]] = [
        [[0, 0, 0, 0], [0, 1, 0, 0], [1, 1, 1, 1]],
        [[1, 1, 1, 1], [0, 1, 0, 0], [0, 0, 0, 1]],
        [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
    ]
    assert [chosen(prompt) for prompt in prompts] == [(1, True), (0, False), (0, False)]
    assert sum(mixed for _, mixed in map(chosen, prompts)) / 3 == pytest.approx(1 / 3)


def test_success_is_a_threshold_not_a_sum() -> None:
    assert solve_rate([-1, -1, 1, -1]) == 0.25  # the sum is negative
    assert solve_rate([0.2, 0.2, 0.2, 0.2], above=0.5) == 0  # the sum is positive, nothing is right
    assert is_mixed([0.2, 0.2, 0.2000001, 0.2])  # a small variance is one
    assert not is_mixed([0.2] * 4)


def test_what_no_function_could_score_counts_for_nothing() -> None:
    nan = float("nan")
    assert not is_mixed([1.0, nan, 1.0])
    assert not is_mixed([nan, nan])
    assert is_mixed([nan, 1.0, 0.0])
    assert solve_rate([nan, 1.0], above=-1.0) == 0.5
    outcomes = [Outcome(0, (1.0, nan), 0.5, 0.5, False, False), Outcome(1, (nan, 1.0), 0.5, None, False, False)]
    assert tally_metrics(tally(outcomes, 2), 2)["reward_without_hint"] == 0.5


def test_expected_utilisation_by_hand() -> None:
    """G = 4, success .1 plain and .5 with a hint, two levels: .9178875, and 6.6244 rollouts a prompt against 8."""
    outcomes = [(0, 1)[bits >> place & 1] for bits in range(16) for place in range(4)]
    groups = [outcomes[4 * bits : 4 * bits + 4] for bits in range(16)]

    def chance(group: list[int], success: float) -> float:
        return success ** sum(group) * (1 - success) ** (4 - sum(group))

    utilised = rollouts = 0.0
    for plain in groups:
        for hinted in groups:
            weight = chance(plain, 0.1) * chance(hinted, 0.5)
            rates = {0: solve_rate(plain)}
            if select(rates) is None:
                rates[1] = solve_rate(hinted)
            utilised += weight * is_mixed((plain, hinted)[select(rates) or 0])
            rollouts += weight * 4 * len(rates)
    assert utilised == pytest.approx(0.9178875)
    assert rollouts == pytest.approx(6.6244)


def test_the_figures_of_a_batch() -> None:
    outcomes = [
        Outcome(0, (1.0, 0.0), 0.5, 0.5, False, True),
        Outcome(0, (1.0, 1.0), 1.0, 1.0, True, False),
        Outcome(1, (1.0, 0.0), 0.5, 0.0, False, True),
        Outcome(SELF, (0.0, 0.0), 0.0, None, False, False),
    ]
    found = tally_metrics(tally(outcomes, places=2), places=2)
    assert found == {
        "utilisation": 0.5,
        "all_correct": 0.25,
        "all_wrong": 0.25,
        "hintless": 0.25,
        "plain_accuracy": 0.5,
        "reward_without_hint": 0.75,
        "selected/0": 0.5,
        "utilisation/0": 0.5,
        "selected/1": 0.25,
        "utilisation/1": 1.0,
        "selected/self": 0.25,
        "utilisation/self": 0.0,
    }
    halves = [tally(outcomes[:2], 2), tally(outcomes[2:], 2)]
    assert tally_metrics([sum(pair) for pair in zip(*halves, strict=True)], 2) == found  # sums add up over processes
