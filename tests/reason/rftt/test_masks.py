import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from burnish.core.errors import BurnishError, UserError
from burnish.reason.rftt.grammar import prefixes, rftt_grammar
from burnish.reason.rftt.masks import CompiledGrammar, GrammarProcessor, compile_grammar
from burnish.reason.rftt.trace import spans_of_ids, steps_of_ids
from burnish.reason.rftt.vocabulary import extend
from tests.reason.rftt.tiny import tiny_llama, tiny_tokenizer

DEPTH = 5
GRAMMAR = rftt_grammar(max_depth=DEPTH)
TOKENIZER = tiny_tokenizer()
MODEL = tiny_llama()
VOCABULARY = extend(MODEL, TOKENIZER, GRAMMAR, seed=0)
END, SPECIALS = 1, (0, 1, 2, 3, 4)
COMPILED = compile_grammar(GRAMMAR, VOCABULARY, [END], SPECIALS)
WORDS = list(range(5, 261))


def allowed_slowly(ids: Sequence[int]) -> set[int]:
    """What may follow, read off the table again at every token."""
    spans = spans_of_ids(ids, VOCABULARY)
    if END in ids:
        return {END}
    last = spans[-1] if spans else None
    after_a_wrong_tag = last is not None and last.end < len(ids)
    if last is not None and not last.closed and not after_a_wrong_tag:
        action = GRAMMAR.action(last.action)
        room = len(ids[last.text]) < action.tokens
        return {VOCABULARY.closes[action.name], *(WORDS if room else [])}
    names = [span.action for span in spans]
    return {VOCABULARY.opens[name] for name in GRAMMAR.legal(names)} or {END}


def follow(compiled: CompiledGrammar, ids: Sequence[int]) -> set[int]:
    states, counts = torch.tensor([0]), torch.tensor([0])
    for token in ids:
        states, counts = compiled.advance(states, counts, torch.tensor([token]))
    return set(compiled.allowed(states, counts)[0].nonzero()[:, 0].tolist())


@given(st.lists(st.sampled_from([10, 20, 30, END, *VOCABULARY.ids]), max_size=14))
def test_the_compiled_mask_is_the_table_after_any_tokens_at_all(ids: list[int]) -> None:
    ids = ids[: ids.index(END) + 1] if END in ids else ids
    if len(spans_of_ids(ids, VOCABULARY)) <= DEPTH:  # deeper, no table says anything
        assert follow(COMPILED, ids) == allowed_slowly(ids)


def test_every_state_allows_something_and_no_row_that_only_pads() -> None:
    states = torch.arange(len(COMPILED.mask))
    allowed = COMPILED.allowed(states, torch.zeros_like(states))
    assert allowed.any(1).all()
    assert not allowed[:, list(VOCABULARY.padding)].any()
    assert not allowed[:, [0, 2, 3, 4]].any()
    assert len(COMPILED.masks) < 40 < len(COMPILED.mask)  # equal rows are stored once
    for names in prefixes(GRAMMAR):
        state = torch.tensor([COMPILED.state(names)])
        opened = {VOCABULARY.opens[name] for name in GRAMMAR.legal(names)} or {END}
        assert set(COMPILED.allowed(state, torch.tensor([0]))[0].nonzero()[:, 0].tolist()) == opened
        inside = torch.tensor([COMPILED.state(names, inside=True)])
        assert COMPILED.allowed(inside, torch.tensor([0]))[0, WORDS].all()
    with pytest.raises(UserError, match="no end-of-sequence token"):
        compile_grammar(GRAMMAR, VOCABULARY, [])


def test_a_step_at_its_cap_can_only_be_closed() -> None:
    capped = compile_grammar(rftt_grammar(max_depth=3), VOCABULARY, [END], SPECIALS)
    inside = torch.tensor([capped.state(["next_step"], inside=True)] * 2)
    allowed = capped.allowed(inside, torch.tensor([511, 512]))
    assert allowed[0].sum() == 257
    assert allowed[1].nonzero()[:, 0].tolist() == [VOCABULARY.closes["next_step"]]


