"""Any Qwen2, Qwen3 or Llama checkpoint in every expert; with text alone the model says what the checkpoint says."""

from pathlib import Path
from typing import Any

import pytest
import torch

from burnish.core.errors import UserError
from burnish.generate.codecs.pixel import PixelCodec
from burnish.generate.folder import Unified
from burnish.generate.initial import from_scratch, from_text, routing_table
from burnish.generate.loop import begin_places
from burnish.generate.plan import Wording
from burnish.generate.settings import ModelSettings
from burnish.testbeds.easel.sources import make_tokenizer
from tests.generate.small import CODEC, WORDS, layout, random_batch, text_checkpoint

KINDS: list[tuple[str, dict[str, Any]]] = [
    ("qwen3", {}),
    ("qwen3", {"tie_word_embeddings": True, "head_dim": 16}),
    ("qwen2", {"rope_parameters": {"rope_type": "default", "rope_theta": 1000.0}}),
    ("llama", {"tie_word_embeddings": True}),
]


@pytest.mark.parametrize(("kind", "changes"), KINDS)
def test_text_alone_gives_the_checkpoints_logits(tmp_path: Path, kind: str, changes: dict[str, Any]) -> None:
    theirs = text_checkpoint(tmp_path, kind, **changes)
    ours = from_text(ModelSettings(base=str(tmp_path)), CODEC).eval()
    batch = random_batch(layout(("text", 9)))
    with torch.no_grad():
        expected = theirs(batch.tokens).logits
        assert torch.equal(ours(batch).text_logits, expected)
    assert expected.std() > 0.01


def test_every_expert_is_the_checkpoint(tmp_path: Path) -> None:
    """So text reads the same through any expert: routed to the drawing expert it gives the same logits."""
    text_checkpoint(tmp_path, "qwen3")
    batch = random_batch(layout(("text", 5)))
    usual = from_text(ModelSettings(base=str(tmp_path)), CODEC)
    turned = from_text(ModelSettings(base=str(tmp_path), routing={"text": 2, "clean": 1, "noisy": 0}), CODEC)
    assert torch.equal(usual(batch).text_logits, turned(batch).text_logits)


def test_new_words_start_at_the_mean(tmp_path: Path) -> None:
    theirs = text_checkpoint(tmp_path, "qwen2")
    ours = from_text(ModelSettings(base=str(tmp_path)), CODEC, vocabulary=WORDS + 2)
    known = theirs.get_input_embeddings().weight
    assert torch.equal(ours.embedding.weight[:WORDS], known)
    torch.testing.assert_close(ours.embedding.weight[WORDS:], known.mean(0).expand(2, -1))
    with pytest.raises(UserError, match="only grows"):
        from_text(ModelSettings(base=str(tmp_path)), CODEC, vocabulary=WORDS - 1)


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("qwen2", {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 0}, "sliding-window layers"),
        ("llama", {"attention_bias": True}, "attention_bias"),
        ("llama", {"mlp_bias": True}, "mlp_bias"),
        ("gpt2", {"n_embd": 32, "n_head": 4, "n_layer": 1}, "`gpt2` has another block"),
    ],
)
def test_another_block_is_refused_with_the_reason(
    tmp_path: Path, kind: str, changes: dict[str, Any], message: str
) -> None:
    text_checkpoint(tmp_path, kind, **changes)
    with pytest.raises(UserError, match=message):
        from_text(ModelSettings(base=str(tmp_path)), CODEC)


def test_a_checkpoint_in_pieces_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    text_checkpoint(tmp_path, "qwen3")
    path = tmp_path / "model.safetensors"
    whole = load_file(path)
    save_file({name: tensor for name, tensor in whole.items() if "layers.1.mlp.up" not in name}, path)
    with pytest.raises(UserError, match=r"no tensor `layers\.1\.mlp\.up_proj\.weight`"):
        from_text(ModelSettings(base=str(tmp_path)), CODEC)
    save_file(whole | {"model.norm.weight": torch.ones(31)}, path)
    with pytest.raises(UserError, match=r"shape \(31,\) where its config.json needs \(32,\)"):
        from_text(ModelSettings(base=str(tmp_path)), CODEC)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="cannot be read"):
        from_text(ModelSettings(base=str(tmp_path)), CODEC)


def test_from_scratch_all_routings_of_a_seed_start_as_one_function() -> None:
    said = []
    for routing in ("dense", "mint"):
        torch.manual_seed(4)
        model = from_scratch(ModelSettings(width=32, layers=2, intermediate=48, routing=routing), CODEC, WORDS)
        said.append(model(random_batch(layout(("text", 3), ("noisy", 4, 0)))).estimates)
    torch.testing.assert_close(*said, atol=1e-5, rtol=1e-5)


def test_words_for_places_begin_as_the_code_of_their_patches() -> None:
    codec, tokenizer = PixelCodec((32, 32), 8), make_tokenizer()
    for grid in ((4, 4), (2, 2)):  # a cell is one patch, or four
        wording = Wording(names=("circle",), grid=grid)
        model = from_scratch(ModelSettings(width=32, layers=1), codec, len(tokenizer))
        before = model.embedding.weight.detach().clone()
        begin_places(Unified(model, codec, tokenizer), wording)
        codes = model.places.reshape(grid[0], 4 // grid[0], grid[1], 4 // grid[1], -1).mean((1, 3))
        for word in wording.places:
            row, column = int(word[1]) - 1, int(word[3]) - 1
            token = tokenizer.convert_tokens_to_ids(word)
            torch.testing.assert_close(model.embedding.weight[token], codes[row, column])
            before[token] = codes[row, column]
        assert model.embedding.weight.allclose(before)  # and no other word


def test_sizes_that_do_not_fit() -> None:
    with pytest.raises(UserError, match=r"model.heads: 5 heads"):
        from_scratch(ModelSettings(width=32, heads=5), CODEC, WORDS)
    with pytest.raises(UserError, match=r"model.key_heads: 3"):
        from_scratch(ModelSettings(width=32, heads=4, key_heads=3), CODEC, WORDS)
    with pytest.raises(UserError, match="without a gap"):
        routing_table({"text": 0, "clean": 0, "noisy": 3})
