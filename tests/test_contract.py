"""Every installed method keeps the contract of the house; the row of each is ``contract.py`` among its tests."""

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from burnish.core.method import all_methods, method_names
from burnish.testing import BUDGET, check_method
from tests.forked import start_server

HERE = Path(__file__).parent


def rows() -> dict[str, ModuleType]:
    names = (".".join(path.relative_to(HERE.parent).with_suffix("").parts) for path in HERE.rglob("contract.py"))
    found = [importlib.import_module(name) for name in names]
    return {module.METHOD: module for module in found}


ROWS = rows()
FOUND, FAULTS = all_methods()
BUILT = [method.name for method in FOUND if method.built]


def test_every_method_loads_and_every_row_is_of_one() -> None:
    assert FAULTS == []
    assert {method.name for method in FOUND} == set(method_names())
    assert set(ROWS) <= set(BUILT)


@pytest.mark.slow
@pytest.mark.parametrize("method", BUILT)
def test_contract(method: str, tmp_path: Path, record_property: Callable[[str, str], None]) -> None:
    assert method in ROWS, f"{method} has no row: write tests/.../contract.py with METHOD, CLOCKS and recipe(folder)"
    row = ROWS[method]
    start_server()
    seconds = check_method(method, row.recipe(tmp_path), tmp_path, clocks=row.CLOCKS)
    slowest = max(seconds, key=lambda name: seconds[name])
    said = f"{sum(seconds.values()):.0f} of {BUDGET:.0f} s, most of them {slowest} ({seconds[slowest]:.0f})"
    record_property("contract", f"{method}: {said}")
