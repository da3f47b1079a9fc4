"""What holds for any text: pairs, rows for TRL, meters and the report never break, whatever a model writes."""

import json
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from burnish.align.cases import from_line, to_line
from burnish.align.factory import make_triplets
from burnish.align.facts import Thing, support, vote
from burnish.align.gate import Candidates, Drop, Pair, form_pair
from burnish.align.meters import describe
from burnish.align.pair_markup import marked
from burnish.align.pair_table import read_triplets
from burnish.align.pope import Probe, score_pope
from burnish.align.reading import normal_words
from burnish.align.records import make_record
from burnish.align.settings import LoserKind, PairSettings, WinnerKind
from burnish.align.winners import REASONS, loops, truncate
from tests.align.fakes import Scripted, plan
from tests.align.models import picture
from tests.align.words import VOCABULARY, said

WORDS = [
    "red",
    "big",
    "circle",
    "dog",
    "owl",
    "no",
    "not",
    "yes",
    "Yes.",
    "is",
    "and",
    "a",
    "</s>",
    "<image>",
    "\n",
    "—",
]
TEXTS = st.one_of(
    st.text(max_size=40),
    st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join),
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(lambda words: " ".join(words * 5)),
)
THINGS = st.lists(
    st.sampled_from([Thing("dog"), Thing("owl"), Thing("circle", ("red",)), Thing("circle", ("big", "blue"))]),
    max_size=4,
)


@given(
    st.lists(TEXTS, max_size=5),
    TEXTS,
    st.none() | TEXTS,
    st.sampled_from(WinnerKind.__args__),  # type: ignore[attr-defined]
    st.sampled_from(LoserKind.__args__),  # type: ignore[attr-defined]
    st.sampled_from(["list", "sentence", "prose"]),
    st.sampled_from([None, 0.0, 0.2]),
    st.booleans(),
)
@example(["0", "0:0"], "", None, "agreement", "truncated", "list", None, False)
@example(["a dog an", "b-c-d e", "a dog an"], "", None, "agreement", "truncated", "list", None, False)
def test_a_pair_has_two_answers_that_differ(
    answers: list[str],
    original: str,
    summary: str | None,
    winner: Any,
    loser: Any,
    form: Any,
    margin: float | None,
    votes: bool,
) -> None:
    asked = PairSettings(winner=winner, loser=loser, form=form, margin=margin, original_votes=votes)
    found = form_pair(Candidates("a", "What is it?", original, tuple(answers), summary), VOCABULARY, asked)
    if isinstance(found, Drop):
        assert found.reason in REASONS
        return
    own, other = normal_words(found.chosen), normal_words(found.rejected)
    assert own
    assert other
    assert own != other
    assert not loops(own)
    assert -1 <= found.loser_quality <= 1
    assert -1 <= found.winner_quality <= 1
    assert margin is None or found.winner_quality > found.loser_quality + margin
    assert set(found.vote.agreed) <= found.vote.counts.keys()
    assert len(own) >= asked.shortest * len(other)
    assert loser != "truncated" or (1 - asked.length_slack) * len(own) <= len(other) <= len(own)
    invented = said(found.chosen).facts - said(original).facts.union(*(said(answer).facts for answer in answers))
    assert not invented


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(TEXTS, min_size=12, max_size=12), st.lists(TEXTS, min_size=3, max_size=3), st.booleans())
@example(["red circle", "red circle, owl", "an\u2028owl", 'a "dog"'] * 3, ["a dog", 'owl "\\', "\x85owl\x1e"], True)
def test_every_line_of_the_store_is_a_row_for_trl(answers: list[str], originals: list[str], system: bool) -> None:
    from trl.data_utils import is_conversational

    records = [
        make_record(picture(number, 8, 6), f"What is {number}?", text, "x") for number, text in enumerate(originals)
    ]
    turns = iter(answers)
    asked = plan(threshold=1, shortest=0, most_invented=9)
    if system:
        asked = type(asked)(**{**vars(asked), "system": "Be\nbrief."})
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        found = make_triplets(records, Scripted(lambda _ask: next(turns)), asked, folder)
        cases = list(found.cases())
        assert [from_line(to_line(case)) for case in cases] == cases
        assert [[heard.answer.text for heard in case.heard] for case in cases] == [
            answers[start : start + 4] for start in (0, 4, 8)
        ]
        lines = (folder / "triplets.jsonl").read_bytes().split(b"\n")[:-1]
        assert len(lines) == found.tally.kept
        for line, (case, pair) in zip(lines, found.pairs(), strict=True):
            row = json.loads(line)
            assert set(row) == {"images", "prompt", "chosen", "rejected"}
            (image,) = row["images"]
            with Image.open(folder / image) as kept:
                assert kept.size == (8, 6)
            assert is_conversational(row)
            assert [turn["role"] for turn in row["prompt"]] == [*(["system"] if system else []), "user"]
            assert [[turn["role"] for turn in row[side]] for side in ("chosen", "rejected")] == [["assistant"]] * 2
            assert row["chosen"][0]["content"] == pair.chosen != pair.rejected == row["rejected"][0]["content"]
            assert case.question == row["prompt"][-1]["content"]
        again = list(read_triplets(folder / "triplets.jsonl", asked.system))
        assert [(each.question, each.chosen, each.rejected) for each in again] == [
            (pair.question, pair.chosen, pair.rejected) for _, pair in found.pairs()
        ]


