"""The three layouts on an engine without a model: which openings, what is imposed, how probable, what is shared."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from burnish.core.errors import UserError
from burnish.reason.rftt.generators.protocol import Path, Prompt, Proposal, Written
from burnish.reason.rftt.grammar import prefixes, rftt_grammar
from burnish.reason.rftt.rollouts import Branching, RolloutGroup, Searching, plain_group
from burnish.reason.rftt.trace import Step, trace_ids
from burnish.reason.rftt.tree import Tree
from burnish.reason.rftt.vocabulary import extend
from burnish.reason.rftt.walk import SearchRules
from tests.reason.rftt.scripted import Scripted, judged
from tests.reason.rftt.tiny import tiny_llama, tiny_tokenizer

GRAMMAR = rftt_grammar(max_depth=6)
END = 2000
PROMPTS = [Prompt("one", "1 + 1", (7, 8, 9)), Prompt("two", "2 + 2", (7, 8))]


def branched(engine: Any = None, prompts: Sequence[Prompt] = PROMPTS, seed: int = 3, **rules: Any) -> Any:
    layout = Branching(engine or Scripted(GRAMMAR), GRAMMAR, END, SearchRules(**rules))
    assert layout.samples == 16
    return layout(prompts, judged, seed)


def rebuilt(group: RolloutGroup) -> list[tuple[tuple[int, ...], list[float]]]:
    """Tokens and probabilities of every rollout, slowly, from the tree alone."""
    tree = group.tree
    assert tree is not None
    leaves = [each.leaf for each in tree.rollouts]
    lines = [[node.number for node in tree.lineage(leaf)] for leaf in dict.fromkeys(leaves)]
    found = []
    for leaf in leaves:
        ids: list[int] = []
        probabilities: list[float] = []
        for node in tree.lineage(leaf)[1:]:
            on = sum(node.number in line for line in lines)
            before = sum(node.parent in line for line in lines)
            forced = node.number < 1 + 4 + 12 + 8 or len(group.rollouts) != 16
            probabilities += [on / before if forced else math.exp(node.prior)]
            probabilities += [math.exp(value) for value in node.log_probs or ()]
            ids += node.ids or ()
        if tree.nodes[leaf].ending == "answer":
            ids.append(END)
            probabilities.append(1.0)
        found.append((tuple(ids), probabilities))
    return found


def test_sixteen_openings_each_once_then_the_models_own_way() -> None:
    engine = Scripted(GRAMMAR)
    for group in branched(engine):
        assert tuple(tuple(step.action for step in each.steps)[: len(opening)] for each, opening in zip(
            group.rollouts, prefixes(GRAMMAR), strict=True)) == prefixes(GRAMMAR)  # fmt: skip
        for each, opening, (ids, probabilities) in zip(group.rollouts, prefixes(GRAMMAR), rebuilt(group), strict=True):
            assert each.completion_ids == ids
            assert each.log_probs == pytest.approx([math.log(value) for value in probabilities])
            assert GRAMMAR.fault([step.action for step in each.steps]) is None
            starts = [place for place, node in enumerate(each.nodes) if place == 0 or each.nodes[place - 1] != node]
            ends = [len(ids) - 1] if each.answer else []
            assert [place for place, imposed in enumerate(each.forced) if imposed] == starts[: len(opening)] + ends
            assert len(each.boundaries) == len(each.steps)  # all steps closed
            assert each.answer == (each.steps[-1].text if each.steps[-1].action == "output" else "")
        # The layout draws one of sixteen: its imposed tokens together have that probability.
        for each, opening in zip(group.rollouts, prefixes(GRAMMAR), strict=True):
            imposed = [value for value, mark in zip(each.log_probs, each.forced, strict=True) if mark]
            assert sum(imposed[: len(opening)]) == pytest.approx(math.log(1 / 16))
    assert engine.batches[:3] == [8, 24, 8 * 2 + 8 * 2]  # both questions together, layer by layer


def test_what_is_imposed_is_masked_only_where_asked() -> None:
    each = branched()[0].rollouts[0]
    assert each.env_mask("include") == each.env_mask("importance") == [1] * len(each.completion_ids)
    assert each.env_mask("mask") == [int(not imposed) for imposed in each.forced]
    assert 0 < sum(each.env_mask("mask")) < len(each.completion_ids)


def test_a_question_draws_the_same_whatever_is_beside_it() -> None:
    one, two = (each.rollouts for each in branched())
    assert [each.rollouts for each in branched(prompts=PROMPTS[:1])] == [one]
    assert [each.rollouts for each in branched(prompts=PROMPTS[::-1])] == [two, one]
    assert branched(seed=4)[0].rollouts != one


def test_what_the_model_goes_on_with_is_drawn_by_its_probabilities() -> None:
    class Biased(Scripted):
        """Three in four for the first that is legal."""

        def propose(self, paths: Sequence[Path]) -> list[Proposal]:
            legal = [self.grammar.legal(path.actions) for path in paths]
            rest = [0.25 / max(len(names) - 1, 1) for names in legal]
            return [
                Proposal(names, tuple(math.log(0.75 if place == 0 else share) for place in range(len(names))))
                for names, share in zip(legal, rest, strict=True)
            ]

    firsts = []
    for group in branched(Biased(GRAMMAR), [Prompt(str(number), "?", (7,)) for number in range(40)]):
        assert group.tree is not None
        for node in group.tree.nodes[25:]:
            lineage = [each.action for each in group.tree.lineage(node.number)[1:-1]]
            if len(legal := GRAMMAR.legal(lineage)) > 1:
                firsts.append(node.action == legal[0])
                assert math.exp(node.prior) == pytest.approx(0.75 if firsts[-1] else 0.25 / (len(legal) - 1))
    assert len(firsts) > 800
    assert sum(firsts) / len(firsts) == pytest.approx(0.75, abs=0.05)  # over three deviations


def test_shared_beginnings_are_counted_once() -> None:
    (group,) = branched(prompts=PROMPTS[:1])
    tree = group.tree
    assert isinstance(tree, Tree)
    written = sum(len(node.ids or ()) for node in tree.nodes)
    ends = sum(1 for each in group.rollouts if each.answer)
    assert group.unique_tokens == 3 + written + ends
    assert group.path_tokens == sum(3 + len(each.completion_ids) for each in group.rollouts)
    assert group.path_tokens > group.unique_tokens
    assert group.generated == written  # as plain sampling counts: opening tokens too
    assert [node.visits for node in tree.nodes[1:5]] == [5, 3, 3, 5]
    assert tree.nodes[0].value == sum(judged([tree.path(each.leaf) for each in tree.rollouts]))


def test_a_step_that_never_closes_ends_its_openings_there_and_counts_once() -> None:
    (group,) = branched(Scripted(GRAMMAR, unclosed=["clarify"]), PROMPTS[:1])
    first = group.rollouts[:5]
    assert [tuple(step.action for step in each.steps) for each in first] == [("clarify",)] * 5
    assert not first[0].steps[0].closed
    assert first[0].boundaries == ()
    assert first[0].answer == ""
    assert [each.repeats for each in group.rollouts] == [False] + [True] * 4 + [False] * 11
    assert group.repeated == 4
    assert first[1].env_mask("include") == [0] * len(first[1].completion_ids)
    assert math.exp(group.rollouts[0].log_probs[0]) == pytest.approx(1 / 12)  # of those that count


def test_a_question_longer_than_the_context_has_rollouts_that_teach_nothing() -> None:
    engine = Scripted(GRAMMAR, context=40)
    long, short = branched(engine, [Prompt("long", "?", tuple(range(50))), PROMPTS[0]])
    assert {each.completion_ids for each in long.rollouts} == {(END,)}
    assert all(each.repeats for each in long.rollouts)
    assert long.tree is not None
    assert "context" in long.tree.problem
    assert all(3 + len(each.completion_ids) <= 41 for each in short.rollouts)


def test_every_rollout_of_a_search_is_a_completion_and_equal_ones_count_once() -> None:
    layout = Searching(Scripted(GRAMMAR), GRAMMAR, END, SearchRules(rollouts=24))
    assert layout.samples == 24
    for group in layout(PROMPTS, judged, 5):
        assert len(group.rollouts) == 24
        seen = Counter(each.completion_ids for each in group.rollouts)
        assert group.repeated == 24 - len(seen)
        assert sum(not each.repeats for each in group.rollouts) == len(seen)
        nodes = group.rollouts[0].nodes
        openings = [place == 0 or nodes[place - 1] != node for place, node in enumerate(nodes)]
        forced = list(group.rollouts[0].forced)
        assert forced[:-1] == openings[:-1]
        counted = [(each, row) for each, row in zip(group.rollouts, rebuilt(group), strict=True) if not each.repeats]
        for each, (ids, probabilities) in counted:
            assert each.completion_ids == ids
            assert each.log_probs == pytest.approx([math.log(value) for value in probabilities])


def test_an_engine_without_tokens_cannot_teach() -> None:
    class Texts(Scripted):
        def opening(self, action: str) -> tuple[int, ...]:
            return ()

    with pytest.raises(UserError, match="gives texts and no tokens"):
        Branching(Texts(GRAMMAR), GRAMMAR, END, SearchRules())
    with pytest.raises(UserError, match="gives texts and no tokens"):
        Searching(Texts(GRAMMAR), GRAMMAR, END, SearchRules())


@pytest.mark.parametrize(
    ("openings", "words"),
    [
        ([("clarify",), ("clarify", "analysis")], "`clarify` cannot be imposed: another one is the same, or begins"),
        ([("clarify",), ("clarify",)], "another one is the same"),
        ([("clarify", "verify")], "`clarify verify` cannot be imposed: step 2: `verify` may not follow `clarify`"),
        ([()], "it is empty"),
    ],
)
def test_openings_that_cannot_be_imposed(openings: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        Branching(Scripted(GRAMMAR), GRAMMAR, END, SearchRules(), openings)


def test_plain_samples_are_read_by_their_tags_or_as_a_whole() -> None:
    tokenizer = tiny_tokenizer()
    vocabulary = extend(tiny_llama(), tokenizer, GRAMMAR, 0)
    whole = (Step("next_step", "a <b"), Step("output", "7"))
    cut = (Step("next_step", "a"), Step("output", "7", closed=False))
    traces = [[*trace_ids(trace, tokenizer, vocabulary), 1] for trace in (whole, whole, cut)]
    group = plain_group(PROMPTS[0], [*traces, tokenizer("just 7")["input_ids"]], None, tokenizer, vocabulary, GRAMMAR)
    assert [each.steps for each in group.rollouts] == [whole, whole, cut, ()]
    assert [each.answer for each in group.rollouts] == ["7", "7", "", "just 7"]
    assert [each.boundaries for each in group.rollouts] == [(5, 8), (5, 8), (2,), ()]
    assert group.repeated == 0  # drawn twice, counts twice
    assert [set(each.nodes) for each in group.rollouts] == [{1}, {2}, {3}, {4}]
    assert group.parents == (-1, 0, 0, 0, 0)
    assert not any(any(each.forced) for each in group.rollouts)
    bare = plain_group(PROMPTS[0], [tokenizer("is 7")["input_ids"]], [[-0.5] * 4], tokenizer, None, GRAMMAR)
    assert bare.rollouts[0].answer == "is 7"
    assert bare.rollouts[0].log_probs == (-0.5,) * 4


def test_what_the_engine_writes_is_what_is_learnt_from() -> None:
    """Ids come from the engine, not from a text that is tokenized anew."""

    class Odd(Scripted):
        def complete(self, paths: Sequence[Path], actions: Any, sampling: Any, seeds: Any) -> list[Written]:
            return [Written((11, 12, 13), (-0.1, -0.2, -0.3), "same text", True) for _ in paths]

    (group,) = branched(Odd(GRAMMAR), PROMPTS[:1], most_repeats=9)
    each = group.rollouts[0]
    assert each.completion_ids[1:4] == (11, 12, 13)
    assert each.log_probs[1:4] == (-0.1, -0.2, -0.3)
