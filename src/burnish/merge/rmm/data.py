"""The examples a merge is scored on, as tensors ready for one forward pass. Knows files and tokenizers, not the
search."""

import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from burnish.core.embedded import located
from burnish.core.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

IGNORED = -100
"""Target of positions that are not scored (torch's own convention)."""


@dataclass(frozen=True)
class TaskData:
    """Items of one task.

    Attributes:
        name: of the task.
        kind: ``classes`` (one row an item, logits over labels), ``choices`` (one row a choice, scored by summed
            log-probability), ``text`` (one row an item, every token scored) or ``custom`` (a user's function).
        inputs: arguments of the model's forward; rows in the order of the items.
        labels: [items]: the class or the index of the right choice; zeros for text.
        head: index of the task head that reads out; None for language models.
        targets: [rows, length] tokens that the logits at each position predict; ``IGNORED`` elsewhere.
        offsets: [items + 1] first row of each item; None: one row an item.
        rows: the file's rows, for a user's function.
        score: that function's ``module:function``.
    """

    name: str
    kind: Literal["classes", "choices", "text", "custom"]
    inputs: dict[str, Tensor]
    labels: Tensor
    head: int | None = None
    targets: Tensor | None = None
    offsets: tuple[int, ...] | None = None
    rows: tuple[dict[str, Any], ...] = ()
    score: str = ""

    def __len__(self) -> int:
        return len(self.labels)

    def row_range(self, start: int, stop: int) -> slice:
        """Rows of the items ``start .. stop - 1``."""
        return slice(start, stop) if self.offsets is None else slice(self.offsets[start], self.offsets[stop])

    def reordered(self, order: NDArray[np.int64]) -> "TaskData":
        """The same items in another order, so that any subset can be a run of consecutive ones."""
        index = torch.as_tensor(order)
        if self.offsets is None:
            rows, offsets = index, None
        else:
            spans = [range(self.offsets[i], self.offsets[i + 1]) for i in order]
            rows = torch.tensor([row for span in spans for row in span])
            offsets = tuple(int(v) for v in np.cumsum([0, *(len(span) for span in spans)]))
        return replace(
            self,
            inputs={name: tensor[rows] for name, tensor in self.inputs.items()},
            labels=self.labels[index],
            targets=None if self.targets is None else self.targets[rows],
            offsets=offsets,
            rows=tuple(self.rows[i] for i in order) if self.rows else (),
        )


def images(name: str, pixels: Tensor, labels: Tensor, head: int | None) -> TaskData:
    """A classification task from tensors in memory.

    Args:
        name: of the task.
        pixels: [items, channels, height, width], as the model takes them.
        labels: [items] class indices.
        head: expert whose head reads out.
    """
    return TaskData(name, "classes", {"pixel_values": pixels.float()}, labels.long(), head)


def causal_text(name: str, token_rows: Sequence[Sequence[int]], pad: int = 0) -> TaskData:
    """Perplexity of a decoder-only model over token rows; every token but the first is scored."""
    ids, attention = _padded(token_rows, pad)
    targets = torch.full_like(ids, IGNORED)
    targets[:, :-1] = torch.where(attention[:, 1:] == 1, ids[:, 1:], IGNORED)
    zeros = torch.zeros(len(ids), dtype=torch.long)
    return TaskData(name, "text", {"input_ids": ids, "attention_mask": attention}, zeros, targets=targets)


def causal_choices(
    name: str,
    prompts: Sequence[Sequence[int]],
    choices: Sequence[Sequence[Sequence[int]]],
    answers: Sequence[int],
    pad: int = 0,
) -> TaskData:
    """Multiple choice for a decoder-only model: the answer with the highest summed log-probability counts."""
    rows = [[*prompt, *choice] for prompt, group in zip(prompts, choices, strict=True) for choice in group]
    starts = [len(prompt) for prompt, group in zip(prompts, choices, strict=True) for _ in group]
    ids, attention = _padded(rows, pad)
    targets = torch.full_like(ids, IGNORED)
    for row, (start, tokens) in enumerate(zip(starts, rows, strict=True)):
        targets[row, start - 1 : len(tokens) - 1] = ids[row, start : len(tokens)]
    inputs = {"input_ids": ids, "attention_mask": attention}
    return TaskData(name, "choices", inputs, torch.tensor(answers), targets=targets, offsets=_offsets(choices))


