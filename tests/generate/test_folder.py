"""A unified model's folder loads as it was saved, in shards too, and says what is wrong with one that does not."""

import json
from pathlib import Path

import pytest
import torch

from burnish.core.errors import UserError
from burnish.core.models import save_model
from burnish.generate.experts import DENSE, MINT
from burnish.generate.folder import Unified, load_unified
from tests.generate.small import CODEC, different_experts, layout, random_batch, small_model

MIXED = layout(("text", 3), ("clean", 4, 0), ("noisy", 4, 1))


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, Unified]:
    unified = Unified(different_experts(small_model("mint")), CODEC)
    return save_model(unified, tmp_path / "model"), unified


def test_loads_as_saved(saved: tuple[Path, Unified]) -> None:
    folder, unified = saved
    again = load_unified(folder, MINT)
    batch = random_batch(MIXED)
    one, other = unified.model(batch), again.model(batch)
    for name in ("text_logits", "estimates", "heat"):
        assert torch.equal(getattr(one, name), getattr(other, name))
    assert again.codec.to_dict() == CODEC.to_dict()
    assert not again.model.training
    assert not list(folder.glob("*.bin"))


def test_loads_from_shards(tmp_path: Path) -> None:
    model = different_experts(small_model("mint"))
    model.save_pretrained(tmp_path, max_shard_size="50KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    batch = random_batch(MIXED)
    assert torch.equal(load_unified(tmp_path).model(batch).estimates, model(batch).estimates)


def test_another_routing_table_is_named(saved: tuple[Path, Unified]) -> None:
    with pytest.raises(UserError, match="routes text -> 0, clean -> 1, noisy -> 2, the settings route"):
        load_unified(saved[0], DENSE)


def change(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_table_that_its_weights_do_not_have(saved: tuple[Path, Unified]) -> None:
    change(saved[0], routing={"text": 0, "clean": 1, "noisy": 1})
    with pytest.raises(UserError, match=r"another shape|cannot be loaded"):
        load_unified(saved[0])


def test_a_text_model_is_not_a_unified_one(saved: tuple[Path, Unified]) -> None:
    change(saved[0], model_type="qwen3")
    with pytest.raises(UserError, match="is a `qwen3`, not a unified model"):
        load_unified(saved[0])


def test_a_codec_that_cuts_otherwise(saved: tuple[Path, Unified]) -> None:
    change(saved[0], codec={"kind": "pixel", "size": [4, 4], "patch": 1})
    with pytest.raises(UserError, match="gives 4 x 4 patches of 3 numbers, the model takes 2 x 2 of 12"):
        load_unified(saved[0])
    change(saved[0], codec={"kind": "pixels"})
    with pytest.raises(UserError, match=r"codec\.kind"):
        load_unified(saved[0])


def test_weights_that_are_missing(saved: tuple[Path, Unified]) -> None:
    from safetensors.torch import load_file, save_file

    path = saved[0] / "model.safetensors"
    tensors = load_file(path)
    save_file({name: tensor for name, tensor in tensors.items() if name != "heat_head.weight"}, path, {"format": "pt"})
    with pytest.raises(UserError, match=r"weights missing or of another shape: heat_head\.weight"):
        load_unified(saved[0])
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match="cannot be loaded"):
        load_unified(saved[0])
