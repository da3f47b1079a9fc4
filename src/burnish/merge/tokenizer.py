"""The merged model's tokenizer: the base's, another model's, or the union of all. Knows `tokenizer.json`, no weights.

A union keeps every id of the base. Words that only other models have join the vocabulary itself (with their merges),
where the tokenizers are of one kind: as added tokens, as mergekit has them, they would cut through other words.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.core.errors import BurnishError, UserError
from burnish.core.files import read_json
from burnish.merge.chat_templates import TEMPLATES
from burnish.merge.config import MergeConfig

_PLAIN = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": True, "special": False}
# Other spellings of a vocabulary. Beside a tokenizer.json that has grown they would contradict it.
STALE = ("tokenizer.model", "spiece.model", "vocab.json", "vocab.txt", "merges.txt", "added_tokens.json")

# No vocabulary comes near; a larger id is damage, and would ask for an embedding of as many rows.
_LARGEST_ID = 1 << 24


@dataclass(frozen=True)
class Tokenizer:
    """A model's tokenizer files, read.

    Attributes:
        folder: where they lie.
        data: `tokenizer.json`.
        settings: `tokenizer_config.json`.
        ids: token string to id, added tokens included.
    """

    folder: Path
    data: dict[str, Any]
    settings: dict[str, Any]
    ids: dict[str, int]

    @property
    def size(self) -> int:
        """Rows that an embedding needs: one more than the largest id."""
        return max(self.ids.values(), default=-1) + 1

    @property
    def kind(self) -> str | None:
        """BPE, WordLevel, WordPiece, Unigram; older files name it only by its parts."""
        model = self.data["model"]
        return model.get("type") or ("BPE" if "merges" in model else None)


def read_tokenizer(folder: Path) -> Tokenizer | None:
    """The tokenizer of a model folder, or `None` if it has no `tokenizer.json`.

    Raises:
        UserError: the file is damaged.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        return None
    data = read_json(path)
    try:
        vocabulary = data["model"]["vocab"]
        if not vocabulary:
            raise ValueError("a vocabulary has tokens")
        if isinstance(vocabulary, list):
            if not all(isinstance(token, str) and isinstance(score, int | float) for token, score in vocabulary):
                raise ValueError("a Unigram vocabulary has pairs of token and score")
            ids = {entry[0]: index for index, entry in enumerate(vocabulary)}
        else:
            ids = dict(vocabulary)
        ids |= {token["content"]: token["id"] for token in data.get("added_tokens") or []}
        settings = read_json(folder / "tokenizer_config.json")
        settings = settings if isinstance(settings, dict) else {}
        for index, token in (settings.get("added_tokens_decoder") or {}).items():
            ids.setdefault(token["content"], int(index))
        if not all(type(index) is int and 0 <= index <= _LARGEST_ID for index in ids.values()):
            raise ValueError("ids must be whole numbers, and not so large that their rows fill the memory")
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        raise UserError(f"{path}: not a tokenizer that can be read; save the tokenizer again") from None
    return Tokenizer(folder, data, settings, ids)


def extended(base: Tokenizer, others: Iterable[Tokenizer], new_tokens: Iterable[str]) -> Tokenizer:
    """The base's tokenizer with the others' tokens after its own, and `new_tokens` last. Ids of the base stay.

    Raises:
        BurnishError: the `tokenizers` library reads other ids from the result than were meant.
    """
    data = json.loads(json.dumps(base.data))
    ids = dict(base.ids)
    added: list[dict[str, Any]] = data.setdefault("added_tokens", [])
    mapped = isinstance(data["model"]["vocab"], dict)

    free = itertools.count(base.size)

    def add(content: str, token: dict[str, Any] | None) -> None:
        if content in ids:
            return
        ids[content] = next(free)
        if mapped:
            data["model"]["vocab"][content] = ids[content]
        if token is not None:
            added.append({**_PLAIN, **token, "id": ids[content], "content": content})

    if mapped:
        # On loading, an added token that the vocabulary lacks takes the first free id, which is about to change.
        data["model"]["vocab"] |= {token["content"]: token["id"] for token in added}
    for other in others:
        special = {token["content"]: token for token in other.data.get("added_tokens") or []}
        same_kind = mapped and other.kind == base.kind
        for content in sorted(other.ids, key=other.ids.__getitem__):
            add(content, special.get(content, None if same_kind else {}))
        if same_kind and base.kind == "BPE":
            _add_merges(data, other.data)
    for content in new_tokens:
        add(content, {})
    _check(data, ids)
    return Tokenizer(base.folder, data, _settings(base, added), ids)


