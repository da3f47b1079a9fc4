"""Which text of a record wins and which loses: chosen among the answers on its views, merged, or cut to length.

What cannot be had is refused with its reason; :mod:`burnish.align.gate` counts them and judges what was chosen. Pure.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

from burnish.align.facts import Fact, Reading, Thing, Vote, merge, support, vote
from burnish.align.reading import Vocabulary, normal_words, read, with_article
from burnish.align.settings import PairSettings

Reason = Literal[
    "no original text",
    "no answer",
    "identical answers",
    "yes and no in equal parts",
    "nothing agreed",
    "no summary",
    "summary cut off",
    "winner loops",
    "winner is off topic",
    "winner invents",
    "winner contradicted",
    "no loser",
    "no loser of its length",
    "winner equals loser",
    "winner too short",
    "winner too long",
    "not above the margin",
]
"""Why a record yields no pair, in the order in which they are asked."""

REASONS: tuple[Reason, ...] = get_args(Reason)


_SENTENCE = re.compile(r"[^.!?\n]*[^.!?\s][^.!?\n]*[.!?]*")
_SIDE = re.compile(r"\W*(?:yes|no)\b\W*", re.IGNORECASE)


class Refused(Exception):
    """A record yields no pair.

    Args:
        reason: why.
        detail: what was found; may be empty.
    """

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(reason)
        self.reason: Reason = reason
        self.detail = detail


@dataclass(frozen=True)
class Heard:
    """What a record's texts say.

    Attributes:
        original: the supervised text.
        views: the answers on its views, in their order; without words where a view got none.
    """

    original: Reading
    views: tuple[Reading, ...]

    @cached_property
    def answered(self) -> tuple[int, ...]:
        """The views with an answer."""
        return tuple(number for number, view in enumerate(self.views) if view.words)

    def others(self, *left_out: int | None) -> list[Reading]:
        """The answers of the views but those: no text may count its agreement with itself."""
        return [self.views[number] for number in self.answered if number not in left_out]


@dataclass(frozen=True)
class Choice:
    """A text that wins or loses.

    Attributes:
        reading: of the text.
        view: the view whose answer it is, or was cut from; none: not a view's.
    """

    reading: Reading
    view: int | None = None


def choose_winner(
    heard: Heard, agreed: Vote, summary: str | None, vocabulary: Vocabulary, settings: PairSettings
) -> Choice:
    """The winner that the settings ask for.

    Args:
        heard: the record's texts; at least one view has an answer.
        agreed: the vote over them.
        summary: the model's, where it was asked.
        vocabulary: what the texts may speak of.
        settings: which winner.

    Raises:
        Refused: there is no summary, or nothing is agreed.
    """
    if settings.winner == "summary":
        made = read(summary or "", vocabulary)
        if not made.words:
            raise Refused("no summary")
        return Choice(made)
    if settings.winner == "merger":
        text = merged_text(voters(heard, settings), vocabulary, settings)
        if not text:
            raise Refused("nothing agreed")
        return Choice(read(text, vocabulary))
    number = best_of(heard, agreed.agreed, settings.winner)
    return Choice(heard.views[number], number)


def voters(heard: Heard, settings: PairSettings) -> list[Reading]:
    """Whose readings vote: the views with an answer, and the original where it does, of one side."""
    own = [heard.original] if settings.original_votes and heard.original.words else []
    return one_side([*heard.others(), *own])


def one_side(readings: Sequence[Reading]) -> list[Reading]:
    """Without those that begin with a yes where more begin with a no, and the other way round."""
    said = Counter(each.polarity for each in readings if each.polarity)
    return [each for each in readings if each.polarity in (None, *(side for side, _ in said.most_common(1)))]


def choose_loser(heard: Heard, winner: Choice, vocabulary: Vocabulary, settings: PairSettings) -> Choice:
    """The loser that the settings ask for.

    A truncated loser is cut from the text, original or view's answer, with which the views agree least among those that
    have as many words as the winner. Where none is as long, the longest will do if it is nearly so.

    Args:
        heard: the record's texts.
        winner: what it loses to.
        vocabulary: what the texts may speak of.
        settings: which loser.

    Raises:
        Refused: no other text is there, or none is long enough.
    """
    if settings.loser == "original":
        return Choice(heard.original)
    words = winner.reading.words
    views = [Choice(heard.views[number], number) for number in heard.answered]
    pool = views if settings.loser == "view" else [*views, Choice(heard.original)]
    pool = [each for each in pool if each.reading.words and each.reading.words != words]
    if not pool:
        raise Refused("no loser")

    def agreement_with_views(choice: Choice) -> float:
        return support(choice.reading, heard.others(choice.view))

    if settings.loser == "view":
        return min(pool, key=agreement_with_views)
    least = (1 - settings.length_slack) * len(words)
    for each in sorted(pool, key=agreement_with_views):
        if len(each.reading.words) >= len(words):
            cut = read(truncate(each.reading.text, len(words)), vocabulary)
            if cut.words and len(cut.words) >= least:  # "blue-green" goes as a whole
                return Choice(cut, each.view)
    short = [each for each in pool if len(each.reading.words) < len(words)]
    longest = max(short, key=lambda each: len(each.reading.words), default=None)
    if longest is None or len(longest.reading.words) < least:
        count = 0 if longest is None else len(longest.reading.words)
        raise Refused("no loser of its length", f"{count} words against {len(words)}")
    return longest


def best_of(heard: Heard, agreed: Iterable[Fact], kind: Literal["agreement", "fewest_unagreed", "longest"]) -> int:
    """Which of the answers wins without being changed; of equals the first.

    Args:
        heard: at least one view has an answer.
        agreed: the facts that are agreed.
        kind: ``agreement``: the others agree with it most (the choice of minimum Bayes risk); ``fewest_unagreed``: it
            names the fewest facts that are not agreed, of equals the most that are; ``longest``: it has the most words.
    """
    kept = frozenset(agreed)

    def rank(number: int) -> tuple[float, ...]:
        view = heard.views[number]
        if kind == "longest":
            return (len(view.words),)
        if kind == "fewest_unagreed":
            return (-len(view.facts - kept), len(view.facts & kept))
        return (support(view, heard.others(number)),)

    return max(heard.answered, key=rank)


def render(things: Sequence[Thing], form: Literal["list", "sentence"]) -> str:
    """Merged facts as a text.

    >>> render([Thing("circle", ("red",)), Thing("owl")], "sentence")
    'There is a red circle and an owl.'
    """
    if form == "list" or not things:
        return ", ".join(str(thing) for thing in things)
    named = [with_article(str(thing)) for thing in things]
    return f"There is {' and '.join([', '.join(named[:-1])] * (len(named) > 1) + named[-1:])}."


def loops(words: Sequence[str]) -> bool:
    """Whether up to eight words follow upon themselves twice or more, as in a text that never ended."""
    return any(
        words[at : at + length] == words[at + length : at + 2 * length] == words[at + 2 * length : at + 3 * length]
        for length in range(1, 9)
        for at in range(len(words) - 3 * length + 1)
    )


def truncate(text: str, count: int) -> str:
    """The text up to its ``count``-th word, as :func:`burnish.align.reading.normal_words` counts, punctuation kept."""
    end = used = 0
    for chunk in re.finditer(r"\S+", text):
        used += len(normal_words(chunk[0]))
        if used > count:
            break
        end = chunk.end()
    return text[:end]


def merged_text(heard: Sequence[Reading], vocabulary: Vocabulary, settings: PairSettings) -> str:
    """What voters agree on as a text, after the yes or no of most of them; those on the other side do not vote.

    Args:
        heard: the readings that vote.
        vocabulary: what the texts may speak of.
        settings: threshold and form.

    Returns:
        An empty text where there is nothing to say.
    """
    same = one_side(heard)
    side = next((each.polarity for each in same if each.polarity), None)
    agreed = vote(same, settings.threshold).agreed
    if settings.form == "prose":
        parts = _prose(same, agreed, vocabulary)
    else:
        parts = [render(merge(same, agreed), settings.form)]
    return " ".join(part for part in (f"{side.capitalize()}." if side else "", *parts) if part)


def _prose(heard: Sequence[Reading], agreed: Sequence[Fact], vocabulary: Vocabulary) -> list[str]:
    """Sentences that say something agreed and new, and nothing else; what none of them says is said plainly.

    Those of the answer with which the others agree most come first.
    """
    kept, missing = [], frozenset(agreed)
    for reading in sorted(heard, key=lambda each: -support(each, [other for other in heard if other is not each])):
        # only of what begins with it as an answer: of "no dogs" it must not go
        said = _SIDE.sub("", reading.text, count=1) if reading.polarity else reading.text
        for found in _SENTENCE.finditer(said):
            sentence = read(found[0].strip(), vocabulary)
            if sentence.facts & missing and sentence.facts <= frozenset(agreed) and not sentence.denials:
                kept.append(sentence.text if sentence.text[-1] in ".!?" else f"{sentence.text}.")
                missing -= sentence.facts
    left = [thing for thing in merge(heard, agreed) if thing.facts & missing]
    return [*kept, render(left, "sentence")]
