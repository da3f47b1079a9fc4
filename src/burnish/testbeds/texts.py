"""Real labelled texts out of packages: e-mails, emoji names, sentences. Each task is a function that gives rows.

A row has ``text`` and ``label``; a recipe names a task as ``burnish.testbeds.texts:emails``. Rows come in one fixed
order, classes mixed. Procedural tasks are in :mod:`burnish.testbeds.phrases`; :data:`TASKS` names all.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from burnish.core.paths import cache
from burnish.testbeds import phrases
from burnish.testbeds.corpora import Rows, corpus_rows, has_corpus
from burnish.testbeds.data import INDEX, load_pictures

ORDER = 2502
"""Seed of the order of the rows: the same on every machine."""


def _mixed(rows: Rows) -> Rows:
    """In an order that tells nothing: the same on every machine."""
    return [rows[place] for place in np.random.default_rng(ORDER).permutation(len(rows))]


def emails() -> Rows:
    """Subject and body: ``ham`` or ``spam``."""
    rows = [
        {"text": f"{row['subject']}. {row['body']}".strip(" ."), "label": row["label"]} for row in corpus_rows("emails")
    ]
    return _mixed([row for row in rows if row["text"]])


def subjects() -> Rows:
    """The subject line alone, without marks of mailing lists and replies: ``ham`` or ``spam``."""
    found = {}
    for row in corpus_rows("emails"):
        text = re.sub(r"(?i)\[[^\]]*\]|\b(re|fwd?)\s*:|\{[^}]*\}", " ", row["subject"])
        found[" ".join(text.split())] = row["label"]  # a thread has one subject
    return _mixed([{"text": text, "label": label} for text, label in found.items() if text])


def emoji() -> Rows:
    """The name of an emoji: its category, of nine."""
    pictures = load_pictures("emoji")
    kept = [each for each in pictures if each.category != "Component"]
    return _mixed([{"text": each.caption, "label": each.category} for each in kept])


def questions() -> Rows:
    """A sentence without its last sign: did its author ask or state?"""
    rows = []
    for row in corpus_rows("sentences"):
        text, sign = row["text"][:-1].rstrip(), row["text"][-1:]
        if sign in ("?", ".") and 3 <= len(text.split()) <= 30:
            rows.append({"text": text, "label": "question" if sign == "?" else "statement"})
    return _mixed(rows)


def orders() -> Rows:
    """A sentence as it was, or with its words in a random order (the disorder is procedural)."""
    rng = np.random.default_rng(7)
    rows = []
    for place, row in enumerate(corpus_rows("sentences")):
        words = row["text"].split()
        if 6 <= len(words) <= 25:
            shuffled = place % 2 == 1
            text = " ".join(words[at] for at in rng.permutation(len(words))) if shuffled else row["text"]
            rows.append({"text": text, "label": "shuffled" if shuffled else "intact"})
    return _mixed(rows)


TASKS: dict[str, tuple[str, Callable[[], Rows]]] = {
    "emails": ("real e-mails: ham or spam", emails),
    "emoji": ("real names of emoji: category, of nine", emoji),
    "subjects": ("real subject lines: ham or spam", subjects),
    "questions": ("real sentences without their last sign: question or statement", questions),
    "orders": ("real sentences, half with their words shuffled by us", orders),
    "triage": ("procedural complaints: which of five departments", phrases.triage),
    "requests": ("procedural letters to a bank: which of six requests", phrases.requests),
    "reviews": ("procedural reviews: liked or not", phrases.reviews),
}
"""Every task with what it is."""
PROCEDURAL = ("triage", "requests", "reviews")
"""Those whose texts are put together here."""


def has_data(name: str) -> bool:
    """Whether a task can be read without a registry: it is procedural, or what it is made from lies in the cache."""
    if name == "emoji":
        return (cache() / "data" / "emoji" / INDEX).exists()
    corpus = {"emails": "emails", "subjects": "emails", "questions": "sentences", "orders": "sentences"}.get(name)
    return corpus is None or has_corpus(corpus)
