"""Pairs: winners and losers of each kind, every reason for a drop, and what the notes ask of the gate."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from burnish.align.facts import Fact, Thing, vote
from burnish.align.gate import Candidates, Drop, Pair, form_pair, quality, tally
from burnish.align.reading import Vocabulary, normal_words, read
from burnish.align.settings import PairSettings
from burnish.align.winners import REASONS, Heard, best_of, loops, merged_text, render, truncate
from tests.align.words import VOCABULARY, said

MERGER = PairSettings(winner="merger", form="list")
VIEWS = ("red circle, blue square", "red circle, green cross", "red circle, blue square, owl", "blue square")


def formed(settings: PairSettings, answers: tuple[str, ...] = VIEWS, **changes: Any) -> Pair | Drop:
    case = Candidates("a", "Describe the picture.", changes.pop("original", "red circle"), answers, **changes)
    return form_pair(case, VOCABULARY, settings)


def paired(settings: PairSettings, answers: tuple[str, ...] = VIEWS, **changes: Any) -> Pair:
    found = formed(settings, answers, **changes)
    assert isinstance(found, Pair), found
    return found


def dropped(settings: PairSettings, answers: tuple[str, ...] = VIEWS, **changes: Any) -> tuple[str, str]:
    found = formed(settings, answers, **changes)
    assert isinstance(found, Drop), found
    return found.reason, found.detail


def test_the_merger_of_agreed_facts_beats_the_original() -> None:
    pair = paired(MERGER)
    assert (pair.chosen, pair.rejected) == ("red circle, blue square", "red circle")
    assert (pair.winner_view, pair.loser_view) == (None, None)
    assert pair.winner_quality == pytest.approx((1 + 1 / 2 + 8 / 9 + 2 / 3) / 4)
    assert pair.loser_quality == pytest.approx((2 / 3 + 2 / 3 + 4 / 7 + 0) / 4)
    assert [str(fact) for fact in pair.vote.agreed] == ["circle", "red circle", "square", "blue square"]


def test_the_threshold_and_the_vote_of_the_original() -> None:
    assert paired(MERGER.model_copy(update={"threshold": 1})).chosen == ("red circle, blue square, green cross, owl")
    assert dropped(MERGER.model_copy(update={"threshold": 4})) == ("winner equals loser", "red circle")  # falls back
    voting = MERGER.model_copy(update={"original_votes": True})
    assert paired(voting, original="an owl").chosen == "red circle, blue square, owl"


def test_the_form_of_a_merger() -> None:
    assert paired(PairSettings(winner="merger")).chosen == "There is a red circle and a blue square."
    things = [Thing("owl"), Thing("circle", ("red",)), Thing("dog")]
    assert render(things, "sentence") == "There is an owl, a red circle and a dog."
    assert render(things[:1], "sentence") == "There is an owl."
    assert render([], "sentence") == render([], "list") == ""


def test_a_merger_follows_the_yes_or_no_of_most() -> None:
    answers = ("Yes, a dog", "Yes", "No, an owl, an owl", "Yes, an owl and a dog")
    assert merged_text([said(answer) for answer in answers], VOCABULARY, PairSettings()) == "Yes. There is a dog."
    assert merged_text([said("No"), said("No.")], VOCABULARY, PairSettings()) == "No."
    assert merged_text([said("?")], VOCABULARY, PairSettings()) == ""


PROSE = PairSettings(winner="merger", form="prose", threshold=2)


def test_prose_keeps_the_sentences_that_say_nothing_unagreed() -> None:
    answers = (
        "Yes, a dog sleeps beside a red circle! An owl watches it\nHow peaceful.",
        "Yes: I see a dog. The dog is not big. A blue square glows near it",
        "A red disc, a dog and a blue square.",
        "No. Nothing",
    )
    text = merged_text([said(answer) for answer in answers], VOCABULARY, PROSE)
    assert text == "Yes. A red disc, a dog and a blue square."  # the answer that the others agree with most
    assert merged_text([said(answer) for answer in answers[:2]] * 2, VOCABULARY, PROSE) == (
        "Yes. a dog sleeps beside a red circle! An owl watches it. A blue square glows near it."
    )
    lists = [said("red circle, owl"), said("red circle, cross"), said("red circle, dog")]
    assert merged_text(lists, VOCABULARY, PROSE) == "There is a red circle."
    assert merged_text([said("A red circle but no dog")] * 2, VOCABULARY, PROSE) == "There is a red circle."
    assert merged_text([said("No owls. A dog, no owl")] * 2, VOCABULARY, PROSE) == "There is a dog."
    assert merged_text([said("the law")], VOCABULARY, PROSE) == ""
    assert paired(PROSE).chosen == "red circle, blue square."


@given(
    st.lists(
        st.sampled_from(
            [*VIEWS, "Yes", "A big dog. An owl", "A red circle but no dog", "No, no dog.", "no", "Yes! yes", ""]
        ),
        max_size=5,
    )
)
def test_every_form_of_a_merger_says_all_that_is_agreed(answers: list[str]) -> None:
    heard = [said(answer) for answer in answers]
    plain, prose = (
        said(merged_text(heard, VOCABULARY, PROSE.model_copy(update={"form": form}))) for form in ("sentence", "prose")
    )
    assert plain.statements == prose.statements


def test_the_summary_wins_as_published() -> None:
    published = PairSettings(margin=None)
    pair = paired(published, summary="A red circle and a blue square.")
    assert (pair.chosen, pair.rejected) == ("A red circle and a blue square.", "red circle")
    assert dropped(published) == ("no summary", "")
    assert dropped(published, summary=" </s>")[0] == "no summary"
    assert dropped(published, summary="A red circle and a", summary_cut=True)[0] == "summary cut off"


@pytest.mark.parametrize(("kind", "view"), [("agreement", 0), ("fewest_unagreed", 0), ("longest", 2)])
def test_the_best_of_the_answers(kind: Any, view: int) -> None:
    pair = paired(PairSettings(winner=kind))
    assert pair.winner_view == view
    assert pair.chosen == VIEWS[view]


def test_the_vote_is_that_of_the_side_that_won() -> None:
    answers = ("Yes, a dog", "Yes, a big dog and an owl", "No dog, an owl", "No. An owl, a cross", "Yes, a cross")
    pair = paired(PairSettings(winner="merger", margin=None), answers, original="Yes")
    assert pair.chosen == "Yes. There is a dog and an owl."
    assert [str(fact) for fact in pair.vote.agreed] == ["dog", "owl"]
    assert pair.vote.counts[Fact("cross")] == 1


def test_the_best_by_agreement_equals_a_loop_and_does_not_hear_itself() -> None:
    heard = Heard(said(""), tuple(said(text) for text in ("owl, dog", "", "red circle, owl", "red circle")))
    scores = {}
    for number in (0, 2, 3):
        others = [heard.views[other] for other in (0, 2, 3) if other != number]
        scores[number] = sum(quality(heard.views[number], [other], 0) for other in others)
    assert best_of(heard, (), "agreement") == max(scores, key=lambda number: scores[number]) == 2
    agreed = vote([heard.views[3]], 1).agreed
    assert best_of(heard, agreed, "fewest_unagreed") == 3
    assert best_of(heard, agreed, "longest") == 2


def test_neither_text_counts_its_agreement_with_itself() -> None:
    pair = paired(PairSettings(winner="agreement", loser="view", margin=None))
    assert (pair.winner_view, pair.loser_view) == (0, 1)
    judges = [said(VIEWS[2]), said(VIEWS[3])]
    assert (
        pair.winner_quality == pytest.approx(quality(said(VIEWS[0]), judges, 0.5)) == pytest.approx((8 / 9 + 2 / 3) / 2)
    )
    assert pair.loser_quality == pytest.approx((4 / 9 + 0) / 2)


def test_a_view_that_is_agreed_with_least_loses_as_in_seva() -> None:
    pair = paired(MERGER.model_copy(update={"loser": "view"}), original="")
    assert (pair.rejected, pair.loser_view) == (VIEWS[1], 1)
    same = ("red circle", "red circle!", "Red circle", "owl")
    assert paired(MERGER.model_copy(update={"loser": "view"}), same).rejected == "owl"
    assert dropped(PairSettings(winner="agreement", loser="view"), ("red circle",))[0] == "no loser"


def test_a_truncated_loser_is_as_long_as_the_winner() -> None:
    cut = MERGER.model_copy(update={"loser": "truncated"})
    pair = paired(cut)
    assert pair.rejected == "red circle, green cross"
    assert len(normal_words(pair.rejected)) == len(normal_words(pair.chosen))
    long = paired(
        cut, ("red circle, blue square",) * 2 + ("blue square",), original="owl dog cross dog big dog owl dog"
    )
    assert (long.rejected, long.loser_view) == ("owl dog cross dog", None)
    none = dropped(cut, ("red circle, blue square", "blue square, red circle", "red circle"), original="owl")
    assert none[0] == "not above the margin"  # the same in another order is as good
    short = ("red circle", "blue square", "red circle", "blue square")
    assert dropped(cut, short, original="") == (
        "no loser of its length",
        "2 words against 4",
    )
    # an owl and a cross, of which the others know nothing, and not the original, of which they know a little
    alone = paired(cut, ("red circle", "red circle", "owl, cross"), original="circle, big dog and square")
    assert (alone.rejected, alone.loser_view) == ("owl, cross", 2)
    slack = cut.model_copy(update={"length_slack": 0.5})
    assert paired(slack, short, original="").rejected == "red circle"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, ""),
        (1, "Law,"),
        (2, "Law, and"),
        (3, "Law, and"),
        (4, "Law, and blue-green !"),
        (9, "Law, and blue-green !"),
    ],
)
def test_truncation(count: int, text: str) -> None:
    assert truncate("Law, and blue-green !", count) == text


@given(st.text(alphabet="ab .-<>'\n", max_size=40), st.integers(0, 8))
def test_truncation_takes_the_longest_beginning(text: str, count: int) -> None:
    cut = truncate(text, count)
    assert text.startswith(cut)
    assert len(normal_words(cut)) <= count
    for at in range(len(cut) + 1, len(text) + 1):
        if (at == len(text) or text[at].isspace()) and not text[at - 1].isspace():
            assert len(normal_words(text[:at])) > count


@pytest.mark.parametrize(
    ("reason", "settings", "answers", "changes"),
    [
        ("no original text", {}, VIEWS, {"original": " </s>"}),
        ("no answer", {}, ("", " ", "</s>"), {}),
        ("no answer", {}, (), {}),
        ("identical answers", {}, ("Law</s>", "law ", "LAW", "law."), {}),
        ("identical answers", {"winner": "agreement"}, ("owl", "", "owl"), {}),
        ("yes and no in equal parts", {}, ("Yes", "No", "yes, a dog", "No."), {}),
        ("yes and no in equal parts", {}, ("Yes", "No", "a dog"), {}),
        ("nothing agreed", {}, ("the law", "of law"), {}),
        ("winner loops", {"winner": "longest"}, ("owl", "a dog a dog a dog"), {}),
        ("winner is off topic", {"winner": "summary"}, VIEWS, {"summary": "Vanuatu, also known as Uganda"}),
        ("winner invents", {"winner": "summary"}, VIEWS, {"summary": "red circle, big dog"}),
        (
            "winner contradicted",
            {"winner": "summary"},
            ("red circle", "red circle, owl"),
            {"summary": "blue circle", "original": "blue disc, owl"},
        ),
        ("winner contradicted", {"winner": "summary"}, ("Yes", "yes, a dog", "No"), {"summary": "No"}),
        ("winner equals loser", {}, VIEWS, {"original": "Red circle,  blue square</s>"}),
        ("winner too short", {}, VIEWS, {"original": "red circle, and many other words that say little of it"}),
        ("winner too long", {"most_words": 3}, VIEWS, {}),
        ("not above the margin", {"winner": "longest"}, ("owl, dog, cross, circle", "red circle", "red circle"), {}),
        ("not above the margin", {"winner": "summary"}, VIEWS[:2], {"summary": "a dog", "original": "dog, big owl"}),
        ("not above the margin", {"margin": 0.9}, VIEWS, {}),
    ],
)
def test_reasons(reason: str, settings: dict[str, Any], answers: tuple[str, ...], changes: dict[str, Any]) -> None:
    assert dropped(PairSettings(**{"winner": "merger", "form": "list", **settings}), answers, **changes)[0] == reason


def test_what_is_not_a_reason() -> None:
    free = MERGER.model_copy(update={"margin": None, "most_invented": 3, "winner": "summary"})
    assert paired(free, summary="red circle, big dog").chosen == "red circle, big dog"
    assert paired(MERGER.model_copy(update={"most_words": 4})).chosen == "red circle, blue square"
    # one view that says no does not contradict
    assert paired(MERGER, ("Yes, a dog", "Yes, a dog and an owl", "No"), original="Yes").chosen == "Yes. dog"
    # a single view is nothing to be identical with
    assert paired(MERGER.model_copy(update={"threshold": 1}), ("red circle, owl",)).chosen == "red circle, owl"


def test_a_question_without_facts_is_judged_by_words() -> None:
    bare = PairSettings(winner="agreement", form="list")
    answers = ("Macmillan publishers", "the publishers Macmillan", "Macmillan", "an unknown house")
    assert paired(bare, answers, original="unknown").chosen == "Macmillan publishers"


def test_repetitions_cost() -> None:
    text = said("red circle, red circle, blue square, red circle")
    assert text.repeated == 2
    assert quality(text, [text], 0.5) == 0.75
    assert quality(text, [text], 0.0) == 1
    assert quality(said(""), [], 0.5) == 0


@pytest.mark.parametrize(
    ("text", "looping"),
    [
        ("dog dog dog", True),
        ("dog dog", False),
        ("x a red owl a red owl a red owl", True),
        ("a red owl a red owl a red", False),
        ("1 2 3 4 5 6 7 8 " * 3, True),
        ("1 2 3 4 5 6 7 8 9 " * 3, False),  # nine words may be a refrain
        ("", False),
    ],
)
def test_loops(text: str, looping: bool) -> None:
    assert loops(normal_words(text)) is looping


def test_the_tally_says_before_training_whether_winners_are_better() -> None:
    results = [formed(MERGER), formed(MERGER, original=""), formed(MERGER, ("", "")), formed(MERGER, original="")]
    found = tally(results)
    assert (found.kept, found.dropped) == (1, {"no original text": 2, "no answer": 1})
    assert list(tally(formed(MERGER, each) for each in ((), ("x", "X"), ())).dropped.items()) == [
        ("no answer", 2),
        ("identical answers", 1),
    ]
    assert (found.winner_words, found.loser_words, found.longer) == (4, 2, 1)
    assert found.winners_better
    worse = PairSettings(winner="longest", margin=None)
    bad = tally([formed(worse, ("owl, dog, cross, circle", "red circle", "red circle"))])
    assert bad.kept == 1
    assert not bad.winners_better
    empty = tally([])
    assert (empty.kept, empty.winner_quality, empty.longer, empty.winners_better) == (0, 0, 0, False)


TEXTS = st.sampled_from(
    [*VIEWS, "", "Yes", "No", "no dog", "owl owl owl", "the law", "a big dog", "Yes, a red dog", "big owl"]
)


@given(
    st.lists(TEXTS, max_size=5),
    TEXTS,
    st.sampled_from(["merger", "agreement", "fewest_unagreed", "longest", "summary"]),
    st.sampled_from(["original", "view", "truncated"]),
    st.sampled_from([None, 0.0, 0.1]),
)
def test_whatever_comes_in_a_pair_keeps_its_promises(
    answers: list[str], original: str, winner: Any, loser: Any, margin: float | None
) -> None:
    settings = PairSettings(winner=winner, loser=loser, margin=margin)
    found = formed(settings, tuple(answers), original=original, summary="a red circle and an owl")
    if isinstance(found, Drop):
        assert found.reason in REASONS
        return
    own, other = normal_words(found.chosen), normal_words(found.rejected)
    assert own
    assert other
    assert own != other
    assert len(own) >= settings.shortest * len(other)
    assert found.winner_view is None or answers[found.winner_view] == found.chosen
    assert margin is None or found.winner_quality - found.loser_quality > margin
    assert loser != "view" or (found.loser_view is not None and answers[found.loser_view] == found.rejected)
    assert loser != "truncated" or (1 - settings.length_slack) * len(own) <= len(other) <= len(own)


def test_settings_out_of_range() -> None:
    for wrong in ({"margin": 1.5}, {"threshold": 0}, {"winner": "best"}, {"loser": "none"}, {"duplicate_penalty": -1}):
        with pytest.raises(ValidationError, match=next(iter(wrong))):
            PairSettings(**wrong)


def test_a_vocabulary_without_words_yields_pairs_by_agreement_alone() -> None:
    case = Candidates("a", "?", "unknown", ("Macmillan", "Macmillan house", "Macmillan"))
    bare = Vocabulary({})
    assert isinstance(form_pair(case, bare, PairSettings(winner="merger")), Drop)
    assert isinstance(form_pair(case, bare, PairSettings(winner="agreement")), Pair)
    assert read("Macmillan", bare).facts == frozenset()
