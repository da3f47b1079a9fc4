"""What a token means whatever tokenizer writes it: its bytes, or its role if it is a special one. Knows no weights."""

from __future__ import annotations

import json
import re

from burnish.merge.tokenizer import Tokenizer

Meaning = tuple[str, bytes]
_ROLES = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token")


def meanings(tokenizer: Tokenizer) -> dict[Meaning, int]:
    """Ids by what tokens mean: `("text", bytes)`, `("special", its name)`, `("role", bos_token)`.

    Byte-level tokenizers write a byte as a letter, SentencePiece writes a space as a low line and a rare byte as
    `<0x0A>`. Both come out as the bytes that the token stands for. A token that plays a role is known by it, so that
    `<s>` and `<|begin_of_text|>` meet; special tokens without a role by their text.
    """
    special = {token["content"] for token in tokenizer.data.get("added_tokens") or [] if token.get("special")}
    roles: dict[str, str] = {}
    for role in _ROLES:
        value = tokenizer.settings.get(role)
        content = value.get("content") if isinstance(value, dict) else value
        if isinstance(content, str):
            roles.setdefault(content, role)
    parts = json.dumps([tokenizer.data.get(part) for part in ("pre_tokenizer", "decoder", "normalizer")])
    letters = _byte_letters() if '"ByteLevel"' in parts else None
    low_line = "\\u2581" in parts or '"Metaspace"' in parts
    found: dict[Meaning, int] = {}
    single_bytes: dict[Meaning, int] = {}
    for token, index in sorted(tokenizer.ids.items(), key=lambda pair: pair[1]):
        if token in roles:
            found.setdefault(("role", roles[token].encode()), index)
        elif token in special:
            found.setdefault(("special", token.encode()), index)
        elif letters is not None and all(letter in letters for letter in token):
            found.setdefault(("text", bytes(letters[letter] for letter in token)), index)
        elif low_line and (match := re.fullmatch(r"<0x([0-9A-F]{2})>", token)):
            single_bytes.setdefault(("text", bytes.fromhex(match[1])), index)
        else:
            text = token.replace("\u2581", " ") if low_line else token
            found.setdefault(("text", text.encode()), index)
    # A letter's own token comes before the byte that only stands in for what has none.
    return single_bytes | found


def _byte_letters() -> dict[str, int]:
    """The letter that stands for each byte in byte-level tokenizers: printable ones for themselves, the rest above 255.

    Source: GPT-2's encoder.
    """
    plain = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(plain)]
    return {chr(byte): byte for byte in plain} | {chr(256 + place): byte for place, byte in enumerate(others)}
