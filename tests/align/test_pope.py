"""POPE: splits by hand and against a slow count, the two rules of a yes, and the scorer."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.align.pope import SPLITS, PopeScore, Probe, Split, pope_answer, pope_probes, score_pope
from burnish.core.errors import UserError

SET = {
    "1": ("car", "dog"),
    "2": ("car", "tree"),
    "3": ("car", "tree", "dog"),
    "4": ("owl",),
    "5": ("owl", "sea"),
}


def negatives(probes: list[Probe], image: str, split: Split) -> list[str]:
    return [each.label for each in probes if (each.image, each.split, each.answer) == (image, split, "no")]


def test_splits_by_hand() -> None:
    probes = pope_probes(SET)
    # of the labels that picture 1 lacks: owl 2, tree 2, sea 1 in the set; with car or dog: tree 3, others 0
    assert negatives(probes, "1", "popular") == ["owl", "tree"]
    assert negatives(probes, "1", "adversarial") == ["tree", "owl"]
    assert negatives(probes, "4", "popular") == ["car"]
    assert negatives(probes, "4", "adversarial") == ["sea"]
    assert negatives(probes, "5", "popular") == ["car", "dog"]
    assert probes[0] == Probe("1", "random", "car", "Is there a car in the image?", "yes")
    assert Probe("4", "popular", "owl", "Is there an owl in the image?", "yes") in probes


def test_what_is_easily_taken_for_another_comes_first() -> None:
    colours = {"1": ("red dog", "blue car"), "2": ("green dog", "blue car"), "3": ("owl", "red dog")}
    near = {"red dog": ("green dog",), "blue car": ()}
    assert negatives(pope_probes(colours, each=1, near=near), "1", "adversarial") == ["green dog"]
    assert negatives(pope_probes(colours, each=1), "1", "adversarial") == ["green dog"]  # beside a blue car
    assert negatives(pope_probes(colours, each=1), "3", "adversarial") == ["blue car"]
    assert negatives(pope_probes(colours, each=1, near=near), "3", "adversarial") == ["green dog"]


def test_pictures_draw_for_themselves() -> None:
    many = {str(number): "abcdef" for number in range(8)} | {"all": "abcdefghijkl"}
    asked = pope_probes(many, each=2)
    for answer in ("yes", "no"):
        drawn = {
            image: [p.label for p in asked if (p.image, p.split, p.answer) == (image, "random", answer)]
            for image in many
        }
        assert len({tuple(labels) for labels in drawn.values()}) > 3


def test_pictures_with_few_labels_may_be_left_out() -> None:
    assert {probe.image for probe in pope_probes(SET, least=2)} == {"1", "2", "3", "5"}
    for nothing in ({}, {"1": ("car",)}, {"1": ()}):
        with pytest.raises(UserError, match="nothing to ask"):
            pope_probes(nothing)


LABELS = st.frozensets(st.sampled_from("abcdefg"), max_size=5)


@given(st.dictionaries(st.text(max_size=3), LABELS, max_size=6), st.integers(1, 4), st.integers(0, 9))
def test_splits_equal_a_slow_count(annotations: Mapping[str, frozenset[str]], each: int, seed: int) -> None:
    labels = sorted(set().union(*annotations.values()))
    askable = [image for image, present in annotations.items() if 0 < len(present) < len(labels)]
    if not askable:
        return
    probes = pope_probes(annotations, each=each, seed=seed)
    back = dict(reversed(list(annotations.items())))
    assert set(pope_probes(back, each=each, seed=seed)) == set(probes)
    for image in askable:
        present = annotations[image]
        absent = [label for label in labels if label not in present]
        count = min(each, len(present), len(absent))
        yes = {
            split: [p.label for p in probes if (p.image, p.split, p.answer) == (image, split, "yes")]
            for split in SPLITS
        }
        assert yes["random"] == yes["popular"] == yes["adversarial"]
        assert len(set(yes["random"]) & present) == count
        for split in SPLITS:
            assert len(set(negatives(probes, image, split)) & set(absent)) == count
        often = sorted(absent, key=lambda label: -sum(label in other for other in annotations.values()))
        assert negatives(probes, image, "popular") == often[:count]
        beside = {
            label: sum(len(other & present) for other in annotations.values() if label in other) for label in absent
        }
        assert negatives(probes, image, "adversarial") == sorted(absent, key=lambda label: -beside[label])[:count]


@pytest.mark.parametrize(
    ("text", "first", "substring"),
    [
        ("Yes", "yes", "yes"),
        ("Yes, but not sure", "no", "yes"),
        ("No", "no", "no"),
        ("NO!", "no", "no"),
        ("There is a dog.", "yes", "no"),
        ("There isn't a dog.", "no", "no"),
        ("Yes. It is not red.", "yes", "yes"),
        ("Eyes", "yes", "yes"),
        ("Nothing", "yes", "no"),
        ("", None, None),
        ("</s>", None, None),
    ],
)
def test_what_is_a_yes(text: str, first: str | None, substring: str | None) -> None:
    assert (pope_answer(text), pope_answer(text, "substring")) == (first, substring)


def test_the_score_of_the_notes() -> None:
    right = ["yes"] * 50 + ["no"] * 50
    probes = [Probe(str(n), "random", "dog", "?", "yes" if each == "yes" else "no") for n, each in enumerate(right)]
    answers = ["Yes"] * 40 + ["No"] * 10 + ["Yes"] * 10 + ["No"] * 40
    found = score_pope(probes, answers)
    assert found == {"random": PopeScore(tp=40, fp=10, tn=40, fn=10)}
    score = found["random"]
    assert (score.accuracy, score.precision, score.recall, score.yes_rate) == (0.8, 0.8, 0.8, 0.5)
    assert score.f1 == pytest.approx(0.8)


def test_blank_answers_are_wrong_and_no_yes() -> None:
    probes = [Probe("1", "popular", "dog", "?", "yes"), Probe("1", "popular", "owl", "?", "no")]
    score = score_pope(probes, ["", " "])["popular"]
    assert (score.blank_there, score.blank_absent, score.asked) == (1, 1, 2)
    assert (score.accuracy, score.recall, score.yes_rate, score.precision, score.f1) == (0, 0, 0, 0, 0)
    assert score_pope([probes[0]] * 2, ["", "yes"])["popular"].recall == 0.5
    with pytest.raises(UserError, match="2 probes and 1 answers"):
        score_pope(probes, ["yes"])


def test_scores_add_up_in_any_batches() -> None:
    probes = pope_probes(SET)
    answers = ["Yes" if len(probe.label) % 2 else "no" for probe in probes]
    whole = score_pope(probes, answers)
    assert list(whole) == list(SPLITS)
    parts = [score_pope(probes[at : at + 3], answers[at : at + 3]) for at in range(0, len(probes), 3)]
    for split in SPLITS:
        assert sum((part[split] for part in parts if split in part), PopeScore()) == whole[split]
