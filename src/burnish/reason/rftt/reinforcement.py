"""Phase 2 of a recipe: its layout, rewards and TRL's configuration, put together as a trainer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from burnish.core.errors import UserError
from burnish.dialogue.models import ChatModel
from burnish.dialogue.rows import Question
from burnish.dialogue.saving import is_spread
from burnish.dialogue.training import device_settings, lora_config
from burnish.reason.grpo.settings import batch_settings, grpo_config
from burnish.reason.rftt.evaluate import make_prompts
from burnish.reason.rftt.generators.protocol import Sampling
from burnish.reason.rftt.grammar import Grammar
from burnish.reason.rftt.prm import ProcessScores
from burnish.reason.rftt.recipe import ReinforceSettings, RFTTRecipe
from burnish.reason.rftt.rewards import Judge, Rewards
from burnish.reason.rftt.rollouts import Branching, Layout, Searching
from burnish.reason.rftt.setup import make_engine, with_caps
from burnish.reason.rftt.vocabulary import Vocabulary, trainable_tokens
from burnish.reason.rftt.walk import SearchRules

LOSS = "dapo"
"""TRL's name for the mean over all tokens of a step, whatever passes and processes it is cut into. As the release."""


def make_trainer(
    recipe: RFTTRecipe,
    chat: ChatModel,
    vocabulary: Vocabulary,
    grammar: Grammar,
    questions: Sequence[Question],
    judge: Judge,
    scores: ProcessScores | None,
    note: Callable[[str], Any],
    **arguments: Any,
) -> Any:
    """A :class:`~burnish.reason.rftt.trainer.RFTTTrainer`, ready for ``train()``.

    Args:
        recipe: what was asked; its phase 2 is there.
        chat: the model, with functional tokens.
        vocabulary: these.
        grammar: what may follow what.
        questions: to train on, each of a row of its own.
        judge: of answers.
        scores: of steps.
        note: told what a user should know.
        arguments: of TRL's configuration that the run folder decides.

    Raises:
        UserError: settings or data that do not go together.
    """
    from datasets import Dataset

    from burnish.reason.rftt.trainer import Objective, RFTTTrainer

    settings = recipe.rl
    assert settings is not None
    layout = _layout(recipe, settings, chat, vocabulary, with_caps(grammar, settings.step_tokens), note)
    samples = settings.samples if layout is None else layout.samples
    if settings.micro_batch and settings.questions * samples % settings.micro_batch:
        raise UserError(
            f"rl.micro_batch: {settings.micro_batch} does not divide questions x samples = "
            f"{settings.questions * samples}"
        )
    config = grpo_config(
        {
            **batch_settings(settings.questions, samples, settings.micro_batch),
            "num_train_epochs": settings.epochs,
            "max_steps": settings.steps or -1,
            "max_completion_length": settings.completion_tokens,
            "temperature": 1.0,
            "learning_rate": settings.learning_rate,
            "lr_scheduler_type": settings.lr_scheduler,
            "warmup_steps": settings.warmup_steps,
            "beta": settings.beta,
            "epsilon": settings.epsilon,
            "loss_type": LOSS,
            "activation_checkpointing": recipe.activation_checkpointing,
            **device_settings(recipe.device, recipe.bf16),
            "logging_steps": 1,
            "use_bias_correction_kl": False,
        },
        arguments,
        settings.trl,
    )
    context = getattr(chat.model.config.get_text_config(), "max_position_embeddings", None)
    prompts = make_prompts(chat, vocabulary, questions, recipe.system)
    asked = [
        (prompt, question)
        for prompt, question in zip(prompts, questions, strict=True)
        if context is None or len(prompt.ids) + 1 < context
    ]
    if len(asked) < len(prompts):
        note(f"rl: {len(prompts) - len(asked):,} questions left out: longer than the model's context of {context:,}")
    turns = [] if recipe.system is None else [{"role": "system", "content": recipe.system}]
    rows = [
        {
            "id": prompt.id,
            "prompt": [*turns, {"role": "user", "content": question.question}],
            "prompt_ids": list(prompt.ids),
            "question": question.question,
            "answer": question.answer,
        }
        for prompt, question in asked
    ]
    trainer = RFTTTrainer(
        chat.model,
        config,
        Dataset.from_list(rows),
        chat.tokenizer,
        Rewards(settings.reward, judge, scores),
        grammar,
        vocabulary,
        Objective(settings.forced, settings.advantage, settings.kl),
        layout,
        settings.token_budget,
        peft_config=lora_config(recipe.adapter, trainable_token_indices=trainable_tokens(chat.model, vocabulary)),
    )
    if is_spread(trainer) and layout is not None and not whole_in_each_process(trainer):
        raise UserError(
            f"rl.layout: {settings.layout} searches with the model itself, which FSDP or ZeRO 3 spreads over "
            "processes; use DDP or ZeRO 2, or layout iid"
        )
    refuse_spread_adapter(recipe, trainer)
    return trainer


def whole_in_each_process(trainer: Any) -> bool:
    """Whether every process holds all weights, though optimizer or gradients are spread (DeepSpeed's ZeRO 1 and 2)."""
    plugin = getattr(trainer.accelerator.state, "deepspeed_plugin", None)
    return not trainer.is_fsdp_enabled and plugin is not None and plugin.zero_stage < 3


def refuse_spread_adapter(recipe: RFTTRecipe, trainer: Any) -> None:
    """An adapter is merged at the end of a phase, which needs the weights in one place: said before training.

    Raises:
        UserError: there is one, and the weights are spread.
    """
    if recipe.adapter is not None and is_spread(trainer) and not whole_in_each_process(trainer):
        raise UserError("adapter: cannot be merged while its weights are spread over processes; use plain DDP")


def _layout(
    recipe: RFTTRecipe,
    settings: ReinforceSettings,
    chat: ChatModel,
    vocabulary: Vocabulary,
    grammar: Grammar,
    note: Callable[[str], Any],
) -> Layout | None:
    if settings.layout == "iid":
        return None
    engine = make_engine(chat, vocabulary, grammar, note, engine=recipe.engine, cache=recipe.cache)
    end = int(chat.tokenizer.eos_token_id)
    sampling = Sampling(settings.temperature, 0, settings.top_p)
    rules = SearchRules(rollouts=settings.samples, weight=settings.weight, sampling=sampling)
    if settings.layout == "branch16":
        return Branching(engine, grammar, end, rules)
    return Searching(engine, grammar, end, rules, width=settings.questions)
