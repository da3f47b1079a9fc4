"""The audit: pictures, shadows in two families over many sources, choice of queries, the suspect's answers, the
verdict.

Every picture, shadow and answer is stored as it comes, so an interrupted audit goes on where it was and asks nothing
twice.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np

from burnish.core.errors import UserError
from burnish.core.parallel import executor
from burnish.core.run import Run
from burnish.prove.evidence import check_commitment, write_evidence
from burnish.prove.suspects import open_suspect
from burnish.prove.suspects.oracle import Note, Oracle
from burnish.prove.trainprove import shadows as models
from burnish.prove.trainprove.analysis import analyse, settings_in
from burnish.prove.trainprove.pictures import draw_all, sources
from burnish.prove.trainprove.queries import choose, disagreement, votes
from burnish.prove.trainprove.recipe import AuditRecipe, refusal
from burnish.prove.trainprove.report import evidence_sections
from burnish.prove.trainprove.shadows import Job, Shadow, load_array, load_pixels, planned, train_shadow
from burnish.prove.verdict import headline

LEAST_AGAIN = 8
"""Pictures asked again, at least: five of eight that change their label are a sign."""


def audit(recipe: AuditRecipe, run: Run) -> Path:
    """Audit a classifier. Returns the evidence folder.

    Raises:
        UserError: sources, architectures or a suspect that do not go together, or another recipe than committed to.
    """
    if recipe.commitment is not None:
        check_commitment(recipe.commitment, recipe)
    pictures, folder = run.path / "artifacts" / "pictures", run.path / "artifacts" / "shadows"
    # What was made lies in the folder, and is passed over quickly; a checkpoint holds the number of the step.
    start, steps = run.restore(), itertools.count()

    def stop_here(**values: float) -> None:
        step = next(steps)
        if step >= start:
            run.log(step, **values)
            run.checkpoint(step)

    for _ in run.progress(draw_all(recipe, pictures), "pictures"):
        stop_here()
    problem = refusal(recipe, np.bincount(load_array(pictures / "validation.safetensors", "sets")).tolist())
    if problem is not None:
        raise UserError(problem)
    shadows = planned(recipe)
    jobs = [Job(each, recipe, pictures.resolve(), folder.resolve()) for each in shadows]
    left = sum(not models.made(job) for job in jobs)
    with executor(recipe.executor, max(1, min(recipe.workers, left)), recipe.ray_address) as pool:
        for job, _ in zip(jobs, run.progress(pool.map(train_shadow, jobs), "shadows", total=len(jobs)), strict=True):
            stop_here(shadow_accuracy=float(models.about(folder, job.shadow)["accuracy"]))
    rows, arrays = gathered(recipe, pictures, folder, shadows)
    pixels = load_pixels(pictures / "validation.npy")[rows]
    settings = settings_in(recipe.model_dump(mode="json")) | {"evasion": True, "own_consistency": True}
    rehearse(arrays, settings)
    answers = run.path / "artifacts" / "answers"
    with open_suspect(recipe.suspect, recipe.answer, answers, run.note, classes=len(recipe.classes)) as oracle:
        oracle.announce(len(pixels))
        # a few batches at a time: a stop signal need not wait for hours of queries
        slices = np.array_split(pixels, -(-len(pixels) // (4 * recipe.suspect.batch)))
        parts = []
        for each in run.progress(slices, "asking the suspect"):
            parts.append(oracle.ask(each))
            stop_here(answered=oracle.made + oracle.saved)
        answered = np.concatenate(parts)
        arrays |= asked_again(recipe, oracle, pixels, run.note)
        stop_here(answered=oracle.made + oracle.saved)
        suspect = oracle.identity
        run.note(
            f"{oracle.made:,} queries made, {oracle.retried:,} sent again, {oracle.saved:,} answered before, "
            f"{oracle.sent_bytes:,} bytes sent"
        )
    arrays["suspect_labels"] = answered
    if recipe.answer == "logits":
        arrays["suspect_labels"], arrays["suspect_logits"] = answered.argmax(axis=1).astype(np.int64), answered
    settings |= {"suspect": suspect}
    findings = analyse(arrays, settings)
    rows_of_shadows = shadow_rows(recipe, folder, shadows)
    run.artifact("findings.json", {"findings": findings.to_json(), "settings": settings, "shadows": rows_of_shadows})
    run.note(f"verdict: {headline(findings)}: {findings.verdict.because}")
    return write_evidence(
        run.path / "artifacts" / "evidence",
        method="trainprove",
        settings=settings,
        arrays=arrays,
        findings=findings,
        commitment=recipe.commitment,
        sections=evidence_sections(findings, settings, rows_of_shadows),
    )


def asked_again(recipe: AuditRecipe, oracle: Oracle, pixels: np.ndarray, note: Note) -> dict[str, np.ndarray]:
    """Ask some pictures twice more, in the opposite order and beside others: whether the suspect stays with its labels.

    Returns:
        ``again_rows`` [k], places among the pictures asked about, and ``again_labels`` [k, 2]; empty where neither
        setting nor budget allow ``LEAST_AGAIN`` pictures.
    """
    # what an interrupted audit already asked again is in its store, and was paid for
    spare = None if recipe.suspect.queries is None else max(0, recipe.suspect.queries - len(pixels))
    allowed = recipe.ask_again if spare is None else min(recipe.ask_again, spare)
    count = min(allowed // 2, len(pixels))
    if count < LEAST_AGAIN:
        note("suspect: neither settings nor budget are enough to see whether it stays with its labels when asked again")
        return {}
    rows = np.random.default_rng([recipe.seed, 96]).choice(len(pixels), count, replace=False)
    twice = oracle.ask(np.concatenate([pixels[rows][::-1], pixels[rows]]), again=[1] * count + [2] * count)
    labels = twice if recipe.answer == "labels" else twice.argmax(axis=1).astype(np.int64)
    return {"again_rows": rows, "again_labels": np.stack([labels[:count][::-1], labels[count:]], axis=1)}


def rehearse(arrays: dict[str, np.ndarray], settings: dict[str, Any]) -> None:
    """Analyse with my first shadow as the suspect: what would stop the analysis is seen before a query is paid for.

    Raises:
        UserError: what :func:`analyse` raises.
    """
    first = int(np.flatnonzero(arrays["shadow_source"] == 0)[0])
    played = {"suspect_labels": arrays["shadow_labels"][first]}
    if "shadow_logits" in arrays:
        played["suspect_logits"] = arrays["shadow_logits"]
    analyse(arrays | played, settings)


def gathered(
    recipe: AuditRecipe, pictures: Path, folder: Path, shadows: list[Shadow]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Which validation pictures to ask about, and the answers on them of the shadows that calibrate.

    Under a budget every other shadow of a source only chooses images and calibrates nothing: a shadow that had a say in
    which images count would look more typical of its family than the suspect can.
    """
    truth = load_array(pictures / "validation.safetensors", "labels")
    sets = load_array(pictures / "validation.safetensors", "sets")
    pure = [each for each in shadows if each.source != models.MIXED]
    mixed = [each for each in shadows if each.source == models.MIXED]
    logits = {each: models.answers(folder, each) for each in [*pure, *mixed]}
    budget = recipe.suspect.queries
    rows = np.arange(len(truth))
    if budget is not None and budget < len(truth):
        if recipe.choice == "random":
            shuffled = np.random.default_rng([recipe.seed, 1]).random(len(truth))
            rows = choose(shuffled, sets, budget)
        else:
            choosers = _every_other(pure, recipe)
            pure = [each for each in pure if each not in choosers]
            families = [
                votes(
                    np.stack([logits[each].argmax(1) for each in choosers if (each.source == 0) == own]),
                    len(recipe.classes),
                )
                for own in (True, False)
            ]
            rows = choose(disagreement(*families), sets, budget)
    found = {
        "truth": truth[rows],
        "sets": sets[rows],
        "shadow_labels": np.stack([logits[each][rows].argmax(1) for each in pure]).astype(np.int64),
        "shadow_source": np.array([each.source for each in pure], dtype=np.int64),
    }
    if mixed:
        found["mixture_labels"] = np.stack([logits[each][rows].argmax(1) for each in mixed]).astype(np.int64)
        found["mixture_fraction"] = np.array([each.fraction for each in mixed])
    if recipe.answer == "logits":
        found["shadow_logits"] = logits[next(each for each in pure if each.source == 0)][rows]
    return rows, found


def _every_other(pure: list[Shadow], recipe: AuditRecipe) -> set[Shadow]:
    """Every other shadow of each source and architecture: neither may be left without some that calibrate."""
    choosers: set[Shadow] = set()
    for source in range(len(sources(recipe))):
        for kind in range(len(recipe.architectures)):
            choosers |= set([each for each in pure if (each.source, each.architecture) == (source, kind)][1::2])
    return choosers


def shadow_rows(recipe: AuditRecipe, folder: Path, shadows: list[Shadow]) -> list[dict[str, str]]:
    """One row a source and architecture: how many shadows, and their accuracy on the validation pictures."""
    names = [source.name for source in sources(recipe)]
    rows = []
    for number in range(len(names)):
        for kind, architecture in enumerate(recipe.architectures):
            theirs = [each for each in shadows if (each.source, each.architecture) == (number, kind)]
            accuracy = [models.about(folder, each)["accuracy"] for each in theirs]
            rows.append(
                {
                    "source": names[number],
                    "architecture": architecture.name,
                    "shadows": str(len(theirs)),
                    "accuracy": f"{np.mean(accuracy):.3f}",
                }
            )
    return rows
