"""The chain of steps: what each does to a state, when the guard refuses, and when it stops. The artist is scripted."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from burnish.core.errors import UserError
from burnish.generate.plan import Element, Plan, Wording
from burnish.generate.plan_text import parse
from burnish.generate.steps.chain import Policy, act_step, cooler, correct_step, mask_of, plan_step, refusal, run_chain
from burnish.generate.steps.outcome import draft_of, outcome
from burnish.generate.steps.state import Heat, Mask, Picture, State

WORDING = Wording(names=("circle",), attributes={"colour": ("red",)}, grid=(2, 2), most_count=1)
RED = "red circle r1c1 end"
COLD, WARM, HOT = 0.1, 0.6, 0.9


def heat(level: float) -> Heat:
    """One patch of a level, three cold ones."""
    return np.array([[level, 0.0], [0.0, 0.0]], dtype=np.float32)


def picture(value: int) -> Picture:
    return np.full((4, 4, 3), value, dtype=np.uint8)


@dataclass
class Scripted:
    """Writes, draws and sees what it is told; a picture is its first pixel."""

    texts: list[str] = field(default_factory=list)
    seen: dict[int, float] = field(default_factory=dict)
    repaints: list[int] = field(default_factory=list)
    calls: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)
    wording: Wording = WORDING
    patches: tuple[int, int] = (2, 2)

    def write_plans(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[str]:
        self.calls.append(("plan", tuple(seeds)))
        return [self.texts.pop(0) for _ in prompts]

    def draw(self, prompts: Sequence[str], plans: Sequence[Plan | None], seeds: Sequence[int]) -> list[Picture]:
        self.calls.append(("act", tuple(seeds)))
        return [picture(10 if plan is None else 20) for plan in plans]

    def look(self, prompts: Sequence[str], plans: Sequence[Plan | None], pictures: Sequence[Picture]) -> list[Heat]:
        self.calls.append(("reflect", ()))
        return [heat(self.seen[int(each[0, 0, 0])]) for each in pictures]

    def repaint(
        self,
        prompts: Sequence[str],
        plans: Sequence[Plan | None],
        pictures: Sequence[Picture],
        masks: Sequence[Mask],
        seeds: Sequence[int],
    ) -> list[Picture]:
        self.calls.append(("correct", tuple(seeds)))
        return [picture(self.repaints.pop(0)) for _ in prompts]

    def names(self) -> list[str]:
        return [name for name, _ in self.calls]


def test_a_good_draft_is_planned_drawn_looked_at_and_left_alone() -> None:
    artist = Scripted(texts=[RED], seen={20: COLD})
    (done,) = run_chain([State("a red circle")], artist, Policy())
    assert artist.names() == ["plan", "act", "reflect"]
    assert done.plan == parse(RED, WORDING)
    assert done.settled
    assert done.rounds == 0
    assert [event.step for event in done.events] == ["plan", "act", "reflect", "correct"]
    assert done.events[-1].said == "nothing to correct"


def test_a_correction_that_cools_is_accepted_and_one_that_heats_is_not() -> None:
    artist = Scripted(texts=[RED], seen={20: HOT, 30: WARM, 40: HOT}, repaints=[30, 40])
    (done,) = run_chain([State("a red circle")], artist, Policy(rounds=2))
    assert done.picture is not None
    assert int(done.picture[0, 0, 0]) == 30
    assert [event.accepted for event in done.events if event.step == "correct"] == [True, False]
    assert "heat 0.60 to 0.90" in done.events[-1].said
    assert (done.rounds, outcome([done]).row()) == (2, {"pictures": 1, "planned": 1, "corrected": 1, "refused": 1})
    seeds = [seed for name, each in artist.calls if name in ("act", "correct") for seed in each]
    assert len(set(seeds)) == 3  # every round has noise of its own


def test_equal_heat_and_heat_that_is_no_number_are_refused() -> None:
    old = State("x", picture=picture(1), heat=heat(HOT))
    for level in (HOT, float("nan")):
        assert refusal(old, State("x", picture=picture(2), heat=heat(level)))


def test_where_pictures_can_be_read_the_plan_must_be_kept_better() -> None:
    plan = parse(RED, WORDING)
    shows = {20: Plan(()), 30: plan, 40: Plan((Element("square"),))}

    def read(each: Picture) -> Plan:
        return shows[int(each[0, 0, 0])]

    old = State("x", plan=plan, picture=picture(20), heat=heat(HOT))
    assert refusal(old, State("x", plan=plan, picture=picture(30), heat=heat(COLD)), read) == ""
    assert "1 to 2 faults" in refusal(old, State("x", plan=plan, picture=picture(40), heat=heat(COLD)), read)
    right = State("x", plan=plan, picture=picture(30), heat=heat(HOT))
    assert "0 to 0 faults" in refusal(right, State("x", plan=plan, picture=picture(30), heat=heat(COLD)), read)
    # Without a plan there is nothing to keep.
    assert (
        refusal(State("x", picture=picture(20), heat=heat(HOT)), State("x", picture=picture(40), heat=heat(COLD)), read)
        == ""
    )


def test_a_malformed_plan_is_tried_again_and_then_done_without() -> None:
    artist = Scripted(texts=["red circle r1c1 red", RED, "circle circle"], seen={})
    states = plan_step([State("a"), State("b")], artist, Policy(attempts=2))
    assert [state.plan is None for state in states] == [True, False]
    assert states[0].events[0].said.startswith("no plan: plan: no `end`")
    assert states[0].written == "circle circle"
    first, again = (seeds for name, seeds in artist.calls if name == "plan")
    assert (len(first), len(again)) == (2, 1)
    assert again[0] not in first
    drawn = act_step(states, artist)
    assert [int(state.picture[0, 0, 0]) for state in drawn if state.picture is not None] == [10, 20]
    assert [state.events[-1].said for state in drawn] == ["drawn from the prompt alone", "drawn from prompt and plan"]


def test_a_plan_that_the_codec_cannot_hold_counts_as_malformed() -> None:
    artist = Scripted(texts=[RED], patches=(1, 1))
    (state,) = plan_step([State("a")], artist, Policy(attempts=1))
    assert state.plan is None
    assert "patches, too few" in state.events[0].said


def test_given_plans_and_pictures_are_kept() -> None:
    plan = parse(RED, WORDING)
    artist = Scripted(seen={5: COLD})
    (done,) = run_chain([State("a", plan=plan, picture=picture(5))], artist, Policy())
    assert artist.names() == ["reflect"]
    assert (done.plan, draft_of(done)) == (plan, done.picture)


@pytest.mark.parametrize(
    ("policy", "names"),
    [
        (Policy(think=()), ["act"]),
        (Policy(think=("plan",)), ["plan", "act"]),
        (Policy(think=("reflect",), rounds=0), ["act", "reflect"]),
        (Policy(think=("reflect",), rounds=1), ["act", "reflect", "correct", "reflect"]),
    ],
)
def test_only_what_is_asked_for_is_thought(policy: Policy, names: list[str]) -> None:
    artist = Scripted(texts=[RED], seen={10: HOT, 20: HOT, 30: WARM}, repaints=[30])
    watched: list[str] = []
    run_chain([State("a")], artist, policy, watch=lambda step, _states: watched.append(step))
    assert artist.names() == names
    assert watched == [name for place, name in enumerate(names) if name != "reflect" or names[place - 1] != "correct"]


def test_steps_leave_the_states_they_got_as_they_were() -> None:
    artist = Scripted(seen={10: HOT, 30: COLD}, repaints=[30])
    before = State("a", picture=picture(10))
    (after,) = correct_step([before], artist, Policy())
    assert before.events == ()
    assert before.heat is None
    assert int(after.picture[0, 0, 0]) == 30 if after.picture is not None else False


def test_the_mask_is_what_is_hot_and_what_is_around_it() -> None:
    hot = np.zeros((4, 4), dtype=np.float32)
    hot[1, 1], hot[3, 3] = 0.9, 0.5
    assert mask_of(hot, Policy()).sum() == 1  # above the threshold, not at it
    assert mask_of(hot, Policy(dilate=1)).tolist() == [[True] * 3 + [False]] * 3 + [[False] * 4]
    assert not mask_of(0 * hot, Policy(dilate=1)).any()


def test_fixed_and_broken_are_counted_by_a_judge() -> None:
    def chained(draft: int, final: int) -> State:
        artist = Scripted(seen={10: HOT, final: COLD}, repaints=[final])
        artist.draw = lambda *_: [picture(draft)]  # type: ignore[method-assign]
        artist.seen[draft] = HOT
        return run_chain([State("a")], artist, Policy(think=("reflect",), rounds=1))[0]

    states = [chained(11, 12), chained(12, 13), chained(12, 14), chained(11, 13)]
    counts = outcome(states, lambda _prompt, each: int(each[0, 0, 0]) % 2 == 0).row()
    assert counts["right_before"] == 2
    assert (counts["fixed"], counts["broken"], counts["corrected"]) == (1, 1, 4)


def test_of_two_pictures_the_cooler_is_taken_and_the_first_if_equal() -> None:
    first, second = (State(name, picture=picture(1), heat=heat(level)) for name, level in (("1", HOT), ("2", WARM)))
    assert cooler(first, second) is second
    assert cooler(second, first) is second
    assert cooler(first, State("3", picture=picture(1), heat=heat(HOT))) is first


def test_a_policy_names_what_it_does_not_know() -> None:
    with pytest.raises(UserError, match="think: `plans` is unknown; did you mean `plan`"):
        Policy(think=("plans",))
    for wrong in ({"rounds": -1}, {"attempts": 0}, {"threshold": 1.0}, {"dilate": -1}):
        with pytest.raises(UserError, match="policy"):
            Policy(**wrong)
