"""Agreement and votes: the notes' example, slow references, contradictions, mergers."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.align.facts import Fact, Reading, Thing, agreement, contradicted, merge, support, vote
from burnish.align.reading import Vocabulary, read
from burnish.align.winners import render
from burnish.core.errors import UserError
from tests.align.words import VOCABULARY, said

LETTERS = Vocabulary(dict.fromkeys("bcdwxyz", ()) | {"a thing": ("aa",)})
THINGS = st.lists(
    st.builds(
        lambda entity, attributes: Thing(entity, tuple(sorted(attributes))),
        st.sampled_from(["circle", "square", "dog", "owl"]),
        st.sets(st.sampled_from(["red", "blue", "big", "small"]), max_size=3),
    ),
    max_size=4,
)


def named(*texts: str) -> list[Reading]:
    """Views of the notes, where A is written ``aa`` (``a`` is an article)."""
    return [read(" ".join("aa" if letter == "A" else letter.lower() for letter in text), LETTERS) for text in texts]


def agreed(views: Sequence[Reading], threshold: int) -> list[str]:
    return [str(fact).replace("a thing", "A").upper() for fact in vote(views, threshold).agreed]


def test_the_vote_of_the_notes() -> None:
    views = named("AB", "AC", "ABD", "B")
    found = vote(views, 2)
    assert list(found.counts.values()) == [3, 3, 1, 1]
    assert agreed(views, 2) == ["A", "B"]
    assert agreed(views, 1) == ["A", "B", "C", "D"]
    assert not found.fell_back
    assert agreed(views, 4) == ["A"]  # of the most named, the first
    assert vote(views, 4).fell_back
    assert agreed(named("AB", "AC", "AB"), 2) == ["A", "B"]
    assert vote([], 2).agreed == ()
    assert not vote([], 2).fell_back
    with pytest.raises(UserError, match="threshold of 0"):
        vote(views, 0)


def test_a_view_votes_once_and_denials_count_against() -> None:
    assert agreed(named("BBB", "C"), 2) == ["B"]  # by falling back: nobody has two
    assert vote(named("BBB", "C"), 2).fell_back
    views = [said("a red dog"), said("a dog"), said("no dog"), said("there is no dog")]
    assert vote(views, 2).agreed == ()
    assert vote(views, 2).denials == {Fact("dog"): 2}
    assert vote(views, 1).agreed == ()  # an attribute does not stand without its thing


def test_falling_back_keeps_the_thing_with_what_is_said_of_it() -> None:
    views = [said("a red circle"), said("a blue square"), said("a blue square")]
    assert [str(fact) for fact in vote(views, 3).agreed] == ["square", "blue square"]
    assert [str(fact) for fact in vote([said("a big dog")], 2).agreed] == ["dog", "big dog"]


@given(st.lists(THINGS, max_size=5), st.integers(1, 5))
def test_votes_equal_counting_view_by_view(scenes: list[list[Thing]], threshold: int) -> None:
    views = [said(render(scene, "list")) for scene in scenes]
    found = vote(views, threshold)
    slow = set()
    for fact in {fact for view in views for fact in view.facts}:
        count = 0
        for view in views:
            count += any(fact in thing.facts for thing in view.claimed)
        assert found.counts[fact] == count
        if count >= threshold:
            slow.add(fact)
    if slow:
        assert set(found.agreed) == slow
    else:
        assert found.fell_back == bool(found.counts)
    assert all(Fact(fact.entity) in found.agreed for fact in found.agreed)
    if (stricter := vote(views, threshold + 1)) and not stricter.fell_back:
        assert set(stricter.agreed) <= set(found.agreed)


@given(st.lists(THINGS, max_size=5), st.integers(1, 3), st.sampled_from(["list", "sentence"]))
def test_a_merger_says_what_is_agreed_and_no_more(scenes: list[list[Thing]], threshold: int, form: str) -> None:
    views = [said(render(scene, "sentence")) for scene in scenes]
    facts = vote(views, threshold).agreed
    merged = merge(views, facts)
    text = said(render(merged, "list" if form == "list" else "sentence"))
    assert text.facts == set(facts)
    assert text.repeated <= max(0, len(merged) - 1)
    assert not text.denials


def test_a_merger_keeps_instances_apart() -> None:
    views = [said("big red circle, red circle"), said("a red circle"), said("a large disc")]
    assert merge(views, vote(views, 2).agreed) == (Thing("circle", ("big", "red")),)
    two = [said("red circle, blue circle")] * 2
    assert merge(two, vote(two, 2).agreed) == (Thing("circle", ("red",)), Thing("circle", ("blue",)))
    split = [said("red circle"), said("blue circle"), said("green circle")]
    assert merge(split, vote(split, 2).agreed) == (Thing("circle"),)
    assert merge([], []) == ()


def test_agreement_by_hand() -> None:
    # {circle, red circle, square} and {circle, red circle, cross}: 2 * 2 / 6
    assert agreement(said("red circle, square"), said("red circle, cross")) == pytest.approx(2 / 3)
    assert agreement(said("red circle"), said("blue circle")) == 0.5
    assert agreement(said("a dog"), said("no dog")) == 0
    assert agreement(said("Yes, a dog"), said("Yes")) == pytest.approx(2 / 3)
    assert agreement(said("Yes"), said("No")) == 0
    assert agreement(said("Yes, a dog"), said("No, a dog")) == 0
    assert agreement(said("Law</s>"), said("law ")) == 1
    assert agreement(said("the law of"), said("law")) == 0.5  # no facts: words
    assert agreement(said(""), said("")) == 0
    assert support(said("a dog"), [said("a dog"), said("owl"), said("")]) == pytest.approx(1 / 3)
    assert support(said("a dog"), []) == 0


@given(THINGS, THINGS)
def test_agreement_is_symmetric_and_a_share(first: list[Thing], second: list[Thing]) -> None:
    one, other = said(render(first, "list")), said(render(second, "sentence"))
    assert agreement(one, other) == agreement(other, one)
    assert 0 <= agreement(one, other) <= 1
    assert agreement(one, one) == bool(first)
    if first and second:
        assert (agreement(one, other) == 1) == (one.facts == other.facts)


@pytest.mark.parametrize(
    ("winner", "views", "against"),
    [
        ("a red circle", ["blue circle", "blue circle", "red circle"], ["red circle"]),
        ("a red circle", ["blue circle", "a circle", "red circle"], []),
        ("a red circle", ["blue circle", "big circle", "dog"], []),
        ("a red circle", ["blue circle", "blue circle, red circle", "red circle", "dog"], []),
        ("a dog", ["no dog", "there is no dog", "a dog"], ["dog"]),
        ("a red dog", ["no dog", "no dog", "a dog"], ["dog", "red dog"]),
        ("a red dog", ["the dog is not red", "the dog is not red", "a red dog"], ["red dog"]),
        ("a dog", ["no dog", "a dog"], []),
        ("a dog", [], []),
        ("a red dog", ["no dog, but a big dog", "no dog. A dog"], []),  # these say both
    ],
)
def test_contradictions(winner: str, views: list[str], against: list[str]) -> None:
    found = contradicted(said(winner), [said(view) for view in views], VOCABULARY.kinds)
    assert [str(fact) for fact in found] == against
