"""Phase 1's prompts, a file an action, and the rules for what comes back. Text only; knows no model.

The wording of the files here is this project's; what each prompt asks for, and the cuts, are the paper's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from burnish.core.errors import UserError

CLARIFY_SENTENCES = 3  # Source: RFTT, released search: a rewritten question is cut after its third sentence
NOTHING = "(nothing yet)"
VERIFY = "verify"

_SENTENCE = re.compile(r"[.!?]+(?=\s|$)")
_MARKER = re.compile(r"(?m)^\W*(?:Step\s+\d+|Final step)\b")
_SLOT = re.compile(r"\{\{(\w+)\}\}")
_SLOTS = {"question", "steps", "number"}
_MORE = {VERIFY: {"wrong", "right"}}


@dataclass(frozen=True)
class Prompts:
    """Templates with the slots ``{{question}}``, ``{{steps}}`` and ``{{number}}``; that of verify has two more.

    Attributes:
        texts: the template of each action.
    """

    texts: Mapping[str, str]

    def action(self, action: str, question: str, steps: Sequence[str]) -> str:
        """The user's turn that asks an untuned model for one step of a kind.

        Args:
            action: what kind.
            question: the problem.
            steps: texts of the steps so far.
        """
        return self._filled(action, question=question, steps=_numbered(steps), number=str(len(steps) + 1))

    def verify(
        self, question: str, shared: Sequence[str], wrong: Sequence[str], right: Sequence[str], number: int
    ) -> str:
        """The user's turn that asks where a wrong solution leaves a right one.

        Args:
            question: the problem.
            shared: texts of the steps that both begin with.
            wrong: texts of the wrong one's other steps.
            right: texts of the right one's.
            number: of the step thought to be the first wrong one, counted from the question.

        Source: RFTT, cross verification (not released).
        """
        first = len(shared) + 1
        return self._filled(
            VERIFY,
            question=question,
            steps=_numbered(shared),
            wrong=_numbered(wrong, first),
            right=_numbered(right, first),
            number=str(number),
        )

    def _filled(self, name: str, **values: str) -> str:
        """In one pass, so that a question that holds a slot's name is not filled in turn."""
        return _SLOT.sub(lambda slot: values[slot[1]], self.texts[name])


def read_prompts(folder: Path, actions: Iterable[str]) -> Prompts:
    """The prompts in a folder.

    Args:
        folder: holds ``ACTION.txt``.
        actions: those that are needed.

    Raises:
        UserError: one is missing or cannot be read, or names a slot that does not exist.
    """
    texts = {}
    for name in actions:
        file = folder / f"{name}.txt"
        try:
            texts[name] = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{file}: no prompt that asks for `{name}` can be read there ({error})") from None
        known = _SLOTS | _MORE.get(name, set())
        for slot in _SLOT.findall(texts[name]):
            if slot not in known:
                raise UserError(f"{file}: knows no {{{{{slot}}}}}; there are {', '.join(sorted(known))}")
    return Prompts(texts)


@cache
def house_prompts() -> Prompts:
    """The prompts that come with this project."""
    found = {
        file.name.removesuffix(".txt"): file.read_text(encoding="utf-8").strip()
        for file in (files("burnish.reason.rftt") / "prompts").iterdir()
    }
    return Prompts(found)


def tidy(action: str, text: str) -> str:
    """What an untuned model wrote, less what was not asked for: further sentences or steps, space around.

    >>> tidy("next_step", "Step 2: 3 + 4 = 7.\\nStep 3: 7 * 2 = 14.")
    'Step 2: 3 + 4 = 7.'
    """
    text = text.strip()
    if action == "clarify":
        ends = [found.end() for found in _SENTENCE.finditer(text)]
        return text[: ends[CLARIFY_SENTENCES - 1]] if len(ends) > CLARIFY_SENTENCES else text
    if action == "next_step":
        later = [found.start() for found in _MARKER.finditer(text) if found.start() > 0]
        return text[: later[0]].strip() if later else text
    return text


def _numbered(steps: Sequence[str], first: int = 1) -> str:
    return "\n".join(f"{number}. {text}" for number, text in enumerate(steps, first)) or NOTHING
