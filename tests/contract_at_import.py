"""What a method of tests/contract_cases.py has as its module of ``check``: it writes when it is imported."""

from pathlib import Path
from typing import Any

Path("at_import.txt").write_text("imported")


def check(recipe: Any) -> list[tuple[str, str]]:
    return []
