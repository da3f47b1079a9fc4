"""A fine-tune as a LoRA adapter on its base: `fine-tune - base`, weight by weight, each in its best low-rank form.

Linear layers (GPT-2's transposed ones too) and embeddings become low-rank; what has no such form (norms, positions,
convolutions) is stored whole where it changed. Weights are read one at a time, factors wait on the disk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from burnish.core.errors import UserError
from burnish.core.metrics import Progress
from burnish.merge.architecture import BUFFERS, is_head
from burnish.merge.compatibility import check_alike
from burnish.merge.low_rank import LowRank, factorized
from burnish.merge.output import check_device
from burnish.merge.output_folder import write_json
from burnish.merge.reference import named
from burnish.merge.safetensors_file import TensorInfo
from burnish.merge.skeleton import skeleton
from burnish.merge.sources import Checkpoint, Source
from burnish.merge.streamed import Inputs, NewTensor, new_folder, write_shards

RECORD = "burnish_lora.json"
Kind = Literal["linear", "transposed", "embedding", "bias", "whole"]
_CARD = """---
base_model: {base}
library_name: peft
tags: [lora, burnish]
---
# {name}

The LoRA adapter on `{base}` that comes nearest to `{model}`, extracted by singular value decomposition with Burnish.

Highest rank {rank}. Of the change from base to fine-tune the adapter lacks {error:.3g} (relative Frobenius norm); every
module's own figure is in `{record}`.
"""
_TIED = """
The head is tied to the embedding, and both are part of the adapter: PEFT's `merge_and_unload` would add the change to
the one table twice. Load the adapter, or merge it with Burnish (`model: {base}+ADAPTER` under `passthrough`).
"""


@dataclass(frozen=True)
class ExtractedModule:
    """One module of the adapter.

    Attributes:
        name: in the network.
        stored: as a low-rank product, or whole.
        rank: of the product, 0 for a whole module.
        error: relative Frobenius norm of what the product lacks of the weight's change.
    """

    name: str
    stored: Literal["low-rank", "whole"]
    rank: int
    error: float


@dataclass(frozen=True)
class Extraction:
    """An adapter and how near it is.

    Attributes:
        path: the adapter's folder.
        rank: the highest of its ranks.
        error: relative Frobenius norm of what it lacks of all changes together: 0 is the fine-tune, 1 is the base.
        modules: its modules, in the order of the network.
    """

    path: Path
    rank: int
    error: float
    modules: tuple[ExtractedModule, ...]


@dataclass(frozen=True)
class _Pair:
    """One tensor of the network, in the base and in the fine-tune.

    Attributes:
        module: the module that holds it.
        leaf: its name there: `weight`, `bias`.
        kind: how its change can be stored.
        base: where the base has it.
        tuned: where the fine-tune has it.
        follows: it is a tied head: the same tensor as the embedding in both models.
    """

    module: str
    leaf: str
    kind: Kind
    base: Source
    tuned: Source
    follows: bool


def extract(model: str, base: str, out: Path, *, rank: int | None, energy: float | None, device: str) -> Extraction:
    """What :func:`burnish.merge.extract_lora` does; its progress goes to stderr."""
    if rank is None and energy is None:
        raise UserError("rank: neither a rank nor a share of energy is given; give one of them, or both")
    if rank is not None and rank < 1:
        raise UserError(f"rank: {rank} is no rank; give 1 or more")
    if energy is not None and not 0 < energy <= 1:
        raise UserError(f"energy: {energy} is no share; give a number above 0 and up to 1")
    check_device(device)
    tuned, origin = Checkpoint(named(model)), Checkpoint(named(base))
    if origin.reference.lora is not None:
        raise UserError(
            f"{base}: an adapter is loaded on one model, not on a model with another adapter; merge the two first "
            "(`passthrough`) and give the result as the base"
        )
    check_alike([origin, tuned])
    pairs = _pairs(origin, tuned)
    inputs = Inputs()
    try:
        with new_folder(out) as folder:
            adapter = _Adapter(inputs, folder / "factors.part", rank, energy, device)
            adapter.gather(pairs)
            found = Extraction(out, adapter.rank, adapter.error, tuple(adapter.modules))
            _write(folder, adapter, found, model, base, rank, energy, pairs)
            (folder / "factors.part").unlink()
    finally:
        inputs.close()
    return found


def _pairs(origin: Checkpoint, tuned: Checkpoint) -> list[_Pair]:
    """Every tensor of the network with its place in both models.

    Raises:
        UserError: a tensor that one of them lacks, or of another shape.
    """
    network = skeleton(origin)
    kinds = {name: _kind(module) for name, module in network.named_modules()}
    pairs = []
    for name in network.state_dict():
        module, _, leaf = name.rpartition(".")
        old, new = origin.find(name), tuned.find(name)
        if old is None or new is None:
            if old is new and BUFFERS.search(name):
                continue
            lacking = origin if old is None else tuned
            raise UserError(
                f"{lacking.reference}: tensor {name!r} of the network is not in its files; models whose tensors "
                "transformers renames on loading are not taken"
            )
        shapes = [list(source.info.shape) for source in (old, new)]
        if shapes[0] != shapes[1]:
            raise UserError(
                f"{tuned.reference}: tensor {name!r} is {shapes[1]}, in {origin.reference} {shapes[0]}; an adapter "
                "cannot change shapes: give the base the fine-tune's vocabulary first (a merge with `tokenizer`)"
            )
        follows = is_head(name) and origin.tied and tuned.tied and name not in origin.tensors
        kind: Kind = kinds[module]
        if leaf != "weight":
            kind = "bias" if kind in ("linear", "transposed") else "whole"
        pairs.append(_Pair(module, leaf, kind, old, new, follows))
    return pairs


def _kind(module: torch.nn.Module) -> Kind:
    from transformers.pytorch_utils import Conv1D

    if isinstance(module, Conv1D):
        return "transposed"
    # A class of its own may compute something else from the same weight (scaled embeddings among them).
    if type(module) is torch.nn.Linear:
        return "linear"
    return "embedding" if type(module) is torch.nn.Embedding else "whole"


class _Adapter:
    """What the adapter will hold, gathered module by module.

    Args:
        inputs: reads the models.
        spool: the file that factors wait in until their number is known.
        rank: the highest rank, or none.
        energy: the share of squared singular values to keep, or none.
        device: where the decomposition runs.
    """

    def __init__(self, inputs: Inputs, spool: Path, rank: int | None, energy: float | None, device: str) -> None:
        self._inputs, self._spool, self._device = inputs, spool, device
        self._rank, self._energy = rank, energy
        self._lost = self._whole = 0.0
        self.tensors: list[NewTensor] = []
        self.modules: list[ExtractedModule] = []
        self.biased = False
        spool.touch()

    @property
    def rank(self) -> int:
        """The highest rank."""
        return max((module.rank for module in self.modules), default=0)

    @property
    def error(self) -> float:
        """Relative Frobenius norm of what all changes together lose."""
        return (self._lost / self._whole) ** 0.5 if self._whole else 0.0

    def gather(self, pairs: Sequence[_Pair]) -> None:
        """Find what changed, and bring it into the form that it is stored in."""
        small = [pair for pair in pairs if pair.kind in ("bias", "whole")]
        changed = [pair for pair in small if self._change(pair).any()]
        biases = {pair.module: pair for pair in changed if pair.kind == "bias"}
        whole = {pair.module for pair in changed if pair.kind == "whole"}
        if "" in whole:
            name = next(pair.leaf for pair in changed if pair.module == "")
            raise UserError(f"tensor {name!r} changed and belongs to no module; an adapter cannot hold it")
        weights = [pair for pair in pairs if pair.kind not in ("bias", "whole") and not _inside(pair.module, whole)]
        for pair in Progress().track(weights, "extracting", len(weights)):
            delta = self._change(pair)
            if delta.any() or pair.module in biases:
                self._low_rank(pair, delta, biases.get(pair.module))
        self._store_whole([pair for pair in pairs if _inside(pair.module, whole)], whole)

    def _low_rank(self, pair: _Pair, delta: Tensor, bias: _Pair | None) -> None:
        matrix = delta.T if pair.kind == "transposed" else delta
        found: LowRank = factorized(matrix, self._rank, self._energy)
        if pair.kind == "embedding":
            # An embedding's weight is (tokens, width), and PEFT's product for it is (width, tokens).
            self._add(f"{pair.module}.lora_embedding_A", found.b.T)
            self._add(f"{pair.module}.lora_embedding_B", found.a.T)
        else:
            self._add(f"{pair.module}.lora_A.weight", found.a)
            self._add(f"{pair.module}.lora_B.weight", found.b)
        if bias is not None:
            # PEFT's `bias: all`: the layer's own bias, exactly the fine-tune's.
            self._add(f"{pair.module}.base_layer.bias", self._inputs.tensor(bias.tuned))
            self.biased = True
        if not pair.follows:
            self._lost += found.lost
            self._whole += found.whole
        self.modules.append(ExtractedModule(pair.module, "low-rank", len(found.a), found.error))

    def _store_whole(self, pairs: Sequence[_Pair], whole: set[str]) -> None:
        for pair in pairs:
            self._add(f"{pair.module}.{pair.leaf}", self._inputs.tensor(pair.tuned))
            self._whole += float(self._change(pair).double().square().sum())
        self.modules += [ExtractedModule(name, "whole", 0, 0.0) for name in sorted(whole)]

    def _change(self, pair: _Pair) -> Tensor:
        """The fine-tune's tensor less the base's, in float32."""
        return self._inputs.tensor(pair.tuned, self._device).sub_(self._inputs.tensor(pair.base, self._device))

    def _add(self, name: str, tensor: Tensor) -> None:
        data = tensor.detach().cpu().contiguous()
        full = f"base_model.model.{name}"
        with self._spool.open("ab") as file:
            info = TensorInfo(full, "F32", tuple(data.shape), self._spool, file.tell(), 4 * data.numel())
            file.write(data.numpy().tobytes())
        self.tensors.append(NewTensor(full, "F32", info.shape, lambda: self._inputs.tiles(info)))


def _inside(module: str, owners: set[str]) -> bool:
    """Whether a module is one of those, or a part of one."""
    return any(module == owner or module.startswith(f"{owner}.") for owner in owners)


def _write(
    folder: Path,
    adapter: _Adapter,
    found: Extraction,
    model: str,
    base: str,
    rank: int | None,
    energy: float | None,
    pairs: Sequence[_Pair],
) -> None:
    """PEFT's two files, the record of errors and the card."""
    if not adapter.tensors:
        raise UserError(f"{model}: no weight differs from {base}; there is nothing to extract")
    write_shards(folder, adapter.tensors, shard_size=2**63, progress=True, stem="adapter_model")
    ranks = {module.name: module.rank for module in found.modules if module.stored == "low-rank"}
    usual = Counter(ranks.values()).most_common(1)[0][0] if ranks else 1
    others = {name: own for name, own in ranks.items() if own != usual}
    whole = [module.name for module in found.modules if module.stored == "whole"]
    settings = {
        "peft_type": "LORA",
        "base_model_name_or_path": base,
        "r": usual,
        # Alpha equal to the rank makes the factor before B A one.
        "lora_alpha": usual,
        "rank_pattern": others,
        "alpha_pattern": others,
        "target_modules": list(ranks),
        "modules_to_save": whole or None,
        "fan_in_fan_out": any(pair.kind == "transposed" and pair.module in ranks for pair in pairs),
        "bias": "all" if adapter.biased else "none",
        "ensure_weight_tying": any(pair.follows and pair.module in ranks for pair in pairs),
        "lora_dropout": 0.0,
        "inference_mode": True,
    }
    write_json(folder / "adapter_config.json", settings)
    told = {"model": model, "base": base, "rank": rank, "energy": energy, "error": found.error}
    write_json(folder / RECORD, told | {"modules": [asdict(module) for module in found.modules]})
    card = _CARD.format(base=base, name=found.path.name, model=model, rank=found.rank, error=found.error, record=RECORD)
    if settings["ensure_weight_tying"]:
        card += _TIED.format(base=base)
    (folder / "README.md").write_text(card, encoding="utf-8")
