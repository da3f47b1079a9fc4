"""From the paths of one search to traces: right ones as they are, and one in which a wrong turn is found and mended.

Pure: paths in, traces out. What a path is worth, and what is said where a mistake is found, the caller knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from burnish.reason.rftt.grammar import Grammar
from burnish.reason.rftt.trace import Step, Trace

GOOD = 0.5  # a step scored lower counts as wrong


@dataclass(frozen=True)
class Trajectory:
    """A path of a tree from the question to a leaf, without the steps that only repeat.

    Attributes:
        steps: what it says.
        right: whether it ends in the right answer.
        scores: of a process reward model, one a step; none without.
    """

    steps: Trace
    right: bool
    scores: tuple[float, ...] | None = None

    @property
    def mean_score(self) -> float | None:
        """Mean score of the steps, if they have any."""
        return None if self.scores is None else sum(self.scores) / len(self.scores)

    @property
    def size(self) -> tuple[int, int]:
        """Steps, then characters: what shorter means."""
        return len(self.steps), sum(len(step.text) for step in self.steps)


@dataclass(frozen=True)
class Dispute:
    """A wrong path that leaves a right one: what cross verification is about.

    Attributes:
        question: the problem's text.
        shared: the steps that both begin with.
        wrong: the rest of the wrong one.
        right: the rest of the right one.
        first_wrong: number of the first step that is wrong, the first after the question being 1.
    """

    question: str
    shared: Trace
    wrong: Trace
    right: Trace
    first_wrong: int


@dataclass(frozen=True)
class Spliced:
    """A trace that goes wrong, finds out and goes on rightly.

    Attributes:
        trace: shared steps, wrong ones, ``verify``, ``refine``, the rest.
        wrong: which of them are the wrong branch: from, to.
    """

    trace: Trace
    wrong: tuple[int, int]


def without_repeats(trajectory: Trajectory) -> Trajectory:
    """Each text once, blank ones never: of equal ones the first stays, except that the last step of all stays always.

    >>> steps = tuple(Step("next_step", text) for text in ("a", "b", " a", "c"))
    >>> [step.text for step in without_repeats(Trajectory(steps, True)).steps]
    ['a', 'b', 'c']
    """
    seen = {"", _plain(trajectory.steps[-1].text)}
    kept = []
    for place, step in enumerate(trajectory.steps[:-1]):
        text = _plain(step.text)
        if text not in seen:
            seen.add(text)
            kept.append(place)
    kept.append(len(trajectory.steps) - 1)
    return Trajectory(
        tuple(trajectory.steps[place] for place in kept),
        trajectory.right,
        None if trajectory.scores is None else tuple(trajectory.scores[place] for place in kept),
    )


def as_answer(steps: Trace, grammar: Grammar, conclude: Callable[[str], str]) -> Trace:
    """A right path's steps as a trace that ends: the last step becomes the action that ends one, ``output``.

    Where that may not follow the step before (after an analysis, say), or there is none before, the last step keeps
    its own tag and an ``output`` that concludes from it follows.

    Args:
        steps: of the path.
        grammar: which action ends a trace; the first that does is taken.
        conclude: from the last step's text to that of the added output.

    Returns:
        The trace, legal if what comes before was: ask :meth:`Grammar.fault`.

    Source: RFTT, branch merging (the last step is tagged output).
    """
    *before, last = steps
    if grammar.action(last.action).ends:
        return steps
    ends = ending_action(grammar)
    if ends in grammar.legal([step.action for step in before]):
        return (*before, Step(ends, last.text))
    return (*steps, Step(ends, conclude(last.text)))


def as_mistake(wrong: Trajectory, grammar: Grammar) -> Trajectory:
    """A wrong path as one that a ``verify`` can follow, where its last step would end the trace.

    That step then gets the tag of a prompted action that may stand there and be verified, of several the one with the
    fewest followers (``direct_answer``); where there is none (after a direct answer), it only concluded and is dropped.
    """
    *before, last = wrong.steps
    if not before or not grammar.action(last.action).ends:
        return wrong
    legal = [grammar.action(name) for name in grammar.legal([step.action for step in before])]
    tags = [action for action in legal if action.prompted and "verify" in action.follows]
    if tags:
        tag = min(tags, key=lambda action: len(action.follows))
        return replace(wrong, steps=(*before, replace(last, action=tag.name)))
    return replace(wrong, steps=tuple(before), scores=None if wrong.scores is None else wrong.scores[:-1])


def ending_action(grammar: Grammar) -> str:
    """The first action of the table that ends a trace."""
    return next(action.name for action in grammar.actions if action.ends)


def dispute(
    question: str, trajectories: Sequence[Trajectory], fits: Callable[[Dispute], bool] = lambda _dispute: True
) -> Dispute | None:
    """The right path to keep and a wrong one to learn from, if there are both.

    With scores: the right path of the highest mean, and of the wrong ones that share a step with it the one of the
    lowest; ties go to the shorter. Without: the shortest right path, and of the wrong ones that share a step with it
    the one that goes on shortest. Where none shares a step, all are looked at: what they share is the question.

    Args:
        question: the problem's text.
        trajectories: of one tree; those without a closed last step are no use as wrong ones and must not be among them.
        fits: whether a dispute can be used; the next wrong path is tried where not.

    Source: RFTT, cross verification (Rbar, tau_c and tau_w; not released).
    """
    rights = [each for each in trajectories if each.right]
    if not rights:
        return None
    right = min(rights, key=lambda each: (-(each.mean_score or 0.0), each.size))
    for wrong in _candidates(right, [each for each in trajectories if not each.right]):
        shared = _shared(right, wrong)
        found = Dispute(
            question,
            right.steps[:shared],
            wrong.steps[shared:],
            right.steps[shared:],
            shared + 1 + _first_wrong(None if wrong.scores is None else wrong.scores[shared:]),
        )
        if fits(found):
            return found
    return None


def splice(found: Dispute, verification: str, grammar: Grammar, conclude: Callable[[str], str]) -> Spliced | None:
    """Branch merging: shared steps, the wrong ones, a ``verify``, then the right ones, of which the first is a refine.

    As many of the first right steps make up the ``refine`` as the grammar needs for the rest to be legal. A right
    branch of a single step is told in the ``refine`` and concluded in an ``output``.

    Args:
        found: the two branches.
        verification: the text of the verify step.
        grammar: with the actions ``verify`` and ``refine``.
        conclude: as for :func:`as_answer`.

    Returns:
        None where no such trace is legal.

    Source: RFTT, branch merging (tau_f; not released); its figure.
    """
    start = (*found.shared, *found.wrong)
    begun = (*start, Step("verify", verification))
    for joined in range(1, max(2, len(found.right))):
        refine = Step("refine", "\n".join(step.text for step in found.right[:joined]))
        rest = found.right[joined:]
        if rest:
            trace = as_answer((*begun, refine, *rest), grammar, conclude)
        else:
            trace = (*begun, refine, Step(ending_action(grammar), conclude(refine.text)))
        if grammar.fault([step.action for step in trace]) is None:
            return Spliced(trace, (len(found.shared), len(start)))
    return None


def _candidates(right: Trajectory, wrongs: Sequence[Trajectory]) -> Iterator[Trajectory]:
    """Wrong paths, the best to learn from first."""

    def worth(wrong: Trajectory) -> tuple[bool, float, tuple[int, int]]:
        shared = _shared(right, wrong)
        return not shared, wrong.mean_score or 0.0, Trajectory(wrong.steps[shared:], right=False).size

    yield from sorted(wrongs, key=worth)


def _shared(one: Trajectory, other: Trajectory) -> int:
    """How many steps two paths begin with together; each keeps at least one of its own."""
    count = 0
    for left, right in zip(one.steps[:-1], other.steps[:-1], strict=False):
        if left != right:
            break
        count += 1
    return count


def _first_wrong(scores: Sequence[float] | None) -> int:
    """Place of the first step of a wrong branch that is scored as wrong, or the worst; without scores the first."""
    if scores is None:
        return 0
    return next((place for place, score in enumerate(scores) if score < GOOD), scores.index(min(scores)))


def _plain(text: str) -> str:
    return " ".join(text.split())
