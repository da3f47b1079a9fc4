"""Plans as the words that a model reads and writes.

    two red circles left of a blue square  ->  red circle r1c1 red circle r3c1 blue square r2c3 end

An element is a count where it is not one, its attributes, its name and, last, its place, so that a causal model has
read what it is when it comes to where. Places are cells of the wording's grid, or boxes ``[0.250 0.000 0.500 0.125]``.
Line breaks count as blanks. A dense caption, where the wording has one, comes first and ends with ``|``.
"""

from __future__ import annotations

import re

from burnish.core.errors import nearest
from burnish.generate.plan import Box, Element, Plan, PlanError, Wording, numbers, validate

END, ANYWHERE, CAPTION_END = "end", "anywhere", "|"
_BOX = re.compile(r"\[\s*(\S+)\s+(\S+)\s+(\S+)\s+(\S+?)\s*\]")


def to_text(plan: Plan, wording: Wording) -> str:
    """A plan in words; :func:`parse` reads it back (boxes to three decimals).

    Raises:
        PlanError: the plan is not valid under this wording.
    """
    validate(plan, wording)
    words = [plan.caption, CAPTION_END] if wording.caption else []
    for element in plan.elements:
        words += [element.phrase, _place(element.box, wording)]
    return " ".join([*words, END])


def to_prompt(plan: Plan, wording: Wording) -> str:
    """A plan as a plain prompt, for models and controls that get no plan: "a red circle at r1c1 and ..."."""
    said = [
        f"{element.phrase if element.count > 1 else 'a ' + element.phrase}"
        + ("" if element.box is None else f" at {_place(element.box, wording)}")
        for element in plan.elements
    ]
    return " and ".join(said)


def parse(text: str, wording: Wording, source: str = "plan") -> Plan:
    """Read a plan, and validate it.

    Args:
        text: up to and with the word ``end``; what a model wrote after it must be cut off before.
        wording: what may be said.
        source: what to call the text in errors.

    Raises:
        PlanError: where the text stops being a plan, or what contradicts itself.
    """
    caption = ""
    if wording.caption:
        caption, bar, text = text.partition(CAPTION_END)
        if not bar:
            raise PlanError(f"{source}: no `{CAPTION_END}` after the caption")
        caption = " ".join(caption.split())
    words = _BOX.sub(lambda box: f" [{','.join(box.groups())}] ", text).split()
    if END not in words:
        raise PlanError(f"{source}: no `{END}` at its end; it was cut off, or is no plan")
    stop = words.index(END)
    if stop != len(words) - 1:
        raise PlanError(f"{source}: `{words[stop + 1]}` comes after `{END}`")
    elements: list[Element] = []
    phrase: list[str] = []
    for word in words[:stop]:
        if word != ANYWHERE and word not in wording.places and not word.startswith("["):
            phrase.append(word)
            continue
        said = f"{source}: element {len(elements) + 1}"
        elements.append(_element(phrase, _read_place(word, wording, said), wording, said))
        phrase = []
    if phrase:
        raise PlanError(f"{source}: element {len(elements) + 1} (`{' '.join(phrase)}`) has no place")
    return validate(Plan(tuple(elements), caption), wording, source=source)


def _element(phrase: list[str], box: Box | None, wording: Wording, said: str) -> Element:
    count, words = 1, list(phrase)
    if words and re.fullmatch(r"[0-9]{1,6}", words[0]):
        count = int(words.pop(0))
    attributes = []
    # The last word is always the name's: an orange is a fruit too.
    while len(words) > 1 and words[0] in wording.kinds:
        attributes.append(words.pop(0))
    name = " ".join(words)
    if not name:
        raise PlanError(f"{said}: a place without a name before it")
    if wording.names and name not in wording.names and len(words) > 1 and words[-1] in wording.names:
        raise PlanError(f"{said}: unknown attribute `{words[0]}`; {nearest(words[0], wording.kinds)}")
    return Element(name, count, tuple(attributes), box)


def _read_place(word: str, wording: Wording, said: str) -> Box | None:
    if word == ANYWHERE:
        return None
    if word in wording.places:
        return wording.places[word]
    try:
        left, top, right, bottom = map(float, word.strip("[]").split(","))
    except ValueError:
        raise PlanError(f"{said}: `{word}` is no box of four numbers") from None
    return left, top, right, bottom


def _place(box: Box | None, wording: Wording) -> str:
    if box is None:
        return ANYWHERE
    return wording.place(box) or numbers(box)
