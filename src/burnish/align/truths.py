"""Which changes of a picture a text survives: what each family may make untrue, and which words speak of it.

The rule errs on one side. A false alarm ("right" as in "right answer") costs a family that another one replaces; a miss
teaches the model something false. It reads English; for other texts, and for words of your data, see
:class:`burnish.align.settings.ViewSettings`. Knows text only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

from burnish.align.settings import Family, Truth, ViewSettings

CHANGES: Mapping[Family, frozenset[Truth]] = MappingProxyType(
    {
        "flip": frozenset({"side", "text"}),
        "crop": frozenset({"objects", "place", "text"}),
        "rotation": frozenset({"upright", "objects"}),  # corners leave the frame
        "contrast": frozenset({"light"}),
        "blur": frozenset({"detail", "text"}),
        "noise": frozenset({"detail", "text"}),
        "jitter": frozenset({"colour", "light"}),
        "grayscale": frozenset({"colour"}),
    }
)
"""What each family may change of what is true."""

_COLOURS = (
    "red|green|blue|yellow|orange|purple|pink|brown|black|white|gr[ae]y|beige|turquoise|cyan|magenta|violet|golden|gold|"
    "silver|tan|maroon|navy|teal|crimson|scarlet|indigo|lavender|cream|blond|blonde"
)
_WORDS: Mapping[Truth, str] = MappingProxyType(
    {
        "side": r"left\w*|right\w*|east\w*|west\w*|\w*clockwise|mirror\w*|port|starboard|sideways",
        "place": r"top\w*|bottom\w*|upper\w*|lower\w*|middle|cent(?:er|re)\w*|central\w*|corners?|edges?|borders?|"
        r"margins?|backgrounds?|foregrounds?|frames?|near\w*|far|farther|farthest|further|furthest|distance|"
        r"clos(?:er|est|e-?ups?)",
        "objects": r"how (?:many|much)|number of|count\w*|total|all|every\w*|each|entire\w*|whole|only|alone|none|"
        r"nothing|nobody|no one|several|few|many|most|both|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|"
        r"dozens?|single|pairs?|couple|\d+",
        "upright": r"upright|upside|tilt\w*|lean\w*|vertical\w*|horizontal\w*|diagonal\w*|angl\w*|degrees?|slop\w*|"
        r"slant\w*|straight|level|rotat\w*|turned|o'clock|clocks?|lying|standing",
        "light": r"dark\w*|bright\w*|light\w*|lit|dim\w*|shadow\w*|shad(?:e|es|ed|y)|sun\w*|night\w*|days?|daytime|"
        r"daylight|evening|morning|dusk|dawn|noon|contrast\w*|expos\w*|glow\w*|shin[iy]\w*|pale\w*|weather|time of day",
        "detail": r"sharp\w*|blur\w*|focus\w*|clear\w*|textur\w*|fine|tiny|smooth\w*|rough\w*|grain\w*|nois\w*|"
        r"quality|patterns?|details?|detailed",
        "text": r"texts?|words?|letters?|wr(?:ite|ites|itten|iting|ote)|reads?|reading|says?|said|spell\w*|titles?|"
        r"titled|authors?|signs?|label\w*|logos?|brands?|names?|named|numbers?|digits?|captions?|books?|pages?|"
        r"publish\w*|licen[cs]e|plates?|menus?|prices?|dates?|dated|clocks?|what time|jerseys?|screens?|called|genre|"
        r"\w*\d\w*|[\"“][^\"”]+[\"”]",
        "colour": rf"colou?r\w*|hues?|(?:{_COLOURS})(?:s|ish)?|black[ -]and[ -]white|monochrome|sepia",
    }
)

_ENGLISH = re.compile(
    r"\b(?:the|is|are|of|and|what|which|how|this|that|there|it|to|with|does|describe|you|your|picture|who|where|why|can|"
    r"has|have|be|please)\b",
    re.IGNORECASE,
)
_READABLE_LETTERS = 0.9
_LAST_LATIN = "\u024f"


@dataclass(frozen=True)
class Allowed:
    """The families that leave a text true.

    Attributes:
        families: of those set, in their order; may be none.
        excluded: of each family that was left out, the words that spoke against it; none where the text is unreadable.
        readable: whether the rule could read the text.
    """

    families: tuple[Family, ...]
    excluded: Mapping[Family, tuple[str, ...]]
    readable: bool


def spoken_of(text: str, more: Mapping[Truth, tuple[str, ...]] | None = None) -> dict[Truth, tuple[str, ...]]:
    """What a text speaks of, by the words that do, in lower case and in their order, each once.

    >>> spoken_of("What is left of the red sign?")
    {'side': ('left',), 'text': ('sign',), 'colour': ('red',)}

    Args:
        text: a question, an answer, or both.
        more: words beside the English ones.
    """
    extra = more or {}
    found: dict[Truth, tuple[str, ...]] = {}
    for truth in _WORDS:
        hits = _pattern(truth, tuple(extra.get(truth, ()))).findall(text)
        if hits:
            found[truth] = tuple(dict.fromkeys(hit.lower() for hit in hits))
    return found


def allowed_families(question: str, answer: str, settings: ViewSettings) -> Allowed:
    """Which of the families may be shown with this question and answer.

    Args:
        question: the instruction.
        answer: the supervised text, which a view must leave true as well.
        settings: families, further words, and what is left for texts that cannot be read.
    """
    if not settings.words and not readable(question, answer):
        kept = tuple(family for family in settings.families if family in settings.unreadable)
        return Allowed(kept, {family: () for family in settings.families if family not in kept}, readable=False)
    spoken = spoken_of(f"{question}\n{answer}", settings.words)
    against = {
        family: tuple(word for truth, words in spoken.items() if truth in CHANGES[family] for word in words)
        for family in settings.families
    }
    kept = tuple(family for family in settings.families if not against[family])
    return Allowed(kept, {family: words for family, words in against.items() if words}, readable=True)


def readable(question: str, answer: str) -> bool:
    """Whether the rule can trust its words: Latin letters in both, and a question of over three words that is English.

    Told by a few common words of English, so a French answer to an English question passes.
    """
    for text in (question, answer):
        letters = [character for character in text if character.isalpha()]
        if letters and sum(character <= _LAST_LATIN for character in letters) < _READABLE_LETTERS * len(letters):
            return False
    return len(question.split()) <= 3 or _ENGLISH.search(question) is not None


@lru_cache(maxsize=256)
def _pattern(truth: Truth, more: tuple[str, ...]) -> re.Pattern[str]:
    # Not \b, which would not hold at a quotation mark; scripts that write no spaces have no borders at all.
    own = [rf"(?<!\w){re.escape(word)}(?!\w)" if word.isascii() else re.escape(word) for word in more]
    return re.compile("|".join([rf"(?<!\w)(?:{_WORDS[truth]})(?!\w)", *own]), re.IGNORECASE)
