from pathlib import Path

import pytest
import torch

from burnish.merge.methods.consensus import agrees
from tests.checker import modules_with_shapes


def test_documented_shapes_are_checked_in_tests() -> None:
    with pytest.raises(Exception, match="Type-check error"):
        agrees(torch.ones(3), torch.ones(4))


def test_modules_that_say_shapes_are_found(tmp_path: Path) -> None:
    folder = tmp_path / "burnish"
    folder.mkdir()
    for name, text in {
        "__init__": "",
        "shapes": 'from jaxtyping import Float\n\nRows = Float[Tensor, "n"]\nMost = 3\n',
        "user": "from burnish.shapes import (\n    Most,\n    Rows,\n)\n",
        "other": "from burnish.shapes import Most\n",
    }.items():
        (folder / f"{name}.py").write_text(text)
    assert modules_with_shapes(tmp_path) == ["burnish.shapes", "burnish.user"]
