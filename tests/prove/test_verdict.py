"""Words by rule: every number said is one that was found, and nothing is said more strongly than it is."""

import json
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.core.errors import BurnishError
from burnish.core.report import write_report
from burnish.prove.findings import Findings, Outcome, Power, StatisticalTest, Verdict, needed_in_words, smallest
from burnish.prove.report import Distribution, audit_sections, density, distribution_figure, table_of_tests
from burnish.prove.statistics import holm, significant
from burnish.prove.verdict import headline, said_p, wording

SUBJECT = "this encoder was trained on the owner's pictures"


class Made(Findings):
    """Findings whose power is what the test says."""

    power: Power = Power()

    @property
    def power_reached(self) -> Power:
        return self.power


def findings(outcome: Outcome, p: float | None, power: Power | None = None, **changes: Any) -> Made:
    test = StatisticalTest(name="rank", statistic=1.0, p=p, effect=0.25, interval=(0.1, 0.4), assumption="alike")
    given = {"because": "of the numbers", "alpha": 0.05, "calibrated": True}
    verdict = {key: changes.pop(key, value) for key, value in given.items()}
    return Made(
        **{"tests": (test,), "assumptions": ("coin <toss>",)} | changes,
        verdict=Verdict(outcome=outcome, **verdict),
        power=power or Power(),
    )


def test_evidence() -> None:
    words = wording(SUBJECT, findings("evidence", 0.012))
    assert words.startswith(f"There is evidence that {SUBJECT}.")
    assert "about once in 83 (p = .012; .05 or less was to count as evidence)" in words
    assert "0.25 (95 % interval 0.1 to 0.4)" in words
    assert "evidence, not proof: the rule is made to accuse about 5 % of innocent suspects" in words


def test_no_evidence_never_clears() -> None:
    words = wording(SUBJECT, findings("no evidence", 0.62, Power(reached=0.9)))
    assert words.startswith(f"This audit found no evidence that {SUBJECT}.")
    assert "about 62% of the time" in words
    assert "finds about 90% of models that the auditor trained to be guilty, and a guilty model" in words
    unknown = wording(SUBJECT, findings("no evidence", 0.62))
    assert "was not measured, so nothing follows" in unknown


def test_inconclusive_says_what_would_be_needed() -> None:
    needed = needed_in_words({"images of each set": 1240, "shadow models": 38, "innocent sources": None})
    power = Power(reached=0.31, wanted=0.8, needed=needed)
    words = wording(SUBJECT, findings("inconclusive", 0.2, power, because="the test is weak."))
    assert words.startswith("This audit is inconclusive because the test is weak. It neither accuses nor clears")
    assert "finds about 31% of models that the auditor trained to be guilty; 80% was aimed at" in words
    assert "About 1,240 images of each set or 38 shadow models would be needed." in words
    because = "12 images of each set would be needed"
    said = wording(SUBJECT, findings("inconclusive", 0.2, Power(needed="12 images of each set"), because=because))
    assert said.count("12 images of each set") == 1


@pytest.mark.parametrize("p", [None, 0.4])
def test_a_rule_that_convicts_without_a_small_p_is_no_evidence(p: float | None) -> None:
    words = wording(SUBJECT, findings("evidence", p))
    assert "There is evidence" not in words
    assert "It is no evidence in the sense of this report" in words


def test_a_rule_that_is_not_calibrated_gives_no_evidence_however_small_its_p() -> None:
    words = wording(SUBJECT, findings("evidence", 1e-9, calibrated=False))
    assert "There is evidence" not in words
    assert "its p-value, below .0001, is not calibrated" in words


def test_one_in_twenty_is_not_lost_to_rounding() -> None:
    assert wording(SUBJECT, findings("evidence", 0.05000000000000001)).startswith("There is evidence")


def test_the_corrected_p_decides() -> None:
    first = StatisticalTest(name="first", statistic=1.0, p=0.001, adjusted_p=0.03, effect=0.25)
    assert "p = .03" in wording(SUBJECT, findings("evidence", None, tests=(first,)))
    second = StatisticalTest(name="second", p=0.002, adjusted_p=0.004, effect=0.7)
    found = findings("evidence", None, tests=(first, second), deciding="second")
    words = wording(SUBJECT, found)
    assert "p = .004" in words
    assert "by the test called second: 0.7." in words
    assert "corrected p" in table_of_tests(found)[0]


def test_a_tie_of_corrected_p_values_hides_no_test() -> None:
    """Holm makes .012 and .011 both .022: the smaller one decides, and its effect is said."""
    raw = {"unary": 0.012, "binary": 0.011}
    adjusted = holm(np.array(list(raw.values())))
    assert adjusted[0] == adjusted[1]
    tests = tuple(
        StatisticalTest(name=name, p=p, adjusted_p=float(corrected), effect=effect)
        for (name, p), corrected, effect in zip(raw.items(), adjusted, (0.001, 0.9), strict=True)
    )
    assert smallest(tests) == "binary"
    found = findings("evidence", None, tests=tests, deciding=smallest(tests))
    assert found.to_json()["deciding"] == "binary"
    assert "by the test called binary: 0.9." in wording(SUBJECT, found)


