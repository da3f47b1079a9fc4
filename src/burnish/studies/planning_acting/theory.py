"""How long acting must take when thinking takes time: bounds that the study draws beside what it measures. Pure.

Skills of lengths A_1..A_n seconds are carried out one after another; a planning call takes L seconds and plans ``h``
steps (the horizon). All times run from the first call to the end of the last skill. What nobody has planned cannot be
begun; so with one agent and nothing unforeseen no schedule of calls is faster than these.
"""

from __future__ import annotations

from collections.abc import Sequence


def taking_turns(lengths: Sequence[float], latency: float, horizon: int = 1) -> float:
    """Seconds of plan, act, plan, act: ceil(n / h) L + sum A_i.

    Args:
        lengths: seconds of each skill, in order.
        latency: seconds of a planning call.
        horizon: steps of a plan.
    """
    return -(-len(lengths) // horizon) * latency + sum(lengths)


def least_time(lengths: Sequence[float], latency: float, horizon: int = 1) -> float:
    """The least seconds of planning while acting.

    Skill i begins when the one before it has ended, and not before a call has returned that was begun when skill i - h
    or a later one was running: s_i = max(s_(i-1) + A_(i-1), s_(i-h) + L), and L for the first h. With h = 1 this is the
    bound of a single slot, L + sum over i < n of max(A_i, L) + A_n; with h >= n that of a whole plan, L + sum A_i.

    The slot's bound and the whole plan's are reached by who thinks when a skill begins. In between, with one call at a
    time, the bound is reached for equal skills while 2 L <= h A: then a call returns before the plan of the call before
    it has run out, wherever in that plan it was begun. For slower planners it is a bound and no more.

    Args:
        lengths: seconds of each skill, in order.
        latency: seconds of a planning call.
        horizon: steps of a plan.
    """
    starts: list[float] = []
    for number in range(len(lengths)):
        free = starts[-1] + lengths[number - 1] if starts else 0.0
        planned = (starts[number - horizon] if number >= horizon else 0.0) + latency
        starts.append(max(free, planned))
    return starts[-1] + lengths[-1] if starts else 0.0


def gain(ratio: float, skills: int, horizon: int = 1) -> float:
    """The most that planning while acting gains over taking turns with the same horizon, for equal skills.

    Args:
        ratio: L / A.
        skills: how many.
        horizon: steps of a plan.
    """
    lengths = [1.0] * skills
    return taking_turns(lengths, ratio, horizon) / least_time(lengths, ratio, horizon)


def gain_in_the_long_run(ratio: float) -> float:
    """What :func:`gain` comes to with many skills and one step a plan: (1 + L/A) / max(1, L/A), 2 at L = A."""
    return (1 + ratio) / max(1.0, ratio)
