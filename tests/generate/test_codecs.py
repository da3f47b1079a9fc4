"""Pictures to patches and back, by one face."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from burnish.core.errors import UserError
from burnish.core.models import save_model
from burnish.generate.codecs.face import Codec, cut, from_bytes, joined, to_bytes
from burnish.generate.codecs.latent import LatentCodec
from burnish.generate.codecs.opening import open_codec
from burnish.generate.codecs.pixel import PixelCodec
from burnish.generate.codecs.settings import CodecSettings
from burnish.generate.config import UnifiedConfig
from burnish.generate.folder import Unified, load_unified
from burnish.generate.model import UnifiedModel
from tests.generate.small import text_sizes


def test_a_patch_is_the_square_that_it_says() -> None:
    planes = torch.arange(2 * 4 * 6.0).reshape(1, 2, 4, 6)
    patches = cut(planes, 2)
    assert patches.shape == (1, 6, 8)
    assert torch.equal(patches[0, 4].reshape(2, 2, 2), planes[0, :, 2:4, 2:4])  # second row, second column
    assert torch.equal(joined(patches, (2, 3), 2), planes)


def test_pixels_come_back_exactly() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (3, 8, 12, 3), dtype=np.uint8)
    codec = PixelCodec((8, 12), 4, spread=0.5)
    patches = codec.encode(from_bytes(pictures))
    assert patches.shape == (3, 2 * 3, 48)
    assert codec.grid == (2, 3)
    assert np.array_equal(to_bytes(codec.decode(patches)), pictures)
    assert to_bytes(torch.full((1, 3, 1, 1), 7.0)).max() == 255  # beyond white is white
    assert patches.abs().max() > 1.5  # divided by the spread


def autoencoder(kind: str) -> Any:
    import diffusers

    torch.manual_seed(0)
    if kind == "AutoencoderTiny":
        return diffusers.AutoencoderTiny(
            encoder_block_out_channels=(4, 4),
            decoder_block_out_channels=(4, 4),
            num_encoder_blocks=(1, 1),
            num_decoder_blocks=(1, 1),
            latent_channels=2,
        )
    return diffusers.AutoencoderKL(
        block_out_channels=(4, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=2,
        latent_channels=3,
        scaling_factor=1.5,
        shift_factor=0.25,
    )


def test_latents_are_scaled_and_shifted_as_the_autoencoder_says() -> None:
    model = autoencoder("AutoencoderKL")
    codec = LatentCodec(model, (8, 8), 2, "somewhere")
    pictures = torch.rand(2, 3, 8, 8) * 2 - 1
    with torch.no_grad():
        latents = model.encode(pictures).latent_dist.mode()
        expected = model.decode(latents).sample
    patches = codec.encode(pictures)
    assert patches.shape == (2, 4, 12)
    torch.testing.assert_close(joined(patches, (2, 2), 2), (latents - 0.25) * 1.5)
    torch.testing.assert_close(codec.decode(patches), expected, atol=1e-5, rtol=1e-5)
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_the_tiny_autoencoder_has_the_same_face_and_lies_in_the_models_folder(tmp_path: Path) -> None:
    codec = LatentCodec(autoencoder("AutoencoderTiny"), (8, 8), 2, "tiny")
    assert (codec.grid, codec.patch_dim) == ((2, 2), 8)
    model = UnifiedModel(UnifiedConfig(text=text_sizes(), patch_dim=8, grid=(2, 2)))
    assert isinstance(codec, Codec)
    folder = save_model(Unified(model, codec), tmp_path / "model")
    again = load_unified(folder).codec
    pictures = torch.rand(1, 3, 8, 8)
    assert torch.equal(again.encode(pictures), codec.encode(pictures))
    assert torch.equal(again.decode(codec.encode(pictures)), codec.decode(codec.encode(pictures)))


def test_pictures_of_another_size() -> None:
    with pytest.raises(UserError, match=r"shape \(1, 3, 8, 9\); this codec takes \[n, 3, 8, 8\]"):
        PixelCodec((8, 8), 4).encode(torch.zeros(1, 3, 8, 9))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": (30, 32)}, "30 x 32 is not made of whole patches of 8 pixels"),
        ({"kind": "latent"}, r"codec\.source: not given"),
        ({"kind": "latent", "source": "/nowhere/vae"}, "no such folder"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        open_codec(CodecSettings.model_validate(settings))


def test_a_folder_that_is_no_autoencoder(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"_class_name": "UNet2DModel"}')
    with pytest.raises(UserError, match="is a `UNet2DModel`; codecs are AutoencoderKL and AutoencoderTiny"):
        open_codec(CodecSettings(kind="latent", source=str(tmp_path)))
    (tmp_path / "config.json").write_text('{"_class_name": "AutoencoderKL"}')
    with pytest.raises(UserError, match="cannot be loaded"):
        open_codec(CodecSettings(kind="latent", source=str(tmp_path)))
