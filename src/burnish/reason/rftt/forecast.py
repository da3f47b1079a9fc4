"""What a search will take before it starts, from its settings alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from burnish.reason.rftt.grammar import Grammar
from burnish.reason.rftt.walk import SearchRules


@dataclass(frozen=True)
class Forecast:
    """What a search will take, before it starts: of walks at random, no two of which share a step.

    Walks do share steps, and end early by a final phrase, so a search takes less.

    Attributes:
        questions: how many.
        texts: steps to write: requests to an engine.
        generated: tokens of these.
        read: tokens that stand before them, all texts together: what an engine without prefix reuse encodes.
        texts_most: steps to write if every walk takes the longest way.
        generated_most: tokens of these, every step as long as it may be.
    """

    questions: int
    texts: int
    generated: int
    read: int
    texts_most: int
    generated_most: int

    def seconds(self, tokens_per_second: float) -> float:
        """Time at a rate of generated tokens, over all questions in lock step."""
        return self.generated / tokens_per_second


def forecast(grammar: Grammar, rules: SearchRules, questions: int, prompt: float, share: float) -> Forecast:
    """How many texts and tokens a search takes.

    Args:
        grammar: which action may follow which, and the caps.
        rules: rollouts, samples, and whether all children are written at once.
        questions: how many.
        prompt: tokens of a prompt, on average.
        share: how much of its cap a step fills, on average.

    Source: RFTT, both searches; that such a forecast is printed is asked by users of rStar.
    """

    @cache
    def below(last: str | None, depth: int) -> _Cost:
        """Of a walk on from here, on average and at most."""
        actions = () if last and grammar.action(last).ends else grammar.legal_at(last, depth + 1)
        if not actions:
            return _Cost()
        weights = [rules.samples.get(name, 1) for name in actions]
        tokens = [grammar.action(name).tokens for name in actions]
        rest = [below(name, depth + 1) for name in actions]
        every = sum(weights)
        here = every if rules.eager else 1

        def mean(values: Iterable[float]) -> float:
            return sum(weight * value for weight, value in zip(weights, values, strict=True)) / every

        return _Cost(
            texts=here + mean(each.texts for each in rest),
            generated=here * share * mean(tokens) + mean(each.generated for each in rest),
            # A step's tokens are read again before every text below it.
            read=here * prompt
            + mean(each.read + share * own * each.texts for own, each in zip(tokens, rest, strict=True)),
            texts_most=here + max(each.texts_most for each in rest),
            generated_most=max(
                (here * mean(tokens) if rules.eager else own) + each.generated_most
                for own, each in zip(tokens, rest, strict=True)
            ),
        )

    one, walks = below(None, 0), questions * rules.rollouts
    return Forecast(
        questions,
        round(walks * one.texts),
        round(walks * one.generated),
        round(walks * one.read),
        round(walks * one.texts_most),
        round(walks * one.generated_most),
    )


@dataclass(frozen=True)
class _Cost:
    texts: float = 0.0
    generated: float = 0.0
    read: float = 0.0
    texts_most: float = 0.0
    generated_most: float = 0.0
