"""Latents of diffusers' autoencoders as patches: AutoencoderKL (SD3's, FLUX's) and AutoencoderTiny. Frozen.

Source: MINT, section 3.1: SD3's VAE, 16 channels at an eighth of the size, cut into squares of 2 x 2. Knows diffusers'
models by what they offer, not by import.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from burnish.core.errors import UserError
from burnish.core.packages import Need, not_installed
from burnish.generate.codecs.face import check_grid, check_size, cut, joined

CLASSES = ("AutoencoderKL", "AutoencoderTiny")


class LatentCodec:
    """An autoencoder between pictures and patches of its latents, scaled and shifted as its configuration says.

    Args:
        model: AutoencoderKL or AutoencoderTiny; frozen and put into evaluation mode.
        size: height and width of the pictures, in pixels.
        patch: side of a square of latents.
        source: where it was loaded from; for a folder's configuration.
    """

    def __init__(self, model: Any, size: tuple[int, int], patch: int, source: str) -> None:
        self.model = model.requires_grad_(False).eval()
        self.size, self.patch, self.source = size, patch, source
        blocks = getattr(model.config, "block_out_channels", None) or model.config.encoder_block_out_channels
        self.factor = 2 ** (len(blocks) - 1)
        self.grid = check_grid(size, self.factor * patch, type(model).__name__)
        self.patch_dim = model.config.latent_channels * patch * patch
        self.scale = float(getattr(model.config, "scaling_factor", None) or 1.0)
        self.shift = float(getattr(model.config, "shift_factor", None) or 0.0)

    @torch.no_grad()
    def encode(self, pictures: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch patches dim"]:
        """See ``Codec``. Of a distribution of latents its mode."""
        check_size(pictures, self.size)
        said = self.model.encode(pictures.to(self.model.device, self.model.dtype))
        latents = said.latent_dist.mode() if hasattr(said, "latent_dist") else said.latents
        return cut((latents - self.shift) * self.scale, self.patch).float()

    @torch.no_grad()
    def decode(self, patches: Float[Tensor, "batch patches dim"]) -> Float[Tensor, "batch 3 height width"]:
        """See ``Codec``."""
        planes = joined(patches, self.grid, self.patch) / self.scale + self.shift
        return cast(Tensor, self.model.decode(planes.to(self.model.device, self.model.dtype)).sample).float()

    def to_dict(self) -> dict[str, object]:
        """See ``Codec``."""
        return {"kind": "latent", "size": list(self.size), "patch": self.patch, "source": self.source}


def load_autoencoder(folder: Path) -> Any:
    """An autoencoder from a folder in diffusers' layout (or from its ``vae`` sub-folder). safetensors only.

    Raises:
        UserError: diffusers is not there, no such class, or nothing that can be read.
    """
    from burnish.core.models import read_config

    try:
        import diffusers
    except ImportError:
        raise not_installed("codec: an autoencoder", Need(("diffusers",), "generate")) from None
    place = folder / "vae" if (folder / "vae").is_dir() else folder
    name = str(read_config(place).get("_class_name"))
    if name not in CLASSES:
        raise UserError(f"{place}: is a `{name}`; codecs are {' and '.join(CLASSES)}")
    try:
        return getattr(diffusers, name).from_pretrained(place, use_safetensors=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"{place}: cannot be loaded ({' '.join(str(error).split())[:200]})") from error