def seq2seq_choices(
    name: str,
    prompts: Sequence[Sequence[int]],
    choices: Sequence[Sequence[Sequence[int]]],
    answers: Sequence[int],
    start: int,
    pad: int = 0,
) -> TaskData:
    """Multiple choice for an encoder-decoder model: prompt to the encoder, each choice to the decoder after
    ``start``."""
    ids, attention = _padded([p for p, group in zip(prompts, choices, strict=True) for _ in group], pad)
    wanted, present = _padded([choice for group in choices for choice in group], pad)
    shifted = torch.cat([torch.full((len(wanted), 1), start), wanted[:, :-1]], dim=1)
    inputs = {"input_ids": ids, "attention_mask": attention, "decoder_input_ids": shifted}
    targets = torch.where(present == 1, wanted, IGNORED)
    return TaskData(name, "choices", inputs, torch.tensor(answers), targets=targets, offsets=_offsets(choices))


def _offsets(choices: Sequence[Sequence[Any]]) -> tuple[int, ...]:
    return tuple(int(v) for v in np.cumsum([0, *(len(group) for group in choices)]))


def _padded(rows: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    width = max((len(row) for row in rows), default=0)
    ids = torch.full((len(rows), width), pad)
    attention = torch.zeros_like(ids)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = torch.tensor(row, dtype=torch.long)
        attention[number, : len(row)] = 1
    return ids, attention


def load_task(
    name: str, path: str, score: str, head: int | None, model: "PreTrainedModel", source: Path, max_length: int
) -> TaskData:
    """Reads a data file for a model.

    Args:
        name: of the task.
        path: JSONL, ``.npz``, ``.safetensors`` or a folder of class folders.
        score: see ``TaskFiles.score``.
        head: task head, for classifiers.
        model: decides between decoder-only and encoder-decoder.
        source: folder of the model, for its tokenizer or image processor.
        max_length: tokens a text is cut to.

    Raises:
        UserError: no such file, empty, or columns that fit neither the score nor the model.
    """
    file = located(path)
    if not file.exists():
        raise UserError(f"tasks: {name}: {path}: no such file")
    if file.suffix == ".jsonl":
        data = _from_rows(name, path, _read_rows(file), score, head, model, source, max_length)
    else:
        pixels, labels = _read_images(file, source)
        _check_labels(f"tasks: {name}: {path}", labels)
        data = images(name, pixels, labels, head)
    if not len(data):
        raise UserError(f"tasks: {name}: {path}: no examples")
    for key, values in data.inputs.items():
        if not values.isfinite().all():
            raise UserError(f"tasks: {name}: {path}: NaN or infinity in {key}")
    if data.kind != "custom":
        _try(f"tasks: {name}: {path}", data, model)
    return data


def _check_labels(where: str, labels: Tensor) -> None:
    if labels.dim() != 1:
        raise UserError(f"{where}: labels of shape {list(labels.shape)}; expected one number an example")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        kind = str(labels.dtype).removeprefix("torch.")
        raise UserError(f"{where}: labels are {kind}; expected whole numbers, the classes' indices")
    if len(labels) and int(labels.min()) < 0:
        raise UserError(f"{where}: label {int(labels.min())}; classes count from 0")


def _try(where: str, data: TaskData, model: "PreTrainedModel") -> None:
    """One forward pass on the first row: what the model cannot take is said before anything starts."""
    try:
        with torch.inference_mode():
            model(**{key: values[:1] for key, values in data.inputs.items()})
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"{where}: the model cannot take the first example ({reason})") from None


