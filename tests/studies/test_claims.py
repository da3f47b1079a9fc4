import json
from pathlib import Path

import pytest
from burnish.studies.claims import Claim, Outcome, StudyRecipe, judge, t_interval
from scipy import stats

from burnish.core.errors import BurnishError, UserError
from burnish.core.run import Run
from burnish.studies import claims
from burnish.studies.catalogue import CATALOGUE, find


def test_t_interval_by_hand() -> None:
    # mean 2, sd 1, n 3: half width t(.975, 2) / sqrt(3) = 4.302653 / 1.732051 = 2.484138
    interval = t_interval([1, 2, 3])
    assert (interval.mean, interval.n) == (2, 3)
    assert interval.low == pytest.approx(2 - 2.484138, abs=1e-6)
    low, high = stats.t.interval(0.95, 2, 2, stats.sem([1, 2, 3]))
    assert (interval.low, interval.high) == pytest.approx((low, high))


def test_one_value_decides_nothing() -> None:
    assert judge(t_interval([5])) == "undecided"


@pytest.mark.parametrize(
    ("values", "threshold", "verdict"),
    [
        ([1, 1.1, 0.9], 0, "holds"),
        ([-1, -1.1, -0.9], 0, "does not hold"),
        ([1, -1, 0.5], 0, "undecided"),
        ([1, 1.1, 0.9], 2, "does not hold"),
        ([0, 0, 0], 0, "does not hold"),  # no difference at all is not a gain
    ],
)
def test_the_verdict_follows_from_the_interval(values: list[float], threshold: float, verdict: str) -> None:
    assert judge(t_interval(values), threshold) == verdict


def outcome() -> Outcome:
    interval = t_interval([1, 1.1, 0.9])
    claim = Claim(
        name="a",
        claim="better",
        paper="+5",
        rule="low > 0",
        ours=1.0,
        baseline=0.0,
        interval=interval,
        verdict=judge(interval),
    )
    return Outcome([claim], [])


def test_stored_results_are_complete(tmp_path: Path) -> None:
    recipe = StudyRecipe(method="study:rmm", size="quick", seeds=3)
    with Run(recipe, tmp_path / "run", quiet=True):
        pass
    path = claims.store("rmm", recipe, tmp_path / "run", outcome(), tmp_path)
    assert path == tmp_path / "docs/claims/rmm.json"
    stored = claims.load_stored(path)
    assert stored.claims == outcome().claims
    assert stored.command == "burnish study rmm --size quick --seeds 3 --store"
    assert {"study", "size", "seeds", "command", "versions", "hardware", "date", "wall_seconds", "cpu_seconds"} <= set(
        json.loads(path.read_text())
    )
    path.write_text("{}")
    with pytest.raises(BurnishError, match="damaged"):
        claims.load_stored(path)
    assert claims.load_stored(tmp_path / "none.json") is None


@pytest.mark.parametrize(("size", "seeds", "said"), [("tour", 9, "is not judged"), ("quick", 2, "needs --seeds 3"), ("full", 3, "needs --seeds 5")])  # fmt: skip
def test_what_is_not_judged_is_not_stored(tmp_path: Path, size: str, seeds: int, said: str) -> None:
    with pytest.raises(UserError, match=said):
        claims.store("rmm", StudyRecipe(method="study:rmm", size=size, seeds=seeds), tmp_path, outcome(), tmp_path)


def test_ten_methods() -> None:
    assert len({entry.name for entry in CATALOGUE}) == 10
    assert find("rmm").exists
    with pytest.raises(UserError, match="did you mean `sakd`"):
        find("sakdd")
    with pytest.raises(UserError, match="not built yet"):
        find("mint").load()