def _settings(base: Tokenizer, added: list[dict[str, Any]]) -> dict[str, Any]:
    """The base's settings, with the added tokens where it lists them."""
    settings: dict[str, Any] = json.loads(json.dumps(base.settings))
    if "added_tokens_decoder" in settings:
        fields = ("content", *_PLAIN)
        settings["added_tokens_decoder"] |= {str(token["id"]): {key: token[key] for key in fields} for token in added}
    return settings


def _add_merges(data: dict[str, Any], other: dict[str, Any]) -> None:
    """The merges of another BPE tokenizer that are not there yet, after one's own."""
    known = {tuple(pair) for pair in _merges(data)}
    more = [pair for pair in _merges(other) if tuple(pair) not in known]
    if more:
        data["model"]["merges"] = _merges(data) + more


def _merges(data: dict[str, Any]) -> list[list[str]]:
    return [pair.split(" ") if isinstance(pair, str) else list(pair) for pair in data["model"].get("merges") or []]


def _check(data: dict[str, Any], ids: dict[str, int]) -> None:
    import tokenizers

    try:
        read = tokenizers.Tokenizer.from_str(json.dumps(data)).get_vocab(with_added_tokens=True)
    except Exception as error:  # noqa: BLE001 - the library raises bare Exception
        raise BurnishError(f"the union tokenizer cannot be read back: {' '.join(str(error).split())[:200]}") from None
    wrong = next((token for token, index in read.items() if ids.get(token) != index), None)
    if wrong is not None:
        raise BurnishError(f"the union tokenizer gives {wrong!r} the id {read[wrong]}, not {ids.get(wrong)}")


def write_tokenizer(tokenizer: Tokenizer, out: Path) -> None:
    """Write the two files that may have changed; the rest is copied from the donor."""
    text = json.dumps(tokenizer.data, ensure_ascii=False, indent=2)
    (out / "tokenizer.json").write_text(text, encoding="utf-8")
    if tokenizer.settings:
        text = json.dumps(tokenizer.settings, ensure_ascii=False, indent=2)
        (out / "tokenizer_config.json").write_text(text, encoding="utf-8")


def chat_template(config: MergeConfig, folders: Iterable[Path]) -> str | None:
    """The template that the YAML asks for: `auto` (the most common one), a built-in name, or Jinja itself.

    Raises:
        UserError: neither a known name nor a template.
    """
    asked = config.chat_template
    if asked is None:
        return None
    if asked == "auto":
        templates = Counter(template for folder in folders if (template := own_template(folder)))
        return templates.most_common(1)[0][0] if templates else None
    if asked in TEMPLATES:
        return TEMPLATES[asked]
    if "{" not in asked:
        known = ", ".join(("auto", *TEMPLATES))
        raise UserError(f"{config.where('chat_template')}: `chat_template`: {asked!r} is none of {known}, nor Jinja")
    return asked


def own_template(folder: Path) -> str | None:
    """A model's chat template, wherever it keeps it."""
    if (folder / "chat_template.jinja").is_file():
        return (folder / "chat_template.jinja").read_text(encoding="utf-8").strip()
    settings = read_json(folder / "tokenizer_config.json")
    template = settings.get("chat_template") if isinstance(settings, dict) else None
    if isinstance(template, list):
        template = next((entry.get("template") for entry in template if entry.get("name") == "default"), None)
    return template.strip() if isinstance(template, str) else None


def set_template(template: str, out: Path) -> None:
    """Make `template` the one of the tokenizer in `out`."""
    (out / "chat_template.jinja").write_text(template, encoding="utf-8")
    path = out / "tokenizer_config.json"
    settings = read_json(path)
    if isinstance(settings, dict) and "chat_template" in settings:
        del settings["chat_template"]
        path.write_text(json.dumps(settings, ensure_ascii=False, indent=2), encoding="utf-8")
