"""Functional tokens as data: which action opens with which tag, what may follow it, how deep and how long. Text only.

A :class:`Grammar` is a table. Everything else of the method reads it: the vocabulary (two tokens an action), the mask
of constrained sampling, the search over actions and the openings of a branching rollout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from burnish.core.errors import UserError, nearest
from burnish.reason.rftt.grammar_check import check_grammar

Style = Literal["guarded", "official"]


@dataclass(frozen=True)
class Action:
    """A kind of reasoning step, and the functional tokens around it.

    Attributes:
        name: what the rest of the method calls it.
        opens: the tag before the step's text.
        closes: the tag after it.
        follows: the actions that may come next, in the table's order; none where it ends a trace.
        tokens: how many tokens its text may have.
        depth: the first and the last depth at which it may stand, the first step of a trace being at 1; no last one
            where it may stand anywhere after the first.
        description: what it does, in words: its new embeddings start as the mean of these words' pieces.
        ends: whether a trace is complete after it.
        prompted: whether the untuned model is asked for it by a prompt (phase 1); what is not prompted (``verify``,
            ``refine``, ``output``) gets into the data by splicing.
    """

    name: str
    opens: str
    closes: str
    follows: tuple[str, ...]
    tokens: int
    depth: tuple[int, int | None]
    description: str
    ends: bool
    prompted: bool = True

    def stands_at(self, depth: int) -> bool:
        """Whether it may be the step at this depth."""
        first, last = self.depth
        return first <= depth and (last is None or depth <= last)


@dataclass(frozen=True)
class Grammar:
    """A table of actions, checked when it is made.

    Attributes:
        actions: every action, in an order that prompts, reports and new token ids follow.
        start: the actions that may follow the question.
        max_depth: how many steps a trace may have.
        forks: openings of three actions that replace, in :func:`prefixes`, the pair they begin with.

    Raises:
        UserError: two actions with one name or tag, an empty tag or one inside another, an unknown follower, an action
            that cannot be reached, a place from which no end can be reached, an action that ends and has followers, a
            cap or depth below 1, or a fork that is not legal.
    """

    actions: tuple[Action, ...]
    start: tuple[str, ...]
    max_depth: int
    forks: tuple[tuple[str, str, str], ...] = ()

    def __post_init__(self) -> None:
        check_grammar(self)

    def action(self, name: str) -> Action:
        """The action of a name.

        Raises:
            UserError: there is none.
        """
        found = self._by_name.get(name)
        if found is None:
            raise UserError(f"grammar: no action is called `{name}`; {nearest(name, self._by_name)}")
        return found

    def legal(self, names: Sequence[str]) -> tuple[str, ...]:
        """The actions that may follow those so far, in the table's order; an empty sequence is the question itself.

        At the last depth only what ends a trace, if any of it is legal there. Nothing after an end or the last depth.

        Raises:
            UserError: the last name is unknown.
        """
        return self.legal_at(names[-1] if names else None, len(names) + 1)

    def legal_at(self, last: str | None, depth: int) -> tuple[str, ...]:
        """The same, from all that it depends on: the action before (none at the question) and the depth to fill.

        Raises:
            UserError: the name is unknown.
        """
        after = self.start if last is None else self.action(last).follows
        if depth > self.max_depth:
            return ()
        legal = tuple(name for name in after if self.action(name).stands_at(depth))
        if depth == self.max_depth:
            return tuple(name for name in legal if self.action(name).ends) or legal
        return legal

    def fault(self, names: Sequence[str]) -> str | None:
        """What is illegal about a trace of these actions, in words; none if nothing is. It need not have ended."""
        for place, name in enumerate(names):
            if name not in self._by_name:
                return f"step {place + 1}: no action is called `{name}`"
            if name not in self.legal(names[:place]):
                before = f"`{names[place - 1]}`" if place else "the question"
                return f"step {place + 1}: `{name}` may not follow {before} there"
        return None

    @cached_property
    def _by_name(self) -> dict[str, Action]:
        return {action.name: action for action in self.actions}


def rftt_grammar(style: Style = "guarded", max_depth: int = 18) -> Grammar:
    """The paper's eight actions and their transitions.

    Args:
        style: ``guarded`` writes tags as ``<|rftt:verify|>``, which no one types by chance; ``official`` as
            ``<verify>``, of which ``<output>`` is an HTML tag as well.
        max_depth: how many steps a trace may have.

    Source: RFTT, functional tokens and section on online search; transitions, depth and caps of the released sampler.
    """
    opens, closes = ("<|rftt:{}|>", "<|/rftt:{}|>") if style == "guarded" else ("<{}>", "</{}>")
    return Grammar(
        tuple(
            Action(
                name=name,
                opens=opens.format(name),
                closes=closes.format(name),
                follows=tuple(follows.split()),
                tokens=tokens,
                depth=(1, 1) if name == "clarify" else (1, None),
                description=description,
                ends=not follows,
                prompted=prompted,
            )
            for name, follows, tokens, prompted, description in _TABLE
        ),
        start=("clarify", "analysis", "subquestion", "next_step"),
        max_depth=max_depth,
        forks=(
            ("clarify", "direct_answer", "output"),
            ("clarify", "direct_answer", "verify"),
            ("subquestion", "next_step", "next_step"),
            ("subquestion", "next_step", "subquestion"),
            ("next_step", "next_step", "next_step"),
            ("next_step", "next_step", "subquestion"),
            ("next_step", "direct_answer", "output"),
            ("next_step", "direct_answer", "verify"),
        ),
    )


_TABLE = (
    (
        "clarify",
        "analysis subquestion next_step direct_answer",
        512,
        True,
        "clarify the question: restate what is given and what is asked",
    ),
    (
        "analysis",
        "subquestion next_step direct_answer",
        512,
        True,
        "analysis: think about which way leads to the solution",
    ),
    (
        "next_step",
        "next_step direct_answer subquestion verify output",
        512,
        True,
        "next step: carry out one step of the calculation",
    ),
    ("subquestion", "next_step direct_answer", 512, True, "subquestion: pose a smaller problem to solve first"),
    ("direct_answer", "output verify", 1024, True, "direct answer: finish the solution and give the result"),
    (
        "verify",
        "next_step refine direct_answer subquestion verify output",
        512,
        False,
        "verify: check the steps above and find the mistake",
    ),
    (
        "refine",
        "next_step direct_answer output subquestion verify",
        512,
        False,
        "refine: correct the wrong step and go on",
    ),
    ("output", "", 512, False, "output: state the final answer of the question"),
)


PROMPTED_TOKENS: Mapping[str, int] = {"subquestion": 256, "direct_answer": 4096}
"""Caps of phase 1 that differ from those of the table: an untuned model writes long answers and short questions."""


def prompted_grammar(grammar: Grammar, max_depth: int = 15, tokens: Mapping[str, int] = PROMPTED_TOKENS) -> Grammar:
    """The grammar of phase 1, in which the untuned model is asked for every action by a prompt.

    Only what is prompted is left; an action after which nothing but the rest could come ends the trace, and it may
    also follow the question (RFTT answers directly at the root too).

    Args:
        grammar: the whole table.
        max_depth: how many steps a trace of phase 1 may have.
        tokens: caps by action, where they are not the table's.

    Raises:
        UserError: nothing is prompted, or what is left is no grammar.

    Source: RFTT, warm-up data; the released tree search.
    """
    kept = {action.name for action in grammar.actions if action.prompted}
    actions = []
    for action in grammar.actions:
        if action.prompted:
            follows = tuple(name for name in action.follows if name in kept)
            cap = tokens.get(action.name, action.tokens)
            actions.append(replace(action, follows=follows, tokens=cap, ends=not follows))
    ends = tuple(action.name for action in actions if action.ends and action.name not in grammar.start)
    start = tuple(name for name in grammar.start if name in kept)
    return Grammar(tuple(actions), (*start, *ends), max_depth)


def prefixes(grammar: Grammar) -> tuple[tuple[str, ...], ...]:
    """The openings of a branching rollout, in the table's order: the first two layers, forked where the table says.

    The second layer is of prompted actions only: an opening neither checks nor ends what has not begun.

    >>> len(prefixes(rftt_grammar()))
    16

    Source: RFTT, online search: 4 actions, their 12 successors, four of these split in two.
    """
    found: list[tuple[str, ...]] = []
    for first in grammar.legal(()):
        for second in grammar.legal((first,)):
            if grammar.action(second).prompted:
                forks = [fork for fork in grammar.forks if fork[:2] == (first, second) and not grammar.fault(fork)]
                found += forks or [(first, second)]
    return tuple(found)
