"""Before the first step: does the model get what was asked? Tokens and pixels are compared with each prompt alone.

Trainers cut prompts, pad them together and carry images separately; where that goes wrong a model trains on blanks and
nothing says so. Knows processors of the LLaVA, Idefics3 and Qwen-VL kinds, through what they return.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from burnish.core.errors import UserError
from burnish.dialogue.models import ChatModel, Pictures, image_features


def check_inputs(
    chat: ChatModel, inputs: Mapping[str, Tensor], texts: Sequence[str], pictures: Pictures, names: Sequence[str]
) -> None:
    """Compare a batch of tensors with what each prompt gives when it is encoded alone and uncut.

    Args:
        chat: the model and its processor.
        inputs: what the model will get: ``input_ids`` and ``attention_mask`` [batch, length] of the prompts, and the
            vision inputs of the batch.
        texts: rendered prompts, one a row.
        pictures: opened images of each.
        names: what to call each row.

    Raises:
        UserError: a prompt is cut or changed, an image is missing, swapped or altered, or the vision part fills another
            number of tokens than the prompts hold.
    """
    ids, mask = inputs["input_ids"], inputs["attention_mask"].bool()
    mark = image_token_id(chat)
    seen = 0
    for row, (text, images, name) in enumerate(zip(texts, pictures, names, strict=True)):
        alone = chat.encode([text], [images])
        wanted, found = alone["input_ids"][0], ids[row][mask[row]]
        if len(found) < len(wanted):
            lost = int((wanted == mark).sum() - (found == mark).sum())
            what = f" ({lost} image tokens among what is lost)" if lost > 0 else ""
            raise UserError(
                f"{name}: the prompt has {len(wanted)} tokens and the model gets {len(found)}{what}; raise the "
                "length limit"
            )
        if not torch.equal(found.to(wanted.device), wanted):
            raise UserError(
                f"{name}: the model gets other tokens than the prompt has; check template and special tokens"
            )
        if images:
            # Idefics3 has one entry a prompt; LLaVA one an image, Qwen-VL one a patch, of all prompts in turn.
            # LLaVA-NeXT's tiles have as many dimensions as Idefics3's, but no mask of pixels.
            by_prompt = alone["pixel_values"].ndim == 5 and "pixel_attention_mask" in alone
            _check_pixels(inputs, alone["pixel_values"], row if by_prompt else seen, name)
            seen += len(alone["pixel_values"])
    if any(len(images) for images in pictures):
        try:
            with torch.no_grad():
                fills = image_features(chat.model, inputs)
        except (
            RuntimeError,
            ValueError,
        ) as error:  # Idefics3 takes a plain grey picture for padding, and is left with none
            raise UserError(f"{names[0]}: the vision part refuses the images ({error})") from error
        holds = int((ids == mark).sum())
        if fills != holds:
            raise UserError(
                f"{names[0]}: the images fill {fills} tokens, but the prompts hold {holds}; processor and model do "
                "not fit"
            )


def image_token_id(chat: ChatModel) -> int:
    """The id that stands for one image feature in ``input_ids``; -1 for a model that takes no images."""
    config = chat.model.config
    found = getattr(config, "image_token_id", None)
    found = getattr(config, "image_token_index", None) if found is None else found
    return -1 if found is None else int(found)


def _check_pixels(inputs: Mapping[str, Tensor], wanted: Tensor, start: int, name: str) -> None:
    if "pixel_values" not in inputs:
        raise UserError(f"{name}: its images do not reach the model (no pixel values)")
    found = inputs["pixel_values"][start : start + len(wanted)]
    if wanted.ndim == 5:  # tiles and their borders are padded to the batch's largest
        found = found[:, : wanted.shape[1], :, : wanted.shape[3], : wanted.shape[4]]
    if found.shape != wanted.shape or not torch.equal(found.to(wanted), wanted):
        raise UserError(f"{name}: the pixels that reach the model are not those of its images")
