"""Preference training of a round: TRL's DPO trainer on a table of pairs, its reference a model or a table.

TRL refuses precomputed reference log-probabilities for rows with images, since it prepares these on the fly. Here rows
come ready, pictures as paths that the collator opens, so TRL never sees an image and takes them: two of its steps are
replaced (what it does with rows beforehand, and where the reference's numbers lie), loss and loop stay its own.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from torch.utils.data import DataLoader
from trl import DPOConfig, DPOTrainer
from trl.models import prepare_deepspeed
from trl.trainer.utils import hash_module

from burnish.align.collating import PairCollator
from burnish.align.pair_table import read_pairs, write_pairs
from burnish.align.recipe import ShapeRecipe
from burnish.align.records import Triplet
from burnish.align.reference import ReferenceTable, read_reference, write_reference
from burnish.core.trainer import keep_to_themselves
from burnish.dialogue.models import ChatModel
from burnish.dialogue.training import device_settings, lora_config, trl_config


class PreferenceTrainer(DPOTrainer):
    """TRL's trainer on a table of :func:`burnish.align.pair_table.write_pairs`.

    Args:
        chat: the model, trained in place, and its processor.
        pairs: the table.
        args: TRL's configuration. With ``precompute_ref_log_probs`` the reference is a table, else a model: with an
            adapter the model without it, otherwise a copy of it as it is now.
        most_pixels: larger pictures are shrunk to this many.
        table: where the reference's numbers lie, or will.
        peft_config: of an adapter.

    Raises:
        UserError: a prompt of the first batch would be cut or changed, or a picture not be seen as it is.
    """

    def __init__(
        self,
        chat: ChatModel,
        pairs: Path,
        args: DPOConfig,
        *,
        most_pixels: int,
        table: Path | None = None,
        peft_config: Any = None,
    ) -> None:
        rows = read_pairs(pairs)
        collate = PairCollator(chat, pairs.parent, most_pixels)
        precomputed = args.precompute_ref_log_probs
        self._table, self._made_with = table, ""
        if args.distributed_state.is_main_process:  # under FSDP only the first has the weights that were loaded
            first = [rows[place] for place in range(min(len(rows), args.per_device_train_batch_size))]
            collate.check(collate(first), first)
            if precomputed:
                self._made_with = f"{hash_module(chat.model)} {args.mixed_precision} ld_alpha {args.ld_alpha}"
        copied = None if precomputed or peft_config is not None else copy.deepcopy(chat.model)
        super().__init__(
            model=chat.model,
            ref_model=copied,
            args=args,
            data_collator=collate,
            train_dataset=rows,
            processing_class=chat.processor,
            peft_config=peft_config,
        )

    # What TRL calls

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        return dataset

    def _precompute_ref_logps(self, dataset: Any, _name: str, batch_size: int) -> Any:
        from datasets import Dataset, concatenate_datasets

        keys = dataset["key"][:]
        found: list[ReferenceTable | None] = [None]
        if self.accelerator.is_main_process and self._table is not None:
            found = [read_reference(self._table, keys, self._made_with)]
        broadcast_object_list(found)
        known = found[0]
        if known is None:
            known = self._compute_reference(dataset, batch_size)
            if self.accelerator.is_main_process and self._table is not None:
                write_reference(self._table, known, keys, self._made_with)
        columns = {"ref_chosen_logps": known.chosen.tolist(), "ref_rejected_logps": known.rejected.tolist()}
        return concatenate_datasets([dataset, Dataset.from_dict(columns)], axis=1)

    def _compute_reference(self, dataset: Any, batch_size: int) -> ReferenceTable:
        loader = DataLoader(dataset, batch_size=batch_size, collate_fn=self.data_collator)
        loader = self.accelerator.prepare_data_loader(loader)
        model = self.ref_model or self.model
        if self.ref_model is None and self.is_deepspeed_enabled:  # its weights are spread only in an engine
            model = prepare_deepspeed(self.model, self.accelerator)
        parts = []
        for batch in loader:
            both = self.accelerator.gather_for_metrics(self.compute_ref_log_probs(model, batch))
            parts.append(torch.stack(both).float().cpu())
        chosen, rejected = torch.cat(parts, dim=1)
        return ReferenceTable(chosen.contiguous(), rejected.contiguous())


def build_trainer(
    recipe: ShapeRecipe, chat: ChatModel, pairs: Path, table: Path | None, **arguments: Any
) -> PreferenceTrainer:
    """The trainer of a round, ready for ``train()``.

    Args:
        recipe: what was asked.
        chat: the round's generator: what is trained, and the reference.
        pairs: of :func:`burnish.align.pair_table.write_pairs`.
        table: where the reference's numbers lie, or will; none keeps them in memory.
        arguments: of TRL's configuration that the caller decides: ``output_dir`` and ``seed`` at least.

    Raises:
        UserError: an argument that TRL does not know, settings that it refuses, an input that would be changed.
    """
    keep_to_themselves()
    asked = recipe.training
    micro = asked.micro_batch or asked.batch
    settings = {
        "beta": asked.beta,
        "loss_type": [asked.loss],
        "ld_alpha": asked.ld_alpha,
        "learning_rate": asked.learning_rate,
        "lr_scheduler_type": asked.lr_scheduler,
        "warmup_steps": asked.warmup_steps,
        "weight_decay": asked.weight_decay,
        "max_grad_norm": asked.max_grad_norm,
        "num_train_epochs": asked.epochs,
        "max_steps": asked.steps or -1,
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": asked.batch // micro,
        "activation_checkpointing": asked.activation_checkpointing,
        "precompute_ref_log_probs": asked.reference == "table",
        # TRL's default takes dropout out of the whole model, that of the adapter with it.
        "disable_dropout": recipe.adapter is None or recipe.adapter.dropout == 0,
        "max_length": None,  # image tokens would be cut
        "remove_unused_columns": False,
        "logging_steps": 1,
        **device_settings(recipe.device, recipe.bf16),
    }
    config = trl_config(DPOConfig, settings, arguments, asked.trl)
    towers = [] if asked.vision else vision_towers(chat.model)
    for tower in towers:
        chat.model.get_submodule(tower).requires_grad_(False)
    kept = {"exclude_modules": rf"(?:{'|'.join(map(re.escape, towers))})\..*"} if towers else {}
    return PreferenceTrainer(
        chat,
        pairs,
        config,
        most_pixels=recipe.most_pixels,
        table=table,
        peft_config=lora_config(recipe.adapter, **kept),
    )


def vision_towers(model: Any) -> list[str]:
    """The names of a model's vision tower and of what stands beside it for pictures (DeepSeek-VL-7B has a second one);
    none where transformers knows of no tower.
    """
    found = model.get_encoder(modality="image")
    name = next((name for name, module in model.named_modules() if name and module is found), None)
    if name is None:
        return []
    parent, _, own = name.rpartition(".")
    beside = [child for child, _ in model.get_submodule(parent).named_children() if "vision" in child or child == own]
    return [f"{parent}.{child}".lstrip(".") for child in beside]


def align_in_memory(
    recipe: ShapeRecipe,
    chat: ChatModel,
    triplets: Iterable[Triplet],
    folder: Path,
    after_step: Callable[[Any], None] = lambda _trainer: None,
) -> PreferenceTrainer:
    """One round of preference training of a model in memory, without a run: for studies and notebooks; no resume.

    Args:
        recipe: how; its ``training``, ``adapter``, ``system``, ``seed`` and devices are looked at.
        chat: the model, trained in place (an adapter is merged into it) and the reference as it is now.
        triplets: to train on.
        folder: for the table of pairs.
        after_step: called with the trainer after every step, to measure on the way.

    Returns:
        The trainer: ``state.log_history`` holds what was logged by step.
    """
    import transformers

    transformers.utils.logging.disable_progress_bar()
    pairs = folder / "pairs.arrow"
    write_pairs(pairs, triplets, chat, recipe.system, longest=recipe.training.longest)
    trainer = build_trainer(recipe, chat, pairs, None, **quiet_arguments(folder, recipe.seed))
    for callback in (transformers.PrinterCallback, transformers.trainer_callback.ProgressCallback):
        trainer.remove_callback(callback)

    class AfterStep(transformers.TrainerCallback):
        def on_step_end(self, *_args: Any, **_kwargs: Any) -> None:
            after_step(trainer)

    trainer.add_callback(AfterStep())
    trainer.train()
    if recipe.adapter is not None:
        trainer.accelerator.unwrap_model(trainer.model).merge_and_unload()
    # TRL put its head into the forward pass, bound to this model: a copy of it would run this one's weights.
    vars(chat.model).pop("forward", None)
    chat.model.eval()
    return trainer


def quiet_arguments(folder: Path, seed: int) -> dict[str, Any]:
    """Arguments of a trainer that saves nothing and says nothing."""
    return {"output_dir": str(folder), "seed": seed, "save_strategy": "no", "report_to": "none", "disable_tqdm": True}
