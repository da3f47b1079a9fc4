"""The transplanted model: new embeddings and head row by row, everything else copied, the donor's tokenizer beside it.

Memory holds the two models' tables (one pair at a time) and a batch of rows.
"""

from __future__ import annotations

import copy
import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from burnish.core.errors import UserError
from burnish.core.files import read_json
from burnish.core.metrics import Progress
from burnish.merge.buffers import Bytes
from burnish.merge.output import parse_size
from burnish.merge.output_folder import write_json
from burnish.merge.reference import named
from burnish.merge.safetensors_file import DTYPE_NAME
from burnish.merge.side_files import side_files
from burnish.merge.sources import Checkpoint, Source
from burnish.merge.streamed import Inputs, NewTensor, new_folder, write_shards
from burnish.merge.tensors import rounded
from burnish.merge.tokenizer import Tokenizer, read_tokenizer
from burnish.merge.transplant.approximation import interpolation, pursuit
from burnish.merge.transplant.tokens import meanings

Approximation = Literal["omp", "interpolation"]
_METHODS: dict[str, Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]] = {
    "omp": pursuit,
    "interpolation": interpolation,
}
# Numbers that a batch of rows may take: scores over all shared tokens, and the basis of each row.
_BATCH_NUMBERS = 1 << 25
RECORD = "burnish_transplant.json"


@dataclass(frozen=True)
class Transplant:
    """A model with another's tokenizer.

    Attributes:
        path: its folder.
        kept: tokens whose rows the model had.
        rebuilt: tokens whose rows are combinations of those.
        empty: rows of no token, and of tokens that the donor has no row for: the mean of the model's rows.
        error: how much of a rebuilt token's row is lost in the donor's own space: relative Frobenius norm over the
            rebuilt rows of embeddings (and heads).
    """

    path: Path
    kept: int
    rebuilt: int
    empty: int
    error: float


@dataclass
class _Losses:
    """Squared norms, summed while rows are written."""

    lost: float = 0.0
    whole: float = 0.0


def build(
    model: str, donor: str, out: Path, *, method: str, neighbours: int, shard_size: str | int, progress: bool
) -> Transplant:
    """What :func:`burnish.merge.tokensurgeon` does."""
    if method not in _METHODS:
        raise UserError(f"method: {method!r} is none of {', '.join(_METHODS)}")
    if neighbours < 1:
        raise UserError(f"neighbours: {neighbours} tokens make no row; give 1 or more")
    size = parse_size(shard_size)
    own, other = Checkpoint(named(model)), Checkpoint(named(donor))
    tokenizers = _tokenizer(own), _tokenizer(other)
    table = _table(own), _table(other)
    inputs, losses = Inputs(), _Losses()
    try:
        plan = _Rows(tokenizers, (table[0].info.shape[0], table[1].info.shape[0]))
        if not plan.shared:
            raise UserError(f"{other.reference}: its tokenizer shares no token with that of {own.reference}")
        tensors = list(_tensors(own, other, plan, inputs, losses, method, neighbours))
        with new_folder(out) as folder:
            write_shards(folder, tensors, shard_size=size, progress=progress)
            _side_files(folder, own, other, plan.size)
            error = math.sqrt(losses.lost / losses.whole) if losses.whole else 0.0
            found = Transplant(out, len(plan.kept), len(plan.rebuilt), plan.empty, error)
            told = {"model": model, "donor": donor, "method": method, "neighbours": neighbours}
            write_json(folder / RECORD, told | {key: value for key, value in asdict(found).items() if key != "path"})
    finally:
        inputs.close()
    return found


def _tokenizer(checkpoint: Checkpoint) -> Tokenizer:
    tokenizer = read_tokenizer(checkpoint.folder)
    if tokenizer is None:
        raise UserError(f"{checkpoint.folder}: no tokenizer.json; load it with AutoTokenizer and save it once")
    return tokenizer


def _table(checkpoint: Checkpoint) -> Source:
    names = checkpoint.layout.embeddings
    source = checkpoint.find(names[0]) if len(names) == 1 else None
    if source is None or len(source.info.shape) != 2:
        raise UserError(f"{checkpoint.reference}: no single token embedding was found")
    return source


class _Rows:
    """Where every row of the result comes from.

    Args:
        tokenizers: the model's and the donor's.
        rows: of their embeddings: a token beyond them has no row.
    """

    def __init__(self, tokenizers: tuple[Tokenizer, Tokenizer], rows: tuple[int, int]) -> None:
        ours, theirs = (
            {meaning: index for meaning, index in meanings(tokenizer).items() if index < count}
            for tokenizer, count in zip(tokenizers, rows, strict=True)
        )
        self.size = tokenizers[1].size
        self.kept = {theirs[meaning]: ours[meaning] for meaning in theirs if meaning in ours}
        # Several tokens of one meaning (two spellings of a byte): all but the first are rebuilt from its neighbours.
        known = {index for index in tokenizers[1].ids.values() if index < rows[1]}
        self.rebuilt = sorted(known - set(self.kept))
        self.empty = self.size - len(self.kept) - len(self.rebuilt)
        self.shared = sorted(self.kept.items())


