"""TRL's GRPO trainer for completions that are chosen before it scores a step.

What a method imposes on a completion (a hint, a functional token) is masked through TRL's ``env_mask``; the order of an
epoch depends on the epoch alone and the method's own state lies beside TRL's, so that a resumed run goes on exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from transformers import TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from trl import GRPOConfig, GRPOTrainer
from trl.trainer.utils import RepeatSampler

from burnish.core import checkpoint
from burnish.core.errors import UserError


@dataclass(frozen=True)
class Completion:
    """One completion as TRL takes it.

    Attributes:
        ids: its tokens.
        mask: by token: 1 takes part in the loss and in lengths, 0 does not.
        log_probs: by token, under whoever sampled it; none where that is not known. TRL itself uses them with vLLM.
    """

    ids: Sequence[int]
    mask: Sequence[int]
    log_probs: Sequence[float] | None = None


def hand_over(
    prompt_ids: Sequence[Sequence[int]], completions: Sequence[Completion], **columns: list[Any]
) -> dict[str, Any]:
    """What TRL's ``rollout_func`` returns, for completions that are ready.

    Args:
        prompt_ids: of each completion; TRL renders no prompt for a rollout function.
        completions: as many, group by group.
        columns: lists of as many values that reward functions see.
    """
    known = bool(completions) and completions[0].log_probs is not None
    return {
        "prompt_ids": list(prompt_ids),
        "completion_ids": [list(each.ids) for each in completions],
        "env_mask": [list(each.mask) for each in completions],
        "logprobs": [list(each.log_probs or ()) for each in completions] if known else None,
        **columns,
    }


class ReadyTrainer(GRPOTrainer):
    """TRL's trainer with an order that can be resumed, a state of its own and a budget of tokens.

    Args:
        model: as for TRL. With ``beta > 0`` and no adapter the reference is loaded again from where the model came
            from.
        reward_funcs: as for TRL.
        args: TRL's configuration; a process's generation batch must hold whole groups.
        train_dataset: rows with the column ``prompt``.
        processing_class: processor or tokenizer, with a chat template.
        token_budget: stop after the step in which this many tokens were generated in all.
        options: what else TRL's trainer takes, ``peft_config`` or ``callbacks`` for example.

    Raises:
        UserError: groups would be split over processes, there are too few questions for one step, or no chat template.

    Attributes:
        generated: what all processes generated so far; its ``tokens`` count against the budget.
    """

    state_folder: ClassVar[str]
    """Where a subclass's state lies in a checkpoint of TRL's."""
    state_words: ClassVar[str]
    """What that state is, for the message where a checkpoint lacks it."""

    def __init__(
        self,
        model: Any,
        reward_funcs: list[Any],
        args: GRPOConfig,
        train_dataset: Any,
        processing_class: Any,
        token_budget: int | None = None,
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
        super().__init__(
            model=model,
            reward_funcs=reward_funcs,
            args=args,
            train_dataset=train_dataset,
            processing_class=processing_class,
            **options,
        )
        self.generated = {"completions": 0, "tokens": 0}
        if token_budget is not None:
            self.add_callback(TokenBudget(lambda: self.generated["tokens"], token_budget))

    def state_dict(self) -> dict[str, Any]:
        """What the method must keep beside TRL's state."""
        return {"generated": dict(self.generated)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave."""
        self.generated = dict(state["generated"])

    # What TRL calls

    def _get_train_sampler(self, dataset: Any = None) -> Any:
        ordered: RepeatSampler = super()._get_train_sampler(dataset)
        return EpochSampler(ordered, lambda: math.floor((self.state.epoch or 0.0) + 1e-9))

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        if self.args.should_save:
            folder = Path(self._get_output_dir(trial=trial)) / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
            checkpoint.save(folder / self.state_folder, 0, self.state_dict(), keep=1)

    def _load_optimizer_and_scheduler(self, checkpoint_folder: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint_folder)
        if checkpoint_folder is not None:
            found = checkpoint.load_latest(Path(checkpoint_folder) / self.state_folder, warn=lambda _line: None)
            if found is None:
                raise UserError(f"{checkpoint_folder}: a checkpoint without {self.state_words}; it is another method's")
            self.load_state_dict(found[1])


class EpochSampler(torch.utils.data.Sampler[int]):
    """TRL's sampler with an order that depends on the epoch alone.

    Its own generator goes on from epoch to epoch, so a run resumed in its second would see the order of the first
    again.

    Args:
        ordered: TRL's.
        epoch: the number of the epoch that begins.
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


class TokenBudget(TrainerCallback):
    """Ends the training after the step in which the budget of generated tokens was spent.

    Args:
        spent: tokens generated so far.
        tokens: the budget.
    """

    def __init__(self, spent: Callable[[], int], tokens: int) -> None:
        self._spent = spent
        self._tokens = tokens

    def on_step_end(self, _args: Any, _state: Any, control: Any, **_kwargs: Any) -> None:
        """See transformers."""
        if self._spent() >= self._tokens:
            control.should_training_stop = True
