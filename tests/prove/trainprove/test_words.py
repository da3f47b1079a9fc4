"""What the findings of an audit come to in words: whole sentences, of findings that ``analyse`` made."""

from typing import Any

import numpy as np
import pytest

from burnish.prove.trainprove.analysis import analyse
from burnish.prove.trainprove.report import SUBJECT
from burnish.prove.verdict import headline, wording
from tests.prove.trainprove.test_analysis import answers, settings

OPEN = f"It neither accuses nor clears the suspect: whether {SUBJECT} remains open."


def test_evidence() -> None:
    found = analyse(answers(0, 1.0), settings())
    assert headline(found) == "evidence"
    size = found.tests[-1]
    assert size.interval is not None
    low, high = size.interval
    assert wording(SUBJECT, found).split("\n\n") == [
        f"There is evidence that {SUBJECT}. Were it not so, and did the assumptions below hold, an audit like this one "
        "would "
        "still give a result this strong about once in 20 (p = .05; .05 or less was to count as evidence).",
        f"The size of the effect, by the test called difference in differences: {size.effect:.3g} (95 % interval "
        f"{low:.3g} to "
        f"{high:.3g}).",
        "Why: open-world p 0.0500 over 19 innocent sources; power 1.00.",
        "This is evidence, not proof: the rule is made to accuse about 5 % of innocent suspects, and it is worth no "
        "more than "
        "the assumptions it stands on.",
    ]


def test_no_evidence_with_what_the_test_can_find() -> None:
    found = analyse(answers(1, 0.0), settings())
    assert headline(found) == "no evidence"
    assert wording(SUBJECT, found).split("\n\n") == [
        f"This audit found no evidence that {SUBJECT}. Where it is not so, a result this strong or stronger comes up "
        "about 24% "
        "of the time (p = .24; .05 or less was to count as evidence).",
        "Why: open-world p 0.2375 over 19 innocent sources; power 1.00.",
        "That does not clear the suspect: this audit finds about 100% of models that the auditor trained to be guilty "
        "(95 % "
        "interval 40% to 100%), by 4 such models, and a guilty model that was trained otherwise may well be missed.",
    ]


@pytest.mark.parametrize(
    ("arrays", "changes", "because", "then"),
    [
        (
            answers(0, 1.0, sources=5),
            settings(5),
            "5 innocent sources can give no p below 0.167; alpha 0.05 needs 19 sources, however many shadows each has",
            "As it stands, it finds about 0% of models that the auditor trained to be guilty (95 % interval 0% to "
            "60%), by 4 such "
            "models. About 19 innocent sources would be needed.",
        ),
        (
            answers(0, 1.0),
            settings(novelty=0.999),
            "the suspect is unlike any shadow (novelty p 0.235): add architectures and sources",
            "As it stands, it finds about 0% of models that the auditor trained to be guilty (95 % interval 0% to "
            "60%), by 4 such "
            "models.",
        ),
    ],
)
def test_inconclusive(arrays: dict[str, np.ndarray], changes: dict[str, Any], because: str, then: str) -> None:
    found = analyse(arrays, changes)
    assert headline(found) == "inconclusive"
    first = f"This audit is inconclusive because {because}. {OPEN}"
    assert wording(SUBJECT, found).split("\n\n") == [first, then]


@pytest.mark.parametrize("suspect", ["weak", "like mine"])
def test_the_published_rule_is_said_as_what_it_is(suspect: str) -> None:
    arrays = answers(1, 0.0)
    if suspect == "weak":  # wrong everywhere: a low outlier, which the rule lets go
        arrays["suspect_labels"] = (arrays["truth"] + 1) % 5
    found = analyse(arrays, settings(statistic="grubbs_paper"))
    rule = found.published["grubbs_paper"]
    assert rule is not None
    numbers = f"(statistic {rule.statistic:.3f}, critical {rule.critical:.3f})"
    opening = "The rule that this audit was told to use "
    if suspect == "weak":
        decides = f"does not decide that {SUBJECT}. That does not clear the suspect: it gives no p-value, so how often "
        decides += "it would miss a guilty suspect is unknown."
    else:
        decides = f"decides that {SUBJECT}. It is no evidence in the sense of this report: it gives no p-value, so how "
        decides += "often it would accuse an innocent suspect is unknown."
    assert headline(found) == ("the rule does not accuse" if suspect == "weak" else "the rule accuses")
    assert wording(SUBJECT, found).split("\n\n") == [
        opening + decides,
        "Why: the published rule, kept for comparison, convicts whatever is no low outlier; its false-accusation rate "
        "is not "
        f"controlled {numbers}.",
    ]
