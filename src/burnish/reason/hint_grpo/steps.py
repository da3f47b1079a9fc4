"""A reference rationale as a list of steps. Knows how data sets write them down, and text only.

Source: Hint-GRPO's data (LLaVA-CoT's tagged answers, their reasoning in "Step k" items); plain rationales by line or
sentence.
"""

from __future__ import annotations

import re
from typing import Literal

Style = Literal["auto", "step_k", "newline", "sentence"]

_REASONING = re.compile(r"<REASONING>(.*?)(?:</REASONING>|\Z)", re.DOTALL | re.IGNORECASE)
_MARKER = re.compile(
    r"(?P<start>^[ \t#>*_-]*)?\bS(?:tep|TEP)[ \t]*(?P<number>\d+)\b(?P<end>[ \t*_]*[:.)])?", re.MULTILINE
)
# A stop that ends a sentence: not after an abbreviation or a single letter, and something that can open one follows.
_SENTENCE_END = re.compile(
    r"(?<!\be\.g\.)(?<!\bi\.e\.)(?<!\bcf\.)(?<!\bvs\.)(?<!\bFig\.)(?<!\bEq\.)(?<!\bNo\.)(?<!\b[A-Za-z]\.)"
    r"(?<=[.!?])[\"')\]]?\s+(?=[\"'(\[$\\]*[A-Z0-9$\\<])"
)


def split_steps(rationale: str, style: Style = "auto") -> list[str]:
    """The steps of a rationale, stripped, none empty.

    ``auto`` takes what is inside LLaVA-CoT's ``<REASONING>`` tags, if they are there, and then the first of: "Step k"
    markers, lines (where there are several), sentences.

    >>> split_steps("Intro Step 1: add. Step 2: stop")
    ['add.', 'stop']
    """
    tagged = _REASONING.search(rationale)
    text = (tagged[1] if tagged else rationale).strip()
    if style == "newline":
        return _lines(text)
    if style == "sentence":
        return _sentences(text)
    steps = _marked(text)
    if steps or style == "step_k":
        return steps
    lines = _lines(text)
    return lines if len(lines) > 1 else _sentences(text)


def _marked(text: str) -> list[str]:
    """Pieces after "Step k" markers; what comes before the first is dropped, as published.

    The published split cuts at every "Step <int>" and so inside "Step 2: by Step 1 we get x". Here a marker counts at
    the start of a line with a higher number than the last, or inside a line where a colon or stop follows and its
    number is the next.
    """
    accepted: list[re.Match[str]] = []
    for marker in _MARKER.finditer(text):
        number = int(marker["number"])
        last = int(accepted[-1]["number"]) if accepted else None
        at_line_start = marker["start"] is not None
        if last is None:
            fits = at_line_start or marker["end"] is not None
        else:
            fits = number > last if at_line_start else marker["end"] is not None and number == last + 1
        if fits:
            accepted.append(marker)
    ends = [marker.start() for marker in accepted[1:]] + [len(text)] * bool(accepted)
    pieces = [text[marker.end() : end].strip(" \t\r\n:*_") for marker, end in zip(accepted, ends, strict=True)]
    return [piece for piece in pieces if piece]


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _sentences(text: str) -> list[str]:
    return [piece.strip() for piece in _SENTENCE_END.split(text) if piece.strip()]
