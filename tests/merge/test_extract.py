"""A fine-tune as an adapter, against numpy's SVD, PEFT and our own reading of adapters."""

import json
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
import transformers

from burnish.core.errors import UserError
from burnish.merge import extract_lora, merge
from burnish.merge.low_rank import factorized
from burnish.merge.streamed import Inputs

from .checkpoints import family, plain, tensors_of

TOKENS = torch.arange(12)[None] * 5


@pytest.mark.parametrize("shape", [(12, 7), (7, 12), (9, 9)])
def test_the_best_product_of_a_rank(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    u, s, v = np.linalg.svd(matrix.double().numpy(), full_matrices=False)
    for rank in (1, 3, min(shape)):
        found = factorized(matrix, rank, None)
        expected = (u[:, :rank] * s[:rank]) @ v[:rank]
        np.testing.assert_allclose((found.b @ found.a).double(), expected, atol=2e-6)
        assert found.error == pytest.approx((s[rank:] ** 2).sum() ** 0.5 / (s**2).sum() ** 0.5, abs=1e-6)
        assert found.whole == pytest.approx((s**2).sum(), rel=1e-6)


def test_the_lowest_rank_that_keeps_the_energy() -> None:
    matrix = torch.diag(torch.tensor([4.0, 2.0, 1.0, 0.0]))  # squares 16, 4, 1: 0.762, 0.952, 1
    for energy, rank in ((0.5, 1), (0.76, 1), (0.77, 2), (0.95, 2), (0.96, 3), (1.0, 3)):
        assert len(factorized(matrix, None, energy).a) == rank
    assert len(factorized(matrix, 2, 1.0).a) == 2
    nothing = factorized(torch.zeros(3, 5), 4, None)
    assert (nothing.a.shape, nothing.b.shape, nothing.error) == ((1, 5), (3, 1), 0.0)
    assert not (nothing.b @ nothing.a).any()


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(TOKENS % 64).logits


def adapted(base: Path, adapter: Path):
    model = getattr(transformers, json.loads((base / "config.json").read_text())["architectures"][0])
    return peft.PeftModel.from_pretrained(model.from_pretrained(base), adapter)


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gpt2", "tied"])
def test_all_energy_gives_the_fine_tunes_logits(kind: str, tmp_path: Path) -> None:
    """Norms are whole; Qwen2 and GPT-2 have biases and tied embeddings; GPT-2's layers are transposed."""
    changes: dict[str, Any] = {"tie_word_embeddings": True} if kind == "tied" else {}
    base, tuned = family(tmp_path, "llama" if kind == "tied" else kind, 2, **changes)
    found = extract_lora(tuned, base, tmp_path / "adapter", rank=None, energy=1.0)
    assert found.error < 1e-5
    expected = logits(transformers.AutoModelForCausalLM.from_pretrained(tuned))
    before = logits(transformers.AutoModelForCausalLM.from_pretrained(base))
    assert (expected - before).abs().max() > 0.1
    torch.testing.assert_close(logits(adapted(base, tmp_path / "adapter")), expected, rtol=1e-4, atol=2e-4)
    # Our own reading of it, through a merge that only applies it.
    config = {"merge_method": "passthrough", "models": [{"model": f"{base}+{tmp_path / 'adapter'}"}]}
    whole = tensors_of(merge(config, tmp_path / "whole", progress=False))
    wanted = tensors_of(tuned)
    assert set(whole) == set(wanted)
    for name, tensor in wanted.items():
        torch.testing.assert_close(whole[name], tensor, rtol=1e-4, atol=1e-5)


def test_the_stated_error_is_that_of_the_weights_and_bounds_the_logits(tmp_path: Path) -> None:
    base, tuned = family(tmp_path, "llama", 2)
    expected = logits(transformers.AutoModelForCausalLM.from_pretrained(tuned))
    moved = (logits(transformers.AutoModelForCausalLM.from_pretrained(base)) - expected).norm()
    start, goal = tensors_of(base), tensors_of(tuned)
    errors = []
    for rank in (4, 12, 24):
        out = tmp_path / f"rank-{rank}"
        found = extract_lora(tuned, base, out, rank=rank)
        model = adapted(base, out)
        near = logits(model)
        merged = model.merge_and_unload().state_dict()
        lost = sum(float((merged[name] - goal[name]).double().square().sum()) for name in goal)
        whole = sum(float((start[name] - goal[name]).double().square().sum()) for name in goal)
        assert found.error == pytest.approx((lost / whole) ** 0.5, rel=1e-3)
        # To first order logits move as weights do; twice the stated share leaves room for the rest.
        assert (near - expected).norm() / moved < 2 * found.error
        errors.append(found.error)
        told = json.loads((out / "burnish_lora.json").read_text())
        assert told["error"] == found.error
        assert found.rank == max(module["rank"] for module in told["modules"]) == rank
    assert errors == sorted(errors, reverse=True)
    assert not list(tmp_path.glob(".*"))


def test_a_base_with_an_adapter_is_refused(tmp_path: Path) -> None:
    """PEFT loads an adapter on one model; the name of two would load nowhere."""
    base, tuned = family(tmp_path, "llama", 2)
    adapter = extract_lora(tuned, base, tmp_path / "adapter", rank=1).path
    with pytest.raises(UserError, match="merge the two first"):
        extract_lora(tuned, f"{base}+{adapter}", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_card_of_a_tied_head_warns_of_merging_twice(tmp_path: Path) -> None:
    """PEFT's own merge gives another model than the adapter, ours the fine-tune's weights."""
    base, tuned = family(tmp_path, "qwen2", 2, dtype=torch.bfloat16)
    extract_lora(tuned, base, tmp_path / "adapter", rank=None, energy=1.0)
    expected = logits(transformers.AutoModelForCausalLM.from_pretrained(tuned, dtype=torch.float32))
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    merged = peft.PeftModel.from_pretrained(model, tmp_path / "adapter").merge_and_unload()
    assert (logits(merged) - expected).abs().max() > 0.1
    config = {"merge_method": "passthrough", "models": [{"model": f"{base}+{tmp_path / 'adapter'}"}]}
    ours = merge(config | {"dtype": "float32"}, tmp_path / "ours", progress=False)
    torch.testing.assert_close(
        logits(transformers.AutoModelForCausalLM.from_pretrained(ours)), expected, rtol=1e-4, atol=2e-4
    )
    assert "merge_and_unload" in (tmp_path / "adapter/README.md").read_text()


def test_only_what_changed_is_stored(tmp_path: Path) -> None:
    base, tuned = family(tmp_path, "llama", 2)
    tensors = tensors_of(base) | {
        name: tensor for name, tensor in tensors_of(tuned).items() if name == "model.layers.1.mlp.up_proj.weight"
    }
    one = plain(tmp_path / "one", tensors, json.loads((base / "config.json").read_text()))
    found = extract_lora(one, base, tmp_path / "adapter", rank=3)
    assert [(module.name, module.rank) for module in found.modules] == [("model.layers.1.mlp.up_proj", 3)]
    with pytest.raises(UserError, match="no weight differs"):
        extract_lora(base, base, tmp_path / "nothing")
    with pytest.raises(UserError, match="exists already"):
        extract_lora(tuned, base, tmp_path / "adapter")
    with pytest.raises(UserError, match="neither a rank nor"):
        extract_lora(tuned, base, tmp_path / "x", rank=None)
    with pytest.raises(UserError, match="no share"):
        extract_lora(tuned, base, tmp_path / "x", energy=1.5)
    assert not (tmp_path / "nothing").exists()


def test_one_pair_of_weights_is_in_memory_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base, tuned = family(tmp_path, "llama", 2)
    read, most = Inputs.tensor, [0]
    held: weakref.WeakSet[torch.Tensor] = weakref.WeakSet()

    def watched(self, source, device="cpu"):
        tensor = read(self, source, device)
        held.add(tensor)
        most[0] = max(most[0], len(held))
        return tensor

    monkeypatch.setattr(Inputs, "tensor", watched)
    extract_lora(tuned, base, tmp_path / "adapter", rank=2)
    # The change that was decomposed last may still be there while the next pair is read.
    assert most[0] <= 3


def test_other_shapes_are_refused(tmp_path: Path) -> None:
    base = family(tmp_path / "a", "llama", 1)[0]
    grown = family(tmp_path / "b", "llama", 1, vocab_size=70)[0]
    with pytest.raises(UserError, match=r"\[70, 32\], in .* \[64, 32\]; an adapter cannot change shapes"):
        extract_lora(grown, base, tmp_path / "adapter")
