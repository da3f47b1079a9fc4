"""The trainer against loss and gradient recomputed by hand, for each way with imposed tokens and each baseline."""

import hashlib
import json
import math
import multiprocessing
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from burnish.core.errors import UserError
from burnish.reason.rftt.generators.protocol import Sampling
from burnish.reason.rftt.generators.transformers_reuse import PrefixReuse
from burnish.reason.rftt.rewards import TokenRewards
from burnish.reason.rftt.rollouts import Branching, Rollout, RolloutGroup, Searching
from burnish.reason.rftt.trainer import Objective
from burnish.reason.rftt.walk import SearchRules
from tests.reason.rftt.training import GRAMMAR, Hashed, batch, make_model, make_rewards, make_trainer

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["torch._dynamo", "trl.trainer.grpo_trainer", "tests.reason.rftt.training"])


def log_probs(model: Any, group: RolloutGroup, each: Rollout) -> torch.Tensor:
    """Of a completion's tokens, one sequence by itself."""
    ids = torch.tensor([[*group.prompt.ids, *each.completion_ids]])
    count = len(each.completion_ids)
    logits = model(ids).logits[0, -count - 1 : -1]
    return logits.log_softmax(-1).gather(1, ids[0, -count:].unsqueeze(1)).squeeze(1)


def by_hand(
    groups: list[RolloutGroup], earned: list[list[TokenRewards]], kind: str, penalties: list[list[float]] | None = None
) -> list[list[float]]:
    """Advantages of every token of every rollout, written down from the definitions."""
    rows = [(g, each, own) for g, (group, owns) in enumerate(zip(groups, earned, strict=True))
            for each, own in zip(group.rollouts, owns, strict=True)]  # fmt: skip
    rewards = [dict(zip(own.places, own.rewards, strict=True)) for _, _, own in rows]
    if kind == "group":
        for g in range(len(groups)):
            of_group = [row for row, (place, each, _) in enumerate(rows) if place == g and not each.repeats]
            values = [value for row in of_group for value in rewards[row].values()]
            mean = sum(values) / len(values)
            deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
            for row in of_group:
                rewards[row] = {place: (value - mean) / (deviation + 1e-4) for place, value in rewards[row].items()}
    returns: list[list[float]] = []
    for row, (_, each, _) in enumerate(rows):
        length = len(each.completion_ids)
        single = [
            rewards[row].get(place, 0.0) - (penalties[row][place] if penalties else 0.0) for place in range(length)
        ]
        returns.append([sum(single[place:]) for place in range(length)])
    kept = [row for row, (_, each, _) in enumerate(rows) if not each.repeats]
    if kind == "batch":
        values = [value for row in kept for value in returns[row]]
        mean = sum(values) / len(values)
        deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))
        returns = [[(value - mean) / deviation for value in values] for values in returns]
    return siblings_by_hand(groups, returns, kept) if kind == "siblings" else returns


def siblings_by_hand(groups: list[RolloutGroup], returns: list[list[float]], kept: list[int]) -> list[list[float]]:
    """A node's mean return from its first token on, less the mean of its siblings'."""
    rows = [(g, each) for g, group in enumerate(groups) for each in group.rollouts]
    first = {row: {node: rows[row][1].nodes.index(node) for node in rows[row][1].nodes} for row in kept}

    def value(g: int, node: int) -> float:
        through = [row for row in kept if rows[row][0] == g and node in first[row]]
        return sum(returns[row][first[row][node]] for row in through) / len(through)

    def advantage(g: int, node: int) -> float:
        parents = groups[g].parents
        if node == 0:
            return 0.0
        present = {other for row in kept if rows[row][0] == g for other in first[row]}
        others = [other for other in present if parents[other] == parents[node] and other != node]
        if not others:
            return advantage(g, parents[node])
        return value(g, node) - sum(value(g, other) for other in others) / len(others)

    return [
        [advantage(g, node) for node in each.nodes] if row in kept else [0.0] * len(each.nodes)
        for row, (g, each) in enumerate(rows)
    ]


