"""Which row of which model's embedding every row of the merged one comes from, by token string.

The rules are mergekit's; beyond it, rows past the tokenizer (a padded vocabulary) are kept. Pure index arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from burnish.core.errors import UserError
from burnish.merge.config import MergeConfig, ModelToken, TokenRule, ZeroToken
from burnish.merge.sources import Checkpoint
from burnish.merge.tokenizer import Tokenizer, extended, read_tokenizer

ZERO, AVERAGE, MEAN_OF_OWN = -1, -2, -3


@dataclass(frozen=True, eq=False)
class Rows:
    """Where the rows of a vocabulary-indexed tensor come from, for the models of one group.

    Attributes:
        own: (models, rows): the row in the model itself, or -1 where the fill is taken.
        fill_model: (rows,): position in the group of the donor, or `ZERO`, `AVERAGE` (over the models that have the
            token), `MEAN_OF_OWN` (the model's mean over all tokens: padding that no model has).
        fill_row: (rows,): the row in the donor.
        present: (models, rows): each model's row of the token, or -1: what `AVERAGE` runs over.
        tokens: rows that belong to the tokenizer; padding follows.
    """

    own: NDArray[np.int64]
    fill_model: NDArray[np.int64]
    fill_row: NDArray[np.int64]
    present: NDArray[np.int64]
    tokens: int

    @property
    def identity(self) -> bool:
        """Whether every model keeps its rows where they are."""
        return bool((self.own == np.arange(self.own.shape[1])).all())

    @property
    def exact(self) -> bool:
        """Whether rows are only copied, so that it can be done on raw bits."""
        return not bool((self.fill_model[(self.own < 0).any(axis=0)] < ZERO).any())

    def gather(self, inputs: Sequence[NDArray[np.generic]]) -> list[NDArray[np.generic]]:
        """Each model's tensor with the merged model's rows.

        Args:
            inputs: (own rows, ...) arrays of the group's models; float32 unless `exact`.
        """
        filled = np.zeros((self.own.shape[1], *inputs[0].shape[1:]), dtype=inputs[0].dtype)
        for position, tensor in enumerate(inputs):
            rows = np.flatnonzero(self.fill_model == position)
            filled[rows] = tensor[self.fill_row[rows]]
        average = np.flatnonzero(self.fill_model == AVERAGE)
        if average.size:
            total = np.zeros((average.size, *inputs[0].shape[1:]), dtype=np.float32)
            for tensor, present in zip(inputs, self.present[:, average], strict=True):
                total[present >= 0] += tensor[present[present >= 0]]
            count = (self.present[:, average] >= 0).sum(axis=0)
            filled[average] = total / count.reshape(-1, *[1] * (total.ndim - 1))
        results = []
        for tensor, own in zip(inputs, self.own, strict=True):
            result = filled.copy()
            result[own >= 0] = tensor[own[own >= 0]]
            mean = np.flatnonzero((self.fill_model == MEAN_OF_OWN) & (own < 0))
            if mean.size:
                result[mean] = result[: self.tokens].mean(axis=0, dtype=np.float64)
            results.append(result)
        return results


class Vocabulary:
    """The result's tokenizer, and the rows of any group of models under it.

    Raises:
        UserError: a model has no `tokenizer.json`; a token rule asks for a row that is not there.
    """

    def __init__(self, config: MergeConfig, checkpoints: Sequence[Checkpoint], base: int) -> None:
        settings = config.tokenizer
        source = settings.source if settings else config.tokenizer_source
        self._config = config
        self._rules = settings.tokens if settings else {}
        self._models = [_embedding_rows(checkpoint) for checkpoint in checkpoints]
        donor = base
        self._positions = {checkpoint.reference: index for index, checkpoint in enumerate(checkpoints)}
        if source not in ("base", "union", None):
            if source not in self._positions:
                raise UserError(f"{self._where('source')}: {source} gives the tokenizer but takes no part in the merge")
            donor = self._positions[source]
        self._base, self.donor = base, donor
        first = _required(checkpoints[donor])
        read = [read_tokenizer(checkpoint.folder) for checkpoint in checkpoints]
        # A model without a tokenizer of its own is taken to have been trained with the base's.
        self._tokenizers: list[Tokenizer] = [tokenizer or read[base] or first for tokenizer in read]
        others = [tokenizer for index, tokenizer in enumerate(self._tokenizers) if index != donor]
        known = [first, *(others if source == "union" else [])]
        grows = any(token not in first.ids for tokenizer in known for token in tokenizer.ids) or any(
            token not in first.ids for token in self._rules
        )
        self.tokenizer = extended(first, others if source == "union" else (), self._rules) if grows else first
        self.grown = grows
        self.rows = max(self._models[donor], self.tokenizer.size)
        if settings and settings.pad_to_multiple_of:
            multiple = settings.pad_to_multiple_of
            self.rows = -(-self.tokenizer.size // multiple) * multiple

    def _where(self, *path: str) -> str:
        return self._config.where(*(("tokenizer", *path) if self._config.tokenizer else ("tokenizer_source",)))

    def translated(self, model: int, token_id: int) -> int | None:
        """The result's id of a model's token, or `None` if the result does not have it."""
        token = next((token for token, index in self._tokenizers[model].ids.items() if index == token_id), None)
        return None if token is None else self.tokenizer.ids.get(token)

    def rows_for(self, group: Sequence[int]) -> Rows:
        """Rows for the models of one tensor.

        Args:
            group: indices of the checkpoints, in the order of the merge's inputs.
        """
        present = np.full((len(group), self.rows), -1, dtype=np.int64)
        for position, model in enumerate(group):
            ids, limit = self._tokenizers[model].ids, self._models[model]
            for token, row in self.tokenizer.ids.items():
                index = ids.get(token, -1)
                # A tokenizer may know more tokens than the embedding has rows; those have no row to give.
                if index < limit:
                    present[position, row] = index
        own = present.copy()
        fill_model = np.full(self.rows, ZERO, dtype=np.int64)
        fill_row = np.zeros(self.rows, dtype=np.int64)
        has = present >= 0
        count = has.sum(axis=0)
        base = group.index(self._base) if self._base in group else None
        only = np.flatnonzero(count == 1)
        fill_model[only], fill_row[only] = has[:, only].argmax(axis=0), present[:, only].max(axis=0)
        fill_model[count > 1] = AVERAGE
        if base is not None:
            of_base = np.flatnonzero((count > 1) & has[base])
            fill_model[of_base], fill_row[of_base] = base, present[base, of_base]
        self._apply_rules(group, present, own, fill_model, fill_row)
        self._pad(group, own, fill_model, fill_row)
        return Rows(own, fill_model, fill_row, present, self.tokenizer.size)

    def _pad(
        self,
        group: Sequence[int],
        own: NDArray[np.int64],
        fill_model: NDArray[np.int64],
        fill_row: NDArray[np.int64],
    ) -> None:
        named = set(self.tokenizer.ids.values())
        padding = np.array([row for row in range(self.rows) if row not in named], dtype=np.int64)
        fill_model[padding] = MEAN_OF_OWN
        # The donor of the tokenizer comes last: it has the last word on its own padding.
        for position in sorted(range(len(group)), key=lambda position: group[position] == self.donor):
            model = group[position]
            taken = set(self._tokenizers[model].ids.values())
            free = np.array([row for row in padding if row < self._models[model] and row not in taken], dtype=np.int64)
            own[position, free] = free
            fill_model[free], fill_row[free] = position, free

    def _apply_rules(
        self,
        group: Sequence[int],
        present: NDArray[np.int64],
        own: NDArray[np.int64],
        fill_model: NDArray[np.int64],
        fill_row: NDArray[np.int64],
    ) -> None:
        for token, rule in self._rules.items():
            row = self.tokenizer.ids[token]
            if rule.source is not None:
                fill_model[row], fill_row[row] = self._donor(token, rule, group, present)
            if rule.force:
                own[:, row] = -1

    def _donor(self, token: str, rule: TokenRule, group: Sequence[int], present: NDArray[np.int64]) -> tuple[int, int]:
        where = self._where("tokens", token, "source")
        if isinstance(rule.source, ZeroToken):
            return ZERO, 0
        reference = rule.source.model if isinstance(rule.source, ModelToken) else rule.source
        model = next((index for known, index in self._positions.items() if known == reference), None)
        if model is None or model not in group:
            raise UserError(f"{where}: token {token!r}: {reference} takes no part in the merge of the embeddings")
        position = group.index(model)
        if isinstance(rule.source, ModelToken):
            wanted = rule.source.token_id
            index = self._tokenizers[model].ids.get(rule.source.token or "", -1) if wanted is None else wanted
        else:
            index = int(present[position, self.tokenizer.ids[token]])
        if not 0 <= index < self._models[model]:
            raise UserError(f"{where}: token {token!r}: {reference} has no row for it")
        return position, index


def _required(checkpoint: Checkpoint) -> Tokenizer:
    tokenizer = read_tokenizer(checkpoint.folder)
    if tokenizer is None:
        raise UserError(
            f"{checkpoint.folder}: no tokenizer.json; load it with AutoTokenizer and save it once to get one"
        )
    return tokenizer


def _embedding_rows(checkpoint: Checkpoint) -> int:
    names = checkpoint.layout.embeddings or checkpoint.layout.heads
    if not names:
        raise UserError(
            f"{checkpoint.folder}: no token embedding was found, so there is nothing that `tokenizer` aligns"
        )
    return checkpoint.tensors[names[0]].shape[0]
