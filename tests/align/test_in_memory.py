"""A model that was trained in memory is a plain model again."""

import copy
from pathlib import Path

import pytest
import torch

pytest.importorskip("trl")

from burnish.align.preference import align_in_memory
from burnish.dialogue.models import opened
from burnish.dialogue.rows import Question
from tests.align.pairs import llava, recipe, triplets


def test_a_copy_of_a_trained_model_runs_its_own_weights(tmp_path: Path) -> None:
    chat = llava()
    rows = list(triplets(tmp_path))
    align_in_memory(recipe({"steps": 1, "batch": 2}), chat, rows, tmp_path)
    question = [Question(rows[0].question, "", images=(rows[0].image,))]
    inputs = chat.encode(chat.render(question), opened(question))
    copied = copy.deepcopy(chat.model)
    with torch.no_grad():
        before = copied(**inputs).logits
        for weights in copied.parameters():
            weights.zero_()
        after = copied(**inputs).logits
    assert torch.equal(before, chat.model(**inputs).logits)
    assert not after.any()