def loss_by_hand(trainer: Any, groups: Any, earned: Any, objective: Objective, beta: float = 0.0) -> torch.Tensor:
    """Mean over all tokens that take part, of the clipped objective."""
    rollouts = [(group, each) for group in groups for each in group.rollouts]
    penalties = None
    references = []
    if beta:
        with torch.no_grad():
            references = [log_probs(trainer.ref_model, *pair) for pair in rollouts]
            olds = [log_probs(trainer.model, *pair) for pair in rollouts]
        if objective.kl == "reward":
            penalties = []
            for old, reference in zip(olds, references, strict=True):
                ahead = old - reference
                kl = ahead if objective.estimator == "k1" else (-ahead).exp() - 1 + ahead
                penalties.append((beta * kl).tolist())
    values = by_hand(groups, earned, objective.advantage, penalties)
    losses = []
    for row, (group, each) in enumerate(rollouts):
        own = log_probs(trainer.model, group, each)
        for place in range(len(own)):
            if each.repeats or (objective.forced == "mask" and each.forced[place]):
                continue
            old = each.log_probs[place] if objective.forced == "importance" else own[place].detach()
            ratio = (own[place] - old).exp()
            value = values[row][place]
            loss = -torch.minimum(ratio * value, ratio.clamp(0.8, 1.2) * value)
            if beta and objective.kl == "loss":
                ahead = own[place] - references[row][place]
                loss = loss + beta * ((-ahead).exp() - 1 + ahead)
            losses.append(loss)
    return torch.stack(losses).mean()


def captured(trainer: Any, *numbers: int) -> tuple[dict[str, Any], Any, Any]:
    """A scored batch, and the records that it was made of."""
    kept: dict[str, Any] = {}
    log = trainer._log_rollouts

    def keep(ready: Any) -> None:
        kept["ready"] = ready
        log(ready)

    trainer._log_rollouts = keep
    output = trainer._generate_and_score_completions(batch(trainer, *numbers))
    return output, kept["ready"].groups, [[each.rewards for each in own] for own in kept["ready"].earned]


def moved(trainer: Any) -> None:
    with torch.no_grad():  # the policy has moved away from its reference
        for parameter in trainer.model.parameters():
            parameter.add_(0.003 * torch.randn_like(parameter))


def agree(trainer: Any, output: dict[str, Any], expected: torch.Tensor) -> None:
    loss = trainer._compute_loss(trainer.model, output)
    assert loss.item() == pytest.approx(expected.item(), abs=2e-6)
    parameters = [each for each in trainer.model.parameters() if each.requires_grad]
    ours = torch.autograd.grad(loss, parameters)
    hand = torch.autograd.grad(expected, parameters)
    assert max(float(each.abs().max()) for each in hand) > 1e-3
    for one, other in zip(ours, hand, strict=True):
        assert torch.allclose(one, other, atol=2e-6)


@pytest.mark.parametrize("advantage", ["batch", "group", "siblings"])
@pytest.mark.parametrize("forced", ["include", "mask", "importance"])
def test_loss_and_gradient_by_hand(tmp_path: Path, forced: Any, advantage: Any) -> None:
    objective = Objective(forced, advantage)
    trainer = make_trainer(tmp_path, objective)
    output, groups, earned = captured(trainer, 0, 1)
    assert output["advantages"].shape == output["completion_ids"].shape
    assert len({round(own.total, 6) for owns in earned for own in owns}) > 3  # there is something to tell apart
    agree(trainer, output, loss_by_hand(trainer, groups, earned, objective))


@pytest.mark.parametrize(
    "objective",
    [Objective(kl="loss"), Objective(kl="reward"), Objective("mask", "siblings", "reward", "k3")],
    ids=["loss", "k1", "k3"],
)
def test_the_divergence_in_the_loss_or_in_the_rewards_by_hand(tmp_path: Path, objective: Objective) -> None:
    trainer = make_trainer(tmp_path, objective, beta=0.1)
    moved(trainer)
    output, groups, earned = captured(trainer, 0, 1)
    assert ("ref_per_token_logps" in output) == (objective.kl == "loss")
    agree(trainer, output, loss_by_hand(trainer, groups, earned, objective, beta=0.1))


