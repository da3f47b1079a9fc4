"""Chat models, text-only and image-text: loaded, prompted, measured the same way. Knows transformers through the spine.

A :class:`ChatModel` pairs a model with what turns a conversation into its tensors: a processor where the model takes
images, a tokenizer where it does not. Prompts are rendered by the model's own chat template and padded on the left.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from burnish.core.errors import UserError
from burnish.core.models import load_reported, load_tokenizer, read_config, resolve, split_reference
from burnish.dialogue.processors import load_processor
from burnish.dialogue.rows import MOST_PIXELS, Question, open_picture, orientation

Pictures = Sequence[Sequence[Image.Image]]
"""For each prompt of a batch its pictures, in the order of their placeholders."""


@dataclass(frozen=True)
class ChatModel:
    """A causal or image-text language model and its way in.

    Attributes:
        model: as transformers loads it.
        processor: the model's processor, or its tokenizer if it takes no images.
        name: what to call it in messages.
        template_options: what the chat template is given beside the conversation (``enable_thinking``, say).
    """

    model: Any
    processor: Any
    name: str = "the model"
    template_options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def takes_images(self) -> bool:
        """Whether a prompt may hold images."""
        return getattr(self.processor, "image_processor", None) is not None

    @property
    def tokenizer(self) -> Any:
        """The tokenizer, which a processor holds inside."""
        return getattr(self.processor, "tokenizer", self.processor)

    def render(
        self, questions: Sequence[Question], system: str | None = None, start: str = "", *, images: bool = True
    ) -> list[str]:
        """Prompts as text: system and user turn, the mark of the assistant's turn, and how that turn starts.

        Args:
            questions: one user turn each; its images come before its text.
            system: the system turn; none leaves it out.
            start: first characters of the assistant's turn (``<think>`` and a hint).
            images: ``False`` renders the same conversation without any image placeholder.

        Raises:
            UserError: no chat template, images for a text-only model, or a question that writes the placeholder.
        """
        conversations = [self._messages(question, system, images=images) for question in questions]
        return [text + start for text in self._apply_template(conversations, answered=False)]

    def render_answered(
        self, questions: Sequence[Question], answers: Sequence[str], system: str | None = None
    ) -> list[str]:
        """Whole conversations as text: those of :meth:`render` with the assistant's turn, as the template ends it.

        Args:
            questions: one user turn each.
            answers: the assistant's turn after each.
            system: the system turn; none leaves it out.

        Raises:
            UserError: as :meth:`render`; an answer that writes the image placeholder.
        """
        conversations = []
        for question, answer in zip(questions, answers, strict=True):
            self._refuse_mark(answer, f"{question.row or 'the question'}: its answer")
            content = [{"type": "text", "text": answer}] if self.takes_images else answer
            turns = self._messages(question, system, images=True)
            conversations.append([*turns, {"role": "assistant", "content": content}])
        return self._apply_template(conversations, answered=True)

    def _apply_template(self, conversations: Sequence[Sequence[Mapping[str, Any]]], *, answered: bool) -> list[str]:
        template = getattr(self.processor, "chat_template", None) or getattr(self.tokenizer, "chat_template", None)
        if not template:
            raise UserError(
                f"{self.name}: its tokenizer has no chat template, so no conversation can be rendered; "
                "put the template of the model's chat version beside it as chat_template.jinja"
            )
        try:
            texts: list[str] = self.processor.apply_chat_template(
                conversations,
                chat_template=template,
                tokenize=False,
                add_generation_prompt=not answered,
                **self.template_options,
            )
        # The template is the model's own Jinja: it may raise anything, on a system turn for one.
        except Exception as error:
            raise UserError(f"{self.name}: its chat template refuses the conversation ({error})") from error
        return texts

    def _messages(self, question: Question, system: str | None, *, images: bool) -> list[dict[str, Any]]:
        if question.images and images and not self.takes_images:
            raise UserError(
                f"{question.row or 'the question'}: has {len(question.images)} image(s), but {self.name} takes none; "
                "choose an image-text model"
            )
        if not self.takes_images:
            turns = [] if system is None else [{"role": "system", "content": system}]
            return [*turns, {"role": "user", "content": question.question}]
        self._refuse_mark(question.question, f"{question.row or 'the question'}: its text")
        pictures: list[dict[str, str]] = [{"type": "image"} for _ in question.images] if images else []
        user = {"role": "user", "content": [*pictures, {"type": "text", "text": question.question}]}
        return [*([] if system is None else [{"role": "system", "content": [{"type": "text", "text": system}]}]), user]

    def _refuse_mark(self, text: str, what: str) -> None:
        mark = getattr(self.processor, "image_token", None)
        if mark and mark in text:
            raise UserError(f"{what} holds {mark}, the mark of an image; take it out")

    def encode(
        self, texts: Sequence[str], pictures: Pictures | None = None, device: str | None = None
    ) -> dict[str, Any]:
        """Tensors of rendered prompts, padded on the left.

        Args:
            texts: of :meth:`render`.
            pictures: opened images of each prompt; none for prompts rendered without.
            device: where they go; none: where the model is.

        Raises:
            UserError: the processor refuses them (a placeholder without an image, say).
        """
        options: dict[str, Any] = {
            "padding": True,
            "padding_side": "left",
            "return_tensors": "pt",
            **self._marks(texts),
        }
        try:
            if pictures is not None and any(pictures):
                found = self.processor(text=list(texts), images=[list(row) for row in pictures], **options)
            else:
                found = self.tokenizer(list(texts), return_token_type_ids=False, **options)
        except (ValueError, IndexError, TypeError) as error:
            raise UserError(
                f"{self.name}: its processor refuses the prompts ({' '.join(str(error).split())[:200]})"
            ) from error
        return {key: value.to(device or self.model.device) for key, value in found.items()}

    def _marks(self, texts: Sequence[str]) -> dict[str, bool]:
        """As transformers and TRL encode conversations: a tokenizer adds no marks to what the template wrote.

        A processor adds them unless the template wrote the first itself.
        """
        if not self.takes_images:
            return {"add_special_tokens": False}
        start = self.tokenizer.bos_token
        return {"add_special_tokens": not (start and all(text.startswith(start) for text in texts))}

    def prompt_lengths(self, questions: Sequence[Question], system: str | None = None, start: str = "") -> list[int]:
        """Tokens of each question's prompt, image tokens among them, without decoding a picture.

        Raises:
            UserError: as :meth:`render`; a picture that cannot be read.
        """
        texts = self.render(questions, system, start)
        lengths = [len(ids) for ids in self.tokenizer(texts, **self._marks(texts))["input_ids"]]
        if not self.takes_images:
            return lengths
        return [
            length + sum(self._image_tokens(picture, question.row) - 1 for picture in question.images)
            for length, question in zip(lengths, questions, strict=True)
        ]

    def _image_tokens(self, picture: Image.Image | Path, where: str) -> int:
        width, height = _size(picture, where)
        if hasattr(self.processor, "_get_num_multimodal_tokens"):
            counted = self.processor._get_num_multimodal_tokens(image_sizes=[(height, width)])
            return int(counted["num_image_tokens"][0])
        # DeepSeek-VL's, for one, cannot say it: seen on a blank picture of that size
        mark = str(self.processor.image_token)
        ids = self.encode([mark], [[Image.new("RGB", (width, height))]], device="cpu")["input_ids"]
        return int((ids == self.tokenizer.convert_tokens_to_ids(mark)).sum())


def load_chat_model(name: str | Path, *, dtype: str = "auto", device: str | None = None) -> ChatModel:
    """Load a causal LM, or any model that transformers lists for image-text-to-text, with its tokenizer or processor.

    Args:
        name: a folder or hub id; ``base+adapter`` merges a LoRA adapter.
        dtype: ``auto`` keeps the checkpoint's.
        device: where to put it; none leaves it where transformers does.

    Raises:
        UserError: it cannot be read, lacks weights, or wants code of its own.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    folder = resolve(split_reference(name)[0])
    sees = read_config(folder).get("model_type") in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
    model, missing = load_reported(name, "ImageTextToText" if sees else "CausalLM", dtype=dtype, device=device)
    if missing:
        raise UserError(
            f"{name}: the checkpoint lacks {len(missing)} weights ({missing[0]}, ...); it is another model's"
        )
    return ChatModel(model, load_processor(folder) if sees else load_tokenizer(name), str(name))


