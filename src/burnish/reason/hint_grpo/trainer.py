"""TRL's GRPO trainer with hints: what is sampled for a question is decided here, everything else stays TRL's.

The hint stands at the head of the completion, masked out of loss, KL and lengths (TRL's ``env_mask``), so that a vision-language
model's prompt stays what its processor rendered. Sampling is TRL's ``_generate_single_turn`` and scoring its
``_calculate_rewards``, so vLLM, FSDP2, DeepSpeed, PEFT, several weighted rewards and every ``loss_type`` work as in TRL.

All processes take part in every round with the same number of completions: which has fewer questions left repeats one of its
own and throws the result away. A question's whole group lives on one process.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object
from transformers import TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from trl import GRPOConfig, GRPOTrainer
from trl.data_utils import prepare_multimodal_messages
from trl.trainer.utils import RepeatSampler

from burnish.core import checkpoint
from burnish.core.errors import UserError
from burnish.dialogue.rows import MOST_PIXELS
from burnish.reason.hint_grpo.hints import hint_text, ladder, steps_before_answer
from burnish.reason.hint_grpo.memory import QuestionMemory
from burnish.reason.hint_grpo.rows import opened
from burnish.reason.hint_grpo.schedule import SELF, Ladder, Schedule, View
from burnish.reason.hint_grpo.selection import figures, is_mixed, solve_rate, tally
from burnish.reason.hint_grpo.steps import split_steps
from burnish.reason.hint_grpo.visits import Try, Visit

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
        prefill: how the assistant's turn starts, before the hint; not repeated where the chat template writes it itself.
        judge: rewards of texts against answers; steps that it rewards are never given as hints. None: no such guard.
        success: index of the reward function that says whether a completion succeeds; none takes the weighted total.
        success_above: a value above it is a success.
        mask_zero_variance: take groups of equal rewards out of the loss altogether, their KL term too.
        refills: how often to replace questions that give no gradient by fresh ones before a step (DAPO); 0 never does.
        most_pixels: larger images are shrunk.
        token_budget: stop after the step in which this many tokens were generated in all.
        look: called once before the first step with the step's tensors and rows; it raises where they do not fit.
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
    look: Callable[[Mapping[str, Any], Sequence[Mapping[str, Any]]], None] | None = None


class HintGRPOTrainer(GRPOTrainer):
    """GRPO in which a question that no completion solves is tried again with part of its solution given.

    Args:
        model: as for TRL. With ``beta > 0`` and no adapter the reference is loaded again from where the model came from.
        reward_funcs: as for TRL. They see what the model wrote, without prefill and hint (those are in the column ``prefix``).
        args: TRL's configuration; a process's generation batch must hold whole groups.
        train_dataset: rows of :func:`burnish.reason.hint_grpo.rows.write_table`.
        processing_class: processor or tokenizer, with a chat template.
        hints: what to do beyond GRPO.
        options: what else TRL's trainer takes, ``peft_config`` or ``callbacks`` for example; not tools or environments.

    Raises:
        UserError: groups would be split over processes, there are too few questions for one step, or no chat template.

    Source: Hint-GRPO, method section; the released trainer.
    """

    def __init__(
        self,
        model: Any,
        reward_funcs: list[Any],
        args: GRPOConfig,
        train_dataset: Any,
        processing_class: Any,
        hints: Hints,
        **options: Any,
    ) -> None:
        local = args.per_device_train_batch_size * (args.steps_per_generation or args.gradient_accumulation_steps)
        if local % args.num_generations:
            raise UserError(
                f"a process generates {local} completions at a time, which is not a multiple of the group size "
                f"{args.num_generations}; choose the batch so that whole groups fit"
            )
        questions = args.generation_batch_size // args.num_generations
        if len(train_dataset) < questions:
            raise UserError(
                f"{len(train_dataset)} questions are fewer than the {questions} of one step; use a smaller batch"
            )
        if not getattr(processing_class, "chat_template", None):
            raise UserError(
                "the tokenizer has no chat template, so no conversation can be rendered; "
                "put the template of the model's chat version beside it as chat_template.jinja"
            )
        # TRL pads prompts on the left and takes a processor's marks of image tokens as that pads them: both must agree.
        getattr(processing_class, "tokenizer", processing_class).padding_side = "left"
        self.hints = hints
        super().__init__(
            model=model,
            reward_funcs=reward_funcs,
            args=args,
            train_dataset=train_dataset,
            processing_class=processing_class,
            **options,
        )
        self.rollout_func = self._hand_over
        self.memory = QuestionMemory(len(train_dataset))
        self.generated = {"completions": 0, "tokens": 0, "idle": 0}  # by all processes so far
        self._spent = dict(self.generated)  # by this one in this step
        self._drawn = 0  # questions drawn to refill batches, over all processes
        self._safe: dict[int, int] = {}  # steps before the answer, by question
        self._ready: list[Try] | None = None
        self._looked = False
        self._opened = self._opens_itself(train_dataset[0]["prompt"])
        if hints.token_budget is not None:
            self.add_callback(_Budget(self, hints.token_budget))

    # What TRL calls

    def _get_train_sampler(self, dataset: Any = None) -> Any:
        ordered: RepeatSampler = super()._get_train_sampler(dataset)
        return _EpochSampler(ordered, lambda: math.floor((self.state.epoch or 0.0) + 1e-9))

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        if not self.model.training:
            return self._evaluated(inputs)
        visits = self._climb([self._visit(row) for row in inputs[:: self.num_generations]])
        asked = list(visits)
        for _ in range(self.hints.refills):
            dull = [place for place, visit in enumerate(visits) if not visit.mixed]
            fresh = self._climb([self._visit(row) for row in self._draw(len(dull))])
            if not fresh:
                break
            asked += fresh
            # Only as many as are missing here: processes refill alike, and what one does not need it forgets.
            for place, visit in zip(dull, [each for each in fresh if each.mixed], strict=False):
                visits[place] = visit
        self._remember(asked)
        rows = [dict(visit.row, prefix=visit.chosen.prefix) for visit in visits for _ in range(self.num_generations)]
        self._ready = [visit.chosen for visit in visits]
        output: dict[str, Any] = super()._generate_and_score_completions(_alike(rows))
        if self.hints.look is not None and not self._looked:
            self.hints.look(output, rows)
            self._looked = True
        if self.hints.mask_zero_variance:
            self._mask(output, [is_mixed(each.totals) for each in self._ready])
        self._ready = None
        self._log_visits(asked)
        return output

    def _hand_over(self, prompts: list[Any], trainer: Any) -> dict[str, Any]:
        """TRL's rollout function: what the rounds have chosen, hints first and masked."""
        assert self._ready is not None
        rows = [(each, place) for each in self._ready for place in range(len(each.completion_ids))]
        found: dict[str, Any] = {
            "prompt_ids": self._tokenize_prompts(prompts)[0],
            "completion_ids": [each.prefix_ids + each.completion_ids[place] for each, place in rows],
            "env_mask": [[0] * len(each.prefix_ids) + [1] * len(each.completion_ids[place]) for each, place in rows],
            "logprobs": None,
        }
        if self._ready[0].logprobs is not None:
            found["logprobs"] = [
                [0.0] * len(each.prefix_ids) + each.logprobs[place] for each, place in rows if each.logprobs is not None
            ]
        return found

    def _calculate_rewards(self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any) -> torch.Tensor:
        if self._ready is None:
            scored: torch.Tensor = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
            return scored
        # Scored in the rounds: a judge is asked once about a completion.
        for column in {name for each in self._ready for name in each.extra}:
            blank = [None] * (len(completions) // len(self._ready))
            self._pending_extra_logs[column] = [
                value for each in self._ready for value in each.extra.get(column, blank)
            ]
        rewards = torch.tensor([row for each in self._ready for row in each.rewards], device=self.accelerator.device)
        gathered: torch.Tensor = self.accelerator.gather(rewards)
        return gathered

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        if self.args.should_save:
            folder = Path(self._get_output_dir(trial=trial)) / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
            checkpoint.save(folder / "hints", 0, self.state_dict(), keep=1)

    def _load_optimizer_and_scheduler(self, checkpoint_folder: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint_folder)
        if checkpoint_folder is not None:
            found = checkpoint.load_latest(Path(checkpoint_folder) / "hints", warn=lambda line: None)
            if found is None:
                raise UserError(f"{checkpoint_folder}: a checkpoint without the hints' memory; it is another method's")
            self.load_state_dict(found[1])

    # The state beside TRL's

    def state_dict(self) -> dict[str, Any]:
        """Memory of every question, what was generated, how many questions were drawn: with TRL's state, all of the run's.

        Completions that were generated and not yet used are not in it: a checkpoint is taken where there are none.
        """
        return {"memory": self.memory.state_dict(), "generated": dict(self.generated), "drawn": self._drawn}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave."""
        self.memory.load_state_dict(state["memory"])
        self.generated = dict(state["generated"])
        self._drawn = state["drawn"]

    # Rounds

    def _visit(self, row: dict[str, Any]) -> Visit:
        number = int(row["number"])
        lengths = ladder(len(row["steps"]), self.hints.levels, self._safe_steps(row))
        draw = np.random.default_rng([self.args.seed, number, self.memory.visits(number)]).random()
        progress = self.state.global_step / max(1, self.state.max_steps)
        memory = self.memory[number]
        view = View(tuple(lengths), memory, progress, float(draw))
        return Visit(opened(row, self.hints.most_pixels), number, lengths, self.hints.schedule.rounds(view), memory)

    def _safe_steps(self, row: dict[str, Any]) -> int:
        """How many steps come before the first that gives the answer away; found once a question."""
        number = int(row["number"])
        if self.hints.judge is None:
            return len(row["steps"])
        if number not in self._safe:
            self._safe[number] = steps_before_answer(self._leaks(row["steps"], row["answer"]))
        return self._safe[number]

    def _leaks(self, steps: Sequence[str], answer: str) -> list[bool]:
        """Which steps, read as a completion, would be rewarded: such a step gives the answer away."""
        if self.hints.judge is None:
            return [False] * len(steps)
        return [reward > 0 for reward in self.hints.judge(list(steps), [answer] * len(steps))]

    def _climb(self, visits: list[Visit]) -> list[Visit]:
        """Try levels round by round until every question has a success or its plan is at its end.

        Processes agree on the number of rounds and on how many groups each part of a round has.
        """
        turn = 0
        while total := self._most(sum(len(visit.due(turn)) for visit in visits)):
            jobs = [(visit, level, True) for visit in visits for level in visit.due(turn)]
            jobs += [(visits[0], visits[0].rounds[0][0], False)] * (total - len(jobs))
            # Parts of at most a generation batch: trying several levels at once must not need more memory.
            whole = self.args.per_device_train_batch_size * self.args.steps_per_generation // self.num_generations
            for start in range(0, total, whole):
                self._try(jobs[start : start + whole])
            turn += 1
        return visits

    def _try(self, jobs: Sequence[tuple[Visit, int, bool]]) -> None:
        """Generate and score the groups of one part; those that only keep the processes in step are forgotten."""
        size = self.num_generations
        prefixes = [self._prefix(hint) for hint in self._hints_for(jobs) for _ in range(size)]
        rows = [visit.row for visit, _, _ in jobs for _ in range(size)]
        ids, logprobs, rewards, extra = self._sample(rows, prefixes, size)
        totals = (rewards * self.reward_weights.to(rewards)).nansum(dim=1)
        successes = totals if self.hints.success is None else rewards[:, self.hints.success].nan_to_num()
        for place, (visit, level, real) in enumerate(jobs):
            own = slice(place * size, (place + 1) * size)
            if not real:
                self._spent["idle"] += size
                continue
            self._spent["completions"] += size
            self._spent["tokens"] += sum(map(len, ids[own]))
            visit.tries[level] = Try(
                prefix=prefixes[own.start][0],
                prefix_ids=prefixes[own.start][1],
                completion_ids=ids[own],
                logprobs=None if logprobs is None else logprobs[own],
                rewards=rewards[own].tolist(),
                totals=tuple(totals[own].tolist()),
                rate=solve_rate(successes[own].tolist(), self.hints.success_above),
                extra={name: values[own] for name, values in extra.items()},
            )

    def _hints_for(self, jobs: Sequence[tuple[Visit, int, bool]]) -> list[str]:
        """The hint of each group; where the model is to write it itself, it does so now, once a group."""
        texts = [
            "" if level == SELF else hint_text(visit.row["steps"], visit.lengths[level]) for visit, level, _ in jobs
        ]
        places = [place for place, (_, level, real) in enumerate(jobs) if level == SELF and real]
        total = self._most(len(places))
        if total:
            writers = [jobs[place][0] for place in places] + [jobs[0][0]] * (total - len(places))
            rows = [dict(visit.row, prompt=_hint_request(visit.row)) for visit in writers]
            ids, _ = self._complete(self._prompts(rows), [[]] * total, 1)
            self._spent["tokens"] += sum(map(len, ids[: len(places)]))
            written = self.processing_class.batch_decode(ids[: len(places)], skip_special_tokens=True)
            for place, text in zip(places, written, strict=True):
                sentences = split_steps(text, "sentence")
                safe = steps_before_answer(self._leaks(sentences, jobs[place][0].row["answer"]))
                texts[place] = hint_text(sentences, safe)
        return texts

    def _sample(
        self, rows: list[dict[str, Any]], prefixes: list[tuple[str, list[int]]], num_generations: int
    ) -> tuple[list[list[int]], list[list[Any]] | None, torch.Tensor, dict[str, list[Any]]]:
        """Completions of rows after their prefixes, with logprobs, rewards [rows, functions] and logged columns."""
        prompts = self._prompts(rows)
        ids, logprobs = self._complete(prompts, [start for _, start in prefixes], num_generations)
        contents = self.processing_class.batch_decode(ids, skip_special_tokens=True)
        completions = [[{"role": "assistant", "content": content}] for content in contents]
        inputs = [dict(row, prefix=prefix) for row, (prefix, _) in zip(_alike(rows), prefixes, strict=True)]
        rewards = self._calculate_rewards(inputs, prompts, completions, ids)
        extra = {name: list(values) for name, values in self._pending_extra_logs.items() if len(values) == len(rows)}
        self._pending_extra_logs.clear()
        first = self.accelerator.process_index * len(rows)
        return ids, logprobs, rewards[first : first + len(rows)], extra

    def _complete(
        self, prompts: list[Any], starts: list[list[int]], num_generations: int
    ) -> tuple[list[list[int]], list[list[Any]] | None]:
        """TRL's generation, with the assistant's turn begun by ``starts``."""
        prompt_ids, images, fields = self._tokenize_prompts(prompts)
        longer = {name: _extended(value, prompt_ids, starts) for name, value in fields.items()}
        begun = [list(ids) + start for ids, start in zip(prompt_ids, starts, strict=True)]
        ids, logprobs = self._generate_single_turn(begun, images, longer, num_generations)
        return ids, logprobs

    def _prompts(self, rows: Sequence[dict[str, Any]]) -> list[Any]:
        """Conversations as TRL prepares them: with images as parts of the user's turn, if any row has some."""
        if not any("images" in row for row in rows):
            return [row["prompt"] for row in rows]
        return [prepare_multimodal_messages(row["prompt"], images=row.get("images", [])) for row in rows]

    def _prefix(self, hint: str) -> tuple[str, list[int]]:
        """How the assistant's turn starts, as text, and the tokens of it that the chat template does not write."""
        text = self.hints.prefill + hint
        written = hint if self._opened else text
        return text, list(self._tokenizer(written, add_special_tokens=False)["input_ids"]) if written else []

    def _opens_itself(self, prompt: list[dict[str, Any]]) -> bool:
        """Whether the chat template writes the prefill itself (those of reasoning models do)."""
        messages = prepare_multimodal_messages(prompt) if self._is_vlm else prompt
        text = self.processing_class.apply_chat_template([messages], tokenize=False, add_generation_prompt=True)[0]
        return bool(self.hints.prefill) and text.rstrip().endswith(self.hints.prefill)

    def _evaluated(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """Without hints: nobody has them at test time."""
        rows = [opened(row, self.hints.most_pixels) for row in inputs]
        prefix = self._prefix("")
        ids, logprobs, rewards, extra = self._sample(rows, [prefix] * len(rows), self.num_generations_eval)
        self._ready = [
            Try(
                *prefix,
                completion_ids=[ids[place]],
                logprobs=None if logprobs is None else [logprobs[place]],
                rewards=rewards[place : place + 1].tolist(),
                totals=(),
                rate=0.0,
                extra={name: [values[place]] for name, values in extra.items()},
            )
            for place in range(len(rows))
        ]
        output: dict[str, Any] = super()._generate_and_score_completions(_alike(rows))
        self._ready = None
        return output

    # Around the rounds

    def _draw(self, wanted: int) -> list[dict[str, Any]]:
        """The next questions for this process: as many as the process that wants most, in an order of their own."""
        count, processes = self._most(wanted), self.accelerator.num_processes
        first = self._drawn + count * self.accelerator.process_index
        self._drawn += count * processes
        size = len(self.train_dataset)
        found = []
        for place in range(first, first + count):
            order = np.random.default_rng([self.args.seed, 1, place // size]).permutation(size)
            found.append(self.train_dataset[int(order[place % size])])
        return found

    def _most(self, count: int) -> int:
        """The largest of the processes' counts."""
        return int(self.accelerator.gather(torch.tensor([count], device=self.accelerator.device)).max())

    def _remember(self, visits: Sequence[Visit]) -> None:
        """Every process keeps the memory of all questions."""
        kept = [(visit.number, visit.remembered(self.hints.schedule)) for visit in visits]
        for number, memory in gather_object(kept):
            self.memory.visit(number, memory)

    def _mask(self, output: dict[str, Any], mixed: Sequence[bool]) -> None:
        """Take groups without any advantage out of the loss; only the KL term would act on them."""
        keep = torch.tensor(mixed, device=self.accelerator.device).repeat_interleave(self.num_generations)
        output["tool_mask"] = output["tool_mask"] * keep.unsqueeze(1)
        scored = (output["completion_mask"] * output["tool_mask"]).sum()
        output["num_items_in_batch"] = self.accelerator.gather(scored).sum()

    def _log_visits(self, visits: Sequence[Visit]) -> None:
        sums = tally([visit.outcome() for visit in visits], self.hints.levels)
        own = torch.tensor([*sums, *self._spent.values()], device=self.accelerator.device)
        *sums, completions, tokens, idle = self.accelerator.gather(own.unsqueeze(0)).sum(dim=0).tolist()
        for name, value in figures(sums, self.hints.levels).items():
            self._metrics["train"][f"hints/{name}"].append(value)
        for name, spent in zip(self._spent, (completions, tokens, idle), strict=True):
            self.generated[name] += int(spent)
            self._spent[name] = 0
            # As TRL logs its own running count: the last value, not a mean over the logged steps.
            self._metrics["train"][f"generated/{name}"] = [float(self.generated[name])]


class _EpochSampler(torch.utils.data.Sampler[int]):
    """TRL's sampler with an order that depends on the epoch alone.

    Its own generator goes on from epoch to epoch, so a run resumed in its second would see the order of the first again.
    """

    def __init__(self, ordered: RepeatSampler, epoch: Callable[[], int]) -> None:
        self._ordered = ordered
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        if self._ordered.shuffle:
            self._ordered.generator.manual_seed((self._ordered.seed or 0) + self._epoch())
        return iter(self._ordered)

    def __len__(self) -> int:
        return len(self._ordered)


class _Budget(TrainerCallback):
    """Ends the training after the step in which the budget of generated tokens was spent."""

    def __init__(self, trainer: HintGRPOTrainer, tokens: int) -> None:
        self._trainer = trainer
        self._tokens = tokens

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._trainer.generated["tokens"] >= self._tokens:
            control.should_training_stop = True


def _hint_request(row: dict[str, Any]) -> list[dict[str, Any]]:
    """The conversation in which the model is asked for a hint: its question and the reference, instead of the question."""
    question = row["prompt"][-1]["content"]
    solution = "\n".join([*row["steps"], f"Answer: {row['answer']}"])
    return [*row["prompt"][:-1], {"role": "user", "content": WRITE_HINT.format(question=question, solution=solution)}]


def _alike(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows that all have ``images`` if one has: TRL looks for columns in the first only."""
    return [{"images": [], **row} for row in rows] if any("images" in row for row in rows) else rows


def _extended(value: Any, prompt_ids: Sequence[Sequence[int]], starts: Sequence[list[int]]) -> Any:
    """A field of the processor; one with a number for each prompt token gets zeros for the tokens that follow."""
    per_token = isinstance(value, list) and all(
        isinstance(each, list) and len(each) == len(ids) for each, ids in zip(value, prompt_ids, strict=False)
    )
    if not per_token or len(value) != len(prompt_ids):
        return value
    return [each + [0] * len(start) for each, start in zip(value, starts, strict=True)]
