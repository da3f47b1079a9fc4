"""A small model that the tests of whole runs start from."""

from pathlib import Path

import pytest
import torch

from tests.once import once


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has learnt how an answer looks and little more; only to be read."""

    def build(folder: Path) -> None:
        from burnish.testbeds.arithmetic import make_tokenizer, train_base

        torch.set_num_threads(1)
        train_base(steps=120, width=32).save_pretrained(folder)
        make_tokenizer().save_pretrained(folder)

    return once(tmp_path_factory, "arithmetic_model", build)
