"""From stored answers to findings, on made-up answers: verdicts by rule, sizes and rates, answers that do not fit
together."""

import json
from typing import Any

import numpy as np
import pytest

from burnish.core.errors import UserError
from burnish.prove.evasion import label_signs, repeat_signs
from burnish.prove.trainprove.analysis import analyse, settings_in
from burnish.prove.trainprove.loop import rehearse
from burnish.prove.verdict import headline
from tests.prove.trainprove.test_audit import recipe


def answers(
    seed: int, shared: float, sources: int = 19, each: int = 4, images: int = 300, loyal: float = 0.8
) -> dict[str, np.ndarray]:
    """Stored answers: models of a source share some of their labels; the suspect shares ``shared`` with mine."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 5, images)
    habit = np.where(rng.random((sources + 2, images)) < 0.7, truth, rng.integers(0, 5, (sources + 2, images)))
    source = np.repeat(np.arange(sources + 1), each)

    def model(base: np.ndarray, loyal: float) -> np.ndarray:
        return np.where(
            rng.random(images) < loyal, base, np.where(rng.random(images) < 0.7, truth, rng.integers(0, 5, images))
        )

    return {
        "suspect_labels": model(np.where(rng.random(images) < shared, habit[0], habit[-1]), loyal),
        "shadow_labels": np.stack([model(habit[name], loyal) for name in source]),
        "shadow_source": source,
        "truth": truth,
        "sets": np.repeat([0, 1, 2], images // 3),
    }


def settings(sources: int = 19, **changes: Any) -> dict[str, Any]:
    names = ["mine", *(f"other-{number}" for number in range(sources))]
    return (
        settings_in(recipe(alpha=0.05).model_dump(mode="json"))
        | {"classes": 5, "sources": names, "batch": 10, "novelty": 0.0}
        | changes
    )


@pytest.mark.parametrize("labels", ["constant", "noise"])
def test_labels_that_evade_are_named(labels: str) -> None:
    """Not the sentence for an honest innocent; and evidence from before this was looked at stays as it was."""
    arrays = answers(1, 0.0, sources=3, each=2)
    images = len(arrays["truth"])
    drawn = np.random.default_rng(3).integers(0, 5, images)
    evasive = arrays | {"suspect_labels": np.full(images, 2) if labels == "constant" else drawn}
    found = analyse(evasive, settings(3, evasion=True))
    assert found.verdict.outcome == "cannot be judged"
    assert "hardly depend on the picture" in found.verdict.because
    assert analyse(evasive, settings(3)).verdict.outcome != "cannot be judged"


def test_no_innocent_is_called_evasive_by_its_labels() -> None:
    for seed in range(40):
        honest = answers(seed, seed % 2)
        assert label_signs(honest["suspect_labels"], honest["shadow_labels"], honest["truth"]) == ()


def again(arrays: dict[str, np.ndarray], changed: float, seed: int = 0) -> dict[str, np.ndarray]:
    """Answers to 20 pictures asked twice more, of which this share are drawn anew each time."""
    rng = np.random.default_rng(seed)
    rows = rng.choice(len(arrays["truth"]), 20, replace=False)
    first = arrays["suspect_labels"][rows][:, None].repeat(2, 1)
    labels = np.where(rng.random(first.shape) < changed, rng.integers(0, 5, first.shape), first)
    return {"again_rows": rows, "again_labels": labels}


def test_labels_that_change_when_asked_again_are_named() -> None:
    """As good as a shadow's on the whole, so that kappa says nothing; evidence stays evidence."""
    innocent, guilty = answers(1, 0.0), answers(0, 1.0)
    assert analyse(innocent | again(innocent, 0.0), settings(evasion=True)).verdict.outcome == "no evidence"
    found = analyse(innocent | again(innocent, 0.6), settings(evasion=True))
    assert found.verdict.outcome == "cannot be judged"
    assert "labels the same picture differently when asked again" in found.verdict.because
    assert headline(found) == "cannot be judged: the suspect evades"
    assert analyse(guilty | again(guilty, 0.6), settings(evasion=True)).verdict.outcome == "evidence"
    with pytest.raises(UserError, match="again_rows"):
        analyse(innocent | {"again_rows": np.array([300]), "again_labels": np.zeros((1, 2), int)}, settings())


def test_no_honest_server_is_called_evasive_when_asked_again() -> None:
    """One in fifty labels flips with the batch, as half precision and dynamic batching do at the border of classes."""
    honest = answers(2, 0.0)
    for seed in range(300):
        asked = again(honest, 0.02, seed)
        assert repeat_signs(honest["suspect_labels"][asked["again_rows"]], asked["again_labels"]) == ()


