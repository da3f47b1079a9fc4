"""From a recipe, two models and their clips to a training that is ready to go; what does not fit is refused here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from burnish.core.errors import UserError
from burnish.distill.cost import ModelFlops, model_flops
from burnish.distill.footage import Footage
from burnish.distill.looks import refuse_misfit
from burnish.distill.models import Classifier, fingerprint, match_labels
from burnish.distill.passes import Seat, computes_half
from burnish.distill.recipe import SakdRecipe
from burnish.distill.records import Clips
from burnish.distill.rules import wanted
from burnish.distill.spending import Prices, refuse_short_budget
from burnish.distill.states import wanted_by
from burnish.distill.table import TeacherTable
from burnish.distill.trainer import Distiller


def build_distiller(
    recipe: SakdRecipe,
    student: Classifier,
    teacher: Classifier,
    clips: Clips,
    teacher_clips: Clips,
    labels: Sequence[str],
    test: Clips | None,
    accelerator: Any,
    tables: Path | None = None,
    note: Callable[[str], None] = lambda _message: None,
    table: TeacherTable | None = None,
    prices: Prices | None = None,
) -> Distiller:
    """The training of a recipe, ready for :meth:`~burnish.distill.trainer.Distiller.units`.

    Args:
        recipe: what was asked.
        student: what is trained.
        teacher: what it learns from.
        clips: as the student sees them.
        teacher_clips: as the teacher does, row by row the same samples.
        labels: classes of the data.
        test: what accuracy is measured on.
        accelerator: of accelerate.
        tables: folder of teachers' tables; none keeps the table in memory.
        note: told of what a person should know.
        table: one that is there already.
        prices: FLOPs of a sample, if they were counted already.

    Raises:
        UserError: clips that a model was not built for, classes that it lacks, features of different widths where the
            loss compares them; a budget that ends before the first step.
    """
    refuse_unfit_loss(recipe, student, teacher)
    seats = []
    for name, clip, model, seen in (
        ("student", "clip", student, clips),
        ("teacher", "teacher_clip", teacher, teacher_clips),
    ):
        frames, height, width = seen.pixels.shape[1:4]
        refuse_misfit(model.look, frames, (height, width), name, clip)
        seats.append(Seat(model, Footage(seen), match_labels(model.labels, labels, name)))
    device = accelerator.device
    prices = prices or count_prices(student, teacher, clips, teacher_clips)
    chosen = wanted(len(clips.ids), recipe.selection.share)
    batch = min(recipe.batch * accelerator.num_processes, chosen)
    refuse_short_budget(recipe, wanted_by(recipe), prices, len(clips.ids), batch)
    student.model.to(device)
    teacher.model.to(device)
    if table is None:
        folder = tables if accelerator.is_main_process else None  # the first reads and writes, and tells the others
        identity = ""
        if folder is not None:
            # what bfloat16 makes of a clip is another word, and a run must not depend on what others left on disk
            identity = fingerprint(teacher) + ("-bf16" if computes_half(recipe, device) else "")
        table = TeacherTable(seats[1].footage, len(teacher.labels), teacher.width, identity, folder, note)
    tested = None if test is None else Footage(test)
    return Distiller(recipe, seats[0], seats[1], table, prices, accelerator, tested)


def refuse_unfit_loss(recipe: SakdRecipe, student: Classifier, teacher: Classifier) -> None:
    """Refuse a loss that compares features of different widths.

    Raises:
        UserError: says both.
    """
    if recipe.loss.kind in ("head_crossing", "feature") and student.width != teacher.width:
        raise UserError(
            f"loss.kind: `{recipe.loss.kind}` needs features of one width; the student's have {student.width} numbers, "
            f"the teacher's {teacher.width}; choose `kd` or `dkd`"
        )


def accelerator_of(recipe: SakdRecipe) -> Any:
    """Accelerate, on the device of a recipe. Its own mixed precision stays off: that is one for a whole process, while
    two trainings in a notebook may differ."""
    from accelerate import Accelerator

    return Accelerator(cpu=recipe.device == "cpu", mixed_precision="no")


def count_prices(student: Classifier, teacher: Classifier, clips: Clips, teacher_clips: Clips) -> Prices:
    """FLOPs of a sample, of both models."""
    own, other = count_flops(student, clips), count_flops(teacher, teacher_clips)
    return Prices(other.forward, own.forward, own.training)


def count_flops(classifier: Classifier, clips: Clips) -> ModelFlops:
    """FLOPs of one sample, counted."""
    frames, height, width = clips.pixels.shape[1:4]
    return flops_of(classifier, frames, (height, width))


def flops_of(classifier: Classifier, frames: int, size: tuple[int, int]) -> ModelFlops:
    """FLOPs of one sample of that many frames of that height and width, counted."""
    shape = (frames, classifier.look.channels, *size)
    return model_flops(classifier.model, classifier.logits_of, shape if classifier.look.video else shape[1:])
