"""The audit, top to bottom: pictures, split check, shadows, views, answers, findings, evidence.

Every model is trained once and asked once, whatever interrupts: trained encoders and answers are files in the run's
folder, single answers are on disk before the next question.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from burnish.core.errors import UserError
from burnish.core.files import write_atomic
from burnish.core.parallel import executor
from burnish.core.run import Run
from burnish.prove.contrastive.train import Training, train_encoder
from burnish.prove.dov4cl.analysis import analyse, settings_in
from burnish.prove.dov4cl.ask import Question, ask_model, make_plan, read_answers
from burnish.prove.dov4cl.probes import ask_probes, plan_probes, probe_arrays
from burnish.prove.dov4cl.recipe import AuditRecipe, query_count
from burnish.prove.dov4cl.report import finding_sections
from burnish.prove.dov4cl.split_check import check_split
from burnish.prove.evidence import check_commitment, write_evidence
from burnish.prove.images import ImageSet, load_images
from burnish.prove.overlap import refuse_overlap
from burnish.prove.statistics import significant
from burnish.prove.suspects import SuspectSettings
from burnish.prove.suspects.oracle import refuse_beyond_budget
from burnish.prove.verdict import headline


@dataclass(frozen=True)
class Pictures:
    """The owner's two sets, and what shadows are trained on (``None``: the user brings shadows)."""

    public: ImageSet
    private: ImageSet
    others: ImageSet | None


def audit(recipe: AuditRecipe, run: Run) -> Path:
    """Test whether the suspect was trained on the public pictures. Returns the evidence folder.

    Raises:
        UserError: pictures that cannot be read or overlap, or that changed since an interrupted audit began, a split
            that convicts the innocent, models that do not fit.
        Interrupted: a stop signal came; the same command goes on.
    """
    if recipe.commitment is not None:
        check_commitment(recipe.commitment, recipe)
    pictures = read_pictures(recipe)
    split = split_findings(recipe, pictures, run)
    # what was made lies in the folder; a checkpoint holds no more than the number of the step
    steps = itertools.count(run.restore())
    work = run.path / "artifacts"
    plan = make_plan(recipe, len(pictures.public), len(pictures.private))
    for model in (recipe.suspect, *recipe.shadows.models):  # before shadows are trained for an audit that cannot be
        refuse_beyond_budget(model, query_count(recipe, len(pictures.public), len(pictures.private)))
    keep_pictures(pictures, work)
    trained = train_shadows(recipe, pictures, run, steps)
    suspect = Question(
        "suspect",
        recipe.suspect,
        recipe,
        work / "pixels.npy",
        len(pictures.public),
        work / "answers" / "suspect",
        work / "cache",
    )
    models = {**trained, **own_shadows(recipe, sum(name.startswith("shadow_") for name in trained))}
    rest = [replace(suspect, name=name, model=model, out=suspect.out.with_name(name)) for name, model in models.items()]
    # the suspect by itself and in this process: its rate and its budget are shared by nobody
    asked = {"suspect": ask_model(suspect, run.note, partial(_heard, run, steps))}
    probes = plan_probes(recipe, len(pictures.public), len(pictures.private))
    probing = replace(suspect, out=suspect.out.with_name("probes")) if probes.queries else None
    if probing is None:
        run.note("suspect: neither pictures nor budget are enough to see whether it evades (inconsistency, tables)")
    else:
        asked["suspect, to see whether it evades"] = ask_probes(probing, probes, run.note)
        run.checkpoint(next(steps))
    with executor(recipe.executor, max(1, min(recipe.workers, len(rest))), recipe.ray_address) as pool:
        for question, record in zip(
            rest, run.progress(pool.map(ask_model, rest), "shadows asked", len(rest)), strict=True
        ):
            asked[question.name] = record
            run.checkpoint(next(steps))
    arrays = read_answers([suspect.name, *models], suspect.out.parent, plan.public)
    arrays |= probe_arrays(probing, probes)
    settings = analysis_settings(recipe, split)
    findings = analyse(arrays, settings)
    run.artifact("findings.json", findings.to_json())
    run.artifact("asked.json", asked)
    run.note(f"verdict: {headline(findings)}: {findings.verdict.because}")
    return write_evidence(
        work / "evidence",
        method="dov4cl",
        settings=settings,
        arrays=arrays,
        findings=findings,
        commitment=None if recipe.commitment is None else Path(recipe.commitment),
        sections=finding_sections(findings, asked),
    )


def analysis_settings(recipe: AuditRecipe, split: dict[str, Any] | None) -> dict[str, Any]:
    """What ``analyse`` needs of a recipe."""
    return {**settings_in(recipe.model_dump(mode="json")), "split": split, "own_signal": True}


def read_pictures(recipe: AuditRecipe) -> Pictures:
    """Read all sets and refuse what no test can stand on.

    Raises:
        UserError: unreadable, of different sizes, too few, or overlapping.
    """
    public, private = load_images(recipe.public), load_images(recipe.private)
    if min(len(public), len(private)) < 10:
        raise UserError(
            f"public and private: {len(public)} and {len(private)} pictures; a test needs 10 of each or more"
        )
    sets = [("private", private)]
    others = None
    if recipe.shadows.count and recipe.shadows.images is not None:
        others = load_images(recipe.shadows.images)
        sets.append(("shadows.images", others))
        size = recipe.shadows.size or len(public)
        if len(others) < size:
            raise UserError(
                f"shadows.images: {len(others)} pictures; each shadow sees {size} (shadows.size, by default as many as "
                "are "
                "public): give more, or a smaller shadows.size"
            )
    for name, found in sets:
        if found.pixels.shape[1:] != public.pixels.shape[1:]:
            height, width, channels = found.pixels.shape[1:]
            raise UserError(
                f"{name}: pictures of {width} x {height} x {channels}, the public ones have "
                f"{public.pixels.shape[2]} x {public.pixels.shape[1]} x {public.pixels.shape[3]}; set size and "
                "channels alike"
            )
    refuse_overlap(public, private, ("public", "private"))
    if others is not None:
        refuse_overlap(public, others, ("public", "shadows.images"))
        refuse_overlap(private, others, ("private", "shadows.images"))
    return Pictures(public, private, others)