def opened(questions: Sequence[Question], most_pixels: int = MOST_PIXELS) -> list[list[Image.Image]]:
    """The pictures of each question, decoded.

    Raises:
        UserError: one that cannot be read.
    """
    return [
        [
            open_picture(picture, f"{question.row or 'the question'}: its picture", most_pixels)
            for picture in question.images
        ]
        for question in questions
    ]


def image_features(model: Any, inputs: Mapping[str, Any]) -> int:
    """How many feature vectors the vision part gives for encoded images: the image tokens that these fill."""
    accepted = inspect.signature(model.model.get_image_features).parameters
    vision = {key: value for key, value in inputs.items() if key in accepted and key != "input_ids"}
    found = model.model.get_image_features(**vision, return_dict=True).pooler_output
    return sum(part.numel() // part.shape[-1] for part in ([found] if hasattr(found, "numel") else found))


def _size(picture: Image.Image | Path, where: str) -> tuple[int, int]:
    """Width and height as the model will get the picture; a file's header says them."""
    if isinstance(picture, Path):
        try:
            with Image.open(picture) as found:
                width, height = found.size if orientation(found) < 5 else found.size[::-1]
        except Exception as error:  # noqa: BLE001 - Pillow's decoders raise whatever the damage leads them to
            raise UserError(f"{picture}: not a picture that can be read ({error}); asked for by {where}") from None
    else:
        width, height = picture.size if orientation(picture) < 5 else picture.size[::-1]
    shrink = min(1.0, (MOST_PIXELS / (width * height)) ** 0.5)
    return max(1, int(width * shrink)), max(1, int(height * shrink))
