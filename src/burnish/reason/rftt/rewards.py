"""What a rollout earns, and at which of its tokens. Reads answers and scores; knows no model and no trainer.

The paper's rewards and those of its released code differ, so there are three, by name: ``outcome``, ``prm_paper`` and
``prm_released``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from burnish.core.errors import UserError
from burnish.dialogue.answers import boxed
from burnish.dialogue.verify import Verifier
from burnish.reason.rftt.generators.protocol import Path
from burnish.reason.rftt.grammar import Grammar
from burnish.reason.rftt.prm import ProcessScores
from burnish.reason.rftt.rollouts import RolloutGroup
from burnish.reason.rftt.vocabulary import Vocabulary

RIGHT, WRONG, NONE = 1.0, 0.1, 0.0
"""Of a right answer, a wrong one, none. Source: RFTT, reward function (outcome)."""
PRM_SHARE, ANSWER_SHARE = 0.4, 0.6
"""Of the last step's score and of a right answer. Source: RFTT, released code."""
MOST_VERDICTS = 100_000  # kept; more only cost memory
MISMATCH = -0.2
"""On the final token where closing tags and scores differ in number. Source: RFTT, released code."""

Kind = Literal["outcome", "prm_paper", "prm_released"]

_CHINESE = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")


@dataclass(frozen=True)
class Verdict:
    """What came of a trace.

    Attributes:
        answered: whether it gives an answer at all.
        correct: whether that equals the reference.
    """

    answered: bool
    correct: bool


@dataclass(frozen=True)
class TokenRewards:
    """Rewards of a completion, each at a token.

    Attributes:
        places: positions in the completion, rising.
        rewards: as many.
    """

    places: tuple[int, ...]
    rewards: tuple[float, ...]

    @property
    def total(self) -> float:
        """All of it."""
        return sum(self.rewards)


class Judge:
    """Compares the answers of texts with references; a pair that was compared before is not compared again.

    Args:
        verifier: compares expressions within a time limit.
        find: the answer in a text; ``None`` where it gives none. An empty one is none.
        language: ``no_chinese`` counts an answer as wrong where the text holds a Chinese character, as the released
            sampler does.
    """

    def __init__(
        self,
        verifier: Verifier,
        find: Callable[[str], str | None] = boxed,
        language: Literal["any", "no_chinese"] = "any",
    ) -> None:
        self._verifier = verifier
        self._find = find
        self._language = language
        self._known: dict[tuple[str, str], bool] = {}

    def judge(self, texts: Sequence[str], references: Sequence[str]) -> list[Verdict]:
        """Verdicts, one a text.

        A text without an answer is never right, whatever the reference looks like: the released comparison holds two
        missing boxes to be equal. A reference is its own answer where it has no box.

        Args:
            texts: where the answer is looked for: a trace's last step.
            references: the right answers.

        Raises:
            BurnishError: math-verify's process does not start.
        """
        given = [self._find(text) or None for text in texts]
        found = []
        for text, answer, same in zip(texts, given, self.equal(given, references), strict=True):
            allowed = self._language == "any" or not _CHINESE.search(text)
            found.append(Verdict(answer is not None, same and allowed))
        return found

    def equal(self, answers: Sequence[str | None], references: Sequence[str]) -> list[bool]:
        """Whether answers, already found, are those of the references; none never is.

        Raises:
            BurnishError: math-verify's process does not start.
        """
        wanted = [self._find(reference) or reference.strip() for reference in references]
        pairs = [(answer, right) for answer, right in zip(answers, wanted, strict=True) if answer is not None]
        fresh = list(dict.fromkeys(pair for pair in pairs if pair not in self._known))
        if len(self._known) + len(fresh) > MOST_VERDICTS:
            self._known.clear()
            fresh = list(dict.fromkeys(pairs))
        self._known.update(zip(fresh, self._verifier.equal(fresh), strict=True))
        return [
            answer is not None and self._known[answer, right] for answer, right in zip(answers, wanted, strict=True)
        ]


def outcome(verdict: Verdict) -> float:
    """1 for a right answer, .1 for a wrong one, 0 for none.

    Source: RFTT, reward function without a process reward model.
    """
    if not verdict.answered:
        return NONE
    return RIGHT if verdict.correct else WRONG


def prm_paper(verdict: Verdict, scores: Sequence[float]) -> float:
    """1 for a right answer, .1 for a wrong one; without an answer what the process reward model says of the last step.

    Args:
        verdict: of the trace.
        scores: of its steps; none says nothing.

    Source: RFTT, reward function with a process reward model.
    """
    if verdict.answered:
        return outcome(verdict)
    return scores[-1] if scores else NONE


def prm_released(verdict: Verdict, scores: Sequence[float]) -> tuple[float, ...]:
    """Rewards of steps: each its score, the last .4 of its score and .6 for a right answer.

    >>> prm_released(Verdict(answered=True, correct=True), [0.9, 0.8, 0.5])
    (0.9, 0.8, 0.8)

    Source: RFTT, released code.
    """
    if not scores:
        return (ANSWER_SHARE * verdict.correct,)
    return (*scores[:-1], PRM_SHARE * scores[-1] + ANSWER_SHARE * verdict.correct)


