"""Functional tokens in a model's vocabulary: added, removed, and kept out of what users write. Knows transformers.

Every tag becomes one added token that is neither special (decoding must show it) nor normalised (it must be found as
written). A new row starts as the mean of its description's pieces: transformers' own mean of all rows would make the
sixteen rows one and the same token, 3e-6 apart.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from burnish.core.errors import UserError
from burnish.dialogue.models import ChatModel
from burnish.dialogue.rows import Question
from burnish.reason.rftt.grammar import Grammar

MULTIPLE = 64  # rows are padded to it, as matrix kernels like them
FAR = 2e-3  # no two new rows are nearer; half of it is left when they are rounded to bfloat16
BEFORE = "rows_before_functional_tokens"  # what the model's config keeps, so that `remove` works on a saved model


@dataclass(frozen=True)
class Vocabulary:
    """The functional tokens of a grammar in one tokenizer.

    Attributes:
        opens: the id of every action's opening tag, by the action's name.
        closes: the id of its closing tag.
        size: how many tokens the tokenizer knows; no id from here on may ever be generated.
        rows: how many rows the embedding has, and how wide a row of logits is.
        replaced: of a model with rows that its tokenizer does not use, what stood in those, a tensor a matrix; empty
            where this was read from a tokenizer.
    """

    opens: Mapping[str, int]
    closes: Mapping[str, int]
    size: int
    rows: int
    replaced: tuple[Tensor, ...] = field(default=(), compare=False, repr=False)

    @cached_property
    def opened(self) -> dict[int, str]:
        """The action that an opening token begins."""
        return {token: name for name, token in self.opens.items()}

    @cached_property
    def closed(self) -> dict[int, str]:
        """The action that a closing token ends."""
        return {token: name for name, token in self.closes.items()}

    @property
    def ids(self) -> list[int]:
        """Every functional token, in order."""
        return sorted((*self.opens.values(), *self.closes.values()))

    @property
    def padding(self) -> range:
        """The rows that no token of the tokenizer has: to be suppressed wherever a model generates."""
        return range(self.size, self.rows)


def extend(model: Any, tokenizer: Any, grammar: Grammar, seed: int) -> Vocabulary:
    """Add the functional tokens of a grammar to a model and its tokenizer, in place; again, it changes nothing.

    Args:
        model: a causal or image-text language model; rows are added to its input embedding and to an untied head. Its
            generation config will suppress the rows that only pad.
        tokenizer: the model's, one of the fast ones; it may have been extended already, with another model.
        grammar: whose tags to add.
        seed: of the noise that sets a closing tag apart from its opening one.

    Raises:
        UserError: a tag is in the vocabulary already, the model was extended by other tags, all its rows are the same,
            or the tokenizer is a slow one.

    Source: RFTT, functional tokens (the released code adds none to its vocabulary: its text tags are pieces).
    """
    from transformers import AddedToken

    tags = [tag for action in grammar.actions for tag in (action.opens, action.closes)]
    if getattr(tokenizer, "backend_tokenizer", None) is None:
        raise UserError("the tokenizer is a slow one, which cuts text around added tokens; save it as a fast one")
    words, size = tokenizer.get_vocab(), len(tokenizer)
    ids = [words[tag] for tag in tags if tag in words]
    extended = len(ids) == len(tags) and sorted(ids) == list(range(size - len(tags), size))
    if ids and not extended:
        raise UserError(
            f"`{next(tag for tag in tags if tag in words)}` is a token of this tokenizer already; choose another tag"
        )
    done = getattr(model.config, BEFORE, None) is not None
    if done and not extended:
        raise UserError("the model has functional tokens of other names; remove them first, or start from its base")
    if not extended:
        tokenizer.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in tags])
    before = len(model.get_input_embeddings().weight)
    rows = max(before, -(-len(tokenizer) // MULTIPLE) * MULTIPLE)
    vocabulary = vocabulary_of(tokenizer, grammar, rows)
    if done:
        return vocabulary
    first = vocabulary.ids[0]
    order = [side[each.name] for each in grammar.actions for side in (vocabulary.opens, vocabulary.closes)]
    pieces = [tokenizer(each.description, add_special_tokens=False)["input_ids"] for each in grammar.actions]
    replaced = tuple(matrix[first:].detach().clone() for matrix in _matrices(model))
    if rows > before:
        model.resize_token_embeddings(rows, mean_resizing=False)
    with torch.no_grad():
        for number, matrix in enumerate(_matrices(model)):
            random = torch.Generator().manual_seed(2 * seed + number)
            matrix[first:] = 0
            matrix[order] = _new_rows(matrix[:first].float().cpu(), pieces, random).to(matrix)
    setattr(model.config, BEFORE, before)
    _suppress(model, [], vocabulary.padding)
    return replace(vocabulary, replaced=replaced)


def vocabulary_of(tokenizer: Any, grammar: Grammar, rows: int | None = None) -> Vocabulary:
    """The functional tokens that a tokenizer knows already.

    Args:
        tokenizer: of a model that was extended.
        grammar: the grammar it was extended by.
        rows: of the model's embedding; none takes the tokenizer's size, padded.

    Raises:
        UserError: it lacks one of them.
    """
    ids = tokenizer.get_added_vocab()
    for action in grammar.actions:
        for tag in (action.opens, action.closes):
            if tag not in ids:
                raise UserError(f"the tokenizer has no token `{tag}`; extend the model by this grammar first")
    size = len(tokenizer)
    return Vocabulary(
        {action.name: ids[action.opens] for action in grammar.actions},
        {action.name: ids[action.closes] for action in grammar.actions},
        size,
        -(-size // MULTIPLE) * MULTIPLE if rows is None else rows,
    )


def remove(model: Any, tokenizer: Any, vocabulary: Vocabulary) -> None:
    """Take functional tokens out again, in place: all other rows and the tokenizer are bit for bit what they were.

    They are if nothing was trained in between; what was learnt in other rows stays.

    Args:
        model: that was extended.
        tokenizer: that was extended; nothing was added to it since.
        vocabulary: of :func:`extend`; one read from a tokenizer leaves unused rows that the tokens took as they are.

    Raises:
        UserError: the model was not extended, or more tokens were added after these.
    """
    import tokenizers

    rows = getattr(model.config, BEFORE, None)
    first = min(vocabulary.ids)
    if rows is None:
        raise UserError("the model has no functional tokens to remove; its config does not say what it was before")
    if vocabulary.ids != list(range(first, vocabulary.size)) or len(tokenizer) != vocabulary.size:
        raise UserError("the functional tokens are not the tokenizer's last ones; only the last can be removed")
    raw = json.loads(tokenizer.backend_tokenizer.to_str())
    raw["added_tokens"] = [row for row in raw["added_tokens"] if row["id"] < first]
    tokenizer._tokenizer = tokenizers.Tokenizer.from_str(json.dumps(raw))  # its API adds tokens and removes none
    if len(model.get_input_embeddings().weight) != rows:
        model.resize_token_embeddings(rows, mean_resizing=False)
    with torch.no_grad():
        for matrix, content in zip(_matrices(model), vocabulary.replaced, strict=False):
            matrix[first:rows] = content
    delattr(model.config, BEFORE)
    _suppress(model, vocabulary.padding, [])


def encode_text(tokenizer: Any, vocabulary: Vocabulary, text: str, *, marks: bool = True) -> list[int]:
    """Token ids of a text, none of them functional, whatever the text holds: a tag in it is encoded in two parts.

    Args:
        tokenizer: of the vocabulary.
        vocabulary: whose tokens to keep out.
        text: a rendered prompt, or a step's text.
        marks: whether the tokenizer's own special tokens count as such, which a rendered prompt's must; false takes
            them for text too, as in what a user or a model wrote.
    """
    tags = tuple(tokenizer.convert_ids_to_tokens(vocabulary.ids))
    # One sign into each tag, overlapping ones too: no part holds a whole one.
    cuts = [0, *(match.start() + 1 for match in _finder(tags).finditer(text)), len(text)]
    ids: list[int] = []
    for start, end in pairwise(cuts):
        if end > start:
            ids += tokenizer(text[start:end], add_special_tokens=False, split_special_tokens=not marks)["input_ids"]
    return ids


def prompt_ids(
    chat: ChatModel, vocabulary: Vocabulary, questions: Sequence[Question], system: str | None = None
) -> list[tuple[int, ...]]:
    """Conversations up to the assistant's turn, as token ids without any functional one, not padded.

    Args:
        chat: the model, for its chat template.
        vocabulary: of its tokenizer.
        questions: one user turn each; text only.
        system: the system turn; none leaves it out.

    Raises:
        UserError: no chat template, or one that refuses the conversation.
    """
    texts = chat.render(questions, system, images=False)
    return [tuple(encode_text(chat.tokenizer, vocabulary, text)) for text in texts]


def trainable_tokens(model: Any, vocabulary: Vocabulary) -> dict[str, list[int]]:
    """For PEFT's ``trainable_token_indices``: the new rows of the embedding, and of the head where it is not tied."""
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    parts = [embedding] if head is None or head.weight is embedding.weight else [embedding, head]
    names = {id(module): name for name, module in model.named_modules()}
    return {names[id(part)]: vocabulary.ids for part in parts}