@pytest.mark.parametrize(("p", "counts"), [(0.05, True), (0.05 + 1e-15, True), (0.050001, False), (0.0, True)])
def test_one_rule_for_alpha(p: float, counts: bool) -> None:
    assert significant(p, 0.05) is counts
    assert significant(np.array([p]), 0.05).tolist() == [counts]


def test_findings_go_to_json_and_back() -> None:
    found = findings("evidence", 0.01)
    plain = found.to_json()
    assert set(plain["tests"][0]) == {"name", "statistic", "p", "effect", "interval", "assumption"}
    assert set(plain["verdict"]) == {"outcome", "alpha", "because"}
    assert Made.from_json(json.loads(json.dumps(plain))) == found
    assert findings("evidence", 0.01, calibrated=False).to_json()["verdict"]["calibrated"] is False


@pytest.mark.parametrize("verdict", [None, {}, {"outcome": "guilty", "alpha": 0.05}])
def test_findings_without_a_verdict(verdict: Any) -> None:
    with pytest.raises(BurnishError, match="findings: verdict"):
        Findings.from_json({"verdict": verdict, "tests": []})


def test_p_values_as_people_write_them() -> None:
    assert [said_p(p) for p in (0.05, 0.012, 0.5, 1.0, 1e-5, 0.0001, 0.999)] == [
        ".05",
        ".012",
        ".5",
        "1",
        "below .0001",
        ".0001",
        "1",
    ]


@given(
    outcome=st.sampled_from(["evidence", "no evidence", "inconclusive"]),
    p=st.none() | st.floats(1e-9, 1),
    alpha=st.floats(0.001, 0.2),
    reached=st.none() | st.floats(0, 1),
)
def test_evidence_is_said_exactly_when_p_is_small(
    outcome: Outcome, p: float | None, alpha: float, reached: float | None
) -> None:
    found = findings(outcome, p, Power(reached=reached, wanted=0.8), alpha=alpha)
    words = wording(SUBJECT, found)
    assert words.startswith("There is evidence") == (outcome == "evidence" and p is not None and p <= alpha + 1e-12)
    assert not re.search(r"\b(proves|innocent of|certain|guilty of|stolen)\b", words)
    assert all(paragraph.endswith(".") for paragraph in words.split("\n\n"))


# The report's sections


def test_sections_hold_all_of_it_and_escape_what_a_stranger_wrote(tmp_path: Any) -> None:
    found = findings("inconclusive", 0.2, because="<script>alert(1)</script>")
    shown = [
        Distribution("Where", "score", {"innocent": np.linspace(-1, 1, 20), "guilty": [2.0, 2.5]}, 1.5),
        Distribution("Nothing known", "score", {"innocent": []}, 1.5),
    ]
    sections = audit_sections(SUBJECT, found, shown)
    assert [section.title for section in sections] == ["Verdict", "Where", "Tests", "What is assumed"]
    page = write_report(tmp_path / "r.html", "Audit", "", sections).read_text()
    assert "<script>" not in page
    assert "coin &lt;toss&gt;" in page
    assert "0.1 to 0.4" in page


@pytest.mark.parametrize(
    "groups",
    [
        {"one": [1.0]},
        {"same": [1.0] * 9},
        {"many": np.linspace(0, 1, 5000), "few": [0.1, 0.2]},
        {"none": [], "some": [1.0, 2.0, 3.0, 4.0, 5.0]},
    ],
)
def test_any_distribution_can_be_drawn(groups: Any) -> None:
    figure = distribution_figure(Distribution("t", "a", groups, 1.0))
    axes = figure.axes[0]
    dots = sum(len(line.get_xdata()) for line in axes.lines if line.get_marker() == "o")
    assert dots == sum(len(values) for values in groups.values() if len(values) <= 300)
    assert any("the suspect: 1" in text.get_text() for text in axes.texts)
    low, high = axes.get_xlim()
    assert low < 1.0 < high


def test_density_is_a_density() -> None:
    points = np.linspace(-6, 6, 400)
    curve = density(np.random.default_rng(0).normal(size=50), points)
    assert curve is not None
    assert np.trapezoid(curve, points) == pytest.approx(1, abs=1e-3)
    assert density(np.array([1.0, 1.0, 2.0]), points) is None


def test_power_says_what_it_rests_on() -> None:
    power = Power(reached=1.0, interval=(0.74, 1.0), models=12)
    words = wording(SUBJECT, findings("no evidence", 0.62, power))
    assert "guilty (95 % interval 74% to 100%), by 12 such models" in words
    assert "0%, and would" not in words


@pytest.mark.parametrize(
    ("outcome", "badge"), [("evidence", "the rule accuses"), ("no evidence", "the rule does not accuse")]
)
def test_an_uncalibrated_rule_wears_no_badge_of_evidence(outcome: Outcome, badge: str) -> None:
    """Neither the badge nor the tile of p may say what the words below take back."""
    found = findings(outcome, 0.001, calibrated=False)
    assert headline(found) == badge
    shown = audit_sections(SUBJECT, found)[0].html
    assert f">{badge}<" in shown
    assert "evidence at" not in shown
    assert "not calibrated" in shown
    assert f">{outcome}<" in audit_sections(SUBJECT, findings(outcome, 0.001))[0].html
