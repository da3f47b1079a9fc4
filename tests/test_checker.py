import pytest
import torch

from burnish.merge.methods.consensus import agrees


def test_documented_shapes_are_checked_in_tests() -> None:
    with pytest.raises(Exception, match="Type-check error"):
        agrees(torch.ones(3), torch.ones(4))