def test_the_ratio_is_clipped_by_hand(tmp_path: Path) -> None:
    """Example 6 of the notes: ratio and advantage 1.5, 1 | .5, -1 | 1.5, -1 give -1.2, .8, 1.5."""
    trainer = make_trainer(tmp_path, Objective("importance"))
    output, _, _ = captured(trainer, 0, 1)
    with torch.no_grad():
        own = trainer._own_log_probs(output)
    for ratio, advantage, loss in ((1.5, 1.0, -1.2), (0.5, -1.0, 0.8), (1.5, -1.0, 1.5)):
        output["old_per_token_logps"] = own - math.log(ratio)
        output["advantages"] = torch.full_like(own, advantage)
        assert trainer._compute_loss(trainer.model, output).item() == pytest.approx(loss, abs=1e-5)


def test_a_batch_in_two_passes_is_one_step(tmp_path: Path) -> None:
    """Advantages by token go through TRL's shuffling and splitting; the batch's statistics are of both halves."""
    found = []
    for passes in (1, 2):
        trainer = make_trainer(
            tmp_path / str(passes),
            Objective("importance", "batch", "reward"),
            beta=0.05,
            per_device_train_batch_size=8 // passes,
            gradient_accumulation_steps=passes,
            optim="sgd",
            max_steps=1,
            count=2,
        )
        trainer.train()
        found.append(trainer.model.state_dict())
    start = make_model(tmp_path / "start")[0].state_dict()
    assert any(not torch.equal(value, start[name]) for name, value in found[0].items())
    for name, value in found[0].items():
        assert torch.allclose(value, found[1][name], atol=1e-6), name


@pytest.mark.parametrize("tied", [False, True])
def test_an_adapter_trains_the_new_rows_and_is_its_own_reference(tmp_path: Path, tied: bool) -> None:
    """TRL reads weight and bias of the head past its forward: the rows that PEFT trains must be in what it reads."""
    from peft import LoraConfig

    from burnish.reason.rftt.vocabulary import trainable_tokens

    trained = make_model(tmp_path / "model", tied=tied)
    tokens = trainable_tokens(trained[0], trained[2])
    adapter = LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM", trainable_token_indices=tokens)
    objective = Objective(kl="reward")
    trainer = make_trainer(tmp_path, objective, beta=0.05, trained=trained, options={"peft_config": adapter})
    assert trainer.ref_model is None
    trainer.train()
    divergences = [row["kl"] for row in trainer.state.log_history if "kl" in row]
    assert divergences[0] == pytest.approx(0.0, abs=1e-6)
    assert abs(divergences[1]) > 1e-4
    trainer.objective, trainer._penalty = Objective(), 0.0
    trainer.model.train()
    output, groups, earned = captured(trainer, 0, 1)
    rows = [each for name, each in trainer.model.named_parameters() if "trainable_tokens_delta" in name]
    assert len(rows) == (1 if tied else 2)
    agree(trainer, output, loss_by_hand(trainer, groups, earned, Objective()))


def test_a_rollout_that_repeats_another_takes_no_part(tmp_path: Path) -> None:
    objective = Objective("include", "batch")
    trainer = make_trainer(tmp_path, objective, engine=lambda vocabulary: Hashed(vocabulary, unclosed=["clarify"]))
    output, groups, earned = captured(trainer, 0, 1)
    assert [each.repeats for each in groups[0].rollouts] == [False, True, False, False]
    assert (output["tool_mask"] * output["completion_mask"])[1].sum() == 0
    assert output["advantages"][1].abs().sum() == 0
    assert output["num_items_in_batch"] == sum(
        len(each.completion_ids) for group in groups for each in group.rollouts if not each.repeats
    )
    agree(trainer, output, loss_by_hand(trainer, groups, earned, objective))
    assert trainer._metrics["train"]["rollouts/repeated"] == [0.25]


