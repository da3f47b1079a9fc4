"""The mixture itself: every expert's feed-forward weights beside each other, the rest from the base, gates in between.

Weights are copied tile by tile under the names that Hugging Face checkpoints of these classes have (a tensor an
expert), which every version of transformers and the serving stacks read.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import xxhash
from torch import Tensor

from burnish.core.errors import UserError
from burnish.merge.architecture import BUFFERS, Stack
from burnish.merge.compatibility import check_alike
from burnish.merge.moe.config import Expert, MoEConfig
from burnish.merge.moe.gates import gates
from burnish.merge.output import parse_size
from burnish.merge.reference import Reference
from burnish.merge.safetensors_file import DTYPE_NAME
from burnish.merge.side_files import side_files
from burnish.merge.sources import Checkpoint, Source
from burnish.merge.streamed import Inputs, NewTensor, made_from, new_folder, write_shards


@dataclass(frozen=True)
class Target:
    """A class of mixtures.

    Attributes:
        model_type: in its config.
        class_name: of its causal language model.
        dense: model types that it can be made of.
        block: what the feed-forward part of a layer is called.
        parts: of an expert: the dense model's name to the mixture's.
        count: the config's key for the number of experts.
    """

    model_type: str
    class_name: str
    dense: tuple[str, ...]
    block: str
    parts: dict[str, str]
    count: str


_PARTS = {name: name for name in ("gate_proj", "up_proj", "down_proj")}
TARGETS = {
    "mixtral": Target(
        "mixtral",
        "MixtralForCausalLM",
        ("llama", "mistral"),
        "block_sparse_moe",
        {"gate_proj": "w1", "down_proj": "w2", "up_proj": "w3"},
        "num_local_experts",
    ),
    "qwen": Target("qwen2_moe", "Qwen2MoeForCausalLM", ("qwen2", "llama", "mistral"), "mlp", _PARTS, "num_experts"),
    "qwen3": Target("qwen3_moe", "Qwen3MoeForCausalLM", ("qwen3",), "mlp", _PARTS, "num_experts"),
}


def build(config: MoEConfig, out: Path, *, shard_size: str | int, progress: bool) -> Path:
    """What :func:`burnish.merge.moe_merge` does."""
    size = parse_size(shard_size)
    opened = {
        reference: Checkpoint(reference)
        for reference in dict.fromkeys(
            [config.base_model, *(expert.source_model for expert in [*config.experts, *config.shared_experts])]
        )
    }
    base = opened[config.base_model]
    check_alike([base, *opened.values()])
    target = _target(config, base)
    inputs = Inputs()
    try:
        mixture = _Mixture(config, target, base, opened, inputs)
        with new_folder(out) as folder:
            # The gates are computed here, before the first byte is written.
            write_shards(folder, list(mixture.tensors()), shard_size=size, progress=progress)
            _settings(config, target, base, mixture.dtype).save_pretrained(folder)
            for name, source in side_files([base.folder], 0).items():
                (folder / name).parent.mkdir(exist_ok=True)
                shutil.copyfile(source, folder / name)
            (folder / "mergekit_moe_config.yml").write_text(config.yaml, encoding="utf-8")
    finally:
        inputs.close()
    return out


def _target(config: MoEConfig, base: Checkpoint) -> Target:
    kind = str(base.config.get("model_type"))
    fits = [name for name, target in TARGETS.items() if kind in target.dense]
    name = config.architecture or ("qwen" if config.shared_experts and "qwen" in fits else (fits[0] if fits else None))
    if name is None or name not in fits:
        known = ", ".join(sorted({dense for target in TARGETS.values() for dense in target.dense}))
        raise UserError(
            f"{config.where('base_model')}: {name or 'a mixture'} cannot be made of {kind} ({known} can be)"
        )
    if name == "qwen" and not config.shared_experts:
        raise UserError(f"{config.where()}: a Qwen2 mixture has a shared expert; give one under `shared_experts`")
    if name != "qwen" and config.shared_experts:
        raise UserError(f"{config.where('shared_experts')}: a {TARGETS[name].model_type} mixture has no shared expert")
    if name == "qwen3" and base.config.get("use_sliding_window"):
        # Qwen3-MoE knows one window for all layers; a dense Qwen3 has it in some of them.
        raise UserError(
            f"{base.reference}: some of its layers attend to a window (`use_sliding_window`), which a Qwen3 mixture "
            "cannot; set it to false in its config.json if texts are no longer than the window"
        )
    return TARGETS[name]


def _settings(config: MoEConfig, target: Target, base: Checkpoint, dtype: str) -> Any:
    """The mixture's config: the base's, its defaults written out (another class has others), and the experts'."""
    import transformers

    given = transformers.AutoConfig.from_pretrained(base.folder, trust_remote_code=False).to_dict()
    for key in (
        "model_type",
        "architectures",
        "transformers_version",
        "_name_or_path",
        "torch_dtype",
        "pretraining_tp",
    ):
        given.pop(key, None)
    given |= {
        "architectures": [target.class_name],
        "dtype": dtype,
        target.count: len(config.experts),
        "num_experts_per_tok": config.experts_per_token,
    }
    if target.model_type != "mixtral":
        # Every layer a mixture, gate values that sum to one as in Mixtral, experts as wide as the dense layer.
        given |= {"decoder_sparse_step": 1, "mlp_only_layers": [], "norm_topk_prob": True}
        given["moe_intermediate_size"] = given["shared_expert_intermediate_size"] = given["intermediate_size"]
    return transformers.CONFIG_MAPPING[target.model_type](**given)


