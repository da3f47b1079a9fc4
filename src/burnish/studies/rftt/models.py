"""The models of a world, as files: a base model that knows no tag, and what each form of the same rows makes of it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from burnish.core.files import folder_atomic, write_atomic
from burnish.core.parallel import one_thread
from burnish.core.trainer import keep_to_themselves
from burnish.reason.rftt.sft import Example, sft_trainer
from burnish.reason.rftt.vocabulary import extend
from burnish.studies.rftt.world import BATCH, GRAMMAR, Rows, Shape, Warm, draw_examples, load, rate, train_base
from burnish.testbeds.ways import make_tokenizer

SINGLE = "-single"
TAUGHT = ("tags", "bare", "words", f"tags{SINGLE}", f"bare{SINGLE}")
"""What each world's base model is taught; where there is a single way, words name nothing."""


class ModelJob(NamedTuple):
    """A model to make.

    Attributes:
        world: its seed.
        name: ``base`` or one of :data:`TAUGHT`.
        shape: of the base model.
        tokens: of supervised training.
        folder: of all models.
    """

    world: int
    name: str
    shape: Shape
    tokens: int
    folder: Path

    @property
    def path(self) -> Path:
        """The model's own folder."""
        return self.folder / f"{self.world}-{self.name}"


def seconds_file(job: ModelJob) -> Path:
    """The file that is there once a model is made: the CPU seconds that it took."""
    return job.path / "seconds.txt"


def make_model(job: ModelJob) -> None:
    """Train a model and write it."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    started = time.process_time()
    with one_thread(), folder_atomic(job.path) as work:
        warm = _base(job) if job.name == "base" else _taught(job)
        warm.chat.model.save_pretrained(work)
        warm.chat.tokenizer.save_pretrained(work)
        write_atomic(work / "seconds.txt", f"{time.process_time() - started:.1f}\n")


def _base(job: ModelJob) -> Warm:
    """Every form starts from the same weights: the base model has rows for tags, which it never read."""
    from burnish.dialogue.models import ChatModel

    model, tokenizer = train_base(job.shape, job.world), make_tokenizer()
    vocabulary = extend(model, tokenizer, GRAMMAR, job.world)
    return Warm(ChatModel(model, tokenizer), vocabulary)


def _taught(job: ModelJob) -> Warm:
    warm = load(job._replace(name="base").path)
    rows: Rows = "tags" if job.name.startswith("tags") else "bare" if job.name.startswith("bare") else "words"
    single = job.name.endswith(SINGLE)
    teach(warm, draw_examples(rows, job.tokens, job.world, warm.chat, warm.vocabulary, single=single), job.world)
    return warm


def teach(warm: Warm, examples: Sequence[Example], seed: int) -> None:
    """Supervised training, one pass over the examples, by the product's own trainer."""
    import transformers

    keep_to_themselves()
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        trainer: Any = sft_trainer(
            warm.chat.model,
            warm.chat.tokenizer,
            examples,
            output_dir=folder,
            seed=seed % 2**32,
            use_cpu=True,
            bf16=False,
            activation_checkpointing=False,
            dataloader_pin_memory=False,
            learning_rate=rate(warm.chat.model.config.hidden_size),
            lr_scheduler_type="linear",
            weight_decay=0.0,
            num_train_epochs=1,
            per_device_train_batch_size=BATCH,
            gradient_accumulation_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            logging_strategy="no",
        )
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.train()
    warm.chat.model.eval()
