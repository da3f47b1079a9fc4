"""What became of one record, from its views to its pair or the reason why there is none, and as a line of JSON.

Whoever looks at a pair later can tell which view said what. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from burnish.align.facts import Fact, Vote
from burnish.align.gate import Drop, Pair
from burnish.align.records import Answer


@dataclass(frozen=True)
class Heard:
    """A view and what the model answered on it.

    Attributes:
        family: what was changed; ``clean``: nothing.
        parameters: of the change, as :class:`burnish.align.views.View` has them.
        answer: the model's.
    """

    family: str
    parameters: tuple[float, ...]
    answer: Answer


@dataclass(frozen=True)
class Case:
    """What became of one record.

    Attributes:
        sample: id of the record.
        picture: hash of its picture.
        row: where it came from.
        question: the instruction.
        original: the supervised text.
        heard: its views, in their order.
        excluded: the families that were left out, with the words that spoke against them.
        summary: the model's, where it was asked.
        result: the pair, or why there is none.
    """

    sample: str
    picture: str
    row: str
    question: str
    original: str
    heard: tuple[Heard, ...]
    excluded: Mapping[str, tuple[str, ...]]
    summary: Answer | None
    result: Pair | Drop


def to_line(case: Case) -> str:
    """A case as one line of JSON; :func:`from_line` reads it back as it was."""
    plain: dict[str, Any] = {
        "sample": case.sample,
        "picture": case.picture,
        "row": case.row,
        "question": case.question,
        "original": case.original,
        "views": [
            {"family": each.family, "parameters": list(each.parameters), **_answer(each.answer)} for each in case.heard
        ],
        "excluded": {family: list(words) for family, words in case.excluded.items()},
        "summary": None if case.summary is None else _answer(case.summary),
    }
    found = case.result
    if isinstance(found, Drop):
        plain["drop"] = {"reason": found.reason, "detail": found.detail}
    else:
        # what the case itself says is not said twice
        told = {name: value for name, value in vars(found).items() if name not in ("sample", "question", "vote")}
        plain["pair"] = {**told, "vote": _vote(found.vote)}
    return json.dumps(plain, ensure_ascii=False)


def from_line(line: str | bytes) -> Case:
    """The case in a line of JSON.

    Raises:
        ValueError: it holds none.
    """
    try:
        plain = json.loads(line)
        sample, question = plain["sample"], plain["question"]
        if "drop" in plain:
            result: Pair | Drop = Drop(sample, **plain["drop"])
        else:
            told = dict(plain["pair"])
            result = Pair(sample, question, vote=_to_vote(told.pop("vote")), **told)
        heard = tuple(
            Heard(each.pop("family"), tuple(each.pop("parameters")), Answer(**each)) for each in plain["views"]
        )
        return Case(
            sample,
            plain["picture"],
            plain["row"],
            question,
            plain["original"],
            heard,
            {family: tuple(words) for family, words in plain["excluded"].items()},
            None if plain["summary"] is None else Answer(**plain["summary"]),
            result,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a case ({type(error).__name__}: {error})") from None


def _answer(answer: Answer) -> dict[str, Any]:
    return dict(vars(answer))


def _vote(vote: Vote) -> dict[str, Any]:
    def counted(counts: Mapping[Fact, int]) -> list[list[Any]]:
        return [[fact.entity, fact.attribute, count] for fact, count in counts.items()]

    agreed = [[fact.entity, fact.attribute] for fact in vote.agreed]
    return {**vars(vote), "counts": counted(vote.counts), "denials": counted(vote.denials), "agreed": agreed}


def _to_vote(plain: Mapping[str, Any]) -> Vote:
    def counts(rows: Iterable[Any]) -> dict[Fact, int]:
        return {Fact(entity, attribute): count for entity, attribute, count in rows}

    agreed = tuple(Fact(*each) for each in plain["agreed"])
    read = {"counts": counts(plain["counts"]), "denials": counts(plain["denials"]), "agreed": agreed}
    return Vote(**{**plain, **read})
