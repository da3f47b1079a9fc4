"""The choice of prompts on logits made by hand."""

import numpy as np
import pytest

from burnish.core.errors import UserError
from burnish.private.selection import select_prompts, weights_by_right

LABELS = np.array([0, 0, 1, 1])


def logits(*said: str) -> np.ndarray:
    """Of each prompt a digit a text: what it says, surely."""
    return np.stack([np.eye(2)[[int(digit) for digit in each]] for each in said], axis=1)


def test_the_best_alone_is_right_most_often_on_clean_and_noisy_texts_together() -> None:
    clean = logits("0011", "0010", "0010")
    noisy = logits("1100", "0011", "0010")
    assert select_prompts(clean, noisy, LABELS, 1) == [1]  # 7 of 8; the first is the best on clean texts alone


def test_prompts_that_err_elsewhere_are_taken() -> None:
    # the third errs on another text than the first two, who err on the same
    clean = logits("0001", "0001", "0111", "1100")
    assert select_prompts(clean, clean, LABELS, 2, diversity=0.5) == [0, 2]
    assert select_prompts(clean, clean, LABELS, 2, diversity=5.0) == [0, 3]
    assert sorted(select_prompts(clean, clean, LABELS, 4)) == [0, 1, 2, 3]


def test_weights_by_hand() -> None:
    clean = logits("0011", "0010", "1100")
    assert weights_by_right(clean, clean, LABELS) == pytest.approx([2 / 3, 1 / 3, 0])
    worst = logits("1100", "1100")
    assert weights_by_right(worst, worst, LABELS).tolist() == [0.5, 0.5]


def test_more_than_there_are() -> None:
    with pytest.raises(UserError, match=r"ensemble.prompts: 3 of 2 candidates"):
        select_prompts(logits("0011", "0011"), logits("0011", "0011"), LABELS, 3)
