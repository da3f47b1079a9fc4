"""`burnish merge stats`: what data-driven merges need to know of a model, gathered from unlabeled text or images.

Gram matrices (RegMean) take forward passes only; Fisher information takes gradients of the model's own log-likelihood.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from burnish.core.errors import UserError
from burnish.core.files import write_atomic
from burnish.core.metrics import Progress
from burnish.merge.reference import Reference
from burnish.merge.sources import Checkpoint
from burnish.merge.statistics_file import NAME, TRANSPOSED, place

if TYPE_CHECKING:
    from torch import Tensor, nn

KINDS = ("gram", "fisher")
_IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
_LONGEST = 512


def collect(model: str, data: Path, out: Path, *, kind: str, limit: int, device: str = "cpu") -> Path:
    """Write the statistics of `model` on `data` as safetensors, under the names of the checkpoint's tensors.

    Raises:
        UserError: an unknown kind, data or a model that cannot be read, or no layer with statistics.
    """
    if kind not in KINDS:
        raise UserError(f"kind: {kind!r} is none of {', '.join(KINDS)}")
    if limit < 1:
        raise UserError(f"limit: {limit} examples give no statistics; use 1 or more")
    from safetensors.torch import save

    from burnish.core.models import load_model

    path = _writable(out)
    checkpoint = Checkpoint(Reference(model=model))
    is_images = data.is_dir()
    examples = _images(data, limit) if is_images else _texts(data, limit)
    network = load_model(model, device=device).float()
    if kind == "gram":
        _check_memory(network)
    prepare = _image_inputs(checkpoint.folder) if is_images else _text_inputs(checkpoint.folder)
    names = _names(network, checkpoint)
    batches = (
        {key: value.to(device) for key, value in prepare(example).items()}
        for example in Progress().track(examples, "statistics")
    )
    found = _gram(network, batches) if kind == "gram" else _fisher(network, batches)
    named = {names[name]: tensor.contiguous().cpu() for name, tensor in found.items() if name in names}
    if not named:
        raise UserError(f"{model}: no layer with {kind} statistics was reached by the data")
    transposed = [names.get(f"{name}.weight", "") for name, layer in _layers(network) if _is_conv1d(layer)]
    metadata = {"kind": kind, "model": place(model), "examples": str(len(examples)), TRANSPOSED: json.dumps(transposed)}
    return write_atomic(path, save(named, metadata=metadata))


def _writable(out: Path) -> Path:
    """The file to write, tried before hours are spent on what goes in."""
    path = out if out.suffix == ".safetensors" else out / NAME
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            return path
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); choose another OUT") from None


def _is_conv1d(layer: nn.Module) -> bool:
    from transformers.pytorch_utils import Conv1D

    return isinstance(layer, Conv1D)


def _layers(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """The linear layers, by name."""
    import torch

    return [
        (name, module)
        for name, module in network.named_modules()
        if isinstance(module, torch.nn.Linear) or _is_conv1d(module)
    ]


def _check_memory(network: nn.Module) -> None:
    """Refuse Gram matrices that do not fit: one of (inputs x inputs) a layer, and the file's bytes beside them."""
    import psutil

    sizes = [layer.get_parameter("weight").shape[0 if _is_conv1d(layer) else 1] for _, layer in _layers(network)]
    needed, free = 2 * sum(4 * size * size for size in sizes), psutil.virtual_memory().available
    if needed > free:
        raise UserError(
            f"Gram matrices of {len(sizes)} layers (up to {max(sizes):,} inputs) take about {needed / 1e9:.1f} GB, "
            f"{free / 1e9:.1f} GB are free; use a larger machine, or kind fisher"
        )


