"""From the answers on k views to one pair of texts, or to the reason why there is none.

A winner is chosen or merged, a loser found, and the pair must pass: what a weak model's views agree on can be worse
than the text that it is meant to beat, and then the training teaches length and repetition. Every record that yields no
pair is counted under one reason. Pure: the model's answers and its summary come in as text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from burnish.align.facts import Fact, Reading, Vote, contradicted, support, vote
from burnish.align.reading import Vocabulary, normal_words, read
from burnish.align.settings import PairSettings
from burnish.align.winners import REASONS, Choice, Heard, Reason, Refused, choose_loser, choose_winner, loops, voters


@dataclass(frozen=True)
class Candidates:
    """The texts of one record.

    Attributes:
        sample: id of the record.
        question: the instruction.
        original: the supervised text.
        answers: of the views, in their order; empty where a view got none.
        summary: what the model made of them; none where it was not asked.
        summary_cut: the summary ended at the limit of tokens.
    """

    sample: str
    question: str
    original: str
    answers: tuple[str, ...]
    summary: str | None = None
    summary_cut: bool = False


@dataclass(frozen=True)
class Pair:
    """A winner and a loser that passed, with where they come from.

    Attributes:
        sample: id of the record.
        question: the instruction.
        chosen: the winner.
        rejected: the loser.
        winner_view: the view whose answer won; none: a summary or a merger.
        loser_view: the view whose answer lost; none: the original text.
        winner_quality: mean agreement with the views, less the penalty for repetitions; in [-1, 1].
        loser_quality: likewise, of the loser.
        vote: what the views agree on.
    """

    sample: str
    question: str
    chosen: str
    rejected: str
    winner_view: int | None
    loser_view: int | None
    winner_quality: float
    loser_quality: float
    vote: Vote


@dataclass(frozen=True)
class Drop:
    """A record without a pair.

    Attributes:
        sample: its id.
        reason: the first that applies.
        detail: what was found, for the report; may be empty.
    """

    sample: str
    reason: Reason
    detail: str = ""


@dataclass(frozen=True)
class Tally:
    """What a set of records yielded, known before anything is trained.

    Attributes:
        kept: pairs.
        dropped: records by reason, those reasons that occur, in the order of :data:`REASONS`.
        winner_quality: mean over the pairs; 0 without any, as the four below.
        loser_quality: likewise.
        winner_words: mean length.
        loser_words: likewise.
        longer: share of pairs whose winner has more words.
    """

    kept: int
    dropped: Mapping[Reason, int]
    winner_quality: float
    loser_quality: float
    winner_words: float
    loser_words: float
    longer: float

    @property
    def winners_better(self) -> bool:
        """Whether the precondition of training holds: the views agree with winners more than with losers."""
        return self.winner_quality > self.loser_quality


def form_pair(case: Candidates, vocabulary: Vocabulary, settings: PairSettings) -> Pair | Drop:
    """The pair of a record, or the first reason against one.

    Args:
        case: its texts.
        vocabulary: what the texts may speak of.
        settings: which winner, which loser, which gate.

    Source: SHAPE, its abstract and released pairs (winner, loser, degenerate pairs); the gate is ours.
    """
    heard = Heard(read(case.original, vocabulary), tuple(read(answer, vocabulary) for answer in case.answers))
    try:
        _check_views(heard, settings)
        agreed = vote(voters(heard, settings), settings.threshold)
        if settings.winner == "summary" and case.summary_cut:
            raise Refused("summary cut off")
        winner = choose_winner(heard, agreed, case.summary, vocabulary, settings)
        _check_winner(winner, heard, vocabulary, settings)
        loser = choose_loser(heard, winner, vocabulary, settings)
        _check_lengths(winner.reading, loser.reading, settings)
        judges = heard.others(winner.view, loser.view)
        first, second = (quality(each.reading, judges, settings.duplicate_penalty) for each in (winner, loser))
        if settings.margin is not None and not first - second > settings.margin:
            raise Refused("not above the margin", f"{first:.3f} against {second:.3f}")
    except Refused as refused:
        return Drop(case.sample, refused.reason, refused.detail)
    texts = winner.reading.text, loser.reading.text
    return Pair(case.sample, case.question, *texts, winner.view, loser.view, first, second, agreed)


def quality(text: Reading, judges: Sequence[Reading], penalty: float) -> float:
    """Mean agreement with the judges, less the penalty times the share of mentions that only repeat."""
    return support(text, judges) - penalty * text.repeated / max(1, len(text.claimed))


def tally(results: Iterable[Pair | Drop]) -> Tally:
    """What was kept, what was dropped and why, and whether winners are better than losers."""
    reasons: Counter[Reason] = Counter()
    kept = 0
    sums = [0.0] * 5
    for each in results:  # a stream: of a large set only the sums are held
        if isinstance(each, Drop):
            reasons[each.reason] += 1
            continue
        kept += 1
        winner, loser = len(normal_words(each.chosen)), len(normal_words(each.rejected))
        found = (each.winner_quality, each.loser_quality, winner, loser, winner > loser)
        sums = [total + value for total, value in zip(sums, found, strict=True)]
    dropped = {reason: reasons[reason] for reason in REASONS if reasons[reason]}
    return Tally(kept, dropped, *(total / max(1, kept) for total in sums))


def _check_views(heard: Heard, settings: PairSettings) -> None:
    if settings.loser == "original" and not heard.original.words:
        raise Refused("no original text")
    answers = heard.others()
    if not answers:
        raise Refused("no answer")
    if len(answers) > 1 and len({answer.words for answer in answers}) == 1:
        raise Refused("identical answers", answers[0].text)
    yes, no = _sides(answers)
    if yes and yes == no:
        raise Refused("yes and no in equal parts", f"{yes} each")


def _sides(answers: Iterable[Reading]) -> tuple[int, int]:
    said = Counter(answer.polarity for answer in answers)
    return said["yes"], said["no"]


def _check_winner(winner: Choice, heard: Heard, vocabulary: Vocabulary, settings: PairSettings) -> None:
    text = winner.reading
    if loops(text.words):
        raise Refused("winner loops", text.text)
    others = heard.others(winner.view)
    if others and support(text, [*others, heard.original]) == 0:
        raise Refused("winner is off topic", text.text)
    invented = text.facts - heard.original.facts.union(*(view.facts for view in heard.views))
    if len(invented) > settings.most_invented:
        raise Refused("winner invents", _list(invented))
    yes, no = _sides(heard.views)
    if (text.polarity == "yes" and no > yes) or (text.polarity == "no" and yes > no):
        raise Refused("winner contradicted", f"it says {text.polarity}")
    if against := contradicted(text, heard.others(), vocabulary.kinds):
        raise Refused("winner contradicted", _list(against))


def _list(facts: Iterable[Fact]) -> str:
    return ", ".join(str(fact) for fact in sorted(facts))


def _check_lengths(winner: Reading, loser: Reading, settings: PairSettings) -> None:
    own, other = len(winner.words), len(loser.words)
    if winner.words == loser.words:
        raise Refused("winner equals loser", winner.text)
    if own < settings.shortest * other:
        raise Refused("winner too short", f"{own} words against {other}")
    if own > settings.most_words:
        raise Refused("winner too long", f"{own} words")
