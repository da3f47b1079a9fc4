"""Processors of image-text models, also where torchvision is absent. Knows transformers.

Since transformers 5 images need only Pillow, but the processors of Qwen-VL models hold a video processor, which needs
torchvision. Without it such a model still takes images: its processor is then the stock one less the videos.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from burnish.core.errors import UserError
from burnish.core.files import read_json


def load_processor(folder: Path) -> Any:
    """The processor of an image-text model's folder.

    Raises:
        UserError: it has none that can be read.
    """
    import transformers

    try:
        try:
            return transformers.AutoProcessor.from_pretrained(folder, trust_remote_code=False)
        except (ImportError, OSError, ValueError) as error:
            stock = getattr(transformers, str(_class_name(folder)), None)
            if stock is None or "video" not in str(error).lower():
                raise
            return images_only(stock).from_pretrained(folder, trust_remote_code=False)
    # A damaged file leads transformers and tokenizers to whatever their parsers raise.
    except Exception as error:
        raise UserError(f"{folder}: no processor that can be read ({' '.join(str(error).split())[:200]})") from error


def images_only(stock: Any) -> Any:
    """A processor class of the Qwen-VL family without its video processor, under the stock class's name."""
    from transformers.processing_utils import ProcessorMixin

    class ImagesOnly(stock):
        # transformers reads from this signature which parts to load.
        def __init__(
            self, image_processor: Any = None, tokenizer: Any = None, chat_template: str | None = None, **_: Any
        ) -> None:
            for kind, default in PLACEHOLDERS.items():
                token = getattr(tokenizer, kind, None) or default
                setattr(self, kind, token)
                setattr(self, f"{kind}_id", tokenizer.convert_tokens_to_ids(token))
            ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)

    ImagesOnly.__name__ = stock.__name__
    return ImagesOnly


PLACEHOLDERS = {
    "image_token": "<|image_pad|>",
    "video_token": "<|video_pad|>",
    "vision_start_token": "<|vision_start|>",
    "vision_end_token": "<|vision_end|>",
}
"""Special tokens of the Qwen-VL family, as its own processors name them."""


def _class_name(folder: Path) -> str | None:
    for name in ("processor_config.json", "preprocessor_config.json", "tokenizer_config.json"):
        config = read_json(folder / name)
        if isinstance(config, dict) and config.get("processor_class"):
            return str(config["processor_class"])
    return None