def test_the_power_is_that_at_the_suspects_own_consistency() -> None:
    """Seldom enough wrong with itself to be no sign; but where guilty models as inconsistent are missed, no answer."""
    innocent = answers(4, 0.0, images=60, loyal=0.5)
    asked = innocent | again(innocent, 0.2, 1)
    strict = settings(evasion=True, own_consistency=True, least_power=0.6)
    steady, found = analyse(innocent | again(innocent, 0.0, 1), strict), analyse(asked, strict)
    assert (steady.verdict.outcome, steady.power and steady.power.value) == ("no evidence", 0.75)
    assert (found.verdict.outcome, found.power and found.power.value) == ("cannot be judged", 0.5)
    assert found.verdict.because.startswith("asked the same pictures again, the suspect agrees with itself 0.67 beyond")
    assert headline(found) == "cannot be judged: too little in the answers"
    enough = analyse(asked, strict | {"least_power": 0.5})
    assert (enough.verdict.outcome, enough.verdict.because[:30]) == ("no evidence", found.verdict.because[:30])
    few = {"least_power": 0.6, "alpha": 0.04}  # what stops the clean test as well is what is said
    assert "alpha 0.04 needs 24 sources" in analyse(asked, strict | few).verdict.because
    before = analyse(asked, settings(evasion=True, least_power=0.6))
    assert (before.verdict, before.power) == (steady.verdict, steady.power)  # evidence from before this was looked at
    guilty = answers(0, 1.0)
    assert analyse(guilty | again(guilty, 0.2), strict).verdict.outcome == "evidence"


def test_verdicts_by_rule() -> None:
    guilty, innocent = answers(0, 1.0), answers(1, 0.0)
    found = analyse(guilty, settings())
    assert found.verdict.outcome == "evidence"
    assert found.tests[0].p == pytest.approx(0.05)
    assert found.power is not None
    assert found.power.value > 0.5
    assert analyse(innocent, settings()).verdict.outcome == "no evidence"
    few = analyse(answers(0, 1.0, sources=5), settings(5))
    assert few.verdict.outcome == "inconclusive"
    assert "alpha 0.05 needs 19 sources" in few.verdict.because
    strange = analyse(guilty, settings(novelty=0.999))
    assert strange.verdict.outcome == "inconclusive"
    assert "unlike any shadow" in strange.verdict.because
    weak = analyse(innocent, settings(least_power=1.1))
    assert "below 1.1" in weak.verdict.because
    size = found.tests[-1]
    assert (size.name, size.p) == ("difference in differences", None)
    assert size.interval is not None
    assert size.effect is not None
    assert size.interval[0] < size.effect < size.interval[1]
    assert all(test.effect is None for test in found.tests[:-1])
    json.dumps(found.to_json(), allow_nan=False)
    assert found == analyse(guilty, settings())


def test_nobody_accused_is_no_certainty() -> None:
    found = analyse(answers(0, 1.0), settings(novelty=0.999)).false_accusation  # all are novel: nobody is accused
    assert found is not None
    assert found.value == 0.0
    assert found.interval[0] == 0.0
    assert found.interval[1] == pytest.approx(1 - 0.05 ** (1 / 19))


def test_the_size_of_the_effect_covers_an_innocent_of_one_more_source() -> None:
    inside = []
    for seed in range(120):
        size = analyse(answers(seed, 0.0, sources=5, each=3, images=90), settings(5)).tests[-1]
        assert size.interval is not None
        inside.append(size.interval[0] <= 0 <= size.interval[1])
    assert 0.88 <= np.mean(inside) <= 1.0


def test_the_published_rule_as_verdict() -> None:
    found = analyse(answers(1, 0.0), settings(statistic="grubbs_paper"))
    rule = found.published["grubbs_paper"]
    assert rule is not None
    assert found.verdict.outcome == ("no evidence" if rule.rejected else "evidence")
    assert found.verdict.calibrated is False
    assert (found.tests[0].p, found.tests[0].effect) == (None, None)
    assert found.power is None  # what is measured is the power of the other procedure
    with pytest.raises(UserError, match="needs logits"):
        analyse(answers(1, 0.0), settings(statistic="grubbs_entropy"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"truth": np.zeros(3, int)}, "has 300 images, truth 3"),
        ({"shadow_source": np.zeros(3, int)}, "one row for each of 3 shadows"),
        ({"suspect_labels": np.full(300, 9)}, "answers label 9, and the recipe lists 5 classes"),
    ],
)
def test_answers_that_do_not_fit(change: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(UserError, match=message):
        analyse(answers(0, 1.0) | change, settings())
    stored = answers(0, 1.0)
    del stored["sets"]
    with pytest.raises(UserError, match="`sets` is missing"):
        analyse(stored, settings())


def test_what_stops_the_analysis_is_seen_before_a_query() -> None:
    stored = answers(0, 1.0)
    del stored["suspect_labels"]
    rehearse(stored, settings(statistic="grubbs_paper"))
    stored["shadow_labels"][0] = stored["truth"]  # a shadow that is never wrong: all batches are equal
    with pytest.raises(UserError, match="statistic grubbs_paper"):
        rehearse(stored, settings(statistic="grubbs_paper"))


def test_settings_that_a_commitment_fixes() -> None:
    """Names become their number; what the audit computes with is what the recipe says."""
    found = settings_in(recipe(alpha=0.2).model_dump(mode="json"))
    assert found["classes"] == len(recipe().classes)
    assert found["sources"][0] == recipe().mine.name
    assert found["alpha"] == 0.2