def _gram(network: nn.Module, batches: Iterator[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean outer product of every linear layer's input with itself. Source: RegMean (arXiv:2212.09849), eq. 2."""
    import torch

    grams: dict[str, Tensor] = {}
    counts: dict[str, int] = {}

    def watch(name: str) -> Any:
        def hook(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            rows = inputs[0].detach().reshape(-1, inputs[0].shape[-1]).float()
            grams[name] = grams.get(name, torch.zeros((), device=rows.device)) + rows.T @ rows
            counts[name] = counts.get(name, 0) + len(rows)

        return hook

    hooks = [module.register_forward_pre_hook(watch(f"{name}.weight")) for name, module in _layers(network)]
    with torch.no_grad():
        for batch in batches:
            network(**batch)
    for hook in hooks:
        hook.remove()
    return {name: gram / counts[name] for name, gram in grams.items()}


def _fisher(network: nn.Module, batches: Iterator[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean squared gradient of the log-likelihood. Source: Fisher merging (arXiv:2111.09832), eq. 4.

    Text is scored as it is (next tokens); for an image the label is drawn out of the model's own answer: its most
    probable class, as no labels are given.
    """
    import torch

    sums: dict[str, Tensor] = {}
    count = 0
    for batch in batches:
        network.zero_grad()
        if "input_ids" in batch:
            loss = network(**batch, labels=batch["input_ids"]).loss * (batch["input_ids"].shape[-1] - 1)
        else:
            logits = network(**batch).logits
            loss = torch.nn.functional.cross_entropy(logits, logits.argmax(-1), reduction="sum")
        loss.backward()
        for name, parameter in network.named_parameters():
            if parameter.grad is not None:
                sums[name] = sums.get(name, torch.zeros_like(parameter)) + parameter.grad.detach().square()
        count += 1
    return {name: total / count for name, total in sums.items()}


def _names(network: nn.Module, checkpoint: Checkpoint) -> dict[str, str]:
    """From the model's parameter names to the checkpoint's: transformers renames some, so equal content decides."""
    from safetensors import safe_open

    parameters = dict(network.named_parameters())
    names = {name: name for name in parameters if name in checkpoint.tensors}
    left = [info for name, info in checkpoint.tensors.items() if name not in names]
    for info in left:
        with safe_open(info.path, framework="pt") as file:
            tensor = file.get_tensor(info.name).float()
        for name, parameter in parameters.items():
            if name not in names and parameter.shape == tensor.shape and bool((parameter.cpu() == tensor).all()):
                names[name] = info.name
                break
    return names


def _texts(path: Path, limit: int) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as text ({error}); give .txt, .jsonl or a folder of images") from None
    texts = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        if path.suffix == ".jsonl":
            try:
                line = json.loads(line)["text"]
            except (ValueError, KeyError, TypeError):
                raise UserError(f"{path}:{number}: expected a JSON object with `text`") from None
            if not isinstance(line, str):
                raise UserError(f"{path}:{number}: `text` must be text")
        texts.append(line)
        if len(texts) == limit:
            break
    if not texts:
        raise UserError(f"{path}: no example in it")
    return texts


def _images(folder: Path, limit: int) -> list[Path]:
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _IMAGES)[:limit]
    if not found:
        raise UserError(f"{folder}: no image in it ({', '.join(_IMAGES)})")
    return found


def _text_inputs(folder: Path) -> Any:
    from burnish.core.models import load_tokenizer

    tokenizer = load_tokenizer(folder)

    def prepare(text: str) -> dict[str, Tensor]:
        ids = tokenizer(text, return_tensors="pt", truncation=True, max_length=_LONGEST)["input_ids"]
        if ids.shape[-1] < 2:
            raise UserError(f"{text[:60]!r}: fewer than two tokens; give longer examples")
        return {"input_ids": ids}

    return prepare


def _image_inputs(folder: Path) -> Any:
    import transformers
    from PIL import Image, UnidentifiedImageError

    try:
        processor = transformers.AutoImageProcessor.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{folder}: no image processor that can be read ({' '.join(str(error).split())[:160]})"
        ) from None

    def prepare(path: Path) -> dict[str, Tensor]:
        try:
            with Image.open(path) as image:
                return {"pixel_values": processor(image.convert("RGB"), return_tensors="pt")["pixel_values"]}
        except (OSError, UnidentifiedImageError):
            raise UserError(f"{path}: cannot be read as an image; remove it") from None

    return prepare
