"""The row of SecPE in the contract suite: a BERT of 16 units, procedural texts, the clear back end."""

from pathlib import Path
from typing import Any

from burnish.testbeds.small_bert import write_encoder

METHOD = "secpe"
CLOCKS = ("*_seconds", "sent.bin")  # the bytes of a question are others each time: the dice of encryption

SETTINGS: dict[str, Any] = {
    "encoder": {"model": "encoder", "max_tokens": 24, "device": "cpu"},
    "data": {"source": "burnish.testbeds.phrases:reviews", "train": 40, "validation": 20, "test": 20},
    "prompts": {"templates": ["{text}", "They say: {text}", "{text} Or not?"]},
    "ensemble": {"prompts": 2},
    "attack": {"texts": 8, "budget": 16},
    "encryption": {"eps": 0.125, "texts": 2, "backend": "clear"},
}


def recipe(folder: Path) -> dict[str, Any]:
    write_encoder(folder / "encoder")
    return {"method": METHOD, **SETTINGS}
