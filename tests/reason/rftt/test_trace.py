from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from burnish.core.errors import UserError
from burnish.reason.rftt.grammar import rftt_grammar
from burnish.reason.rftt.trace import Span, Step, Trace, parse, render, spans_of_ids, steps_of_ids, trace_ids
from burnish.reason.rftt.vocabulary import extend
from tests.reason.rftt.tiny import tiny_llama, tiny_tokenizer

OFFICIAL, GUARDED = rftt_grammar("official"), rftt_grammar("guarded")
TOKENIZER = tiny_tokenizer()
VOCABULARY = extend(tiny_llama(), TOKENIZER, OFFICIAL, seed=0)
TAGS = [tag for action in OFFICIAL.actions for tag in (action.opens, action.closes)]
NAMES = [action.name for action in OFFICIAL.actions]
pieces = st.one_of(st.sampled_from(TAGS), st.sampled_from(["\\", "\\\\", "\n", "<", "<|end|>"]), st.text(max_size=5))
texts = st.lists(pieces, max_size=6).map("".join)
steps = st.builds(Step, st.sampled_from(NAMES), texts, st.booleans())
traces = st.lists(steps, max_size=5).map(tuple)


@given(trace=traces)
@example(trace=(Step("verify", "\\<verify>\\\\</verify>\\", closed=False), Step("output", "\n\n")))
def test_a_trace_parses_as_it_was_printed(trace: Trace) -> None:
    assert parse(render(trace, OFFICIAL), OFFICIAL) == trace


@given(trace=traces)
def test_a_trace_of_ids_decodes_as_it_was_encoded(trace: Trace) -> None:
    assert steps_of_ids(trace_ids(trace, TOKENIZER, VOCABULARY), TOKENIZER, VOCABULARY) == trace


def test_the_published_layout() -> None:
    trace = (Step("analysis", "Add them."), Step("output", "\\boxed{5}"))
    text = "<analysis>\nAdd them.\n</analysis>\n<output>\n\\boxed{5}\n</output>\n"
    assert render(trace, OFFICIAL) == text
    assert parse(text.replace("\n", ""), OFFICIAL) == trace  # as a model of real tokens writes it
    with pytest.raises(UserError, match="no action is called `guess`"):
        render((Step("guess", "5"),), OFFICIAL)


@pytest.mark.parametrize(
    ("text", "trace"),
    [
        ("<verify>never ends", (Step("verify", "never ends", closed=False),)),
        ("<verify>\nnever ends\n", (Step("verify", "never ends", closed=False),)),
        ("<verify>", (Step("verify", "", closed=False),)),
        ("<verify>a<refine>b</refine>", (Step("verify", "a", closed=False), Step("refine", "b"))),
        ("<verify>a</refine>b</verify>", (Step("verify", "a", closed=False),)),
        ("<verify>a<verify>b</verify>", (Step("verify", "a", closed=False), Step("verify", "b"))),
        ("so <verify>a</verify> and </output> <output>5</output>.", (Step("verify", "a"), Step("output", "5"))),
        ("no tag at all, </output>", ()),
        ("", ()),
    ],
)
def test_whatever_a_model_writes_is_read(text: str, trace: Trace) -> None:
    assert parse(text, OFFICIAL) == trace
    ids = TOKENIZER(text)["input_ids"]
    found = steps_of_ids(ids, TOKENIZER, VOCABULARY)
    assert tuple(Step(step.action, step.text.strip("\n"), step.closed) for step in found) == trace


def test_where_the_steps_of_ids_lie() -> None:
    opens, closes = VOCABULARY.opens, VOCABULARY.closes
    ids = [7, opens["analysis"], 8, 9, closes["analysis"], opens["output"], closes["verify"], opens["refine"], 5]
    found = spans_of_ids(ids, VOCABULARY)
    assert found == (Span("analysis", 1, 5, True), Span("output", 5, 6, False), Span("refine", 7, 9, False))
    assert [ids[span.text] for span in found] == [[8, 9], [], [5]]
    ended = [opens["analysis"], 20, 1, 0, 0]  # cut off, then the end of sequence and padding
    assert steps_of_ids(ended, TOKENIZER, VOCABULARY) == (Step("analysis", TOKENIZER.decode([20]), closed=False),)


@given(st.lists(st.sampled_from([5, 6, *VOCABULARY.ids]), max_size=30))
def test_spans_cover_every_opening_token_once_and_hold_no_control_token_inside(ids: Any) -> None:
    spans = spans_of_ids(ids, VOCABULARY)
    assert [span.start for span in spans] == [at for at, token in enumerate(ids) if token in VOCABULARY.opened]
    for place, span in enumerate(spans):
        after = spans[place + 1].start if place + 1 < len(spans) else len(ids)
        assert span.start < span.end <= after
        assert not set(ids[span.text]) & set(VOCABULARY.ids)
        if not span.closed:  # cut short by a tag that is not its own, or by the end
            assert span.end == len(ids) or ids[span.end] != VOCABULARY.closes[span.action]