def test_what_is_handed_over_are_the_engines_tokens(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, Objective("mask"))
    output, groups, _ = captured(trainer, 0, 1)
    rollouts = [(group, each) for group in groups for each in group.rollouts]
    for row, (group, each) in enumerate(rollouts):
        count = len(each.completion_ids)
        assert output["prompt_ids"][row][output["prompt_mask"][row].bool()].tolist() == list(group.prompt.ids)
        assert output["completion_ids"][row][:count].tolist() == list(each.completion_ids)
        assert output["tool_mask"][row][:count].tolist() == [int(not mark) for mark in each.forced]
    metrics = {name: values[0] for name, values in trainer._metrics["train"].items()}
    assert metrics["rollouts/sharing"] == pytest.approx(
        sum(group.path_tokens for group in groups) / sum(group.unique_tokens for group in groups)
    )
    assert metrics["rollouts/sharing"] > 1
    assert metrics["generated/tokens"] == trainer.generated["tokens"] == sum(group.generated for group in groups)
    steps = [step.action for _, each in rollouts for step in each.steps]
    assert metrics["steps/next_step"] == steps.count("next_step") / 8
    assert metrics["prm/scored"] == len(
        {(group.prompt.id, tuple(each.steps[: end + 1])) for group, each in rollouts for end in range(len(each.steps))}
    )
    assert metrics["rollouts/answered"] == sum(bool(each.answer) for _, each in rollouts) / 8


def test_plain_samples_are_trls_own_and_are_trained_on(tmp_path: Path) -> None:
    trained = make_model(tmp_path / "model")
    trainer = make_trainer(
        tmp_path,
        Objective("importance", "siblings"),
        layout=None,
        rewards=make_rewards("outcome"),
        trained=trained,
        max_completion_length=96,
    )
    output, groups, earned = captured(trainer, 0, 1)
    assert "old_per_token_logps" not in output  # nothing was imposed, and the sampler was the model
    assert all(len(group.rollouts) == 4 for group in groups)
    size = trained[2].size
    assert all(token < size for group in groups for each in group.rollouts for token in each.completion_ids)
    totals = [[own.total for own in owns] for owns in earned]
    rloo = [value - (sum(own) - value) / 3 for own in totals for value in own]
    assert output["advantages"][:, 0].tolist() == pytest.approx(rloo, abs=1e-6)
    trainer.train()
    assert trainer.state.global_step == 2


