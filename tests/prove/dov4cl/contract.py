"""The row of DOV4CL in the contract suite: an audit of a function, with two shadows trained for two epochs."""

from pathlib import Path
from typing import Any

from tests.prove.dov4cl.test_audit import TRAIN, VIEWS, source

METHOD = "dov4cl"
# Besides the clock: what the last session asked of a suspect, and the evidence's page that shows it (with its hash).
CLOCKS = (
    "seconds",
    "*_seconds",
    "date",
    "time",
    "artifacts/asked.json",
    "queries",
    "saved",
    "artifacts/evidence/report.html",
    "artifacts/evidence/manifest.json",
)


def recipe(folder: Path) -> dict[str, Any]:
    return {
        "method": METHOD,
        "suspect": {"model": "tests.prove.dov4cl.test_audit:mean_colour", "kind": "python", "batch": 500},
        "public": source("public"),
        "private": source("private"),
        "shadows": {"images": source("others"), "count": 2, "train": TRAIN | {"epochs": 2}},
        "views": VIEWS,
        "draws": 500,
    }