def split_findings(recipe: AuditRecipe, pictures: Pictures, run: Run) -> dict[str, Any] | None:
    """The split check as the findings keep it; ``None`` if it is off.

    Raises:
        UserError: the two sets can be told apart, and the recipe says to refuse then.
    """
    if recipe.split_check == "off":
        return None
    rng = np.random.default_rng([recipe.seed, 64])
    found = check_split(pictures.public.pixels, pictures.private.pixels, rng=rng)
    if significant(found.p, recipe.split_alpha):
        message = (
            f"public and private pictures can be told apart without any model (area under the curve {found.auc:.2f}, "
            f"p = {found.p:.3g}): an innocent model would look guilty"
        )
        if recipe.split_check == "refuse":
            raise UserError(f"private: {message}; split one collection at random, or set split_check: warn")
        run.note(message)
    return {"auc": found.auc, "p": found.p, "draws": found.draws, "alpha": recipe.split_alpha}


def shadow_trainings(recipe: AuditRecipe, pictures: Pictures, work: Path) -> dict[str, Training]:
    """The encoders to train: innocents on draws of the other pictures, guilty ones on the public pictures."""
    shadows, tasks = recipe.shadows, {}
    if pictures.others is not None:
        size = shadows.size or len(pictures.public)
        for number in range(shadows.count):
            rng = np.random.default_rng([recipe.seed, 128, number])
            rows = tuple(np.sort(rng.choice(len(pictures.others), size, replace=False)).tolist())
            tasks[f"shadow_{number:03d}"] = Training(
                shadows.train,
                work / "others.npy",
                int(rng.integers(2**31)),
                work / "shadows" / f"shadow_{number:03d}",
                recipe.checkpoint_every,
                rows,
            )
    for number in range(shadows.guilty):
        rng = np.random.default_rng([recipe.seed, 256, number])
        tasks[f"guilty_{number:03d}"] = Training(
            shadows.train,
            work / "public.npy",
            int(rng.integers(2**31)),
            work / "shadows" / f"guilty_{number:03d}",
            recipe.checkpoint_every,
        )
    return tasks


def train_shadows(
    recipe: AuditRecipe, pictures: Pictures, run: Run, steps: Iterator[int]
) -> dict[str, SuspectSettings]:
    """Train what is not there yet, model by model, and return how to ask each."""
    work = run.path / "artifacts"
    tasks = shadow_trainings(recipe, pictures, work)
    if tasks:
        with executor(recipe.executor, max(1, min(recipe.workers, len(tasks))), recipe.ray_address) as pool:
            trained = run.progress(pool.map(train_encoder, tasks.values()), "shadows trained", len(tasks))
            for _ in trained:
                run.checkpoint(next(steps))
    device = recipe.shadows.train.device
    return {name: SuspectSettings(model=str(task.folder), batch=256, device=device) for name, task in tasks.items()}


def own_shadows(recipe: AuditRecipe, first: int) -> dict[str, SuspectSettings]:
    """The user's own shadow encoders, numbered on."""
    return {f"shadow_{first + number:03d}": model for number, model in enumerate(recipe.shadows.models)}


def _heard(run: Run, steps: Iterator[int], chunk: int, chunks: int, oracle: Any) -> None:
    left = "" if oracle.left is None else f", {oracle.left:,} of the budget left"
    if (
        chunk == 1
    ):  # a resumed session asks from the first chunk on (what is answered, from its cache), and logs it anew
        run.cut_metrics(0)
    run.log(chunk, answered=oracle.made + oracle.saved)
    if chunk == chunks:
        again = f"{oracle.retried:,} sent again, {oracle.saved:,} answered before"
        run.note(f"suspect asked: {oracle.made:,} queries, {again}{left}")
    run.checkpoint(next(steps))


def keep_pictures(pictures: Pictures, work: Path) -> None:
    """Write the pictures that models are trained on and asked about; an audit that goes on must find the same ones.

    The public set has a file of its own, so that a picture moved from one set to the other is seen even where the order
    of both sets together stays as it was.

    Raises:
        UserError: a set changed since the run began: answers and models of both states would be mixed.
    """
    sets = [
        ("public", "public.npy", pictures.public.pixels),
        ("private", "pixels.npy", np.concatenate([pictures.public.pixels, pictures.private.pixels])),
    ]
    if pictures.others is not None:
        sets.append(("shadows.images", "others.npy", pictures.others.pixels))
    for name, file, pixels in sets:
        path = work / file
        if not path.exists():
            buffer = io.BytesIO()
            np.save(buffer, pixels)
            write_atomic(path, buffer.getvalue())
        elif not np.array_equal(np.load(path, mmap_mode="r"), pixels):
            raise UserError(
                f"{name}: the pictures changed since this audit began; bring them back, or start afresh",
                arguments=("fresh",),
            )
