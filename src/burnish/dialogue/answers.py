"""What an answer says, read from its text: a number with its unit, a choice, words, or LaTeX for an algebra system.

Pure functions over text; knows no model, no reward and no algebra. What can be told without algebra is told here
(:func:`compare_plainly`); for the rest :func:`as_latex` prepares what the algebra system reads.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from burnish.dialogue.units import read_unit

_DIGITS = r"(?:\d{1,3}(?:,\d{3})+|\d{1,40})"
_QUANTITY = re.compile(
    rf"""(?P<before>[$€£]?)\s*(?P<sign>[+-]?)\s*(?P<money>[$€£]?)\s*
    (?: (?:(?P<whole>\d{{1,40}})\s+)?(?P<over>{_DIGITS})\s*/\s*(?P<under>\d{{1,40}})
      | \\[dt]?frac\{{(?P<top>\d{{1,40}})\}}\{{(?P<bottom>\d{{1,40}})\}}
      | (?P<decimal>{_DIGITS}(?:\.\d{{1,40}})?|\.\d{{1,40}})
        (?: [eE](?P<e>[+-]?\d{{1,2}}) | \s*(?:\\times|\\cdot|[*x])\s*10\s*\^\s*\{{?(?P<ten>[+-]?\d{{1,2}})\}}? )?
    )
    \s*(?P<percent>%|percent\b)?\s*(?P<unit>[^\d\s].*)?""",
    re.ASCII | re.VERBOSE | re.DOTALL,
)
_LABEL = re.compile(r"(?:(?:option|choice|answer)\s*:?\s*)?(?:\((?P<closed>[A-Ha-h])\)|(?P<open>[A-Ha-h])\s*[).:])\s*")
_LETTER = re.compile(r"(?:option|choice|answer)?\s*:?\s*(?P<letter>[A-Ha-h])", re.IGNORECASE)
_CHOSEN = re.compile(
    r"\b(?:[Aa]nswer|[Oo]ption|[Cc]hoice)\b(?:\s+is)?\s*:?\s*\(?\**([A-H])\b(?!')(?!\)?\s*(?:,|/|or\b|and\b))"
)
_SECOND = re.compile(r"\([A-Ha-h]\)|(?<![A-Za-z0-9])[A-Ha-h][).:](?!\S)|\b(?:or|and)\s+\(?[A-H]\)?$")
_WRAPS = [(r"\(", r"\)"), (r"\[", r"\]"), ("$$", "$$"), ("$", "$"), ("**", "**"), ("`", "`")]
_BRACES = re.compile(r"\\boxed\{|[{}]")
_TEXT = re.compile(r"\\(?:text|textbf|mathrm|mathbf|mbox|operatorname)\s*\{([^{}]*)\}")
_SIGNS = {
    **{"−": "-", "–": "-", "×": r"\times ", "·": r"\cdot ", "÷": r"\div ", "π": r"\pi ", "∞": r"\infty "},
    **{"≤": r"\le ", "≥": r"\ge ", "±": r"\pm ", "∪": r"\cup ", "²": "^2", "³": "^3", "°": r"^\circ ", "½": r"\frac12"},
}
_NAMES = "pi|theta|alpha|beta|infty|sin|cos|tan|log|ln|exp"
_NAMED = re.compile(rf"(?<![\\A-Za-z])({_NAMES})(?![A-Za-z])")
_ROOT = re.compile(r"√\s*(?:\(([^()]*)\)|(\d+|[A-Za-z]))|(?<![\\A-Za-z])sqrt\s*\(([^()]*)\)")
_BOUND = re.compile(
    r"(?:not|at least|at most|(?:more|less|greater|fewer) than|over|under)\b|"
    r"[<>≤≥≠]|\\(?:neq?|geq?|leq?|gt|lt)(?![A-Za-z])",
    re.IGNORECASE,
)
_CUT = re.compile(r"(?<![_^{*])(?:[-+*/^_=<>]|\\(?:times|cdot|div|pm))\s*", re.ASCII)
_COUNTED = re.compile(r"(?P<number>\S*\d\S*)\s+[A-Za-z]{3,}")
_PAIR = re.compile(r"(?:\\left)?\([^()]*,[^()]*\)")
_SET = re.compile(r"(?:\\left)?\\\{(?:(?!\\\{).)*,.*\\\}|\{[^{}]*,[^{}]*\}", re.DOTALL)
_TRIG = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![A-Za-z])")
_DEGREES = re.compile(r"(\d+(?:\.\d+)?)\s*(?:\^\s*(?:\\circ|\{\s*\\circ\s*\})|\\degree)")
_JOINED = re.compile(r"\s*,?\s+(?:or|and)\s+")
_WORD = re.compile(
    r"(?<![\\A-Za-z])[A-Za-z]{4,}|(?<!\S)[A-Za-z]{2,}(?!\S)|(?<![_^\d])\d+\s+\d|\.\d*\.|[<>]\s*/?\s*[a-z]{3,}"
)


@dataclass(frozen=True)
class Quantity:
    """A number that stands alone, with what it is a number of.

    Attributes:
        value: without percent sign and unit, in the unit as written.
        percent: whether a percent sign follows.
        dimension: what its unit measures (``length^2``); empty without a unit.
        scale: how many of the dimension's base unit one of its units is.
    """

    value: Fraction
    percent: bool = False
    dimension: str = ""
    scale: Fraction = Fraction(1)


def boxed(text: str) -> str | None:
    r"""The content of the last ``\boxed{...}`` whose braces close, stripped; ``None`` where there is none.

    >>> boxed(r"so it is \boxed{\frac{1}{2}}.")
    '\\frac{1}{2}'
    """
    waiting: list[tuple[int, bool]] = []
    last = (-1, -1)
    for mark in _BRACES.finditer(text):  # once through: a model that repeats itself writes thousands of boxes
        if mark[0] != "}":
            waiting.append((mark.end(), mark[0] != "{"))
        elif waiting:
            start, is_box = waiting.pop()
            if is_box and start > last[0]:
                last = (start, mark.start())
    return None if last[0] < 0 else text[slice(*last)].strip()


def bare(text: str) -> str:
    r"""The answer without what only sets it: the last box's content, no dollars or stars around it, no full stop.

    >>> bare(r"Thus \boxed{3} and so \boxed{$\text{red}$.}")
    'red'
    """
    box = boxed(text)
    text = (text if box is None else box).strip()
    before = ""
    while text != before:
        before = text
        if text.endswith(".") and not text.endswith(".."):
            text = text[:-1].rstrip()
        for start, end in _WRAPS:
            inner = text[len(start) : -len(end)]
            if len(text) > len(start) + len(end) and text.startswith(start) and text.endswith(end):
                text = inner.strip() if start not in inner and end not in inner else text
        whole = _TEXT.fullmatch(text)
        text = whole[1].strip() if whole else text
    return text


def read_quantity(text: str) -> Quantity | None:
    r"""A number with percent sign or unit that stands alone; ``None`` for anything else, and for units it cannot tell.

    >>> read_quantity(r"1{,}250\text{ cm}^2").dimension
    'length^2'
    """
    text = bare(text)
    if len(text) > 120:
        return None
    for sign, ascii_form in _SIGNS.items():
        text = text.replace(sign, ascii_form)
    text = _TEXT.sub(r" \1", text.replace("{,}", ",").replace(r"\%", "%").replace(r"\$", "$"))
    text = re.sub(r"(?<=\d)\\[,!](?=\d{3})", "", text)
    found = _QUANTITY.fullmatch(re.sub(r"\\[,;: ]|~", " ", text).strip())
    if found is None:
        return None
    try:
        value = _value(found)
    except ZeroDivisionError:
        return None
    if re.fullmatch(r".*[\d.][A-Za-z]", text):
        return None  # 5m may be five times m
    money = found["before"] or found["money"]
    if money and (found["unit"] or found["percent"]):
        return None
    unit = read_unit(money or found["unit"] or "")
    if unit is None or (found["percent"] and unit.dimension):
        return None
    return Quantity(value, bool(found["percent"]), unit.dimension, unit.scale)


def compare_plainly(text: str, gold: str) -> bool | None:
    """The verdict where it needs no algebra: equal text, choices, two numbers that are equal or clearly not.

    An empty answer or reference is never right. A unit or a percent sign that only one side has does not count against
    it: the question asks for it. Two units must measure the same, and are converted; another word counts other things.
    The choice ``B`` is given by "b", "(B)" and "B) 12". An expression that ends in an operator is none, and a pair or
    interval in parentheses is no set in braces.

    Returns:
        ``None`` where only algebra can tell, and for numbers so close that rounding decides.
    """
    left, right = bare(text), bare(gold)
    if not left or not right:
        return False
    if text.strip() == gold.strip() or left == right or _same_words(left, right):
        return True
    chosen = _compare_choices(left, right)
    if chosen is not None:
        return chosen
    bound = _BOUND.match(left)
    if bound and read_quantity(left[bound.end() :]) and read_quantity(right):
        return False  # "at least 5" names no number
    if len(left) == len(right) == 1 and left.isalpha() and right.isalpha():
        return False  # math-verify reads X as x
    if _unlike(left, right):
        return False
    return _compare_quantities(read_quantity(_unlabelled(left)), read_quantity(_unlabelled(right)))


def as_latex(text: str) -> str | None:
    r"""The answer as LaTeX without dollars, if it is one expression; ``None`` for prose, which has to be searched.

    >>> as_latex("2 * sqrt(8)"), as_latex("therefore x = 14")
    ('2 * \\sqrt{8}', None)
    """
    text = _unlabelled(bare(text))
    if not text or len(text) > 2000 or "$" in text.replace(r"\$", "") or "\n" in text:
        return None
    text = _JOINED.sub(", ", text)
    text = _ROOT.sub(lambda found: rf"\sqrt{{{found[1] or found[2] or found[3] or ''}}}", text)
    for sign, latex in _SIGNS.items():
        text = text.replace(sign, latex)
    text = _NAMED.sub(r"\\\1 ", text.replace("**", "^"))
    if _TRIG.search(text):
        text = _DEGREES.sub(r"\\frac{\1 \\pi}{180}", text)
    return None if _WORD.search(_TEXT.sub(r" \1 ", text)) else text


def _value(found: re.Match[str]) -> Fraction:
    if found["over"]:
        value = int(found["whole"] or 0) + Fraction(int(found["over"].replace(",", "")), int(found["under"]))
    elif found["top"]:
        value = Fraction(int(found["top"]), int(found["bottom"]))
    else:
        value = Fraction(found["decimal"].replace(",", "")) * Fraction(10) ** int(found["e"] or found["ten"] or 0)
    return -value if found["sign"] == "-" else value


def _same_words(left: str, right: str) -> bool:
    """Case is nothing in words; in "x" and "AB" it is."""
    words = [word for word in re.split(r"[\s,;-]+", left.casefold()) if word]
    worded = all(word.isalpha() for word in words) and any(len(word) > 2 or word in ("no", "ja") for word in words)
    return worded and left.casefold().split() == right.casefold().split()


def _compare_choices(text: str, gold: str) -> bool | None:
    """Where both name a choice: whether it is the same. A bare letter is one only where the reference is a capital."""
    wanted = _choice(gold)
    if wanted is None or not gold.lstrip("(").startswith(wanted):
        return None
    given = _choice(text)
    label = _LABEL.match(text)
    if label and _SECOND.search(text, label.end()):
        return False  # "(A) or (B)" chooses nothing
    if given is None:
        named = _CHOSEN.findall(text)
        given = named[-1] if named else None
    return None if given is None else given == wanted


def _choice(text: str) -> str | None:
    letter = _LETTER.fullmatch(text) or _LABEL.match(text)
    return None if letter is None else next(each for each in letter.groups() if each).upper()


def _unlike(left: str, right: str) -> bool:
    """What math-verify would overlook: half an expression, other things counted, parentheses for braces."""
    if max(len(left), len(right)) > 500:
        return False  # patterns would take the square of its length
    if _ends_open(left) and not _ends_open(right) and as_latex(left) is not None:
        return True
    counted, wanted = _COUNTED.fullmatch(left), read_quantity(_unlabelled(right))
    if counted and wanted and (wanted.dimension or wanted.percent):
        return read_quantity(left) is None and read_quantity(counted["number"]) is not None
    kinds = [[bool(kind.fullmatch(text)) for kind in (_PAIR, _SET)] for text in (left, right)]
    return kinds in ([[True, False], [False, True]], [[False, True], [True, False]])


def _ends_open(text: str) -> bool:
    """Whether an operator waits for what follows it; in "x^+" it is a name."""
    last = text.rstrip()[-6:]
    return any(_CUT.fullmatch(last, place) for place in range(len(last)))


def _unlabelled(text: str) -> str:
    """Without the letter of a choice before it."""
    label = _LABEL.match(text)
    return text[label.end() :] if label and label.end() < len(text) else text


def _compare_quantities(left: Quantity | None, right: Quantity | None) -> bool | None:
    if left is None or right is None:
        return None
    if left.dimension and right.dimension:
        if left.dimension != right.dimension:
            return False
        pairs = {(left.value * left.scale, right.value * right.scale)}
    elif left.percent != right.percent:
        # 50 % for .5, and 50 where the question asked for per cent.
        pairs = {
            (left.value / (100 if left.percent else 1), right.value / (100 if right.percent else 1)),
            (left.value, right.value),
        }
    else:
        pairs = {(left.value, right.value)}
    if any(one == other for one, other in pairs):
        return True
    return None if any(abs(one - other) <= abs(other) / 1000 for one, other in pairs) else False
