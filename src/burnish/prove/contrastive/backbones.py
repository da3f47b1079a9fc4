"""Encoders from a transformers config: tiny ones for small images by name, or a user's own; features; saving.

Knows transformers. Weights are always new: an audit's shadow encoders may not have seen anything.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from burnish.core.errors import UserError
from burnish.core.files import folder_atomic
from burnish.core.models import read_config, resolve

MEAN, STD = 0.5, 0.5
"""Pixels in [0, 1] are centred and scaled by these, as the saved preprocessor's config says."""


def new_encoder(backbone: str, channels: int, side: int) -> Any:
    """A vision model with new weights, drawn from torch's global generator.

    Args:
        backbone: ``resnet`` (73 thousand numbers), ``vit`` (76 thousand), or a folder or hub id with a config.
        channels: of the images.
        side: of the images, in pixels.

    Raises:
        UserError: no such model, not a vision model, or one for other images.
    """
    import transformers

    if backbone == "resnet":
        config: Any = transformers.ResNetConfig(
            num_channels=channels, embedding_size=16, hidden_sizes=[32, 64], depths=[1, 1], layer_type="basic"
        )
        return transformers.ResNetModel(config)
    if backbone == "vit":
        patch = next(size for size in (7, 8, 4, 2, 1) if side % size == 0 and side // size >= 2)
        config = transformers.ViTConfig(
            image_size=side,
            patch_size=patch,
            num_channels=channels,
            hidden_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=128,
        )
        return transformers.ViTModel(config)
    given = dict(read_config(resolve(backbone)))
    if given.get("num_channels", 3) != channels:
        raise UserError(
            f"backbone: {backbone} takes {given.get('num_channels', 3)} channels, the images have {channels}"
        )
    try:
        config = transformers.AutoConfig.for_model(given.pop("model_type", ""), **given)
        model = transformers.AutoModel.from_config(config)
    except (ValueError, KeyError) as error:
        raise UserError(f"backbone: {backbone}: no model can be made of its config ({error})") from None
    if getattr(model, "main_input_name", "") != "pixel_values":
        raise UserError(f"backbone: {backbone} is a {type(model).__name__}, which does not take images")
    return model


def features(model: nn.Module, pixels: Float[Tensor, "n channels height width"]) -> Float[Tensor, "n dim"]:
    """An encoder's embedding of normalised pixels: its pooled output, or else its first token (where it has no
    pooler)."""
    output = model(pixel_values=pixels)
    pooled: Tensor | None = getattr(output, "pooler_output", None)
    if pooled is not None:
        return pooled.flatten(1)
    first: Tensor = output.last_hidden_state[:, 0]
    return first


def normalise(pixels: Tensor) -> Tensor:
    """Values in [0, 1] as the encoders here take them."""
    return (pixels - MEAN) / STD


@torch.no_grad()
def width_of(model: nn.Module, channels: int, side: int) -> int:
    """Numbers in an embedding, without changing the model's statistics."""
    training = model.training
    width = features(model.eval(), torch.zeros(1, channels, side, side)).shape[1]
    model.train(training)
    return int(width)


def save_encoder(model: Any, folder: Path, channels: int, side: int, card: str) -> Path:
    """Write an encoder in the Hugging Face layout with the preprocessor that its training used; whole or not at all."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    preprocessor = {
        "image_processor_type": "ViTImageProcessor",
        # position embeddings fit one size; a convolutional network takes local views as they are
        "do_resize": hasattr(model.config, "image_size"),
        "size": {"height": side, "width": side},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [MEAN] * channels,
        "image_std": [STD] * channels,
    }
    with folder_atomic(folder) as work:
        model.save_pretrained(work)
        (work / "preprocessor_config.json").write_text(json.dumps(preprocessor, indent=1))
        (work / "README.md").write_text(card, encoding="utf-8")
    return folder
