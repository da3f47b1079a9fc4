import json

import numpy as np
import pytest

from burnish.core.study import Claim
from burnish.studies.hint_grpo.bias import BiasDesign, BiasJob, bias_cell
from burnish.studies.hint_grpo.bias_claims import judge_bias
from burnish.studies.hint_grpo.bias_report import bias_sections
from burnish.studies.hint_grpo.records import KINDS, BiasCell, mixed
from burnish.testbeds.shortcut_model import Spend
from tests.judging import judged

SMOKE = BiasDesign(Spend(scenes=64, looking=2, biased=2, batch=8), questions=24)


@pytest.fixture(scope="module")
def cells() -> list[BiasCell]:
    return [bias_cell(BiasJob(seed, SMOKE)) for seed in (0, 1)]


def test_a_cell_is_plain_numbers_and_the_same_every_time(cells: list[BiasCell]) -> None:
    again = bias_cell(BiasJob(0, SMOKE))
    first = BiasCell.model_validate(json.loads(json.dumps(cells[0].model_dump(mode="json"))))
    assert first == cells[0]
    assert again.model_copy(update={"seconds": first.seconds}) == first
    assert all(len(first.accuracy[method][kind]) == 5 for method in ("calibrated", "noised") for kind in KINDS)
    # without strength there is no contrast
    assert first.accuracy["calibrated"]["counter"][0] == first.accuracy["noised"]["counter"][0]
    assert first.chosen.gamma in first.gammas


def test_claims_and_report_of_a_smoke_run(cells: list[BiasCell]) -> None:
    claims = judged(judge_bias(cells))
    assert [claim.name for claim in claims] == [
        "calibration_counter",
        "calibration_inverted_u",
        "calibration_vs_noised_image",
        "calibration_in_distribution",
        "calibration_text_bias",
    ]
    assert len(judged(judge_bias(cells[:1]))) == 5
    sections = bias_sections(cells)
    assert sections[0].figure is not None
    assert sections[1].table is not None
    assert len(sections[1].table) == 5


def made_up(counter: list[float], usual: list[float], unchanged: float = 0.25) -> BiasCell:
    """A cell whose numbers are known."""
    curves = {"counter": counter, "usual": usual}
    meter = {
        f"text_bias/{name}": 0.5 for name in ("with_image", "without_image", "wrong_image", "unchanged", "questions")
    }
    found = {
        "seed": 0,
        "gammas": [0.0, 0.4, 0.8, 1.2, 1.6],
        "accuracy": {"calibrated": curves, "noised": {kind: [values[0]] * 5 for kind, values in curves.items()}},
        "vcd": {kind: values[0] for kind, values in curves.items()},
        "sampled": {"1": {kind: values[0] for kind, values in curves.items()}},
        "follows": [0.5] * 5,
        "meter": {"plain": meter, "calibrated": {**meter, "text_bias/unchanged": unchanged}},
        "chosen": {"gamma": 0.4, "counter": counter[1], "usual": usual[1]},
        "seconds": {"training": 0.0, "asking": 0.0},
    }
    return BiasCell.model_validate(found)


def mean_of(claim: Claim) -> float:
    assert claim.interval is not None
    return claim.interval.mean


def test_verdicts_follow_the_numbers() -> None:
    rise, fall = np.array([0.1, 0.3, 0.4, 0.45, 0.5]), np.array([1.0, 0.98, 0.9, 0.8, 0.7])
    shifts = (-0.01, 0.0, 0.01)
    cells = [made_up((rise * (1 + shift)).tolist(), (fall - shift).tolist(), 0.25 + shift) for shift in shifts]
    found = {claim.name: claim for claim in judged(judge_bias(cells))}
    assert {name: claim.verdict for name, claim in found.items()} == {
        "calibration_counter": "holds",
        "calibration_inverted_u": "holds",
        "calibration_vs_noised_image": "holds",
        "calibration_in_distribution": "does not hold",
        "calibration_text_bias": "holds",
    }
    assert mean_of(found["calibration_counter"]) == pytest.approx(0.3)
    # inner strength 0.4 of 0.7 * .98 + .3 * .3 = .776 against plain .73
    assert mean_of(found["calibration_inverted_u"]) == pytest.approx(0.7 * 0.98 + 0.3 * 0.3 - 0.73)
    useless = [made_up([0.1] * 5, [1.0 - shift] * 5, 0.5 + shift) for shift in (0.0, 0.01, 0.02)]
    assert {claim.verdict for claim in judged(judge_bias(useless))} == {"undecided"}, "no gain in three seeds is few"


def test_mixtures() -> None:
    cell = made_up([0.0, 0.5, 0.5, 0.5, 0.5], [1.0, 1.0, 0.5, 0.5, 0.5])
    assert cell.mixture(0.3)[:3] == pytest.approx([0.7, 0.85, 0.5])
    assert mixed({"counter": 0.0, "usual": 1.0}, 0.1) == pytest.approx(0.9)
