"""Rules, claims and what is stored of them."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.core.errors import BurnishError, UserError
from burnish.core.findings import Finding
from burnish.core.intervals import SCALES, Interval, Kind, share_interval, t_interval
from burnish.core.run import Run
from burnish.core.study import Claim, Glance, Outcome, Rule, StudyRecipe, judge, load_stored, store


def test_one_value_decides_nothing() -> None:
    assert Rule("gain").verdict(t_interval([5])) == "undecided"


@pytest.mark.parametrize(
    ("values", "bound", "verdict"),
    [
        ([1, 1.1, 0.9], 0, "holds"),
        ([-1, -1.1, -0.9], 0, "does not hold"),
        ([1, -1, 0.5], 0, "undecided"),
        ([1, 1.1, 0.9], 2, "does not hold"),
        ([0, 0, 0], 0, "does not hold"),  # no difference at all is not a gain
    ],
)
def test_the_verdict_follows_from_the_interval(values: list[float], bound: float, verdict: str) -> None:
    assert Rule("gain", bound=bound).verdict(t_interval(values)) == verdict


def test_at_most_is_the_other_side() -> None:
    rule = Rule("rate", kind="share", bound=0.1, side="at most")
    assert rule.sentence == "95 % Clopper-Pearson interval of the rate lies at or below 0.1"
    assert rule.verdict(share_interval(0, 40)) == "holds"  # at most .088
    assert rule.verdict(share_interval(0, 20)) == "undecided"  # at most .168
    assert rule.verdict(share_interval(20, 40)) == "does not hold"
    # the bound belongs to the side that says so
    exact = Interval(mean=0.1, low=0.1, high=0.1, n=9, kind="share")
    assert (rule.verdict(exact), Rule("rate", kind="share", bound=0.1).verdict(exact)) == ("holds", "does not hold")


def test_the_sentence_says_how_the_interval_is_made_and_over_what() -> None:
    rule = Rule("ratio of times", kind="ratio", bound=1.5, over="worlds", least=3)
    assert rule.sentence == "95 % t interval (log scale) over worlds (3 or more) of the ratio of times lies above 1.5"
    sure = Interval(mean=2, low=1.9, high=2.1, n=2, kind="ratio")
    assert rule.verdict(sure) == "undecided"  # two are fewer than three
    assert rule.verdict(sure.model_copy(update={"n": 3})) == "holds"


def test_an_interval_of_another_kind_than_the_sentence_names_is_refused() -> None:
    with pytest.raises(ValueError, match=r"about a share .* is of a mean"):
        Rule("rate", kind="share").verdict(t_interval([0.1, 0.2]))


KINDS = st.sampled_from(sorted(SCALES))
ENDS = st.floats(0, 1)


@given(kind=KINDS, ends=st.tuples(ENDS, ENDS, ENDS), bound=ENDS, least=st.integers(1, 4), n=st.integers(1, 6))
def test_sentence_and_verdict_agree(kind: Kind, ends: tuple[float, ...], bound: float, least: int, n: int) -> None:
    """What the sentence says in words, read again as arithmetic, is what the verdict does; its sides are opposites."""
    low, mean, high = sorted(ends)
    interval = Interval(mean=mean, low=low, high=high, n=n, kind=kind)
    above = Rule("x", kind=kind, bound=bound, least=least)
    at_most = Rule("x", kind=kind, bound=bound, side="at most", least=least)
    assert above.sentence.startswith(SCALES[kind].words)
    assert above.sentence.endswith(f"of the x lies above {bound:g}")
    assert at_most.sentence.endswith(f"of the x lies at or below {bound:g}")
    assert (above.verdict(interval) == "holds") == (n >= least and low > bound)
    assert (at_most.verdict(interval) == "holds") == (n >= least and high <= bound)
    opposite = {"holds": "does not hold", "does not hold": "holds", "undecided": "undecided"}
    assert at_most.verdict(interval) == opposite[above.verdict(interval)]


def test_a_claim_takes_sentence_and_verdict_from_its_rule() -> None:
    rule = Rule("gain", over="seeds")
    found = judge("a", "better", "+5", rule, Finding(t_interval([1, 1.1, 0.9]), 1.0, 0.0), "as it was")
    assert (found.rule, found.verdict, found.ours, found.note) == (rule.sentence, "holds", 1.0, "as it was")
    missing = judge("a", "better", "+5", rule, None)
    assert (missing.rule, missing.verdict, missing.interval) == (rule.sentence, "undecided", None)
    assert missing.note == "not run at this size"
    assert judge("a", "better", "+5", rule, None, "no data").note == "no data"


def outcome() -> Outcome:
    claim = judge("a", "better", "+5", Rule("gain"), Finding(t_interval([1, 1.1, 0.9]), 1.0, 0.0))
    return Outcome([claim], [], Glance("one sentence", None))


def test_stored_results_are_complete(tmp_path: Path) -> None:
    recipe = StudyRecipe(method="study:rmm", size="quick", seeds=3)
    with Run(recipe, tmp_path / "run", quiet=True):
        pass
    path = store("rmm", recipe, tmp_path / "run", outcome(), tmp_path)
    assert path == tmp_path / "docs/claims/rmm.json"
    stored = load_stored(path)
    assert stored is not None
    assert stored.claims == outcome().claims
    assert stored.command == "burnish study rmm --size quick --seeds 3 --store"
    assert {"study", "size", "seeds", "command", "versions", "hardware", "date", "wall_seconds", "cpu_seconds"} <= set(
        json.loads(path.read_text())
    )
    path.write_text("{}")
    with pytest.raises(BurnishError, match="damaged"):
        load_stored(path)
    assert load_stored(tmp_path / "none.json") is None


def test_a_claim_stored_before_kinds_were_told_apart_is_read() -> None:
    plain = outcome().claims[0].model_dump(mode="json")
    del plain["interval"]["kind"]
    assert Claim.model_validate(plain) == outcome().claims[0]


@pytest.mark.parametrize(
    ("size", "seeds", "said"),
    [("tour", 9, "is not judged"), ("quick", 2, "needs 3 seeds"), ("full", 3, "needs 5 seeds")],
)
def test_what_is_not_judged_is_not_stored(tmp_path: Path, size: str, seeds: int, said: str) -> None:
    recipe = StudyRecipe.model_validate({"method": "study:rmm", "size": size, "seeds": seeds})
    with pytest.raises(UserError, match=said):
        store("rmm", recipe, tmp_path, outcome(), tmp_path)
