"""The small files beside the weights: which of the inputs' files the result takes along, and which it depends on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

# What makes a model usable beside weights and config. Code (*.py) is never taken along: nothing here would run it.
_PATTERNS = (
    "tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt", "*.model", "chat_template.*",
    "generation_config.json", "*processor_config.json", "additional_chat_templates/*",
)  # fmt: skip
_FROM_ANY = ("generation_config.json", "preprocessor_config.json", "processor_config.json")


def side_files(folders: Sequence[Path], donor: int) -> dict[str, Path]:
    """Name in the result's folder to the file that it is copied from.

    Args:
        folders: of the models, the reference first.
        donor: index of the model that gives the tokenizer.
    """
    order = [folders[donor], *folders]
    # A base that was saved without its tokenizer should not cost the merge one.
    owner = next((folder for folder in order if any(folder.glob("tokenizer*"))), order[0])
    found = {str(path.relative_to(owner)): path for path in _matches(owner)}
    for name in _FROM_ANY:
        source = next((folder / name for folder in order if (folder / name).is_file()), None)
        if source is not None:
            found.setdefault(name, source)
    return found


def small_files(folder: Path) -> list[Path]:
    """Everything but the weights that the result may depend on: config, tokenizer, templates, settings."""
    config = folder / "config.json"
    return sorted({*_matches(folder), *([config] if config.is_file() else [])})


def _matches(folder: Path) -> list[Path]:
    return [path for pattern in _PATTERNS for path in sorted(folder.glob(pattern)) if path.is_file()]