def _read_rows(file: Path) -> list[dict[str, Any]]:
    rows = []
    for number, line in enumerate(file.read_text("utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UserError(f"{file}:{number}: not JSON: {error}") from None
        if not isinstance(row, dict):
            raise UserError(f"{file}:{number}: expected an object, got {type(row).__name__}")
        rows.append(row)
    if not rows:
        raise UserError(f"{file}: no examples")
    return rows


def _labels(where: str, rows: list[dict[str, Any]]) -> Tensor:
    """The labels of rows.

    Raises:
        UserError: one that is no whole number from 0.
    """
    for number, row in enumerate(rows, 1):
        if type(row["label"]) is not int or row["label"] < 0:
            raise UserError(f"{where}: example {number}: label {row['label']!r}; expected a whole number from 0")
    return torch.tensor([row["label"] for row in rows])


def _from_rows(
    name: str,
    path: str,
    rows: list[dict[str, Any]],
    score: str,
    head: int | None,
    model: "PreTrainedModel",
    source: Path,
    max_length: int,
) -> TaskData:
    if ":" in score:
        return TaskData(
            name, "custom", {}, torch.zeros(len(rows), dtype=torch.long), head, rows=tuple(rows), score=score
        )
    columns = set(rows[0])
    for number, row in enumerate(rows, 1):
        if set(row) != columns:
            raise UserError(f"{path}: example {number} has {sorted(row)}, the first has {sorted(columns)}")
    tokenizer = _tokenizer(source)
    pad = tokenizer.pad_token_id or 0

    def tokens(text: str, special: bool = True) -> list[int]:
        ids: list[int] = tokenizer(text, add_special_tokens=special)["input_ids"]
        return ids[:max_length]

    if {"prompt", "choices", "answer"} <= columns and score in ("auto", "accuracy", "choices"):
        prompts = [tokens(row["prompt"]) for row in rows]
        groups = [[tokens(choice, special=False) for choice in row["choices"]] for row in rows]
        answers = [_answer(path, number, row) for number, row in enumerate(rows, 1)]
        if model.config.is_encoder_decoder:
            return seq2seq_choices(name, prompts, groups, answers, model.config.decoder_start_token_id, pad)
        return causal_choices(name, prompts, groups, answers, pad)
    if {"text", "label"} <= columns and score in ("auto", "accuracy"):
        ids, attention = _padded([tokens(row["text"]) for row in rows], pad)
        labels = _labels(f"tasks: {name}: {path}", rows)
        return TaskData(name, "classes", {"input_ids": ids, "attention_mask": attention}, labels, head)
    if "text" in columns and score in ("auto", "perplexity") and not model.config.is_encoder_decoder:
        return causal_text(name, [tokens(row["text"]) for row in rows], pad)
    raise UserError(
        f"tasks: {name}: {path}: columns {', '.join(sorted(columns))} do not fit score: {score}; "
        "expected text+label, text, or prompt+choices+answer"
    )


def _answer(path: str, number: int, row: dict[str, Any]) -> int:
    answer = row["choices"].index(row["answer"]) if row["answer"] in row["choices"] else row["answer"]
    if not isinstance(answer, int) or not 0 <= answer < len(row["choices"]):
        raise UserError(
            f"{path}: example {number}: answer {row['answer']!r} is none of its {len(row['choices'])} choices"
        )
    return answer


def _tokenizer(source: Path) -> "PreTrainedTokenizerBase":
    from burnish.core.models import load_tokenizer

    tokenizer: PreTrainedTokenizerBase = load_tokenizer(source)
    return tokenizer


def _read_images(file: Path, source: Path) -> tuple[Tensor, Tensor]:
    if file.is_dir():
        from PIL import Image

        folders = sorted(folder for folder in file.iterdir() if folder.is_dir())
        found = [(path, label) for label, folder in enumerate(folders) for path in sorted(folder.iterdir())]
        pictures: list[Any] = []
        for path, _ in found:
            try:
                pictures.append(Image.open(path).convert("RGB"))
            except OSError:
                raise UserError(f"{path}: not an image that can be read") from None
        if not found:
            raise UserError(f"{file}: no examples; expected one sub-folder of pictures a class")
        return _processed(pictures, source), torch.tensor([label for _, label in found])
    held = _read_arrays(file)
    if not {"images", "labels"} <= set(held) or len(held["images"]) != len(held["labels"]):
        raise UserError(f"{file}: expected arrays `images` and `labels` of one length, got {sorted(held)}")
    pixels: Tensor = held["images"]
    if pixels.dtype == torch.uint8:  # raw pictures; floats are taken as the model's own input
        pixels = _processed(list(pixels.numpy()), source)
    return pixels, held["labels"]


def _read_arrays(file: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if file.suffix == ".npz":
            with np.load(file, allow_pickle=False) as archive:
                return {key: torch.as_tensor(archive[key]) for key in archive.files}
        if file.suffix == ".safetensors":
            return dict(load_file(file))
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, SafetensorError) as error:
        raise UserError(f"{file}: cannot be read ({' '.join(str(error).split())[:120]})") from None
    raise UserError(f"{file}: expected .jsonl, .npz, .safetensors or a folder of class folders")


def _processed(pictures: list[Any], source: Path) -> Tensor:
    from transformers import AutoImageProcessor

    try:
        processor = AutoImageProcessor.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise UserError(f"{source}: no image processor ({str(error).splitlines()[0][:120]})") from None
    pixels: Tensor = processor(pictures, return_tensors="pt")["pixel_values"]
    return pixels
