"""A suspect that is a local checkpoint in the Hugging Face layout: safetensors only, no code of its own, no pickle."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from burnish.core.errors import BurnishError, UserError
from burnish.core.files import sha256
from burnish.core.models import load_reported, read_config, resolve
from burnish.prove.images import resized, with_channels
from burnish.prove.suspects.settings import Answer, SuspectSettings

PROCESSOR = "preprocessor_config.json"


class HuggingFace:
    """An image model of transformers: its labels or logits, or embeddings of the network below its head.

    Args:
        settings: the folder or hub id, the pooling, the device.
        answer: what it will be asked.
        note: told how pictures are prepared where the folder has no image processor.

    Raises:
        UserError: it cannot be read, wants code of its own, is no image model, or lacks weights that the answer needs.
    """

    def __init__(
        self, settings: SuspectSettings, answer: Answer, note: Callable[[str], None] = lambda _message: None
    ) -> None:
        import torch

        self._name = settings.model
        self._answer = answer
        self._device = settings.device
        if settings.device.startswith("cuda") and not torch.cuda.is_available():
            raise UserError(f"device: {settings.device} is asked for, but torch sees no CUDA device; use cpu")
        folder = resolve(settings.model)
        with _quiet(), _refused(f"{settings.model}: cannot be loaded"):
            task = "base" if answer == "embeddings" else "ImageClassification"
            model, missing = load_reported(folder, task, device=settings.device)
            # pictures come with channels last, and convolutions on a processor are a third faster so
            self._model = model.to(memory_format=torch.channels_last)
        self._side, self._channels = _form(self._model.config)
        if getattr(self._model, "main_input_name", "pixel_values") != "pixel_values":
            raise UserError(f"{settings.model}: a {self._model.config.model_type} model takes no pictures")
        self._pooling = self._pooled(settings, missing) if answer == "embeddings" else ""
        needed = [name for name in missing if self._pooling == "pooler" or "pooler" not in name]
        if needed:
            raise UserError(
                f"{settings.model}: the checkpoint lacks {needed[0]} ({len(needed)} weights), which would be random; "
                f"it cannot be asked for {answer}"
            )
        self._processor = _processor(folder)
        if self._processor is None:
            to = f", resized to {self._side} x {self._side}" if self._side else ""
            note(f"{settings.model}: no image processor in it; pixels are divided by 255{to} and nothing more")
        self.sent_bytes = 0
        self.retried = 0
        pooling = f" pooling={self._pooling}" if self._pooling else ""
        self.identity = f"huggingface sha256:{_fingerprint(folder)}{pooling}"

    def answer(self, images: UInt8[np.ndarray, "n height width channels"]) -> Any:
        """One forward pass over the batch.

        Raises:
            UserError: the model or its image processor refuses pictures of this size.
        """
        import torch

        with torch.inference_mode():
            ready = self._prepared(images).to(self._model.dtype, memory_format=torch.channels_last)
            with _refused(f"{self._name}: refuses pictures prepared as {tuple(ready.shape)}"):
                found = self._model(pixel_values=ready)
            if self._answer == "labels":
                return found.logits.argmax(-1).cpu().numpy()
            values = found.logits if self._answer == "logits" else self._embedding(found)
            return values.float().cpu().numpy()

    def refusal(self, problem: str) -> BurnishError:
        """The model is at fault; the user picks another."""
        return UserError(f"model: {self._name} gave {problem}")

    def close(self) -> None:
        """Let the weights go."""
        del self._model

    def _prepared(self, images: UInt8[np.ndarray, "n height width channels"]) -> Any:
        import torch

        images = with_channels(images, self._channels)
        if self._processor is not None:
            with _quiet(), _refused(f"{self._name}: its image processor refuses these pictures"):
                ready = self._processor(list(images), return_tensors="pt", input_data_format="channels_last")
                return ready["pixel_values"].to(self._device)
        if self._side:
            images = resized(images, self._side, self._side)
        return torch.from_numpy(np.array(images)).to(self._device).permute(0, 3, 1, 2).float() / 255

    def _pooled(self, settings: SuspectSettings, missing: list[str]) -> str:
        names = [name for name, _ in self._model.named_parameters()]
        lacking = any("pooler" in name for name in missing)
        pooler = getattr(self._model, "pooler", None) is not None and not lacking
        token = any("cls_token" in name or "class_embedding" in name for name in names)
        if settings.pooling == "pooler" and not pooler:
            why = "has none that was trained" if lacking else "has none"
            raise UserError(f"pooling: pooler is asked for, but {settings.model} {why}; use cls or mean")
        if settings.pooling == "cls" and not token:
            raise UserError(f"pooling: cls is asked for, but {settings.model} has no class token; use pooler or mean")
        if settings.pooling != "auto":
            return settings.pooling
        return "pooler" if pooler else "cls" if token else "mean"

    def _embedding(self, found: Any) -> Any:
        if self._pooling == "pooler":
            return found.pooler_output.flatten(1)
        hidden = found.last_hidden_state
        if hidden.ndim == 4:  # a convolutional map [n, channels, height, width]
            return hidden.mean((2, 3))
        return hidden[:, 0] if self._pooling == "cls" else hidden.mean(1)


def is_classifier(settings: SuspectSettings) -> bool:
    """Whether the model's config names an image classifier.

    Raises:
        UserError: no such model.
    """
    architectures = read_config(resolve(settings.model)).get("architectures") or []
    return any(str(name).endswith("ForImageClassification") for name in architectures)


def _form(config: Any) -> tuple[int | None, int]:
    side = getattr(config, "image_size", None)
    side = side[0] if isinstance(side, list | tuple) and side else side
    channels = getattr(config, "num_channels", 3)
    return (side if isinstance(side, int) else None), (1 if channels == 1 else 3)


def _processor(folder: Path) -> Any:
    if not (folder / PROCESSOR).exists():
        return None
    import transformers

    with _quiet(), _refused(f"{folder / PROCESSOR}: no image processor that can be used"):
        return transformers.AutoImageProcessor.from_pretrained(folder, trust_remote_code=False)


def _fingerprint(folder: Path) -> str:
    """One hash of all that decides an answer: weights and settings, in whichever JSON files transformers looks for
    them."""
    names = sorted([*folder.glob("*.safetensors"), *folder.glob("*.json")])
    hashes = {path.name: sha256(path) for path in names if path.is_file()}
    return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()


@contextlib.contextmanager
def _refused(what: str) -> Iterator[None]:
    """A suspect's folder is a stranger's: whatever its settings make transformers raise, the user gets one line."""
    try:
        yield
    except BurnishError:
        raise
    except Exception as error:
        raise UserError(f"{what} ({type(error).__name__}: {' '.join(str(error).split())[:200]})") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' table of unused head weights: what is missing is refused, what is unused is meant."""
    import transformers

    before = transformers.utils.logging.get_verbosity()
    transformers.utils.logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers.utils.logging.set_verbosity(before)