def pass_on_bias(model: Any) -> None:
    """Let a head whose new rows an adapter trains show its bias, as TRL's fused loss asks for; others are left alone.

    TRL 1.16 reads ``lm_head.bias`` (mostly none); PEFT 0.21's wrapper of trainable tokens passes on the weight only.
    Call it on a trainer's model before training.
    """
    head = model.get_output_embeddings()
    if head is not None and not hasattr(head, "bias"):
        head.__dict__["bias"] = head.original_module.bias  # past nn.Module, which would register it a second time


@lru_cache(maxsize=8)
def _finder(tags: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("(?=" + "|".join(map(re.escape, tags)) + ")")


def _matrices(model: Any) -> list[Tensor]:
    """What has a row a token: the input embedding, the head unless tied, and the head's bias."""
    embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings()
    found = [embedding]
    if head is not None and head.weight is not embedding:
        found.append(head.weight)
    if getattr(head, "bias", None) is not None:
        found.append(head.bias)
    return found


def _new_rows(
    old: Float[Tensor, "known ..."], pieces: Sequence[Sequence[int]], random: torch.Generator
) -> Float[Tensor, "new ..."]:
    """Rows of an opening and a closing token for each description, given the rows of its pieces.

    A closing row, and an opening one that would lie where another new one does, is moved by noise of the old rows' own
    scale. Numbers (a head's bias) are not moved: the rows beside them tell the tokens apart.
    """
    scale = old.std(dim=0)
    if old.ndim == 1:
        scale = scale * 0
    elif not scale.any():
        raise UserError(
            "all rows of the model's embedding are the same; its weights were never trained, or are damaged"
        )
    placed: list[Tensor] = []
    for ids in pieces:
        row = old[list(ids) or slice(None)].mean(dim=0)
        for closing in (False, True):
            if closing:
                row = row + scale * torch.randn(row.shape, generator=random)
            while old.ndim > 1 and any(torch.dist(row, other) < FAR for other in placed):
                row = row + scale * torch.randn(row.shape, generator=random)
            placed.append(row)
    return torch.stack(placed)


def _suppress(model: Any, dropped: Sequence[int], added: Sequence[int]) -> None:
    """What plain ``generate`` must never sample, in the model's generation config."""
    config = model.generation_config
    kept = sorted((set(config.suppress_tokens or ()) - set(dropped)) | set(added))
    config.suppress_tokens = kept or None
