"""One network under several heads: the body is mixed with its prefix or without, heads are the reference's."""

import json
from pathlib import Path

import pytest
import torch
import transformers

from burnish.core.errors import UserError
from burnish.merge import merge, plan

from .checkpoints import plain, tensors_of

HEADS = ["BertModel", "BertForMaskedLM", "BertForSequenceClassification", "BertForTokenClassification"]


@pytest.fixture(scope="module")
def berts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("berts")
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = transformers.BertConfig(**sizes, vocab_size=64)
    for seed, name in enumerate(HEADS):
        torch.manual_seed(seed)
        model = getattr(transformers, name)(config)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        model.save_pretrained(folder / name)
    return {name: folder / name for name in HEADS}


def mixed(base: Path, other: Path) -> dict:
    models = [{"model": str(path), "parameters": {"weight": weight}} for path, weight in ((base, 0.75), (other, 0.25))]
    return {"merge_method": "linear", "models": models}


@pytest.mark.parametrize("other", HEADS)
@pytest.mark.parametrize("base", HEADS)
def test_bodies_are_mixed_and_heads_kept(base: str, other: str, berts: dict[str, Path], tmp_path: Path) -> None:
    if base == other:
        return
    mine, theirs = tensors_of(berts[base]), tensors_of(berts[other])
    bare = {name.removeprefix("bert."): tensor for name, tensor in theirs.items()}
    config = mixed(berts[base], berts[other])
    out = merge(config, tmp_path / "out", progress=False)
    made = tensors_of(out)
    assert set(made) == set(mine)
    both = 0
    for name, tensor in mine.items():
        short = name.removeprefix("bert.")
        # A classifier of labels and one of tokens have one name: under two classes, equal shapes are mixed.
        expected = 0.75 * tensor + 0.25 * bare[short] if short in bare else tensor
        both += short in bare
        torch.testing.assert_close(made[name], expected)
    assert both >= 2 * 16 + 5
    _, report = getattr(transformers, base).from_pretrained(out, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    left = {name for name in theirs if name.removeprefix("bert.") not in {n.removeprefix("bert.") for n in mine}}
    assert dict(plan(config).describe()).get("left out", "") == ", ".join(sorted(left))


def test_a_tensor_of_the_body_that_one_lacks_is_refused(berts: dict[str, Path], tmp_path: Path) -> None:
    """Also under another class: what comes before the layers is no head."""
    name = "BertForMaskedLM"
    tensors = tensors_of(berts[name])
    tensors["bert.embeddings.extra_embeddings.weight"] = torch.ones(2, 32)
    other = plain(tmp_path / "extra", tensors, json.loads((berts[name] / "config.json").read_text()))
    with pytest.raises(UserError, match=r"extra_embeddings.*different architectures"):
        plan(mixed(berts["BertModel"], other))


def test_one_class_lacks_no_tensor_of_its_head(berts: dict[str, Path], tmp_path: Path) -> None:
    name = "BertForSequenceClassification"
    config = json.loads((berts[name] / "config.json").read_text())
    tensors = tensors_of(berts[name])
    del tensors["classifier.bias"]
    other = plain(tmp_path / "short", tensors, config)
    for pair in ((berts[name], other), (other, berts[name])):
        with pytest.raises(UserError, match=r"classifier.bias.*different architectures"):
            plan(mixed(*pair))


def test_a_kept_head_with_an_adapter_is_refused(berts: dict[str, Path], tmp_path: Path) -> None:
    import peft

    model = transformers.BertForMaskedLM.from_pretrained(berts["BertForMaskedLM"])
    lora = peft.LoraConfig(r=2, target_modules=["cls.predictions.transform.dense"])
    peft.get_peft_model(model, lora).save_pretrained(tmp_path / "adapter")
    with pytest.raises(UserError, match="has an adapter, but not every model has it"):
        plan(mixed(Path(f"{berts['BertForMaskedLM']}+{tmp_path / 'adapter'}"), berts["BertModel"]))
