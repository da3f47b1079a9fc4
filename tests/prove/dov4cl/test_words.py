"""What the findings of an audit come to in words: whole sentences, of findings that ``analyse`` made."""

from typing import Any

import numpy as np
import pytest

from burnish.prove.dov4cl.analysis import analyse
from burnish.prove.dov4cl.report import SUBJECT
from burnish.prove.verdict import headline, wording
from tests.prove.dov4cl.test_audit import made

OPEN = f"It neither accuses nor clears the suspect: whether {SUBJECT} remains open."


def with_guilty(count: int, effect: float) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """An innocent's answers, and guilty shadows that are so much steadier."""
    arrays, settings = made(60)
    loud, _ = made(60, effect=effect)
    for number in range(count):
        arrays |= {f"guilty_{number:03d}_{kind}": loud[f"suspect_{kind}"] for kind in ("global", "local")}
    return arrays, settings


def test_evidence() -> None:
    found = analyse(*made(60, effect=0.4))
    assert headline(found) == "evidence"
    assert wording(SUBJECT, found).split("\n\n") == [
        f"There is evidence that {SUBJECT}. Were it not so, and did the assumptions below hold, an audit like this one "
        "would "
        "still give a result this strong about once in 251 (p = .004; .05 or less was to count as evidence).",
        "The size of the effect, by the test called unary relationship: 0.686 (95 % interval 0.529 to 0.841).",
        "Why: the suspect is steadier on the public images than the shadow models are (p = 0.00399, corrected).",
        "This is evidence, not proof: the rule is made to accuse about 5 % of innocent suspects, and it is worth no "
        "more than "
        "the assumptions it stands on.",
    ]


def test_no_evidence_with_what_the_test_can_find() -> None:
    found = analyse(*with_guilty(6, 0.45))
    assert headline(found) == "no evidence"
    assert wording(SUBJECT, found).split("\n\n") == [
        f"This audit found no evidence that {SUBJECT}. Where it is not so, a result this strong or stronger comes up "
        "about 100% "
        "of the time (p = 1; .05 or less was to count as evidence).",
        "Why: p = 1, and this very test finds 6 of the 6 shadows trained on the public images (54% to 100% of such "
        "models, with "
        "95 % confidence).",
        "That does not clear the suspect: this audit finds about 100% of models that the auditor trained to be guilty "
        "(95 % "
        "interval 54% to 100%), by 6 such models, and a guilty model that was trained otherwise may well be missed.",
    ]


@pytest.mark.parametrize(
    ("count", "effect", "because", "then"),
    [
        (
            0,
            0.0,
            "how often this test finds a guilty model is unknown, as no shadow was trained on the public images "
            "(shadows.guilty); differences that it would find four times in five: unary 0.1486, binary 0.1259",
            None,
        ),
        (
            2,
            0.45,
            "this very test finds 2 of the 2 shadows trained on the public images (16% to 100% of such models, with "
            "95 % "
            "confidence): too few to show that most would be found; it takes 6 shadow models trained so "
            "(shadows.guilty)",
            "As it stands, it finds about 100% of models that the auditor trained to be guilty (95 % interval 16% to "
            "100%), by "
            "2 such models; 80% was aimed at.",
        ),
        (
            2,
            0.0,
            "but with these images this very test finds 0 of the 2 shadows trained on the public images (0% to 84% of "
            "such "
            "models, with 95 % confidence), not 80%",
            "As it stands, it finds about 0% of models that the auditor trained to be guilty (95 % interval 0% to "
            "84%), by 2 "
            "such models; 80% was aimed at.",
        ),
    ],
)
def test_inconclusive(count: int, effect: float, because: str, then: str | None) -> None:
    found = analyse(*with_guilty(count, effect))
    assert headline(found) == "inconclusive"
    joint = ", " if because.startswith("but") else "; "
    first = f"This audit is inconclusive because p = 1{joint}{because}. {OPEN}"
    assert wording(SUBJECT, found).split("\n\n") == [first, *([then] if then else [])]


def test_pictures_that_can_be_told_apart() -> None:
    arrays, settings = made(60, effect=0.4)
    found = analyse(arrays, settings | {"split": {"auc": 0.9, "p": 0.001, "draws": 999, "alpha": 0.01}})
    assert wording(SUBJECT, found) == (
        "This audit is inconclusive because public and private images can be told apart without any model (area under "
        "the "
        "curve 0.90, p = 0.001): a difference between them proves nothing about the suspect. " + OPEN
    )


@pytest.mark.parametrize("effect", [0.4, 0.0])
def test_the_published_test_is_said_as_what_it_is(effect: float) -> None:
    found = analyse(*made(60, effect=effect, test="paper", repeats=1))
    assert found.p is not None
    accuses = found.p < 0.05
    assert headline(found) == ("the rule accuses" if accuses else "the rule does not accuse")
    decides, then = wording(SUBJECT, found).split("\n\n")
    assert "There is evidence" not in decides
    assert "found no evidence" not in decides
    assert decides.startswith(
        f"The rule that this audit was told to use {'decides' if accuses else 'does not decide'} that {SUBJECT}."
    )
    assert "is not calibrated, so how often it would " in decides
    assert then.endswith("the published test is not calibrated, set test: permutation.")