def at_boundaries(rewards: Sequence[float], boundaries: Sequence[int], length: int) -> TokenRewards:
    """Each step's reward on the token that closes it, the last one on the final token.

    Where there are more or fewer boundaries than rewards, those that have one keep it and the final token gets -.2.

    Args:
        rewards: of the steps.
        boundaries: position of the token that closes each step, rising.
        length: tokens of the completion.

    Source: RFTT, released code (training with a process reward model).
    """
    fits = len(rewards) == len(boundaries)
    placed = dict(zip(boundaries, rewards[:-1] if fits else rewards, strict=False))
    placed.pop(length - 1, None)
    placed[length - 1] = rewards[-1] if fits else MISMATCH
    return TokenRewards(tuple(placed), tuple(placed.values()))


def at_end(reward: float, length: int) -> TokenRewards:
    """One reward on the final token."""
    return TokenRewards((length - 1,), (reward,))


def token_rewards(
    kind: Kind,
    verdict: Verdict,
    scores: Sequence[float],
    boundaries: Sequence[int],
    length: int,
    *,
    by_step: bool = True,
) -> TokenRewards:
    """What a completion earns, and where.

    Args:
        kind: which reward.
        verdict: what came of it.
        scores: of its steps, by a process reward model; none for ``outcome``.
        boundaries: position of the token that closes each step.
        length: tokens of the completion.
        by_step: of ``prm_released``: each step's reward where the step ends; otherwise their mean at the end, as the
            release does where it trains without a process reward model. A right and a wrong answer then differ by
            .6 / steps only.
    """
    if kind == "outcome":
        return at_end(outcome(verdict), length)
    if kind == "prm_paper":
        return at_end(prm_paper(verdict, scores), length)
    steps = prm_released(verdict, scores)
    return at_boundaries(steps, boundaries, length) if by_step else at_end(sum(steps) / len(steps), length)


@dataclass(frozen=True)
class Earned:
    """What one rollout earned, and why.

    Attributes:
        verdict: of its answer.
        scores: of its steps, by the process reward model; none without.
        rewards: at its tokens.
    """

    verdict: Verdict
    scores: tuple[float, ...]
    rewards: TokenRewards


class Rewards:
    """Judges rollouts, asks the process reward model, and puts rewards on tokens.

    Args:
        kind: which reward.
        judge: of answers.
        scores: of steps.
        by_step: as for :func:`token_rewards`.

    Raises:
        UserError: a reward that needs a process reward model, without one.
    """

    def __init__(self, kind: Kind, judge: Judge, scores: ProcessScores | None = None, *, by_step: bool = True) -> None:
        if kind != "outcome" and scores is None:
            raise UserError(f"reward: `{kind}` needs a process reward model; name one under `prm`, or set `outcome`")
        self.kind = kind
        self.judge = judge
        self.scores = scores
        self.by_step = by_step

    def of(self, groups: Sequence[RolloutGroup], references: Sequence[str]) -> list[list[Earned]]:
        """What every rollout of every group earned.

        Args:
            groups: the rollouts of each question.
            references: the right answer of each question.

        Raises:
            UserError: scores that are none, or a scorer that fails.
            BurnishError: a server that does not answer.
        """
        rows = [
            (group, each, right) for group, right in zip(groups, references, strict=True) for each in group.rollouts
        ]
        verdicts = self.judge.judge([each.answer for _, each, _ in rows], [right for *_, right in rows])
        scores: list[tuple[float, ...]] = [()] * len(rows)
        if self.kind != "outcome" and self.scores is not None:
            texts = [[step.text for step in each.steps] for _, each, _ in rows]
            scores = self.scores.score([group.prompt.text for group, *_ in rows], texts)
            self.scores.forget()
        found = iter(
            Earned(
                verdict,
                own,
                token_rewards(self.kind, verdict, own, each.boundaries, len(each.completion_ids), by_step=self.by_step),
            )
            for (_, each, _), verdict, own in zip(rows, verdicts, scores, strict=True)
        )
        return [[next(found) for _ in group.rollouts] for group in groups]

    def of_paths(
        self, references: Mapping[str, str], grammar: Grammar, vocabulary: Vocabulary
    ) -> Callable[[Sequence[Path]], list[float]]:
        """What guides a search: the outcome of a path whose last step ends a trace and is closed, otherwise 0.

        Args:
            references: the right answers, by the questions' ids.
            grammar: which actions end a trace.
            vocabulary: their closing tokens.
        """

        def judged(paths: Sequence[Path]) -> list[float]:
            texts = []
            for path in paths:
                last = path.nodes[-1]
                whole = grammar.action(last.action).ends and last.ids[-1:] == (vocabulary.closes[last.action],)
                texts.append(last.text if whole else "")
            verdicts = self.judge.judge(texts, [references[path.prompt.id] for path in paths])
            return [outcome(verdict) for verdict in verdicts]

        return judged
