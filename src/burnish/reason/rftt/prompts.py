"""Phase 1's prompts, a file an action, and the rules for what comes back. Text only; knows no model.

The wording is this project's; what each prompt asks for, and the cuts, are the paper's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from burnish.core.errors import UserError, nearest

CLARIFY_SENTENCES = 3  # Source: RFTT, released search: a rewritten question is cut after its third sentence
NOTHING = "(nothing yet)"

_SENTENCE = re.compile(r"[.!?]+(?=\s|$)")
_MARKER = re.compile(r"(?m)^\W*(?:Step\s+\d+|Final step)\b")
_SLOT = re.compile(r"\{\{(\w+)\}\}")


def action_prompt(action: str, question: str, steps: Sequence[str]) -> str:
    """The user's turn that asks an untuned model for one step of a kind.

    Args:
        action: what kind.
        question: the problem.
        steps: texts of the steps so far.

    Raises:
        UserError: there is no prompt for this action.
    """
    return _fill(action, question=question, steps=_numbered(steps), number=str(len(steps) + 1))


def verify_prompt(question: str, shared: Sequence[str], wrong: Sequence[str], right: Sequence[str], number: int) -> str:
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
    return _fill(
        "verify",
        question=question,
        steps=_numbered(shared),
        wrong=_numbered(wrong, first),
        right=_numbered(right, first),
        number=str(number),
    )


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


@cache
def _template(name: str) -> str:
    folder = files("burnish.reason.rftt") / "prompts"
    file = folder / f"{name}.txt"
    if not file.is_file():
        known = sorted(each.name.removesuffix(".txt") for each in folder.iterdir())
        raise UserError(f"no prompt asks for `{name}`; {nearest(name, known)}")
    return file.read_text(encoding="utf-8").strip()


def _fill(name: str, **values: str) -> str:
    """In one pass, so that a question that holds a slot's name is not filled in turn."""
    return _SLOT.sub(lambda slot: values[slot[1]], _template(name))


def _numbered(steps: Sequence[str], first: int = 1) -> str:
    return "\n".join(f"{number}. {text}" for number, text in enumerate(steps, first)) or NOTHING
