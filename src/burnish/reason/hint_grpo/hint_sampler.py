"""The rounds of a step: questions sampled and scored by TRL's own methods, level by level until they succeed.

All processes take part in every round with the same number of completions: which has fewer questions left repeats one
of its own and throws the result away. A question's whole group lives on one process. Knows TRL's trainer through five
methods.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from trl.data_utils import prepare_multimodal_messages

from burnish.dialogue.rows import MOST_PIXELS
from burnish.reason.hint_grpo.attempts import Attempt, Job, Prefix, RolloutGroup
from burnish.reason.hint_grpo.hints import distinct_levels, hint_text, steps_before_answer
from burnish.reason.hint_grpo.rows import QuestionRow, opened
from burnish.reason.hint_grpo.schedule import SELF, Ladder, Schedule, View
from burnish.reason.hint_grpo.selection import is_mixed, solve_rate
from burnish.reason.hint_grpo.steps import split_steps

Judge = Callable[[list[str], list[str]], list[float]]

WRITE_HINT = (
    "{question}\n\nReference solution:\n{solution}\n\n"
    "Write a short hint that helps to find this solution. Do not state the final answer."
)


@dataclass(frozen=True)
class Hints:
    """What :class:`HintGRPOTrainer` does beyond GRPO.

    Attributes:
        levels: H, hint levels with the plain prompt among them.
        schedule: which levels to try, and what to remember.
        prefill: how the assistant's turn starts, before the hint; not repeated where the chat template writes it
            itself.
        judge: rewards of texts against answers; steps that it rewards are never given as hints. None: no such guard.
        success: index of the reward function that says whether a completion succeeds; none takes the weighted total.
        success_above: a value above it is a success.
        mask_zero_variance: take groups of equal rewards out of the loss altogether, their KL term too.
        refills: how often to replace questions that give no gradient by fresh ones before a step (DAPO); 0 never does.
        most_pixels: larger images are shrunk.
        token_budget: stop after the step in which this many tokens were generated in all.
        input_check: called once before the first step with the step's tensors and rows; it raises where they do not
            fit.
    """

    levels: int = 2
    schedule: Schedule = field(default_factory=Ladder)
    prefill: str = "<think>"
    judge: Judge | None = None
    success: int | None = None
    success_above: float = 0.0
    mask_zero_variance: bool = False
    refills: int = 0
    most_pixels: int = MOST_PIXELS
    token_budget: int | None = None
    input_check: Callable[[Mapping[str, Any], Sequence[Mapping[str, Any]]], None] | None = None


@dataclass(frozen=True)
class Samples:
    """Completions of some rows, one each, scored.

    Attributes:
        completion_ids: the tokens that the model wrote.
        logprobs: of these tokens under the sampler; none where it gives none.
        rewards: by reward function; NaN where a function had nothing to say.
        extra: columns that reward functions asked to log.
    """

    completion_ids: list[list[int]]
    logprobs: list[list[Any]] | None
    rewards: Float[Tensor, "rows functions"]
    extra: dict[str, list[Any]]


class HintSampler:
    """Samples the questions of a step, level by level.

    Args:
        trainer: TRL's, whose generation and rewards are used.
        hints: what to do beyond GRPO.

    Attributes:
        spent: completions and tokens of this process in this step, and completions that only kept processes in step.
    """

    def __init__(self, trainer: Any, hints: Hints) -> None:
        self.trainer = trainer
        self.hints = hints
        self.spent = {"completions": 0, "tokens": 0, "idle": 0}
        self._safe: dict[int, int] = {}  # steps before the answer, by question
        self._opened = self._opens_itself(trainer.train_dataset[0]["prompt"])

    def new_attempt(self, row: Mapping[str, Any]) -> Attempt:
        """A row of the table as a question to take up: its images opened, its levels and the schedule's plan for them.

        Raises:
            UserError: a picture that can no longer be read.
        """
        number = int(row["number"])
        lengths = distinct_levels(len(row["steps"]), self.hints.levels, self._safe_steps(row))
        draw = np.random.default_rng([self.trainer.args.seed, number, self.trainer.memory.attempts(number)]).random()
        progress = self.trainer.state.global_step / max(1, self.trainer.state.max_steps)
        memory = self.trainer.memory[number]
        view = View(tuple(lengths), memory, progress, float(draw))
        return Attempt(opened(row, self.hints.most_pixels), number, lengths, self.hints.schedule.rounds(view), memory)

    def _safe_steps(self, row: Mapping[str, Any]) -> int:
        """How many steps come before the first that gives the answer away; found once a question."""
        number = int(row["number"])
        if self.hints.judge is None:
            return len(row["steps"])
        if number not in self._safe:
            self._safe[number] = steps_before_answer(self.leaks(row["steps"], row["answer"]))
        return self._safe[number]

    def leaks(self, steps: Sequence[str], answer: str) -> list[bool]:
        """Which steps, read as a completion, would be rewarded: such a step gives the answer away."""
        if self.hints.judge is None:
            return [False] * len(steps)
        return [reward > 0 for reward in self.hints.judge(list(steps), [answer] * len(steps))]

    def run_rounds(self, attempts: list[Attempt]) -> list[Attempt]:
        """Try levels round by round until every question has a success or its plan is at its end.

        Processes agree on the number of rounds and on how many groups each part of a round has.
        """
        turn = 0
        while total := self.most(sum(len(attempt.due(turn)) for attempt in attempts)):
            jobs = [Job(attempt, level) for attempt in attempts for level in attempt.due(turn)]
            jobs += [Job(attempts[0], attempts[0].rounds[0][0], real=False)] * (total - len(jobs))
            # Parts of at most a generation batch: trying several levels at once must not need more memory.
            whole = (
                self.trainer.args.per_device_train_batch_size
                * self.trainer.args.steps_per_generation
                // self.trainer.num_generations
            )
            for start in range(0, total, whole):
                self._sample_groups(jobs[start : start + whole])
            turn += 1
        return attempts

    def _sample_groups(self, jobs: Sequence[Job]) -> None:
        """Generate and score the groups of one part; those that only keep the processes in step are forgotten."""
        size = self.trainer.num_generations
        prefixes = [self.prefix(hint) for hint in self.hints_for(jobs) for _ in range(size)]
        rows = [job.attempt.row for job in jobs for _ in range(size)]
        samples = self.sample(rows, prefixes, size)
        ids, logprobs, rewards = samples.completion_ids, samples.logprobs, samples.rewards
        totals = (rewards * self.trainer.reward_weights.to(rewards)).nansum(dim=1)
        totals[rewards.isnan().all(dim=1)] = torch.nan
        # Where TRL normalizes each function's rewards before it adds them up, equal sums may hide different parts.
        apart = self.trainer.args.multi_objective_aggregation == "normalize_then_sum"
        counted = rewards[:, self.trainer.reward_weights.to(rewards) != 0] if apart else totals.unsqueeze(1)
        successes = totals if self.hints.success is None else rewards[:, self.hints.success]  # NaN never succeeds
        for place, job in enumerate(jobs):
            own = slice(place * size, (place + 1) * size)
            if not job.real:
                self.spent["idle"] += size
                continue
            self.spent["completions"] += size
            self.spent["tokens"] += sum(map(len, ids[own]))
            job.attempt.groups[job.level] = RolloutGroup(
                prefix=prefixes[own.start],
                completion_ids=ids[own],
                logprobs=None if logprobs is None else logprobs[own],
                rewards=rewards[own].tolist(),
                totals=tuple(totals[own].tolist()),
                rate=solve_rate(successes[own].tolist(), self.hints.success_above),
                mixed=any(is_mixed(column) for column in counted[own].T.tolist()),
                extra={name: values[own] for name, values in samples.extra.items()},
            )

    def hints_for(self, jobs: Sequence[Job]) -> list[str]:
        """The hint of each group; where the model is to write it itself, it does so now, once a group."""
        texts = [
            "" if job.level == SELF else hint_text(job.attempt.row["steps"], job.attempt.lengths[job.level])
            for job in jobs
        ]
        places = [place for place, job in enumerate(jobs) if job.level == SELF and job.real]
        total = self.most(len(places))
        if total:
            writers = [jobs[place].attempt for place in places] + [jobs[0].attempt] * (total - len(places))
            rows = [dict(attempt.row, prompt=_hint_request(attempt.row)) for attempt in writers]
            ids, _ = self._complete(self._prompts(rows), [[]] * total, 1)
            self.spent["tokens"] += sum(map(len, ids[: len(places)]))
            written = self.trainer.processing_class.batch_decode(ids[: len(places)], skip_special_tokens=True)
            for place, text in zip(places, written, strict=True):
                sentences = split_steps(text, "sentence")
                safe = steps_before_answer(self.leaks(sentences, jobs[place].attempt.row["answer"]))
                texts[place] = hint_text(sentences, safe)
        return texts

    def sample(self, rows: Sequence[Mapping[str, Any]], prefixes: Sequence[Prefix], num_generations: int) -> Samples:
        """Completions of rows after their prefixes, scored."""
        prompts = self._prompts(rows)
        ids, logprobs = self._complete(prompts, [prefix.ids for prefix in prefixes], num_generations)
        contents = self.trainer.processing_class.batch_decode(ids, skip_special_tokens=True)
        completions = [[{"role": "assistant", "content": content}] for content in contents]
        inputs = [dict(row, prefix=prefix.text) for row, prefix in zip(with_image_columns(rows), prefixes, strict=True)]
        rewards = self.trainer._calculate_rewards(inputs, prompts, completions, ids)
        extra = {
            name: list(values) for name, values in self.trainer._pending_extra_logs.items() if len(values) == len(rows)
        }
        self.trainer._pending_extra_logs.clear()
        first = self.trainer.accelerator.process_index * len(rows)
        return Samples(ids, logprobs, rewards[first : first + len(rows)], extra)

    def _complete(
        self, prompts: list[Any], starts: list[list[int]], num_generations: int
    ) -> tuple[list[list[int]], list[list[Any]] | None]:
        """TRL's generation, with the assistant's turn begun by ``starts``."""
        prompt_ids, images, fields = self.trainer._tokenize_prompts(prompts)
        longer = {name: _extended(value, prompt_ids, starts) for name, value in fields.items()}
        begun = [list(ids) + start for ids, start in zip(prompt_ids, starts, strict=True)]
        ids, logprobs = self.trainer._generate_single_turn(begun, images, longer, num_generations)
        return ids, logprobs

    def _prompts(self, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Conversations as TRL prepares them: with images as parts of the user's turn, if any row has some."""
        if not any("images" in row for row in rows):
            return [row["prompt"] for row in rows]
        return [prepare_multimodal_messages(row["prompt"], images=row.get("images", [])) for row in rows]

    def prefix(self, hint: str) -> Prefix:
        """How the assistant's turn starts with a hint."""
        text = self.hints.prefill + hint
        written = hint if self._opened else text
        ids = self.trainer._tokenizer(written, add_special_tokens=False)["input_ids"] if written else []
        return Prefix(text, list(ids))

    def _opens_itself(self, prompt: list[dict[str, Any]]) -> bool:
        """Whether the chat template writes the prefill itself (those of reasoning models do)."""
        messages = prepare_multimodal_messages(prompt) if self.trainer._is_vlm else prompt
        text = self.trainer.processing_class.apply_chat_template(
            [messages], tokenize=False, add_generation_prompt=True, **self.trainer.chat_template_kwargs
        )[0]
        return bool(self.hints.prefill) and text.rstrip().endswith(self.hints.prefill)

    def most(self, count: int) -> int:
        """The largest of the processes' counts."""
        return int(self.trainer.accelerator.gather(torch.tensor([count], device=self.trainer.accelerator.device)).max())


def _hint_request(row: QuestionRow) -> list[dict[str, str]]:
    """The conversation in which the model is asked for a hint: its question and the reference solution."""
    question = row["prompt"][-1]["content"]
    solution = "\n".join([*row["steps"], f"Answer: {row['answer']}"])
    return [*row["prompt"][:-1], {"role": "user", "content": WRITE_HINT.format(question=question, solution=solution)}]


def with_image_columns(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows that all have ``images`` if one has: TRL looks for columns in the first only."""
    blank: dict[str, Any] = {"images": []} if any("images" in row for row in rows) else {}
    return [{**blank, **row} for row in rows]


def _extended(value: Any, prompt_ids: Sequence[Sequence[int]], starts: Sequence[list[int]]) -> Any:
    """A field of the processor; one with a number for each prompt token gets zeros for the tokens that follow."""
    per_token = isinstance(value, list) and all(
        isinstance(each, list) and len(each) == len(ids) for each, ids in zip(value, prompt_ids, strict=False)
    )
    if not per_token or len(value) != len(prompt_ids):
        return value
    return [each + [0] * len(start) for each, start in zip(value, starts, strict=True)]
