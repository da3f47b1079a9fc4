"""Rules, claims and what is stored of them."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.core.errors import BurnishError, UserError
from burnish.core.findings import Finding
from burnish.core.intervals import SCALES, Interval, Kind, interval_of, share_interval, t_interval
from burnish.core.looks import Look
from burnish.core.run import Run
from burnish.core.stored_claims import Stored, load_stored, store
from burnish.core.study import (
    Claim,
    Glance,
    Judgement,
    Measured,
    Outcome,
    Rule,
    Study,
    StudyRecipe,
    claim_rows,
    decide,
)


def test_one_value_decides_nothing() -> None:
    assert Rule("gain").verdict(t_interval([5])) == "undecided"


@pytest.mark.parametrize(
    ("values", "bound", "verdict"),
    [
        ([1, 1.1, 0.9], 0, "holds"),
        ([-1, -1.1, -0.9], 0, "does not hold"),
        ([1, -1, 0.5], 0, "undecided"),
        ([1, 1.1, 0.9], 2, "does not hold"),
        ([0, 0, 0], 0, "undecided"),  # no spread to go by
        ([5, 5, 5], 0, "undecided"),
    ],
)
def test_the_verdict_follows_from_the_interval(values: list[float], bound: float, verdict: str) -> None:
    assert Rule("gain", bound=bound).verdict(t_interval(values)) == verdict


def test_at_most_is_the_other_side() -> None:
    rule = Rule("rate", kind="share", bound=0.1, side="at most")
    assert rule.sentence() == "95 % Clopper-Pearson interval of the rate lies at or below 0.1"
    assert rule.verdict(share_interval(0, 40)) == "holds"  # at most .088
    assert rule.verdict(share_interval(0, 20)) == "undecided"  # at most .168
    assert rule.verdict(share_interval(20, 40)) == "does not hold"
    # the bound belongs to the side that says so
    exact = Interval(mean=0.1, low=0.1, high=0.1, n=9, kind="share")
    assert (rule.verdict(exact), Rule("rate", kind="share", bound=0.1).verdict(exact)) == ("holds", "does not hold")


def test_the_sentence_says_how_the_interval_is_made_and_over_what() -> None:
    rule = Rule("ratio of times", kind="ratio", bound=1.5, over="worlds", least=3)
    assert rule.sentence() == "95 % t interval (log scale) over worlds (3 or more) of the ratio of times lies above 1.5"
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
    assert above.sentence().startswith(f"95 % {SCALES[kind].words}")
    assert above.sentence(0.9875).startswith(f"98.75 % {SCALES[kind].words}")
    assert above.sentence().endswith(f"of the x lies above {bound:g}")
    assert at_most.sentence().endswith(f"of the x lies at or below {bound:g}")
    assert (above.verdict(interval) == "holds") == (n >= least and low > bound)
    assert (at_most.verdict(interval) == "holds") == (n >= least and high <= bound)
    opposite = {"holds": "does not hold", "does not hold": "holds", "undecided": "undecided"}
    assert at_most.verdict(interval) == opposite[above.verdict(interval)]


def test_a_claim_takes_sentence_and_verdict_from_its_rule() -> None:
    rule = Rule("gain", over="seeds")
    found = Measured("a", "better", "+5", rule, gains([1, 1.1, 0.9]), "as it was").judged(Look(seeds=3))
    assert (found.rule, found.verdict, found.ours, found.note) == (rule.sentence(), "holds", 1.0, "as it was")
    assert (found.seeds, found.lacks) == (3, None)
    missing = Measured("a", "better", "+5", rule, None).judged(Look())
    assert (missing.rule, missing.verdict, missing.interval) == (rule.sentence(), "undecided", None)
    assert (missing.note, missing.open) == ("not run at this size", False)
    assert Measured("a", "better", "+5", rule, None, "no data").judged(Look()).note == "no data"
    with pytest.raises(ValueError, match="a: not run"):
        _ = Measured("a", "better", "+5", rule, None).interval


def test_an_undecided_claim_says_how_many_seeds_it_lacks() -> None:
    # two units a seed; sd 1, mean .5: 34 units decide with a probability of .8, so 17 seeds: 9 more than 8
    values = np.array([-1.0, 1.0] * 8)
    values = 0.5 + values / values.std(ddof=1)
    found = Measured("a", "better", "+5", Rule("gain"), gains(values.tolist())).judged(Look(seeds=8))
    assert (found.verdict, found.seeds, found.lacks) == ("undecided", 8, 9)
    row = claim_rows([found.model_copy(update={"ours": 57_300.4, "baseline": 0.123456})])[0]
    assert row["verdict"] == "undecided (about 9 more seeds)"
    assert (row["ours"], row["baseline"]) == ("57,300", "0.1235")
    on_the_bound = Measured("a", "better", "+5", Rule("gain", bound=0.5), gains(values.tolist())).judged(Look(seeds=8))
    assert (on_the_bound.verdict, on_the_bound.lacks) == ("undecided", None)


def test_equal_values_decide_nothing_and_the_note_says_why() -> None:
    found = Measured("a", "better", "+5", Rule("gain"), gains([2.0] * 6), "as it was").judged(Look(seeds=3))
    assert (found.verdict, found.open, found.lacks) == ("undecided", True, None)
    assert found.note == (
        "as it was. All 6 values are equal: without spread there is no interval, and nothing is decided."
    )
    assert Claim.model_validate_json(found.model_dump_json()) == found


@pytest.mark.parametrize("kind", ["share difference", "mean correlation", "mean share"])
@pytest.mark.parametrize(("n", "verdict"), [(3, "undecided"), (6, "undecided"), (24, "holds")])
def test_equal_shares_decide_when_there_are_many(kind: Kind, n: int, verdict: str) -> None:
    found = Finding(partial(interval_of, kind, [1.0] * n), 1.0, 0.0)
    assert Measured("a", "better", "-", Rule("gain", kind, 0.55), found).judged(Look(seeds=n)).verdict == verdict


def test_fewer_units_than_the_least_decide_nothing_whatever_they_are() -> None:
    for values in ([5.0, 5.1], [-5.0, -5.1], [5.0, 5.0]):
        rule = Rule("gain", least=3)
        found = Measured("a", "better", "-", rule, gains(values)).judged(Look(seeds=2))
        assert (found.verdict, found.open) == ("undecided", True)


def gains(values: list[float]) -> Finding:
    return Finding(partial(t_interval, values), float(np.mean(values)), 0.0)


def judgement() -> Judgement:
    claim = Measured("a", "better", "+5", Rule("gain"), gains([1, 1.1, 0.9]))
    return Judgement([claim.judged(Look(seeds=3))], Outcome([claim], [], Glance("one sentence", None)), Look(seeds=3))


def test_stored_results_are_complete(tmp_path: Path) -> None:
    recipe = StudyRecipe(method="study:rmm", size="quick", seeds=3)
    with Run(recipe, tmp_path / "run", quiet=True):
        pass
    path = store("rmm", recipe, tmp_path / "run", judgement(), tmp_path)
    assert path == tmp_path / "docs/claims/rmm.json"
    stored = load_stored(path)
    assert stored is not None
    assert stored.claims == judgement().claims
    assert stored.command == "burnish study rmm --size quick --seeds 3 --store"
    assert {"study", "size", "seeds", "command", "versions", "hardware", "date", "wall_seconds", "cpu_seconds"} <= set(
        json.loads(path.read_text())
    )
    path.write_text("{}")
    with pytest.raises(BurnishError, match="damaged"):
        load_stored(path)
    assert load_stored(tmp_path / "none.json") is None


def test_a_claim_stored_before_kinds_were_told_apart_is_read() -> None:
    plain = judgement().claims[0].model_dump(mode="json")
    del plain["interval"]["kind"], plain["interval"]["level"]
    assert Claim.model_validate(plain) == judgement().claims[0]


@pytest.mark.parametrize(
    ("size", "seeds", "said"),
    [("tour", 9, "is not judged"), ("quick", 2, "needs 3 seeds"), ("full", 3, "needs 5 seeds")],
)
def test_what_is_not_judged_is_not_stored(tmp_path: Path, size: str, seeds: int, said: str) -> None:
    recipe = StudyRecipe.model_validate({"method": "study:rmm", "size": size, "seeds": seeds})
    with pytest.raises(UserError, match=said):
        store("rmm", recipe, tmp_path, judgement(), tmp_path)


# Seeds are added until every claim is decided

GAINS = {"sure": 3.0, "small": 0.9, "none": 0.0}


def noise(number: int) -> np.ndarray:
    return np.random.default_rng([2, number]).normal(0, 1, 100)


def study_of(asked: list[int], before: Callable[[int], None] = lambda seeds: None) -> Study:
    """Gains of each seed around a mean of their own; ``asked`` hears of every look."""

    def run(recipe: StudyRecipe, _run: Run) -> Outcome:
        before(recipe.seeds)
        asked.append(recipe.seeds)
        claims = [
            Measured(name, "better", "-", Rule("gain"), gains((mean + noise(number))[: recipe.seeds].tolist()))
            for number, (name, mean) in enumerate(GAINS.items())
        ]
        return Outcome([*claims, Measured("missing", "better", "-", Rule("gain"), None)], [], Glance("", None))

    return Study("three gains", run)


def decided(path: Path, seeds: int, most: int | None, asked: list[int]) -> Judgement:
    recipe = StudyRecipe(method="study:gains", seeds=seeds, max_seeds=most)
    with Run(recipe, path, quiet=True) as run:
        return decide(study_of(asked), recipe, run)


def test_seeds_are_added_until_all_is_decided_or_there_are_no_more(tmp_path: Path) -> None:
    asked: list[int] = []
    found = decided(tmp_path / "run", 3, 24, asked)
    assert asked == [3, 6, 12, 24]
    claims = {claim.name: claim for claim in found.claims}
    for number, name in enumerate(GAINS):  # by hand: the first look whose interval leaves 0 out
        values = list(GAINS.values())[number] + noise(number)
        levels = {3: 0.99375, 6: 0.99375, 12: 0.9875, 24: 0.975}
        first = (n for n, level in levels.items() if t_interval(values[:n].tolist(), level).low > 0)
        when = next(first, None)
        assert (claims[name].verdict, claims[name].seeds) == (("holds", when) if when else ("undecided", 24))
    assert {claims[name].seeds for name in GAINS} == {6, 12, 24}, "each at a look of its own"
    assert claims["sure"].rule.startswith("99.38 % t interval")
    assert (claims["missing"].verdict, claims["missing"].seeds) == ("undecided", None)
    assert claims["none"].lacks is not None
    assert "Look 4 of at most 4, at 24 seeds: 1 of 4 claims stay undecided" in found.words


def test_one_look_is_as_before(tmp_path: Path) -> None:
    asked: list[int] = []
    found = decided(tmp_path / "run", 3, None, asked)
    assert (asked, found.words, found.look) == ([3], "", Look(1, 1, 3, 0.95))


def test_a_study_that_is_decided_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(GAINS, "none")
    asked: list[int] = []
    found = decided(tmp_path / "run", 3, 96, asked)
    assert asked == [3, 6, 12]
    assert "every claim that was run is decided" in found.words


def test_what_was_looked_at_is_stored(tmp_path: Path) -> None:
    recipe = StudyRecipe(method="study:gains", seeds=3, max_seeds=24)
    with Run(recipe, tmp_path / "run", quiet=True) as run:
        found = decide(study_of([]), recipe, run)
    stored = load_stored(store("gains", recipe, tmp_path / "run", found, tmp_path))
    assert stored is not None
    assert stored.command == "burnish study gains --size quick --seeds 3 --until-decided --max-seeds 24 --store"
    assert (stored.seeds, stored.looks) == (24, found.words)


def test_fewer_seeds_at_most_than_at_first_are_refused() -> None:
    with pytest.raises(UserError, match="max_seeds: 2 is below seeds: 3"):
        StudyRecipe.load({"method": "study:rmm", "seeds": 3, "max_seeds": 2})


def test_one_verdict_is_told_as_one() -> None:
    claims = [
        Claim.model_construct(verdict=verdict) for verdict in ("holds", "undecided", "does not hold", "does not hold")
    ]
    assert Stored.model_construct(claims=claims).verdicts == "1 holds, 2 do not hold, 1 undecided"