@pytest.mark.parametrize("layout", [Branching, Searching])
def test_a_model_that_writes_for_itself(tmp_path: Path, layout: Any) -> None:
    """The engine keeps nothing of the weights before a step; what it drew was at least as likely as the model says,
    since it draws among what the grammar allows.
    """
    trained = make_model(tmp_path / "model")
    model, tokenizer, vocabulary = trained
    grammar = replace(GRAMMAR, actions=tuple(replace(action, tokens=6) for action in GRAMMAR.actions))
    rules = SearchRules(rollouts=6, sampling=Sampling(1.0, 0, 1.0))

    def laid_out() -> Any:
        return layout(PrefixReuse(model, tokenizer, vocabulary, grammar), grammar, tokenizer.eos_token_id, rules)

    own = laid_out()
    trainer = make_trainer(
        tmp_path,
        Objective("importance", "siblings", "reward"),
        layout=own,
        trained=trained,
        beta=0.05,
        learning_rate=0.1,
        max_steps=1,
        count=2,  # so that the same questions come again
        num_generations=own.samples,
        per_device_train_batch_size=2 * own.samples,
    )
    trainer.train()
    trainer.model.train()
    output, groups, _ = captured(trainer, 0, 1)
    for row, each in enumerate(each for group in groups for each in group.rollouts):
        drawn = torch.tensor([not imposed for imposed in each.forced])
        length = len(each.completion_ids)
        behaviour = torch.tensor(each.log_probs)
        assert torch.equal(output["old_per_token_logps"][row, :length], behaviour)
        model_says = log_probs(model, groups[row // own.samples], each).detach()
        assert (behaviour - model_says)[drawn].min() > -1e-4
    judge = trainer.rewards.of_paths({"0": "1", "1": "1"}, grammar, vocabulary)
    afresh = laid_out()([group.prompt for group in groups], judge, groups[0].tree.seed)
    assert [group.rollouts for group in afresh] == [group.rollouts for group in groups]


def test_evaluation_imposes_nothing(tmp_path: Path) -> None:
    trainer = make_trainer(
        tmp_path, rewards=make_rewards("outcome"), options={"eval_dataset": None}, per_device_eval_batch_size=4
    )
    trainer.eval_dataset = trainer.train_dataset
    found = trainer.evaluate()
    assert found["eval_rewards/earned/mean"] == 0.0  # an untrained model answers nothing
    assert trainer.generated["tokens"] == 0


def test_a_budget_ends_the_training_and_every_batch_draws_anew(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, options={"token_budget": 100}, max_steps=50, count=2)
    seen = []
    layout = trainer.layout
    assert layout is not None

    def watched(prompts: Any, judge: Any, seed: int) -> Any:
        found = layout(prompts, judge, seed)
        seen.append((seed, sorted((group.prompt.id, group.rollouts) for group in found)))
        return found

    watched.samples = 4  # type: ignore[attr-defined]
    trainer.layout = watched  # type: ignore[assignment]
    trainer.train()
    assert 1 < trainer.state.global_step < 10
    assert trainer.generated["tokens"] >= 100
    assert len({seed for seed, _ in seen}) == len(seen)
    assert seen[0][1] != seen[1][1]  # the same two questions


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"num_generations": 8}, "the layout gives 4 rollouts of a question and the group size is 8"),
        ({"count": 1}, "1 questions are fewer than the 2 of one step"),
        ({"per_device_train_batch_size": 4, "num_generations": 4, "gradient_accumulation_steps": 1, "use_vllm": True},
         "leave TRL's `use_vllm` off"),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit(tmp_path: Path, config: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        make_trainer(tmp_path, **config)


def reinforce(path: str, model: str, die_at: int = 0) -> None:
    """Six steps of two accumulated batches, each generated batch used twice; SIGKILL before the n-th backward pass."""
    import transformers

    from burnish.core.recipe import Recipe
    from burnish.core.run import Run
    from burnish.core.trainer import train, trainer_arguments
    from burnish.reason.rftt.trainer import RFTTTrainer

    torch.set_num_threads(1)
    passes, step = 0, RFTTTrainer.training_step

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal passes
        passes += 1
        if passes == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(self, *args, **kwargs)

    RFTTTrainer.training_step = counted
    _, tokenizer, vocabulary = make_model(Path(model + "-again"))
    loaded = transformers.AutoModelForCausalLM.from_pretrained(model)
    with Run(Recipe(method="rl", checkpoint_every=0), path, quiet=True) as run:
        trainer = make_trainer(
            run.path,
            Objective("importance", "siblings", "reward"),
            trained=(loaded, tokenizer, vocabulary),
            beta=0.05,
            count=6,
            per_device_train_batch_size=4,
            gradient_accumulation_steps=2,
            num_iterations=2,
            max_steps=6,
            **trainer_arguments(run),
        )
        train(trainer, run, boundary=2)
        digest = hashlib.sha256()
        for tensor in trainer.model.state_dict().values():
            digest.update(tensor.numpy().tobytes())
        run.artifact("end.json", {"weights": digest.hexdigest(), **trainer.generated, "passes": passes})


@pytest.mark.slow
def test_killed_inside_an_accumulation_it_ends_on_the_same_bits(tmp_path: Path) -> None:
    make_model(tmp_path / "model")

    def child(name: str, die_at: int = 0) -> int | None:
        process = CONTEXT.Process(target=reinforce, args=(str(tmp_path / name), str(tmp_path / "model"), die_at))
        process.start()
        process.join(300)
        return process.exitcode

    def end(name: str) -> dict[str, Any]:
        return json.loads((tmp_path / name / "artifacts/end.json").read_text())

    assert child("whole") == 0
    assert child("cut", die_at=8) == -signal.SIGKILL  # the second of the two batches of step 4
    assert [path.name for path in sorted((tmp_path / "cut/checkpoints").glob("checkpoint-*"))] == ["checkpoint-2"]
    assert child("cut") == 0
    assert end("whole")["passes"] == 12
    assert end("cut")["passes"] == 8  # it went on from step 2
    for name in ("weights", "tokens", "completions"):
        assert end("cut")[name] == end("whole")[name]
    timed = ("step_time", "train_runtime", "train_samples_per_second", "train_steps_per_second", "train_loss")
    logs = [
        [
            {key: value for key, value in json.loads(line).items() if key not in timed}
            for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        ]
        for name in ("whole", "cut")
    ]
    assert logs[0] == logs[1]
