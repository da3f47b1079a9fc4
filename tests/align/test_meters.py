"""Meters: the notes' example, CHAIR, length, and figures that do not know about batches."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.align.facts import Thing
from burnish.align.meters import Described, Matches, describe
from burnish.align.winners import render
from tests.align.words import said

TRUTH = (Thing("circle", ("red",)), Thing("square", ("blue",)), Thing("cross", ("green",)))
THINGS = st.lists(
    st.builds(
        lambda entity, attributes: Thing(entity, tuple(sorted(attributes))),
        st.sampled_from(["circle", "square", "dog", "owl"]),
        st.sets(st.sampled_from(["red", "blue", "big"]), max_size=2),
    ),
    max_size=4,
)


def test_the_text_of_the_notes() -> None:
    found = describe(said("red circle, red circle, blue square, yellow cross"), TRUTH)
    assert (found.attributes.recall, found.attributes.precision) == pytest.approx((2 / 3, 2 / 3))
    assert found.attributes.f1 == pytest.approx(2 / 3)
    assert (found.entities.recall, found.entities.precision) == (1, 1)
    assert (found.facts.recall, found.facts.precision) == pytest.approx((5 / 6, 5 / 6))
    assert found.mention_precision == 0.75
    assert found.repeated == 1
    assert (found.chair_i, found.chair_s) == (0, 0)
    assert (found.length, found.facts_per_word) == (8, 6 / 8)


def test_chair_by_hand() -> None:
    first = describe(said("A dog, a red circle, and another dog."), TRUTH)
    second = describe(said("blue square, no dog"), TRUTH)
    assert (first.chair_i, first.chair_s) == pytest.approx((2 / 3, 1))
    both = first + second
    assert (both.chair_i, both.chair_s) == (2 / 4, 1 / 2)  # what is denied is not claimed
    assert both.texts == 2


def test_one_thing_must_have_all_that_is_said_of_it() -> None:
    two = (Thing("circle", ("big", "red")), Thing("circle", ("blue",)))
    found = describe(said("a big blue circle, a red circle, a circle"), two)
    assert (found.mentions, found.right_mentions) == (3, 2)
    assert found.attributes == Matches(3, 3, 3)  # the facts, each for itself, are so
    assert found.entities == Matches(1, 1, 1)


def test_nothing_is_zero() -> None:
    silent = describe(said(""), TRUTH)
    assert (silent.facts.recall, silent.facts.precision, silent.facts.f1, silent.chair_i) == (0, 0, 0, 0)
    assert (Described().length, Described().facts_per_word, Described().chair_s, Described().mention_precision) == (
        0, 0, 0, 0,
    )  # fmt: skip
    assert describe(said("owl"), ()).facts.precision == 0


@given(st.lists(st.tuples(THINGS, THINGS), max_size=6), st.randoms(use_true_random=False), st.integers(1, 4))
def test_figures_are_the_same_in_any_batches_and_equal_a_slow_count(
    cases: list[tuple[list[Thing], list[Thing]]], random: object, size: int
) -> None:
    each = [describe(said(render(named, "sentence")), truth) for named, truth in cases]
    whole = sum(each, Described())
    random.shuffle(each)  # type: ignore[attr-defined]
    batches = [sum(each[at : at + size], Described()) for at in range(0, len(each), size)]
    assert sum(batches, Described()) == whole
    right = named_count = true_count = absent = 0
    for named, truth in cases:
        own = {(thing.entity, attribute) for thing in named for attribute in thing.attributes}
        other = {(thing.entity, attribute) for thing in truth for attribute in thing.attributes}
        right += len([pair for pair in own if pair in other])
        named_count += len(own)
        true_count += len(other)
        absent += len([thing for thing in named if thing.entity not in [each.entity for each in truth]])
    assert whole.attributes == Matches(right, named_count, true_count)
    assert whole.absent_mentions == absent
    assert whole.texts == len(cases)
