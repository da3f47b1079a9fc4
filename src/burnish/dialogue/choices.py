"""A multiple-choice question as an open one, by the rule of Hint-GRPO's data: guessing a letter earns nothing.

Knows text only.
"""

from __future__ import annotations

import re

_LABEL = r"(?:\(\s*{letter}\s*\)|{letter}\s*[.:)、．：）])"
_HEADING = re.compile(r"\s*\b(?:choices|options)\s*[:：]?\s*$", re.IGNORECASE)
_BLANK = re.compile(r"\s*[(（]\s*[)）]\s*$")
_ASK = re.compile(
    r"\s*(?:please\s+)?(?:answer|choose|select|respond)\b[^.\n]*\b(?:option|letter|choice|choices)\b[^.\n]*\.?\s*$",
    re.IGNORECASE,
)


def split_options(question: str) -> tuple[str, dict[str, str]]:
    """The question without its options, and the options by letter; the question itself and nothing where it has none.

    Options run from ``A`` on, at least to ``B``, each on a line of its own or all in one: ``A. 30°``, ``(A) 30°``,
    ``A: 30°``, ``A) 30°``.

    >>> split_options("How large is angle x? A. 30° B. 60°")
    ('How large is angle x?', {'A': '30°', 'B': '60°'})
    """
    starts: list[re.Match[str]] = []
    # From the last "A" that a "B" follows: a point of the figure may be called A, too.
    for first in reversed(list(re.finditer(rf"(?:^|(?<=\s)){_LABEL.format(letter='A')}", question))):
        starts = [first]
        for letter in "BCDEF":
            following = re.compile(rf"(?<=\s){_LABEL.format(letter=letter)}").search(question, starts[-1].end())
            if following is None:
                break
            starts.append(following)
        if len(starts) > 1:
            break
    if len(starts) < 2:
        return question, {}
    ends = [start.start() for start in starts[1:]] + [len(question)]
    options = {
        letter: question[start.end() : end].strip(" \t\n;,")
        for letter, start, end in zip("ABCDEF", starts, ends, strict=False)
    }
    last = list(options)[-1]
    options[last] = _ASK.sub("", options[last].splitlines()[0] if options[last] else "").strip()
    if not all(options.values()):
        return question, {}
    stem = _BLANK.sub("", _HEADING.sub("", _ASK.sub("", question[: starts[0].start()].rstrip())))
    return stem.strip(), options


def to_open(question: str, conclusion: str) -> tuple[str, str] | None:
    """Question and answer in open form, or ``None`` where the published rule does not apply.

    The rule: exactly one capital from A to D in the conclusion names the option whose text becomes the answer, and the
    options leave the question.

    >>> to_open("How large is angle x? A. 30° B. 60°", "The answer is B.")
    ('How large is angle x?', '60°')
    """
    letters = re.findall("[A-D]", conclusion)
    if len(letters) != 1:
        return None
    stem, options = split_options(question)
    if letters[0] not in options or not stem:
        return None
    return stem, options[letters[0]]
