"""The row of the merge search in the contract suite: a search over blocks by PPO on two experts of 8 x 8 pixels."""

from pathlib import Path
from typing import Any

from tests.merge.rmm.conftest import PPO, save_run

METHOD = "rmm"
CLOCKS = ("seconds", "*_seconds")


def recipe(folder: Path) -> dict[str, Any]:
    made = save_run(folder, budget=24, search="ppo", actions="blocks", subset="cycling", subset_fraction=0.5, ppo=PPO)
    found = made.model_dump(mode="json")
    return _relative(found, folder)


def _relative(data: Any, folder: Path) -> Any:
    if isinstance(data, dict):
        return {key: _relative(value, folder) for key, value in data.items()}
    if isinstance(data, list):
        return [_relative(value, folder) for value in data]
    return data.removeprefix(f"{folder}/") if isinstance(data, str) else data
