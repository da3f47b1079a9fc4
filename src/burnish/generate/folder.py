"""A unified model's folder: Hugging Face layout, with its codec and its tokenizer. safetensors only.

``config.json`` (sizes, routing, codec), ``model*.safetensors``, the tokenizer's files and, where pictures are latents,
``codec/`` in diffusers' layout. Knows the model, the codecs and core's files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.core.errors import UserError
from burnish.core.models import load_tokenizer, read_config, resolve
from burnish.generate.codecs.face import Codec
from burnish.generate.codecs.latent import LatentCodec
from burnish.generate.codecs.opening import SUBFOLDER, open_codec
from burnish.generate.config import UnifiedConfig
from burnish.generate.experts import expert_count
from burnish.generate.model import UnifiedModel
from burnish.generate.records import KINDS, Kind


@dataclass(frozen=True)
class Unified:
    """A model with what it reads and draws by.

    Attributes:
        model: in evaluation mode, when loaded.
        codec: pictures to patches and back.
        tokenizer: transformers', or none for one that keeps its words elsewhere.
    """

    model: UnifiedModel
    codec: Codec
    tokenizer: Any = None

    def save_pretrained(self, folder: Path | str) -> None:
        """Write everything into a folder, in shards; ``core.models.save_model`` makes that whole or absent."""
        self.model.config.codec = dict(self.codec.to_dict())
        if isinstance(self.codec, LatentCodec):
            self.codec.model.save_pretrained(Path(folder) / SUBFOLDER, safe_serialization=True)
        self.model.save_pretrained(folder)
        if self.tokenizer is not None:
            self.tokenizer.save_pretrained(folder)


def load_unified(name: str | Path, routing: Mapping[Kind, int] | None = None, *, dtype: str = "auto") -> Unified:
    """Load a unified model from a folder or hub id.

    Args:
        name: which.
        routing: the table that it must have; none takes any.
        dtype: ``auto`` keeps the checkpoint's.

    Raises:
        UserError: not a unified model, weights missing or damaged, another routing table, or a codec whose pictures
            are cut otherwise than the model's.
    """
    import transformers
    from safetensors import SafetensorError

    folder = resolve(name)
    config = read_config(folder)
    if config.get("model_type") != UnifiedConfig.model_type:
        raise UserError(
            f"{folder}: is a `{config.get('model_type')}`, not a unified model; name it as `base` to make one of it"
        )
    transformers.utils.logging.disable_progress_bar()
    expert_count(config.get("routing") or {})
    if routing is not None and dict(routing) != config["routing"]:
        raise UserError(
            f"{folder}: routes {_said(config['routing'])}, the settings route {_said(routing)}; its experts cannot "
            "be told apart otherwise: set `routing` to the checkpoint's"
        )
    try:
        model, report = UnifiedModel.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, TypeError, SafetensorError) as error:
        raise UserError(f"{folder}: cannot be loaded ({' '.join(str(error).split())[:300]})") from error
    if report["missing_keys"] or report["mismatched_keys"]:
        lacking = sorted(map(str, report["missing_keys"] or report["mismatched_keys"]))
        raise UserError(f"{folder}: weights missing or of another shape: {', '.join(lacking[:3])} ({len(lacking)})")
    codec = open_codec(model.config.codec, folder)
    check_codec(model, codec, str(folder))
    tokenizer = load_tokenizer(folder) if (folder / "tokenizer.json").exists() else None
    return Unified(model.eval(), codec, tokenizer)


def check_codec(model: UnifiedModel, codec: Codec, where: str) -> None:
    """A codec's patches are the model's.

    Raises:
        UserError: they are not.
    """
    has = (*model.config.grid, model.config.patch_dim)
    gives = (*codec.grid, codec.patch_dim)
    if has != gives:
        raise UserError(
            f"{where}: the codec gives {gives[0]} x {gives[1]} patches of {gives[2]} numbers, the model takes "
            f"{has[0]} x {has[1]} of {has[2]}"
        )


def _said(routing: Mapping[Kind, int]) -> str:
    return ", ".join(
        f"{kind} -> {expert}" for kind, expert in sorted(routing.items(), key=lambda pair: KINDS.index(pair[0]))
    )
