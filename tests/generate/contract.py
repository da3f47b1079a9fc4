"""The row of MINT in the contract suite: width 32, two layers, two stages of all four tasks on scenes of the easel."""

from pathlib import Path
from typing import Any

from burnish.testbeds.easel.world import SHAPE_WORLD

METHOD = "mint"
CLOCKS = ()

SETTINGS: dict[str, Any] = {
    "device": "cpu",
    "model": {"width": 32, "layers": 2, "heads": 2, "intermediate": 64},
    "tokenizer": "burnish.testbeds.easel.sources:make_tokenizer",
    "wording": SHAPE_WORLD.wording(),
    "data": {"source": "burnish.testbeds.easel.sources:training", "limit": 48},
    "test": {"source": "burnish.testbeds.easel.sources:test", "limit": 2},
    "stages": [
        {"name": "I", "steps": 12, "batch": 4, "learning_rate": 2e-3},
        {
            "name": "III",
            "steps": 28,
            "batch": 6,
            "tasks": {"draw": 2, "describe": 1, "reflect": 1, "correct": 1},
            "learning_rate": 1e-3,
            "copy_experts": {"clean": "noisy"},
        },
    ],
    "flow": {"copies": 2},
    "ema": 0.9,
    "micro_batch": 3,
    "keep": 3,
}


def recipe(folder: Path) -> dict[str, Any]:
    return {"method": METHOD, **SETTINGS}
