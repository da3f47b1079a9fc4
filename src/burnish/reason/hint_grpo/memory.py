"""What is remembered of every question, as three arrays over the data set; part of every checkpoint."""

from __future__ import annotations

from typing import Any

import numpy as np

from burnish.reason.hint_grpo.schedule import Memory


class QuestionMemory:
    """Level and solve rate of each question, and how often it was attempted.

    Args:
        questions: rows of the data set.
    """

    def __init__(self, questions: int) -> None:
        self._level = np.full(questions, -1, dtype=np.int32)
        self._rate = np.zeros(questions, dtype=np.float64)
        self._attempts = np.zeros(questions, dtype=np.int32)

    def __getitem__(self, question: int) -> Memory | None:
        """What is known of a question; ``None`` before the first attempt."""
        level = int(self._level[question])
        return None if level < 0 else Memory(level, float(self._rate[question]))

    def attempts(self, question: int) -> int:
        """How often the question was answered so far."""
        return int(self._attempts[question])

    def record(self, question: int, memory: Memory | None) -> None:
        """Count an attempt and keep what the schedule made of it."""
        self._attempts[question] += 1
        self._level[question] = -1 if memory is None else memory.level
        self._rate[question] = 0.0 if memory is None else memory.rate

    def state_dict(self) -> dict[str, Any]:
        """Arrays of one value a question."""
        return {"level": self._level, "rate": self._rate, "visits": self._attempts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave.

        Raises:
            ValueError: it is of another number of questions.
        """
        if len(state["level"]) != len(self._level):
            raise ValueError(f"memory of {len(state['level'])} questions, not of {len(self._level)}")
        self._level, self._rate, self._attempts = (np.array(state[name]) for name in ("level", "rate", "visits"))
