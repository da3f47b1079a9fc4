"""Raw bytes to float32 tensors and back: adapters applied, vocabularies aligned. The only room here that needs
torch."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from burnish.merge.safetensors_file import TensorInfo
from burnish.merge.sources import Source
from burnish.merge.steps import Step

_DTYPES = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}
Raw = Mapping[TensorInfo, NDArray[np.uint8]]


def as_tensor(data: NDArray[np.uint8], info: TensorInfo) -> Tensor:
    """A tensor over raw bytes, without a copy."""
    if not data.size:
        return torch.empty(info.shape, dtype=_DTYPES[info.dtype])
    return torch.frombuffer(data.data, dtype=_DTYPES[info.dtype]).reshape(info.shape)


def load(step: Step, raw: Raw, device: str) -> list[Tensor]:
    """A step's inputs as float32 tensors on the device, ready for the method."""
    tensors = [with_adapter(source, raw, device) for source in step.sources]
    if step.rows is not None:
        gathered = step.rows.gather([tensor.cpu().numpy() for tensor in tensors])
        tensors = [torch.from_numpy(np.ascontiguousarray(array)).to(device) for array in gathered]
    return tensors


def with_adapter(source: Source, raw: Raw, device: str) -> Tensor:
    """One source as a float32 tensor, with its adapter's part added."""
    weight = as_tensor(raw[source.info], source.info).to(device).float()
    if source.lora is None:
        return weight
    a, b = (as_tensor(raw[half], half).to(device).float() for half in source.lora.halves)
    delta = (b @ a) * source.lora.scale
    # Not in place: a float32 weight still shares its memory with the buffer, which another use may read.
    return weight + (delta.T if source.lora.transpose else delta)


def rounded(merged: Tensor, dtype: str) -> NDArray[np.uint8]:
    """The bytes of a result in its final dtype: the one rounding of a merge."""
    result = merged.detach().to(_DTYPES[dtype]).contiguous().cpu()
    return result.reshape(-1).view(torch.uint8).numpy()
