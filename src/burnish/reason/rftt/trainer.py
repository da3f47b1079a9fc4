"""Online RL on rollouts over functional tokens: TRL's GRPO trainer with advantages by token.

TRL keeps loss, clipping, optimizer and distribution. What the method decides is handed to it: rollouts that are ready,
``env_mask`` for imposed tokens, advantages of shape ``[batch, tokens]``, and, where imposed tokens are to be weighted,
log-probabilities of whoever drew them as ``old_per_token_logps`` (without vLLM TRL makes no use of ``logprobs``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from trl import GRPOConfig
from trl.models.utils import disable_gradient_checkpointing

from burnish.core.errors import UserError
from burnish.reason.grpo.trainer import Completion, ReadyTrainer, hand_over
from burnish.reason.rftt.advantages import advantages, token_kl
from burnish.reason.rftt.generators.protocol import Prompt
from burnish.reason.rftt.grammar import Grammar
from burnish.reason.rftt.rewards import Earned, Rewards
from burnish.reason.rftt.rollouts import Forced, Layout, RolloutGroup, plain_group
from burnish.reason.rftt.vocabulary import Vocabulary, pass_on_bias


@dataclass(frozen=True)
class Objective:
    """What is maximised, beyond TRL's settings.

    Attributes:
        forced: tokens that the layout imposed are learnt like any other (the paper's), are left out of the loss, or
            have the ratio of the model's probability to the layout's. The last weights every other token too, by the
            distribution that it was drawn from.
        advantage: the baseline; ``batch`` is the paper's.
        kl: the divergence from the reference stands in the loss, as TRL has it (k3), or is taken off the rewards, as
            the released code does. ``beta`` of TRL's configuration is its weight in either.
        estimator: of the divergence in the rewards.
        gamma: discount a token.
    """

    forced: Forced = "include"
    advantage: Literal["batch", "group", "siblings"] = "batch"
    kl: Literal["loss", "reward"] = "loss"
    estimator: Literal["k1", "k3"] = "k1"
    gamma: float = 1.0


@dataclass(frozen=True)
class _Ready:
    groups: list[RolloutGroup]
    earned: list[list[Earned]]


class RFTTTrainer(ReadyTrainer):
    """Policy gradient over rollouts of a layout.

    Args:
        model: as for TRL, its functional tokens in its vocabulary. With ``beta > 0`` and no adapter the reference is
            loaded again from where the model came from.
        args: TRL's configuration; ``num_generations`` is what the layout gives.
        train_dataset: rows with ``id`` (of each its own), ``prompt`` (the conversation), ``prompt_ids`` (its tokens,
            with the mark of the assistant's turn), ``question`` and ``answer``.
        processing_class: tokenizer with a chat template.
        rewards: what rollouts earn.
        grammar: the actions.
        vocabulary: their tokens; none for a model without, which has no layout.
        objective: what is maximised.
        layout: gives the rollouts; none samples plainly, with TRL's own sampler (``iid``).
        token_budget: stop after the step in which this many tokens were generated in all.
        options: what else TRL's trainer takes, ``peft_config`` or ``callbacks`` for example.

    Raises:
        UserError: a group size that is not the layout's, a layout together with TRL's vLLM or without functional
            tokens, or what :class:`~burnish.reason.grpo.trainer.ReadyTrainer` refuses.

    Source: RFTT, online reinforcement learning; the released trainer (REINFORCE++ of OpenRLHF).
    """

    state_folder = "rollouts"
    state_words = "the state of its rollouts"

    def __init__(
        self,
        model: Any,
        args: GRPOConfig,
        train_dataset: Any,
        processing_class: Any,
        rewards: Rewards,
        grammar: Grammar,
        vocabulary: Vocabulary | None,
        objective: Objective | None = None,
        layout: Layout | None = None,
        token_budget: int | None = None,
        **options: Any,
    ) -> None:
        if layout is not None and layout.samples != args.num_generations:
            raise UserError(
                f"the layout gives {layout.samples} rollouts of a question and the group size is "
                f"{args.num_generations}; make them the same"
            )
        if layout is not None and vocabulary is None:
            raise UserError("a layout needs functional tokens; extend the model by them, or sample plainly (iid)")
        if layout is not None and args.use_vllm:
            raise UserError("a layout writes with an engine of its own, which may be vLLM; leave TRL's `use_vllm` off")
        super().__init__(
            model, [earned_total], args, train_dataset, processing_class, token_budget=token_budget, **options
        )
        pass_on_bias(self.model)
        self.rollout_func = self._hand_over
        self.rewards = rewards
        self.objective = objective or Objective()
        self.layout = layout
        self.grammar = grammar
        self.vocabulary = vocabulary
        in_rewards = self.objective.kl == "reward"  # the reference was loaded for the beta that was asked for
        self._penalty: float = args.beta if in_rewards else 0.0
        self.beta: float = 0.0 if in_rewards else args.beta
        self._rounds = 0  # generation batches so far: with the seed they decide what a layout draws
        self._ready: _Ready | None = None

    def state_dict(self) -> dict[str, Any]:
        """How many batches were generated, and of how many tokens.

        Completions that were generated and not yet used are not in it: a checkpoint is taken where there are none.
        """
        return {**super().state_dict(), "rounds": self._rounds}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave."""
        super().load_state_dict(state)
        self._rounds = state["rounds"]

    # What TRL calls

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        learning = self.model.training
        size = self.num_generations if learning else self.num_generations_eval
        rows = inputs[::size]
        groups = self._roll(rows, size, plainly=not learning or self.layout is None)
        ready = self._ready = _Ready(groups, self.rewards.of(groups, [row["answer"] for row in rows]))
        if learning:
            self.beta += self._penalty  # for the reference's log-probabilities
        output: dict[str, Any] = super()._generate_and_score_completions([dict(row) for row in inputs])
        if learning:
            self.beta -= self._penalty
            self._put_advantages(output, ready)
            self._rounds += 1
            self._log_rollouts(ready)
        self._ready = None
        return output

    def _hand_over(self, _prompts: list[Any], _trainer: Any) -> dict[str, Any]:
        """TRL's rollout function."""
        assert self._ready is not None
        rows = [(group, each) for group in self._ready.groups for each in group.rollouts]
        forced = self.objective.forced
        return hand_over(
            [group.prompt.ids for group, _ in rows],
            [Completion(each.completion_ids, each.env_mask(forced), each.log_probs) for _, each in rows],
            total=[each.rewards.total for own in self._ready.earned for each in own],
        )

    # Around it

    def _roll(self, rows: Sequence[Mapping[str, Any]], size: int, *, plainly: bool) -> list[RolloutGroup]:
        prompts = [Prompt(row["id"], row["question"], tuple(row["prompt_ids"])) for row in rows]
        if not plainly and self.layout is not None and self.vocabulary is not None:
            references = {row["id"]: row["answer"] for row in rows}
            judge = self.rewards.of_paths(references, self.grammar, self.vocabulary)
            return self.layout(prompts, judge, (self.args.seed << 32) + self._rounds)
        repeated = [list(prompt.ids) for prompt in prompts for _ in range(size)]
        ids, log_probs = self._generate_single_turn(repeated, None, {}, size)
        return [
            plain_group(
                prompt,
                ids[place * size : (place + 1) * size],
                None if log_probs is None else log_probs[place * size : (place + 1) * size],
                self._tokenizer,
                self.vocabulary,
                self.grammar,
            )
            for place, prompt in enumerate(prompts)
        ]

    def _put_advantages(self, output: dict[str, Any], ready: _Ready) -> None:
        """Replace TRL's advantages, and where asked the log-probabilities that the ratio is taken to."""
        kept = output["completion_mask"].bool()
        batch = _Batch(ready, kept)
        own = output.get("old_per_token_logps")
        penalty = None
        if self._penalty:
            own = self._own_log_probs(output) if own is None else own
            reference = output.pop("ref_per_token_logps")
            penalty = self._penalty * token_kl(own, reference, self.objective.estimator)
            self._metrics["train"]["kl"].append(self._mean((own - reference), kept))
        output["advantages"] = advantages(
            self.objective.advantage,
            batch.rewards,
            batch.at,
            kept & ~batch.repeats.unsqueeze(1),
            penalty=penalty,
            gamma=self.objective.gamma,
            groups=batch.groups,
            nodes=batch.nodes,
            parents=batch.parents,
            over_all=lambda sums: self.accelerator.reduce(sums, reduction="sum"),
        )
        if self.objective.forced == "importance" and batch.log_probs is not None:
            output["old_per_token_logps"] = batch.log_probs

    @torch.no_grad()
    def _own_log_probs(self, output: Mapping[str, Any]) -> Tensor:
        ids = torch.cat([output["prompt_ids"], output["completion_ids"]], dim=1)
        mask = torch.cat([output["prompt_mask"], output["completion_mask"]], dim=1)
        with disable_gradient_checkpointing(self.model, self.args.gradient_checkpointing_kwargs):
            found: Tensor = self._get_per_token_logps_and_entropies(
                self.model, ids, mask, output["completion_ids"].shape[1], self.args.per_device_train_batch_size
            )[0]
        return found

    def _mean(self, values: Tensor, mask: Tensor) -> float:
        sums = torch.stack([(values * mask).sum(), mask.sum().to(values)])
        total, count = self.accelerator.reduce(sums, reduction="sum").tolist()
        return float(total / max(count, 1.0))

    def _log_rollouts(self, ready: _Ready) -> None:
        """Counts over all processes: what came of the rollouts, which actions they took, what sharing would save."""
        rollouts = [each for group in ready.groups for each in group.rollouts]
        earned = [each for own in ready.earned for each in own]
        actions = Counter(step.action for each in rollouts for step in each.steps)
        counts = {
            "completions": len(rollouts),
            "tokens": sum(group.generated for group in ready.groups),
            "length": sum(len(each.completion_ids) for each in rollouts),
            "repeated": sum(group.repeated for group in ready.groups),
            "answered": sum(each.verdict.answered for each in earned),
            "correct": sum(each.verdict.correct for each in earned),
            "forced": sum(sum(each.forced) for each in rollouts),
            "path_tokens": sum(group.path_tokens for group in ready.groups),
            "unique_tokens": sum(group.unique_tokens for group in ready.groups),
            "unsearched": sum(group.tree is not None and bool(group.tree.problem) for group in ready.groups),
            **{f"steps/{action.name}": actions[action.name] for action in self.grammar.actions},
        }
        scores = self.rewards.scores
        prm = {} if scores is None else {f"prm/{name}": count for name, count in scores.take_counts().items()}
        counts |= prm
        own = torch.tensor(list(counts.values()), device=self.accelerator.device)
        found = dict(zip(counts, self.accelerator.reduce(own, reduction="sum").tolist(), strict=True))
        self.generated["completions"] += found["completions"]
        self.generated["tokens"] += found["tokens"]
        metrics = self._metrics["train"]
        for name in ("repeated", "answered", "correct"):
            metrics[f"rollouts/{name}"].append(found[name] / found["completions"])
        metrics["rollouts/forced_tokens"].append(found["forced"] / found["length"])
        metrics["rollouts/sharing"].append(found["path_tokens"] / found["unique_tokens"])
        metrics["rollouts/unsearched"].append(found["unsearched"])
        for action in self.grammar.actions:
            metrics[f"steps/{action.name}"].append(found[f"steps/{action.name}"] / found["completions"])
        for name in prm:
            metrics[name].append(found[name])
        for name, value in self.generated.items():
            metrics[f"generated/{name}"] = [float(value)]  # running counts: the last value, not a mean


class _Batch:
    """The records of a batch as tensors of ``[batch, tokens]``, padded on the right as TRL pads."""

    def __init__(self, ready: _Ready, kept: Tensor) -> None:
        rollouts = [(place, each) for place, group in enumerate(ready.groups) for each in group.rollouts]
        earned = [each.rewards for own in ready.earned for each in own]
        device, shape = kept.device, kept.shape
        self.rewards = torch.zeros(shape, device=device)
        self.at = torch.zeros(shape, dtype=torch.bool, device=device)
        self.nodes = torch.zeros(shape, dtype=torch.long, device=device)
        self.groups = torch.tensor([place for place, _ in rollouts], device=device)
        self.repeats = torch.tensor([each.repeats for _, each in rollouts], device=device)
        known = rollouts[0][1].log_probs is not None
        self.log_probs = torch.zeros(shape, device=device) if known else None
        self.parents: list[int] = []
        firsts = []
        for place, group in enumerate(ready.groups):
            firsts.append(len(self.parents))
            self.parents += [-1 - place if parent <= 0 else firsts[-1] + parent for parent in group.parents]
        for row, ((place, each), tokens) in enumerate(zip(rollouts, earned, strict=True)):
            length = len(each.completion_ids)
            self.nodes[row, :length] = torch.tensor(each.nodes, device=device) + firsts[place]
            self.rewards[row, list(tokens.places)] = torch.tensor(tokens.rewards, device=device)
            self.at[row, list(tokens.places)] = True
            if self.log_probs is not None and each.log_probs is not None:
                self.log_probs[row, :length] = torch.tensor(each.log_probs, device=device)


def earned_total(total: Sequence[float], **_columns: Any) -> list[float]:
    """The reward function that TRL logs: what was earned is known before TRL asks."""
    return list(total)


earned_total.__name__ = "earned"
