"""TRL's GRPO trainer with hints: before TRL scores a step, :mod:`hint_sampler` has chosen what was sampled.

The hint stands at the head of the completion, masked out of loss, KL and lengths (TRL's ``env_mask``), so that a
vision-language model's prompt stays what its processor rendered. Sampling is TRL's ``_generate_single_turn`` and
scoring its ``_calculate_rewards``, so vLLM, FSDP2, DeepSpeed, PEFT, several weighted rewards and every ``loss_type``
work as in TRL.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object
from trl import GRPOConfig

from burnish.reason.grpo.trainer import Completion, ReadyTrainer, hand_over
from burnish.reason.hint_grpo.attempts import Attempt, RolloutGroup
from burnish.reason.hint_grpo.hint_sampler import Hints, HintSampler, with_image_columns
from burnish.reason.hint_grpo.memory import QuestionMemory
from burnish.reason.hint_grpo.rows import opened
from burnish.reason.hint_grpo.selection import tally, tally_metrics


class HintGRPOTrainer(ReadyTrainer):
    """GRPO in which a question that no completion solves is tried again with part of its solution given.

    Args:
        model: as for TRL. With ``beta > 0`` and no adapter the reference is loaded again from where the model came
            from.
        reward_funcs: as for TRL. They see what the model wrote, without prefill and hint (those are in the column
            ``prefix``).
        args: TRL's configuration; a process's generation batch must hold whole groups.
        train_dataset: rows of :func:`burnish.reason.hint_grpo.rows.write_table`.
        processing_class: processor or tokenizer, with a chat template.
        hints: what to do beyond GRPO.
        options: what else TRL's trainer takes, ``peft_config`` or ``callbacks`` for example; not tools or environments.

    Raises:
        UserError: groups would be split over processes, there are too few questions for one step, or no chat template.

    Source: Hint-GRPO, method section; the released trainer.
    """

    state_folder = "hints"
    state_words = "the hints' memory"

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
        self.hints = hints
        super().__init__(
            model=model,
            reward_funcs=reward_funcs,
            args=args,
            train_dataset=train_dataset,
            processing_class=processing_class,
            token_budget=hints.token_budget,
            **options,
        )
        self.rollout_func = self._rollouts
        self.memory = QuestionMemory(len(train_dataset))
        self.generated["idle"] = 0  # completions that only kept the processes in step
        self._drawn = 0  # questions drawn to refill batches, over all processes
        self._ready: list[RolloutGroup] | None = None
        self._inputs_checked = False
        self.hint_sampler = HintSampler(self, hints)

    # What TRL calls

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        if not self.model.training:
            return self._evaluated(inputs)
        attempts = self.hint_sampler.run_rounds(
            [self.hint_sampler.new_attempt(row) for row in inputs[:: self.num_generations]]
        )
        asked = list(attempts)
        for _ in range(self.hints.refills):
            dull = [place for place, attempt in enumerate(attempts) if not attempt.mixed]
            fresh = self.hint_sampler.run_rounds([self.hint_sampler.new_attempt(row) for row in self._draw(len(dull))])
            if not fresh:
                break
            asked += fresh
            # Only as many as are missing here: processes refill alike, and what one does not need it forgets.
            for place, attempt in zip(dull, [each for each in fresh if each.mixed], strict=False):
                attempts[place] = attempt
        self._remember(asked)
        rows = [
            dict(attempt.row, prefix=attempt.chosen.prefix.text)
            for attempt in attempts
            for _ in range(self.num_generations)
        ]
        self._ready = [attempt.chosen for attempt in attempts]
        output: dict[str, Any] = super()._generate_and_score_completions(with_image_columns(rows))
        if self.hints.input_check is not None and not self._inputs_checked:
            self.hints.input_check(output, rows)
            self._inputs_checked = True
        if self.hints.mask_zero_variance:
            self._mask(output, [each.mixed for each in self._ready])
        self._ready = None
        self._log_attempts(asked)
        return output

    def _rollouts(self, prompts: list[Any], _trainer: Any) -> dict[str, Any]:
        """TRL's rollout function: what the rounds have chosen, hints first and masked."""
        assert self._ready is not None
        chosen = [
            Completion(
                each.prefix.ids + ids,
                [0] * len(each.prefix.ids) + [1] * len(ids),
                None if each.logprobs is None else [0.0] * len(each.prefix.ids) + each.logprobs[place],
            )
            for each in self._ready
            for place, ids in enumerate(each.completion_ids)
        ]
        return hand_over(self._tokenize_prompts(prompts)[0], chosen)

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

    # The state beside TRL's

    def state_dict(self) -> dict[str, Any]:
        """Memory of every question, what was generated, how many questions were drawn: what TRL's state lacks.

        Completions that were generated and not yet used are not in it: a checkpoint is taken where there are none.
        """
        return {"memory": self.memory.state_dict(), **super().state_dict(), "drawn": self._drawn}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave."""
        super().load_state_dict(state)
        self.memory.load_state_dict(state["memory"])
        self._drawn = state["drawn"]

    def _evaluated(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """Without hints: nobody has them at test time."""
        rows = [opened(row, self.hints.most_pixels) for row in inputs]
        prefix = self.hint_sampler.prefix("")
        found = self.hint_sampler.sample(rows, [prefix] * len(rows), self.num_generations_eval)
        self._ready = [
            RolloutGroup(
                prefix,
                completion_ids=[found.completion_ids[place]],
                logprobs=None if found.logprobs is None else [found.logprobs[place]],
                rewards=found.rewards[place : place + 1].tolist(),
                totals=(),
                rate=0.0,
                mixed=False,
                extra={name: [values[place]] for name, values in found.extra.items()},
            )
            for place in range(len(rows))
        ]
        output: dict[str, Any] = super()._generate_and_score_completions(with_image_columns(rows))
        self._ready = None
        return output

    # Around the rounds

    def _draw(self, wanted: int) -> list[dict[str, Any]]:
        """The next questions for this process: as many as the process that wants most, in an order of their own."""
        count, processes = self.hint_sampler.most(wanted), self.accelerator.num_processes
        first = self._drawn + count * self.accelerator.process_index
        self._drawn += count * processes
        size = len(self.train_dataset)
        found = []
        for place in range(first, first + count):
            order = np.random.default_rng([self.args.seed, 1, place // size]).permutation(size)
            found.append(self.train_dataset[int(order[place % size])])
        return found

    def _remember(self, attempts: Sequence[Attempt]) -> None:
        """Every process keeps the memory of all questions."""
        kept = [(attempt.number, attempt.remembered(self.hints.schedule)) for attempt in attempts]
        for number, memory in gather_object(kept):
            self.memory.record(number, memory)

    def _mask(self, output: dict[str, Any], mixed: Sequence[bool]) -> None:
        """Take groups without any advantage out of the loss; only the KL term would act on them."""
        keep = torch.tensor(mixed, device=self.accelerator.device).repeat_interleave(self.num_generations)
        output["tool_mask"] = output["tool_mask"] * keep.unsqueeze(1)
        scored = (output["completion_mask"] * output["tool_mask"]).sum()
        output["num_items_in_batch"] = self.accelerator.gather(scored).sum()

    def _log_attempts(self, attempts: Sequence[Attempt]) -> None:
        sums = tally([attempt.outcome() for attempt in attempts], self.hints.levels)
        own = torch.tensor([*sums, *self.hint_sampler.spent.values()], device=self.accelerator.device)
        *sums, completions, tokens, idle = self.accelerator.gather(own.unsqueeze(0)).sum(dim=0).tolist()
        for name, value in tally_metrics(sums, self.hints.levels).items():
            self._metrics["train"][f"hints/{name}"].append(value)
        for name, spent in zip(self.hint_sampler.spent, (completions, tokens, idle), strict=True):
            self.generated[name] += int(spent)
            self.hint_sampler.spent[name] = 0
            # As TRL logs its own running count: the last value, not a mean over the logged steps.
            self._metrics["train"][f"generated/{name}"] = [float(self.generated[name])]
