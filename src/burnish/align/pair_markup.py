"""A pair as a person looks at it: picture, views, what was said on each, winner and loser, their facts marked.

Gives markup for a report; every text in it is escaped, pictures are inside. Each mark is a sign and a word as well as a
colour. Knows readings and pictures; knows no run.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Literal

from markupsafe import Markup, escape
from PIL import Image

from burnish.align.cases import Case
from burnish.align.facts import Mention, Reading, contradicted
from burnish.align.gate import Pair
from burnish.align.reading import Vocabulary, read

Mark = Literal["agreed", "contradicted", "alone"]
SIGNS: dict[Mark, str] = {"agreed": "\N{CHECK MARK}", "contradicted": "\N{MULTIPLICATION X}", "alone": "?"}
SIDE = 240
"""Pixels of a shown picture's longer side at most."""

STYLE = """<style>
.pair { border-top: 1px solid var(--line); padding: 18px 0 6px; }
.pair img { width: 100%; height: auto; border-radius: 6px; display: block; image-rendering: auto; }
.asked { display: grid; grid-template-columns: 150px 1fr; gap: 16px; align-items: start; }
.views { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 14px; margin: 14px 0; padding: 0; list-style: none; }
.views small, .side small { color: var(--soft); display: block; }
.sides { display: grid; grid-template-columns: 1fr 1fr; gap: 14px; }
.side { border: 1px solid var(--line); border-left: 5px solid #2f8f4e; border-radius: 8px; padding: 10px 14px; }
.side.loser { border-left: 5px dashed #b3372a; }
.side p, .views p, .asked p { margin: 4px 0; overflow-wrap: anywhere; }
.fact { border-radius: 4px; padding: 0 3px; color: inherit; background: none; box-decoration-break: clone; -webkit-box-decoration-break: clone; }
.fact.agreed { background: #d8f0de; color: #12592a; }
.fact.contradicted { background: #fbdcd8; color: #8a1f14; text-decoration: line-through; }
.fact.alone { border-bottom: 2px dotted var(--soft); }
@media (max-width: 640px) {
  .asked { grid-template-columns: 96px 1fr; }
  .views { grid-template-columns: 1fr; }
  .views li { display: grid; grid-template-columns: 96px 1fr; gap: 12px; }
  .sides { grid-template-columns: 1fr; }
}
</style>"""  # noqa: E501 - rules of a style sheet

LEGEND = Markup(
    '<p><span class="fact agreed">agreed {agreed}</span>: enough views name it. '
    '<span class="fact contradicted">contradicted {contradicted}</span>: more than half of the views speak against it. '
    '<span class="fact alone">alone {alone}</span>: named by too few.</p>'
).format(**SIGNS)


def pair_markup(
    case: Case, pair: Pair, picture: Image.Image, views: Sequence[Image.Image], vocabulary: Vocabulary
) -> Markup:
    """One pair.

    Args:
        case: its record.
        pair: the pair.
        picture: of the record.
        views: as the model saw them, in the order of the answers.
        vocabulary: what the texts may speak of.
    """
    judges = [read(each.answer.text, vocabulary) for each in case.heard if each.answer.text]
    shown = [
        Markup("<li>{picture}<div><small>view {number}: {what}</small><p>{text}</p></div></li>").format(
            picture=_picture(image, f"view {number}: {_change(heard.family, heard.parameters)}"),
            number=number,
            what=_change(heard.family, heard.parameters),
            text=marked(heard.answer.text, pair, judges, vocabulary),
        )
        for number, (image, heard) in enumerate(zip(views, case.heard, strict=True), 1)
    ]
    sides = [
        Markup(
            '<div class="side {kind}"><small>{kind}: {source}; quality {quality:.2f}</small><p>{text}</p></div>'
        ).format(kind=kind, source=source, quality=quality, text=marked(text, pair, judges, vocabulary))
        for kind, source, quality, text in (
            ("winner", _source(pair.winner_view, case), pair.winner_quality, pair.chosen),
            ("loser", _source(pair.loser_view, case, loser=True), pair.loser_quality, pair.rejected),
        )
    ]
    return Markup(
        '<div class="pair"><div class="asked">{picture}<div><small>{row}</small>'
        "<p><strong>{question}</strong></p></div></div>"
        '<ol class="views">{views}</ol><div class="sides">{sides}</div></div>'
    ).format(
        picture=_picture(picture, f"the picture of {case.row or case.sample}"),
        row=case.row or case.sample,
        question=case.question,
        views=Markup("").join(shown),
        sides=Markup("").join(sides),
    )


def marked(text: str, pair: Pair, judges: Sequence[Reading], vocabulary: Vocabulary) -> Markup:
    """A text with what it says is there marked; what it denies is left as it is.

    >>> print(marked("a red circle", pair, judges, vocabulary))  # doctest: +SKIP
    <span class="fact agreed">a red circle <span role="img" aria-label="agreed">✓</span></span>
    """
    reading = read(text, vocabulary)
    against = frozenset(contradicted(reading, judges, vocabulary.kinds))
    agreed = frozenset(pair.vote.agreed)
    parts, at = [], 0
    for mention in sorted(reading.mentions, key=lambda each: each.start):
        if mention.denied or mention.start < at:
            continue
        kind = _kind(mention, agreed, against)
        parts += [
            escape(text[at : mention.start]),
            Markup(
                '<span class="fact {kind}">{words}\u202f<span role="img" aria-label="{kind}">{sign}</span></span>'
            ).format(kind=kind, words=text[mention.start : mention.end], sign=SIGNS[kind]),
        ]
        at = mention.end
    return Markup("").join([*parts, escape(text[at:] or ("" if text else "(no answer)"))])


def _kind(mention: Mention, agreed: frozenset[object], against: frozenset[object]) -> Mark:
    if mention.thing.facts & against:
        return "contradicted"
    return "agreed" if mention.thing.facts <= agreed else "alone"


def _source(view: int | None, case: Case, *, loser: bool = False) -> str:
    if view is not None:
        return f"view {view + 1}'s answer"
    if loser:
        return "the original text"
    return "the model's summary" if case.summary is not None else "merger of agreed facts"


def _change(family: str, parameters: Sequence[float]) -> str:
    """What was done to a picture, in a few words; parameters as :class:`burnish.align.views.View` has them."""
    values = tuple(parameters)
    match family:
        case "crop":
            return f"crop to {values[2] * values[3]:.0%}"
        case "rotation":
            return f"rotation by {values[0]:+.0f}\N{DEGREE SIGN}"
        case "contrast":
            return f"contrast x {values[1]:.2f}, gamma {values[0]:.2f}"
        case "blur":
            return f"blur of {values[0]:.1%}"
        case "noise":
            return f"noise, step {values[0]:.0f}"
        case "jitter":
            return f"brightness x {values[0]:.2f}, saturation x {values[1]:.2f}, hue {values[2]:+.0%}"
        case _:
            return family


def _picture(image: Image.Image, words: str) -> Markup:
    small = image.convert("RGB")
    small.thumbnail((SIDE, SIDE))
    if max(small.size) < SIDE // 2:  # a picture of a few pixels: each as a square, not as a blur
        times = SIDE // max(small.size)
        small = small.resize((small.width * times, small.height * times), Image.Resampling.NEAREST)
    packed = io.BytesIO()
    small.save(packed, "PNG", optimize=True)
    return Markup('<img src="data:image/png;base64,{data}" alt="{words}" width="{width}" height="{height}">').format(
        data=base64.b64encode(packed.getvalue()).decode(), words=words, width=small.width, height=small.height
    )