@given(TEXTS, THINGS, st.lists(TEXTS, max_size=4))
def test_meters_are_shares(text: str, truth: list[Thing], views: list[str]) -> None:
    reading = said(text)
    found = describe(reading, truth)
    shares = [
        *(value for each in (found.facts, found.entities, found.attributes) for value in (each.recall, each.precision)),
        found.facts.f1, found.mention_precision, found.chair_i, found.chair_s, support(reading, map(said, views)),
    ]  # fmt: skip
    assert all(0 <= value <= 1 for value in shares)
    assert found.right_mentions + found.absent_mentions <= found.mentions
    assert found.repeated <= found.mentions
    assert math.isfinite(found.length + found.facts_per_word)
    assert len(normal_words(truncate(text, 3))) <= 3


@given(st.lists(st.tuples(st.sampled_from(["yes", "no"]), TEXTS), min_size=1, max_size=12))
def test_pope_counts_every_answer_once(asked: list[tuple[Any, str]]) -> None:
    probes = [Probe("a", "random", "dog", "Is there a dog in the image?", right) for right, _ in asked]
    for rule in ("first_sentence", "substring"):
        score = score_pope(probes, [text for _, text in asked], rule)["random"]
        assert score.asked == len(asked)
        shares = (score.accuracy, score.precision, score.recall, score.f1, score.yes_rate)
        assert all(0 <= value <= 1 for value in shares)


@given(TEXTS, st.lists(TEXTS, min_size=1, max_size=3))
@example("<script>alert('red circle')</script> & a dog", ["a dog", "a red circle"])
def test_marks_in_the_report_leave_the_text_as_it_is_and_escape_it(text: str, views: Sequence[str]) -> None:
    from html.parser import HTMLParser

    class Words(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.told = ""
            self.tags: set[str] = set()
            self.inside = 0

        def handle_starttag(self, tag: str, attrs: Any) -> None:
            self.tags.add(tag)
            self.inside += dict(attrs).get("role") == "img"

        def handle_endtag(self, _tag: str) -> None:
            self.inside = 0

        def handle_data(self, data: str) -> None:
            self.told += "" if self.inside else data

    judges = [said(view) for view in views]
    agreed = vote(judges, 1)
    pair = Pair("a", "?", text, "x", None, None, 0.0, 0.0, agreed)
    page = Words()
    page.feed(str(marked(text, pair, judges, VOCABULARY)))
    page.close()
    assert page.tags <= {"span"}
    shown = page.told.replace("\u202f", "")
    assert shown == text.replace("\u202f", "") or (not text and shown == "(no answer)")
