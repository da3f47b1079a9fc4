"""How often the comparison of answers errs, against plain math-verify, on pairs judged by hand.

    python benchmarks/answers.py

Each pair (``answer_pairs.jsonl``: answer, reference, and whether the one gives the other, worked out by hand) is judged
as a completion ``<answer>...</answer>`` by :class:`burnish.dialogue.rewards.Accuracy`, and by math-verify's own
``parse`` and ``verify`` in three ways: with the tags, as the published reward does; the bare answer; answer and
reference in dollars, as its manual advises for LaTeX.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PAIRS = Path(__file__).with_name("answer_pairs.jsonl")


@dataclass(frozen=True)
class Pair:
    """An answer, what is asked for, and the verdict worked out by hand."""

    answer: str
    reference: str
    right: bool


@dataclass(frozen=True)
class Errors:
    """Pairs judged wrongly: right answers refused, wrong ones accepted."""

    refused: tuple[Pair, ...]
    accepted: tuple[Pair, ...]


def read_pairs(path: Path = PAIRS) -> list[Pair]:
    """The pairs of the table, in its order."""
    return [Pair(**json.loads(line)) for line in path.read_text().splitlines()]


def errors_of(verdicts: list[bool], pairs: list[Pair]) -> Errors:
    """Which verdicts differ from those worked out by hand."""
    wrong = [pair for pair, verdict in zip(pairs, verdicts, strict=True) if verdict != pair.right]
    return Errors(tuple(each for each in wrong if each.right), tuple(each for each in wrong if not each.right))


def math_verify_says(answer: str, reference: str) -> bool:
    """What math-verify says by itself."""
    from math_verify import parse, verify

    return bool(verify(parse(reference), parse(answer)))


def compare() -> dict[str, Errors]:
    """The errors of each way, over all pairs."""
    from burnish.dialogue.rewards import Accuracy
    from burnish.dialogue.verify import Verifier

    logging.disable(logging.CRITICAL)  # math-verify complains of what it cannot read
    pairs = read_pairs()
    ways: dict[str, Callable[[Pair], bool]] = {
        "math-verify, tags in the text": lambda pair: math_verify_says(
            f"<answer>{pair.answer}</answer>", pair.reference
        ),
        "math-verify, bare answer": lambda pair: math_verify_says(pair.answer, pair.reference),
        "math-verify, both in dollars": lambda pair: math_verify_says(f"${pair.answer}$", f"${pair.reference}$"),
    }
    with Verifier(limit=30.0) as verifier:
        texts = [f"<answer>{pair.answer}</answer>" for pair in pairs]
        ours = Accuracy(verifier).judge(texts, [pair.reference for pair in pairs])
    found = {name: errors_of([way(pair) for pair in pairs], pairs) for name, way in ways.items()}
    return {"Burnish": errors_of([bool(each) for each in ours], pairs), **found}


def table(found: dict[str, Errors]) -> str:
    """The rows of the page's table."""
    pairs = read_pairs()
    right = sum(pair.right for pair in pairs)
    lines = [
        f"| {len(pairs)} pairs | right answers refused, of {right} | wrong ones accepted, of {len(pairs) - right} | "
        "error rate |",
        "| --- | --- | --- | --- |",
    ]
    for name, each in found.items():
        rate = (len(each.refused) + len(each.accepted)) / len(pairs)
        lines.append(f"| {name} | {len(each.refused)} | {len(each.accepted)} | {rate:.0%} |")
    return "\n".join(lines)


if __name__ == "__main__":
    results = compare()
    print(table(results))
    for way, errors in results.items():
        for kind, these in (("refused", errors.refused), ("accepted", errors.accepted)):
            for each in these:
                print(f"{way}: {kind}: {each.answer!r} for {each.reference!r}")
