"""Hint-GRPO from a recipe in a run folder: read the questions, train, measure without hints, save.

Checkpoints are taken only after steps that leave no generated completion half used, so TRL's buffer need not be saved.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from burnish.core.errors import UserError, nearest
from burnish.core.files import read_json
from burnish.core.method import import_object
from burnish.core.run import Run
from burnish.core.trainer import keep_to_themselves, train, trainer_arguments
from burnish.dialogue.models import ChatModel, load_chat_model
from burnish.dialogue.readers import read_questions
from burnish.dialogue.rewards import Accuracy, Format
from burnish.dialogue.rows import Question
from burnish.dialogue.saving import Gathered, load_whole
from burnish.dialogue.saving import is_spread as _sharded
from burnish.dialogue.training import device_settings, lora_config
from burnish.dialogue.verify import Verifier
from burnish.reason.grpo.settings import batch_settings, grpo_config
from burnish.reason.hint_grpo.evaluate import Sampling, hint_free_accuracy
from burnish.reason.hint_grpo.questions import make_input_check, prompt_lengths, with_template_options, write_questions
from burnish.reason.hint_grpo.recipe import HintGRPORecipe
from burnish.reason.hint_grpo.rows import read_table, write_table
from burnish.reason.hint_grpo.schedule import Ladder, make_schedule

CARD = """---
library_name: transformers
tags: [hint-grpo, grpo, trl]
---
{name}, trained by Hint-GRPO (`burnish run`): {steps} steps, {tokens:,} generated tokens, seed {seed}.
"""


def reinforce(recipe: HintGRPORecipe, run: Run) -> Path:
    """Train a model by Hint-GRPO. Returns the folder of the trained model (of the adapter, if one was trained).

    Raises:
        UserError: a model, data or settings that do not go together.
        Interrupted: a stop signal came; the state is saved.
    """
    from accelerate import PartialState

    if run.finished:
        return run.path / "artifacts" / "model"
    chat = with_template_options(recipe, load_chat_model(recipe.model, dtype=recipe.dtype))
    as_loaded = copy.deepcopy(chat.processor)  # a fast tokenizer's file keeps how the last call padded
    table, before = run.path / "artifacts" / "questions.arrow", run.path / "artifacts" / "before.json"
    with PartialState(cpu=recipe.device == "cpu").main_process_first():
        if not table.exists():  # a resumed run trains on the questions that it began with
            write_questions(recipe, chat, table, run.note)
    measure = prompt_lengths(recipe, chat)
    test = [] if recipe.test is None else list(read_questions(recipe.test, run.note, measure))
    with Verifier(recipe.verify_seconds, recipe.workers) as verifier:
        accuracy = Accuracy(verifier, recipe.judge)
        trainer = build_trainer(recipe, chat, table, accuracy, **trainer_arguments(run))
        if test and not before.exists():
            untrained = load_whole(recipe.model, recipe.dtype, trainer) if _sharded(trainer) else chat
            run.artifact(before.name, {"accuracy": score(recipe, untrained, test, accuracy)})
        train(trainer, run, boundary=recipe.updates)
        folder = run.save_model(Gathered(trainer, spread=_sharded(trainer)), as_loaded, _card(recipe, trainer))
        outcome = {**trainer.generated, "steps": trainer.state.global_step, "timeouts": verifier.timeouts}
        if test:
            trained = load_whole(_saved(recipe, folder), recipe.dtype, trainer) if _sharded(trainer) else chat
            outcome["accuracy_before"] = read_json(before)["accuracy"]
            outcome["accuracy"] = score(recipe, trained, test, accuracy)
            run.note(
                f"accuracy without hints: {outcome['accuracy_before']:.3f} before, {outcome['accuracy']:.3f} after"
            )
    if outcome["timeouts"]:
        run.note(f"{outcome['timeouts']:,} answers took over {recipe.verify_seconds:g} s to compare: counted as wrong")
    run.artifact("outcome.json", outcome)
    return folder


def train_in_memory(
    recipe: HintGRPORecipe,
    chat: ChatModel,
    questions: Iterable[Question],
    accuracy: Accuracy,
    folder: Path,
    after_step: Callable[[Any], None] = lambda _trainer: None,
) -> Any:
    """Train a model that is in memory on questions that are, without a run: for studies and notebooks; no resume.

    Plain GRPO is the same with ``hints.levels: 1``. Measure before and after with :func:`score`.

    Args:
        recipe: how; its ``model``, ``data`` and ``test`` are not looked at.
        chat: the model, trained in place.
        questions: to train on.
        accuracy: the accuracy reward.
        folder: for the table of questions and a copy of the model as it is now, the reference of the KL term.
        after_step: called with the trainer after every step, to measure on the way.

    Returns:
        The trainer: ``generated`` counts completions and tokens, ``state.log_history`` holds what was logged by step.
    """
    import transformers

    transformers.utils.logging.disable_progress_bar()
    if recipe.beta > 0 and recipe.adapter is None:
        chat.model.save_pretrained(folder / "reference")
        chat.model.config._name_or_path = str(folder / "reference")
    takes = chat.takes_images
    table = write_table(folder / "questions.arrow", questions, recipe.system, recipe.hints.split, takes_images=takes)
    quiet = {
        "output_dir": str(folder),
        "seed": recipe.seed,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }
    trainer = build_trainer(recipe, chat, table, accuracy, **quiet)
    trainer.remove_callback(transformers.PrinterCallback)

    class AfterStep(transformers.TrainerCallback):
        def on_step_end(self, *_args: Any, **_kwargs: Any) -> None:
            after_step(trainer)

    trainer.add_callback(AfterStep())
    trainer.train()
    return trainer


def build_trainer(recipe: HintGRPORecipe, chat: ChatModel, table: Path, accuracy: Accuracy, **arguments: Any) -> Any:
    """The trainer of a recipe: a :class:`~burnish.reason.hint_grpo.trainer.HintGRPOTrainer`, ready for ``train()``.

    Args:
        recipe: what was asked.
        chat: the model and its processor.
        table: of :func:`write_questions`.
        accuracy: the accuracy reward; it also guards hints.
        arguments: of TRL's configuration that the caller decides: ``output_dir`` and ``seed`` at least.

    Raises:
        UserError: an unknown reward, schedule or argument of TRL, or a batch that does not fit.
    """
    from burnish.reason.hint_grpo.hint_sampler import Hints
    from burnish.reason.hint_grpo.trainer import HintGRPOTrainer

    keep_to_themselves()
    if recipe.adapter is None and recipe.beta > 0 and "+" in recipe.model and not Path(recipe.model).is_dir():
        raise UserError(
            f"model: {recipe.model}: the KL term would hold it to its base; merge it first (`burnish merge`), or set "
            "beta: 0"
        )
    names = [reward.name for reward in recipe.rewards]
    settings = {
        **batch_settings(recipe.questions, recipe.generations, recipe.micro_batch),
        "num_iterations": recipe.updates,
        "num_train_epochs": recipe.epochs,
        "max_steps": recipe.steps or -1,
        "max_completion_length": recipe.completion_tokens,
        "temperature": recipe.temperature,
        "top_p": recipe.top_p,
        "learning_rate": recipe.learning_rate,
        "lr_scheduler_type": recipe.lr_scheduler,
        "warmup_steps": recipe.warmup_steps,
        "beta": recipe.beta,
        "epsilon": recipe.epsilon,
        "loss_type": recipe.loss,
        "max_grad_norm": recipe.max_grad_norm,
        "activation_checkpointing": recipe.activation_checkpointing,
        "reward_weights": [reward.weight for reward in recipe.rewards],
        "use_vllm": recipe.vllm is not None,
        "vllm_mode": recipe.vllm or "colocate",
        **device_settings(recipe.device, recipe.bf16),
        "logging_steps": 1,
        # TRL multiplies the KL by the ratio: the same value, another gradient than the paper's.
        "use_bias_correction_kl": False,
    }
    config = grpo_config(settings, arguments, recipe.trl)
    hints = Hints(
        levels=recipe.hints.levels,
        schedule=make_schedule(
            recipe.hints.schedule,
            Ladder(recipe.hints.remember, recipe.hints.decay, recipe.hints.withdraw_above),
            recipe.hints.level,
        ),
        prefill=recipe.hints.prefill,
        # A step has no answer block: it is read as the paper reads a completion, whatever the reward looks at.
        judge=Accuracy(accuracy.verifier).judge if recipe.hints.guard else None,
        success=names.index(recipe.success or names[0]),
        success_above=recipe.success_above,
        mask_zero_variance=recipe.zero_variance == "mask",
        refills=recipe.dynamic_sampling,
        most_pixels=recipe.most_pixels,
        token_budget=recipe.token_budget,
        input_check=make_input_check(with_template_options(recipe, chat)),
    )
    rewards = [_reward(name, accuracy) for name in names]
    adapter = lora_config(recipe.adapter)
    return HintGRPOTrainer(chat.model, rewards, config, read_table(table), chat.processor, hints, peft_config=adapter)


def score(recipe: HintGRPORecipe, chat: ChatModel, test: Sequence[Question], accuracy: Accuracy) -> float:
    """Accuracy without hints on ``test``, sampled as the recipe trains."""
    sampling = Sampling(
        samples=recipe.test_samples,
        batch=recipe.test_batch,
        tokens=recipe.completion_tokens,
        temperature=recipe.temperature,
        top_p=recipe.top_p,
        seed=recipe.seed,
        **{name: recipe.trl[name] for name in ("top_k", "min_p", "repetition_penalty") if name in recipe.trl},
    )
    prefill, pixels = recipe.hints.prefill, recipe.most_pixels
    chat = with_template_options(recipe, chat)
    return hint_free_accuracy(chat, test, accuracy, sampling, system=recipe.system, prefill=prefill, most_pixels=pixels)


def _reward(name: str, accuracy: Accuracy) -> Any:
    if name == "accuracy":
        return accuracy
    if name == "format":
        return Format()
    if ":" in name:
        found = import_object(name, "rewards")
        if callable(found):
            return found
        raise UserError(f"rewards: `{name}` cannot be called; give a function in TRL's form")
    raise UserError(
        f"rewards: `{name}` is unknown; {nearest(name, ('accuracy', 'format'))} (your own: `module:function`)"
    )


def _card(recipe: HintGRPORecipe, trainer: Any) -> str:
    steps, tokens = trainer.state.global_step, trainer.generated["tokens"]
    return CARD.format(name=recipe.model, steps=steps, tokens=tokens, seed=recipe.seed)


def _saved(recipe: HintGRPORecipe, folder: Path) -> str:
    return f"{recipe.model}+{folder}" if recipe.adapter is not None else str(folder)
