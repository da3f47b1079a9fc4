import json
from pathlib import Path

import pytest
import torch

from burnish.core.errors import UserError
from burnish.core.models import load_model, load_tokenizer, resolve, save_model
from burnish.testbeds.models import character_tokenizer


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=100,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
    )
    return save_model(
        LlamaForCausalLM(config), tmp_path_factory.mktemp("models") / "llama", character_tokenizer(), "# Card"
    )


def test_round_trip(llama: Path) -> None:
    model, tokenizer = load_model(llama), load_tokenizer(llama)
    assert not model.training
    assert tokenizer.decode(tokenizer.encode("hello, world")) == "hello, world"
    assert (llama / "README.md").read_text() == "# Card"
    assert sorted(path.suffix for path in llama.iterdir() if path.stat().st_size > 10_000) == [".safetensors"]


def test_sharded(llama: Path, tmp_path: Path) -> None:
    model = load_model(llama)
    model.save_pretrained(tmp_path / "sharded", max_shard_size="5KB")
    assert len(list((tmp_path / "sharded").glob("*.safetensors"))) > 1
    again = load_model(tmp_path / "sharded")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_adapter(llama: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(load_model(llama), LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    ids = torch.arange(5)[None]
    expected = model(ids).logits
    model.save_pretrained(tmp_path / "adapter")
    merged = load_model(f"{llama}+{tmp_path / 'adapter'}")
    assert torch.allclose(merged(ids).logits, expected, atol=1e-5)


def test_hub_cache(llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub id is found in the hub's cache while offline."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    snapshot = tmp_path / "models--org--name" / "snapshots" / ("a" * 40)
    snapshot.parent.mkdir(parents=True)
    snapshot.symlink_to(llama)
    (tmp_path / "models--org--name" / "refs").mkdir()
    (tmp_path / "models--org--name" / "refs" / "main").write_text("a" * 40)
    assert resolve("org/name").resolve() == llama.resolve()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("/no/such/folder", "no such folder"),
        ("nothing", "no such folder; give a model folder or a hub id"),
        ("org/absent", "not in the hub's cache, and HF_HUB_OFFLINE is set, so that the hub is not asked"),
        ("bad name!/x y", "neither a folder nor a valid hub id"),
    ],
)
def test_what_cannot_be_found(name: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        resolve(name)


def test_what_cannot_be_loaded(llama: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no config.json"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match="not a JSON object"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mine", "auto_map": {"AutoModel": "code.Model"}}))
    with pytest.raises(UserError, match="wants Python code of its own"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", "architectures": ["Nonsense"]}))
    with pytest.raises(UserError, match="`architectures` names Nonsense"):
        load_model(tmp_path)
    shape = json.loads((llama / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(shape | {"hidden_size": "wide", "num_attention_heads": 7}))
    with pytest.raises(UserError, match="cannot be loaded"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_bytes((llama / "config.json").read_bytes())
    (tmp_path / "model.safetensors").write_bytes((llama / "model.safetensors").read_bytes()[:-100])
    with pytest.raises(UserError, match="cannot be loaded"):
        load_model(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(UserError, match="only pickled weights"):
        load_model(tmp_path)


@pytest.mark.slow
def test_smollm2_knows_a_capital(smollm2: Path) -> None:
    model, tokenizer = load_model(smollm2, dtype="float32"), load_tokenizer(smollm2)
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    answer = model.generate(**ids, max_new_tokens=12, do_sample=False)[0, ids["input_ids"].shape[1] :]
    assert "The capital of France is Paris." in tokenizer.decode(answer, skip_special_tokens=True)