def _layers(model: Checkpoint) -> Stack:
    """Its layers.

    Raises:
        UserError: it is no causal language model that keeps them where Llama does.
    """
    stacks = model.layout.stacks
    if len(stacks) != 1 or stacks[0].prefix != "model.layers" or len(model.layout.embeddings) != 1:
        raise UserError(f"{model.reference}: no causal language model with its layers under `model.layers`")
    return stacks[0]


class _Mixture:
    """The tensors of the result.

    Args:
        config: as the user wrote it.
        target: the class of the result.
        base: gives what is no expert.
        opened: the models by reference.
        inputs: reads them.

    Raises:
        UserError: weights that the mixture's class has no place for, or of other shapes than the base's; a model of
            another depth.
    """

    def __init__(
        self,
        config: MoEConfig,
        target: Target,
        base: Checkpoint,
        opened: dict[Reference, Checkpoint],
        inputs: Inputs,
    ) -> None:
        self._config, self._target, self._base = config, target, base
        self._opened, self._inputs = opened, inputs
        self._stack = _layers(base)
        for model in opened.values():
            if (count := len(_layers(model))) != len(self._stack):
                raise UserError(
                    f"{model.reference}: has {count} layers, {base.reference} {len(self._stack)}; "
                    "an expert is as deep as the base"
                )
        self._width = base.tensors[base.layout.embeddings[0]].shape[1]
        self.dtype = config.dtype or DTYPE_NAME[base.tensors[base.layout.embeddings[0]].dtype]

    def tensors(self) -> Iterator[NewTensor]:
        """In the order of the network."""
        config, layers, block = self._config, len(self._stack), self._target.block
        router = gates(config, self._base, config.experts, self._inputs, layers, self._width)
        shared = gates(config, self._base, config.shared_experts, self._inputs, layers, self._width)
        for name in self._base.layout.loose:
            yield from self._copied(name)
        for layer in range(layers):
            prefix = f"model.layers.{layer}"
            for suffix in self._stack.suffixes[layer]:
                if not suffix.startswith("mlp."):
                    yield from self._copied(f"{prefix}.{suffix}")
                elif suffix.removeprefix("mlp.") not in {f"{part}.weight" for part in self._target.parts}:
                    raise UserError(f"{self._base.reference}: {prefix}.{suffix}: a mixture has no place for it")
            if self._target.model_type == "qwen2_moe":
                yield from self._missing_biases(layer)
            for number, expert in enumerate(config.experts):
                yield from self._expert(expert, layer, f"{block}.experts.{number}", number)
            yield self._gate(f"{prefix}.{block}.gate.weight", router[layer])
            if config.shared_experts:
                yield from self._expert(config.shared_experts[0], layer, f"{block}.shared_expert", -1)
                yield self._gate(f"{prefix}.{block}.shared_expert_gate.weight", shared[layer])

    def _gate(self, name: str, rows: Tensor) -> NewTensor:
        return made_from(lambda: rows, name, self.dtype, tuple(rows.shape))

    def _copied(self, name: str) -> Iterator[NewTensor]:
        source = self._base.find(name)
        assert source is not None
        biased = name.endswith(".bias") and not (
            self._target.model_type == "qwen2_moe" and re.search(r"\.self_attn\.[qkv]_proj\.bias$", name)
        )
        if biased:
            raise UserError(f"{self._base.reference}: {name}: a {self._target.model_type} mixture has no place for it")
        if not BUFFERS.search(name):
            yield self._inputs.written_as(name, source, self.dtype)

    def _missing_biases(self, layer: int) -> Iterator[NewTensor]:
        """Qwen2 mixtures have biases where Llama has none: zeros."""
        for part in ("q_proj", "k_proj", "v_proj"):
            name = f"model.layers.{layer}.self_attn.{part}"
            weight = self._base.find(f"{name}.weight")
            if weight is not None and self._base.find(f"{name}.bias") is None:
                yield self._zeros(f"{name}.bias", weight.info.shape[0])

    def _zeros(self, name: str, size: int) -> NewTensor:
        return made_from(lambda: torch.zeros(size), name, self.dtype, (size,))

    def _expert(self, expert: Expert, layer: int, place: str, number: int) -> Iterator[NewTensor]:
        model = self._opened[expert.source_model]
        for part, written in self._target.parts.items():
            name = f"model.layers.{layer}.mlp.{part}.weight"
            source, own = model.find(name), self._base.find(name)
            if source is None or own is None or source.info.shape != own.info.shape:
                found = "missing" if source is None else list(source.info.shape)
                raise UserError(f"{model.reference}: {name} is {found}, which does not fit {self._base.reference}")
            full = f"model.layers.{layer}.{place}.{written}.weight"
            scale = expert.residual_scale if part == "down_proj" else None
            if scale is None and not expert.noise_scale:
                yield self._inputs.written_as(full, source, self.dtype)
                continue
            seed = xxhash.xxh3_64_intdigest(f"{self._config.seed}/{number}/{name}".encode()) >> 1
            make = partial(self._changed, source, expert.noise_scale or 0.0, 1.0 if scale is None else scale, seed)
            yield made_from(make, full, self.dtype, source.info.shape)

    def _changed(self, source: Source, noise: float, scale: float, seed: int) -> Tensor:
        weight = self._inputs.tensor(source)
        if noise:
            weight += noise * torch.randn(weight.shape, generator=torch.Generator().manual_seed(seed))
        return weight * scale
