"""The row of TrainProVe in the contract suite: five painters of 8 x 8 pixels, shadows of 25 steps."""

from pathlib import Path
from typing import Any

from tests.prove.trainprove.test_audit import recipe as small

METHOD = "trainprove"
# Besides the clock: the evidence's page, which shows the date (with its hash).
CLOCKS = ("seconds", "*_seconds", "date", "time", "artifacts/evidence/report.html", "artifacts/evidence/manifest.json")


def recipe(folder: Path) -> dict[str, Any]:
    return small(mixtures={"fractions": [0.5], "each": 2}).model_dump(mode="json")
