import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.core.errors import UserError
from burnish.reason.rftt.grammar import Action, Grammar, prefixes, prompted_grammar, rftt_grammar

# Written from the paper's table by hand, not read from the code.
TRANSITIONS = {
    (): "clarify analysis subquestion next_step",
    ("clarify",): "analysis subquestion next_step direct_answer",
    ("analysis",): "subquestion next_step direct_answer",
    ("subquestion",): "next_step direct_answer",
    ("next_step",): "next_step direct_answer subquestion verify output",
    ("analysis", "direct_answer"): "output verify",
    ("next_step", "verify"): "next_step refine direct_answer subquestion verify output",
    ("next_step", "verify", "refine"): "next_step direct_answer output subquestion verify",
    ("next_step", "output"): "",
}
PREFIXES = """
clarify analysis
clarify subquestion
clarify next_step
clarify direct_answer output
clarify direct_answer verify
analysis subquestion
analysis next_step
analysis direct_answer
subquestion next_step next_step
subquestion next_step subquestion
subquestion direct_answer
next_step next_step next_step
next_step next_step subquestion
next_step direct_answer output
next_step direct_answer verify
next_step subquestion
""".strip().splitlines()


def row(name: str, follows: str = "", **changes: object) -> Action:
    made = Action(name, f"<{name}>", f"</{name}>", tuple(follows.split()), 8, (1, None), name, ends=not follows)
    return replace(made, **changes)  # type: ignore[arg-type]


def test_the_paper_s_transitions_and_its_16_openings_in_order() -> None:
    grammar = rftt_grammar()
    for names, followers in TRANSITIONS.items():
        assert grammar.legal(names) == tuple(followers.split()), names
    assert [" ".join(names) for names in prefixes(grammar)] == PREFIXES
    assert all(grammar.fault(names) is None for names in prefixes(grammar))


def test_tags_of_both_styles() -> None:
    verify = rftt_grammar().action("verify")
    assert (verify.opens, verify.closes) == ("<|rftt:verify|>", "<|/rftt:verify|>")
    verify = rftt_grammar("official").action("verify")
    assert (verify.opens, verify.closes) == ("<verify>", "</verify>")


def test_the_last_depth_ends_where_it_may_and_clarify_stands_first_only() -> None:
    grammar = rftt_grammar(max_depth=3)
    assert grammar.legal(("next_step", "next_step")) == ("output",)
    assert grammar.legal(("next_step", "subquestion")) == ("next_step", "direct_answer")  # none of them ends
    assert grammar.legal(("next_step",) * 3) == ()
    late = Grammar((row("a", "a b z"), row("b", "z", depth=(3, 3)), row("z")), ("a",), 6)
    assert [late.legal(("a",) * length) for length in (1, 2, 3, 5)] == [("a", "z"), ("a", "b", "z"), ("a", "z"), ("z",)]
    assert rftt_grammar().fault(("analysis", "output")) == "step 2: `output` may not follow `analysis` there"
    assert rftt_grammar().fault(("output",)) == "step 1: `output` may not follow the question there"
    with pytest.raises(UserError, match="no action is called `refin`; did you mean `refine`"):
        grammar.legal(("refin",))


def test_phase_1_asks_for_five_actions_and_ends_with_the_direct_answer() -> None:
    grammar = prompted_grammar(rftt_grammar())
    assert grammar.start == ("clarify", "analysis", "subquestion", "next_step", "direct_answer")
    assert [action.name for action in grammar.actions if action.ends] == ["direct_answer"]
    assert grammar.legal(("next_step",)) == ("next_step", "direct_answer", "subquestion")
    assert [grammar.action(name).tokens for name in grammar.start] == [512, 512, 256, 512, 4096]
    assert grammar.max_depth == 15


@pytest.mark.parametrize(
    ("actions", "start", "depth", "forks", "message"),
    [
        ((row("a", "z"), row("b", "z"), row("z")), "a", 4, (), "`b` can never be reached"),
        ((row("a", "z"), row("z", depth=(3, None))), "a", 4, (), "`z` can never be reached"),
        ((row("a", "z"), row("z")), "a", 1, (), "an end takes 2 steps and 1 are allowed"),
        ((row("a", "a"),), "a", 4, (), "no action ends a trace"),
        ((row("a", "b z"), row("b", "b"), row("z")), "a", 4, (), "no end can be reached from `b` at depth 2"),
        (
            (row("a", "b", depth=(1, 3)), row("b", "a z"), row("z", depth=(3, 3))),
            "a",
            6,
            (),
            "nothing may follow `b` at depth 4",
        ),
        ((row("a", "q z"), row("z")), "a", 4, (), "what follows `a`, `q` is no action"),
        ((row("a", "z"), row("z")), "q", 4, (), "the start `q` is no action"),
        ((row("a", "z"), row("a", "z"), row("z")), "a", 4, (), "the name `a` stands twice"),
        ((row("a", "z"), row("z", opens="<a>")), "a", 4, (), "the tag `<a>` stands twice"),
        ((row("a", "z"), row("z", closes="<a>b")), "a", 4, (), "the tag `<a>` is part of `<a>b`"),
        ((row("a", "z"), row("z", closes="]")), "a", 4, (), "the tag `]` is shorter than 2"),
        ((row("a", "z", ends=True), row("z")), "a", 4, (), "`a` ends a trace, so nothing may follow it"),
        ((row("a", "z", tokens=0), row("z")), "a", 4, (), "`a` may have 0 tokens"),
        ((row("a", "z", depth=(3, 2)), row("z")), "a", 4, (), "`a` may stand from depth 3 to 2"),
        ((row("a", "z", description=" "), row("z")), "a", 4, (), "`a` has no description"),
        ((row("a", "z"), row("z")), "a", 0, (), "an end takes 2 steps and 0 are allowed"),
        ((row("a", "z"), row("z")), "a", 4, (("a", "z", "a"),), "the fork a z a is not three actions"),
    ],
)
def test_a_faulty_table_is_refused(
    actions: tuple[Action, ...], start: str, depth: int, forks: tuple[tuple[str, str, str], ...], message: str
) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        Grammar(actions, tuple(start.split()), depth, forks)


@given(st.lists(st.integers(0, 5), max_size=20), st.integers(2, 18))
def test_a_walk_over_legal_actions_never_gets_stuck_before_the_last_depth(choices: list[int], depth: int) -> None:
    grammar = rftt_grammar(max_depth=max(depth, 4))
    names: list[str] = []
    for choice in choices:
        legal = grammar.legal(names)
        if not legal:
            assert names[-1] == "output" or len(names) == grammar.max_depth
            break
        names.append(legal[choice % len(legal)])
    assert grammar.fault(names) is None