@pytest.mark.parametrize("sample", [True, False])
def test_generate_writes_legal_traces_only_and_ends_them(sample: bool) -> None:
    """Also by a model that never closes a step by itself, and would rather write rows that only pad."""
    actions = tuple(replace(action, tokens=6) for action in GRAMMAR.actions)
    short = compile_grammar(replace(GRAMMAR, actions=actions), VOCABULARY, [END], SPECIALS)
    model = tiny_llama()
    extend(model, tiny_tokenizer(), GRAMMAR, seed=0)
    with torch.no_grad():
        model.lm_head.weight[WORDS] *= 50
        model.lm_head.weight[list(VOCABULARY.closes.values())] = -model.lm_head.weight[WORDS[:8]]
        model.lm_head.weight[list(VOCABULARY.padding)] = 2 * model.lm_head.weight[WORDS[:43]]
    prompt = torch.randint(5, 261, (16, 7))
    prompt[::2, :3] = 0  # padded on the left
    found = model.generate(
        prompt,
        attention_mask=(prompt != 0).long(),
        logits_processor=[GrammarProcessor(short, 7)],
        max_new_tokens=80,
        do_sample=sample,
        pad_token_id=0,
        suppress_tokens=None,
    )[:, 7:]
    for row in found.tolist():
        ids = row[: row.index(END)] if END in row else row
        assert END in row  # at most 5 steps of 6 tokens and two tags
        steps = steps_of_ids(ids, TOKENIZER, VOCABULARY)
        assert all(step.closed for step in steps)
        assert GRAMMAR.fault([step.action for step in steps]) is None
        assert all(span.end - span.start <= 8 for span in spans_of_ids(ids, VOCABULARY))


def test_the_processor_follows_rows_that_change_places_and_traces_that_have_begun() -> None:
    opens, closes = VOCABULARY.opens, VOCABULARY.closes
    one = [7, 7, opens["analysis"], 10, closes["analysis"]]
    two = [7, 7, opens["next_step"], 10, 11]
    scores = torch.zeros(2, 400)  # wider than the vocabulary knows
    processor = GrammarProcessor(COMPILED, 2)
    for ids in ([one[:3], two[:3]], [one[:4], two[:4]], [one, two], [two, one], [[7, 7], [7, 7]]):
        found = processor(torch.tensor(ids), scores)
        for row, trace in zip(found, ids, strict=True):
            assert set((row > -math.inf).nonzero()[:, 0].tolist()) == allowed_slowly(trace[2:])
    start = torch.tensor([COMPILED.state(["analysis"]), COMPILED.state(["next_step"], inside=True)])
    found = GrammarProcessor(COMPILED, 2, start)(torch.tensor([[7, 7], [7, 7]]), scores)
    assert set((found[0] > -math.inf).nonzero()[:, 0].tolist()) == allowed_slowly(one[2:])
    assert set((found[1] > -math.inf).nonzero()[:, 0].tolist()) == allowed_slowly(two[2:])


def likely(**probabilities: float) -> torch.Tensor:
    """Logits of given probabilities for opening tokens; the rest goes to letters, evenly."""
    found = torch.full((1, VOCABULARY.rows), -30.0)
    for name, value in probabilities.items():
        found[0, VOCABULARY.opens[name]] = math.log(value)
    found[0, WORDS[:20]] = math.log((1 - sum(probabilities.values())) / 20)
    found[0, list(VOCABULARY.padding)] = 100.0
    return found


def test_proposals_are_renormalised_over_the_legal() -> None:
    state = torch.tensor([COMPILED.state(["analysis"])])  # legal: subquestion, next_step, direct_answer
    logits = likely(next_step=0.3, subquestion=0.1, verify=0.2)
    ((names, log_probs),) = COMPILED.ranked(COMPILED.proposals(logits, state))
    assert names == ("next_step", "subquestion")  # the direct answer is not among the 12 likeliest
    assert [math.exp(each) for each in log_probs] == pytest.approx([0.75, 0.25])
    ((names, log_probs),) = COMPILED.ranked(COMPILED.proposals(logits, state, candidates=0))
    assert names == ("next_step", "subquestion", "direct_answer")
    assert sum(math.exp(each) for each in log_probs) == pytest.approx(1)


def test_where_nothing_legal_is_proposed_all_legal_actions_are_open() -> None:
    state = torch.tensor([COMPILED.state(["analysis"])])
    logits = likely(verify=0.6, output=0.2)
    logits[0, VOCABULARY.opens["direct_answer"]] = -29.0
    ((names, log_probs),) = COMPILED.ranked(COMPILED.proposals(logits, state))
    assert names == ("direct_answer", "next_step", "subquestion")  # equals in the table's order
    assert [math.exp(each) for each in log_probs] == pytest.approx([0.576117, 0.211942, 0.211942], abs=1e-6)
    never = torch.full((1, VOCABULARY.rows), -math.inf)
    never[0, 50] = 0.0
    ((names, log_probs),) = COMPILED.ranked(COMPILED.proposals(never, state))
    assert names == ("next_step", "subquestion", "direct_answer")
    assert [math.exp(each) for each in log_probs] == pytest.approx([1 / 3] * 3)
    ended = torch.tensor([COMPILED.state(["next_step", "output"])])
    assert COMPILED.ranked(COMPILED.proposals(logits, ended)) == [((), ())]
    with pytest.raises(BurnishError, match="NaN"):
        COMPILED.proposals(logits * math.nan, state)
