"""Plan, act, reflect, correct: each takes states and gives states, and changes nothing else. Knows no model.

Source: MINT, arXiv 2503.01298, section on multimodal chain of thought. The paper leaves open how the heat becomes a
mask, how often to correct, and what happens if a correction makes a picture worse; see :class:`Policy` and
:func:`correct_step`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from burnish.core.errors import UserError, nearest
from burnish.generate.plan import PlanError, validate
from burnish.generate.plan_diff import diff
from burnish.generate.plan_text import parse
from burnish.generate.steps.state import Artist, Event, Heat, Mask, State, Validator

THOUGHTS = ("plan", "reflect")


@dataclass(frozen=True)
class Policy:
    """How much to think.

    Attributes:
        think: of :data:`THOUGHTS`: ``plan`` writes a plan before drawing, ``reflect`` looks at the draft and corrects
            it.
        rounds: of correction at most; 0 only looks.
        attempts: at a plan that can be read, each from other noise.
        threshold: heat from which on a patch is drawn again.
        dilate: patches by which the mask grows on every side.
    """

    think: tuple[str, ...] = THOUGHTS
    rounds: int = 2
    attempts: int = 2
    threshold: float = 0.5
    dilate: int = 0

    def __post_init__(self) -> None:
        for thought in self.think:
            if thought not in THOUGHTS:
                raise UserError(f"think: `{thought}` is unknown; {nearest(thought, THOUGHTS)}")
        if self.rounds < 0 or self.attempts < 1 or self.dilate < 0 or not 0 < self.threshold < 1:
            raise UserError("policy: rounds and dilate are 0 at least, attempts 1, and the threshold between 0 and 1")


def run_chain(
    states: Sequence[State],
    artist: Artist,
    policy: Policy,
    validator: Validator | None = None,
    watch: Callable[[str, list[State]], None] = lambda _step, _states: None,
) -> list[State]:
    """All steps that a policy asks for, all states at once.

    Args:
        states: with prompts and seeds; plans and pictures that are there already are kept.
        artist: the model.
        policy: how much to think.
        validator: reads pictures, for the guard.
        watch: is called after each step with its name and the states.
    """
    found = list(states)
    if "plan" in policy.think:
        found = plan_step(found, artist, policy)
        watch("plan", found)
    found = act_step(found, artist)
    watch("act", found)
    if "reflect" in policy.think:
        found = reflect_step(found, artist)
        watch("reflect", found)
        while any(not state.settled and state.rounds < policy.rounds for state in found):
            found = correct_step(found, artist, policy, validator)
            watch("correct", found)
    return found


def plan_step(states: Sequence[State], artist: Artist, policy: Policy) -> list[State]:
    """Write a plan for each state that has none; where none can be read, the picture is drawn from the prompt alone."""
    found = list(states)
    for attempt in range(policy.attempts):
        places = [place for place, state in enumerate(found) if state.plan is None]
        if not places:
            break
        start = time.perf_counter()
        prompts = [found[place].prompt for place in places]
        texts = artist.write_plans(prompts, [found[place].noise("plan", attempt) for place in places])
        share = (time.perf_counter() - start) / len(places)
        for place, text in zip(places, texts, strict=True):
            found[place] = _planned(found[place], text, artist, share)
    return found


def _planned(state: State, text: str, artist: Artist, seconds: float) -> State:
    try:
        plan = validate(parse(text, artist.wording), artist.wording, artist.patches)
    except PlanError as error:
        return replace(state, written=text).told(Event("plan", f"no plan: {error}", seconds))
    return replace(state, written=text, plan=plan).told(Event("plan", text, seconds))


def act_step(states: Sequence[State], artist: Artist) -> list[State]:
    """Draw each state that has no picture."""
    found = list(states)
    places = [place for place, state in enumerate(found) if state.picture is None]
    if not places:
        return found
    start = time.perf_counter()
    todo = [found[place] for place in places]
    pictures = artist.draw([s.prompt for s in todo], [s.plan for s in todo], [s.noise("act") for s in todo])
    share = (time.perf_counter() - start) / len(places)
    for place, state, picture in zip(places, todo, pictures, strict=True):
        said = "drawn from the prompt alone" if state.plan is None else "drawn from prompt and plan"
        found[place] = replace(state, picture=picture).told(Event("act", said, share, picture))
    return found


def reflect_step(states: Sequence[State], artist: Artist) -> list[State]:
    """Look at each picture that was not looked at."""
    found = list(states)
    places = [place for place, state in enumerate(found) if state.picture is not None and state.heat is None]
    if not places:
        return found
    start = time.perf_counter()
    heats = _look(artist, [found[place] for place in places])
    share = (time.perf_counter() - start) / len(places)
    for place, heat in zip(places, heats, strict=True):
        state = found[place]
        said = f"heat {heat.sum():.2f}, highest {heat.max():.2f}"
        found[place] = replace(state, heat=heat).told(Event("reflect", said, share, state.picture, heat))
    return found


def correct_step(
    states: Sequence[State], artist: Artist, policy: Policy, validator: Validator | None = None
) -> list[State]:
    """One round: draw again where the heat is high, look again, and let the guard decide.

    A correction is accepted only if the sum of its heat is lower and, where a validator can read pictures and there is
    a plan, it also keeps the plan better than before. A state without heat above the threshold is settled. One whose
    correction was not accepted is not: the next round draws from other noise.
    """
    found = reflect_step(states, artist)  # what was not looked at yet
    todo: list[int] = []
    masks: list[Mask] = []
    for place, state in enumerate(found):
        if state.settled or state.heat is None or state.rounds >= policy.rounds:
            continue
        mask = mask_of(state.heat, policy)
        if mask.any():
            todo.append(place)
            masks.append(mask)
        else:
            found[place] = replace(state, settled=True).told(Event("correct", "nothing to correct", 0.0))
    if not todo:
        return found
    start = time.perf_counter()
    before = [found[place] for place in todo]
    pictures = artist.repaint(
        [state.prompt for state in before],
        [state.plan for state in before],
        [state.picture for state in before if state.picture is not None],
        masks,
        [state.noise("correct", state.rounds) for state in before],
    )
    after = [replace(state, picture=picture, heat=None) for state, picture in zip(before, pictures, strict=True)]
    heats = _look(artist, after)
    share = (time.perf_counter() - start) / len(todo)
    for place, old, new, heat, mask in zip(todo, before, after, heats, masks, strict=True):
        reason = refusal(old, replace(new, heat=heat), validator)
        said = f"{mask.sum()} patches drawn again; " + (f"not accepted: {reason}" if reason else "accepted")
        event = Event("correct", said, share, new.picture, heat, mask, not reason)
        kept = old if reason else replace(new, heat=heat)
        found[place] = replace(kept, rounds=old.rounds + 1).told(event)
    return found


def refusal(old: State, new: State, validator: Validator | None = None) -> str:
    """Why a correction is not accepted; empty if it is."""
    before, after = _total(old), _total(new)
    if not after < before:  # also if it is no number
        return f"heat {before:.2f} to {after:.2f}"
    if validator is not None and old.plan is not None:
        pictures = [state.picture for state in (old, new) if state.picture is not None]
        faults = [diff(old.plan, validator(picture)).faults for picture in pictures]
        if faults[1] >= faults[0]:
            return f"the plan is not better kept: {faults[0]} to {faults[1]} faults"
    return ""


def mask_of(heat: Heat, policy: Policy) -> Mask:
    """The patches to draw again: above the threshold, and those around them."""
    from scipy import ndimage

    hot = np.asarray(heat > policy.threshold)
    if not policy.dilate or not hot.any():
        return hot
    return np.asarray(ndimage.binary_dilation(hot, structure=np.ones((3, 3)), iterations=policy.dilate))


def cooler(first: State, second: State) -> State:
    """Of two pictures for one prompt the one that reflection finds less wrong with; the first if they are equal."""
    return second if _total(second) < _total(first) else first


def _total(state: State) -> float:
    assert state.heat is not None, "a state that was not looked at"
    return float(state.heat.sum())


def _look(artist: Artist, states: Sequence[State]) -> list[Heat]:
    pictures = [state.picture for state in states if state.picture is not None]
    assert len(pictures) == len(states)
    return artist.look([state.prompt for state in states], [state.plan for state in states], pictures)