def _tensors(
    own: Checkpoint,
    other: Checkpoint,
    plan: _Rows,
    inputs: Inputs,
    losses: _Losses,
    method: str,
    neighbours: int,
) -> Iterator[NewTensor]:
    vocabulary = set(own.layout.vocabulary)
    for name, info in own.tensors.items():
        source = Source(info, own.deltas.get(name))
        if name not in vocabulary:
            yield inputs.written_as(name, source)
            continue
        head = name in own.layout.heads
        theirs = _table(other)
        if head:
            heads = [each for each in other.layout.heads if each.endswith("weight")]
            found = other.find(heads[0]) if heads else None
            theirs = found or theirs
        if len(info.shape) != 2 or info.dtype not in DTYPE_NAME:
            raise UserError(
                f"{own.reference}: {name} follows the vocabulary and is no table of rows; cannot be rebuilt"
            )
        rows = _Table(source, theirs, plan, inputs, losses, method, neighbours)
        yield NewTensor(name, info.dtype, (plan.size, info.shape[1]), rows.content)


@dataclass(frozen=True)
class _Table:
    """One tensor whose rows are tokens: the model's, the donor's, and how the result's rows come about."""

    ours: Source
    theirs: Source
    plan: _Rows
    inputs: Inputs
    losses: _Losses
    method: str
    neighbours: int

    def content(self) -> Iterator[Bytes]:
        """The rows in order, a batch at a time."""
        plan, dtype = self.plan, self.ours.info.dtype
        ours, theirs = self.inputs.tensor(self.ours), self.inputs.tensor(self.theirs)
        shared = [index for index, _ in plan.shared]
        points, carried = theirs[shared], ours[[index for _, index in plan.shared]]
        mean = ours.mean(dim=0)
        count = min(self.neighbours, len(points), points.shape[1] if self.method == "omp" else len(points))
        batch = max(1, _BATCH_NUMBERS // (len(points) + count * max(points.shape[1], carried.shape[1])))
        rebuilt = set(plan.rebuilt)
        starts = range(0, plan.size, batch)
        for start in Progress().track(starts, "rebuilding", len(starts)):
            rows = torch.empty(min(batch, plan.size - start), ours.shape[1])
            wanted = [index for index in range(start, start + len(rows)) if index in rebuilt]
            for index in range(start, start + len(rows)):
                rows[index - start] = ours[plan.kept[index]] if index in plan.kept else mean
            if wanted:
                targets = theirs[wanted]
                chosen, weights = _METHODS[self.method](targets, points, count)
                rows[[index - start for index in wanted]] = _combined(weights, carried, chosen)
                self.losses.lost += float((targets - _combined(weights, points, chosen)).double().square().sum())
                self.losses.whole += float(targets.double().square().sum())
            yield rounded(rows, dtype)


def _combined(weights: Tensor, points: Tensor, chosen: Tensor) -> Tensor:
    return torch.einsum("bc,bcw->bw", weights, points[chosen])


def _side_files(folder: Path, own: Checkpoint, other: Checkpoint, size: int) -> None:
    """The model's config with the donor's special tokens, and the donor's tokenizer."""
    config = copy.deepcopy(own.config)
    for key in [key for key in config if key.endswith("_config") and isinstance(config[key], dict)]:
        given = {name: value for name, value in _text(other.config).items() if name in config[key]}
        _renumber(config[key], given, size)
    _renumber(config, _text(other.config), size)
    write_json(folder / "config.json", config)
    for name, source in side_files([other.folder], 0).items():
        (folder / name).parent.mkdir(exist_ok=True)
        if name != "generation_config.json":
            shutil.copyfile(source, folder / name)
    settings = read_json(own.folder / "generation_config.json")
    if isinstance(settings, dict):
        donated = read_json(other.folder / "generation_config.json")
        ids = {**_text(other.config), **(donated if isinstance(donated, dict) else {})}
        _renumber(settings, ids, size)
        write_json(folder / "generation_config.json", settings)


def _text(config: dict[str, Any]) -> dict[str, Any]:
    text = config.get("text_config")
    return {**config, **text} if isinstance(text, dict) else config


def _renumber(settings: dict[str, Any], donor: dict[str, Any], size: int) -> None:
    if "vocab_size" in settings:
        settings["vocab_size"] = size
    ids = {key for key in {*settings, *donor} if key.endswith("_token_id")}
    for key in sorted(ids):
        # A donor may name rows that its table has and its tokenizer has not; they have no place in the result.
        given = donor.get(key)
        if isinstance(given, list):
            given = [each for each in given if each < size] or None
        elif isinstance(given, int) and given >= size:
            given = None
        if key in settings or given is not None:
            settings[key] = given
