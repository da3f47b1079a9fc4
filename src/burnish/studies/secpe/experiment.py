"""One task of one seed: the product's own fitting, choice, attacks and encrypted questions on texts drawn anew."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from burnish.core.parallel import one_thread
from burnish.private.argmax.records import Label
from burnish.private.attacks.neighbours import neighbours_of
from burnish.private.attacks.search import AttackPlan, attack
from burnish.private.duels import duel, victim_of
from burnish.private.encoders import Encoder, load_encoder
from burnish.private.ensemble.circuit import EnsembleCircuit
from burnish.private.fitting import Fitted, fit, of_prompts, represent
from burnish.private.heads import (
    Heads,
    Representations,
    answers,
    certain_bound,
    chosen_prompts,
    margins,
    mean_scores,
    unit_of,
)
from burnish.private.prompts import make_prompts
from burnish.private.questions import Session
from burnish.private.recipe import EnsembleSettings, HeadSettings, PromptSettings, TextSettings
from burnish.private.texts import Texts, split_texts
from burnish.studies.secpe.records import TaskCell
from burnish.testbeds.texts import PROCEDURAL, TASKS

HELD_BACK = 600
"""The last texts of each task: looked at while templates and budgets were settled, never drawn."""


class TaskDesign(NamedTuple):
    """What a size spends on a task.

    Attributes:
        train, validation, test: texts.
        candidates: templates to choose from.
        prompts: P.
        attack: on each text.
        attacked: test texts.
        eps: of the encrypted comparison.
        sealed: test texts through SEAL; none where it is 0.
        lanes: of them in one ciphertext.
        timed: questions of a text with one prompt and with all; nothing is timed where it is 0.
        max_tokens: of a prompt with its text.
    """

    train: int = 160
    validation: int = 60
    test: int = 120
    candidates: int = 6
    prompts: int = 5
    attack: AttackPlan = AttackPlan(budget=40)
    attacked: int = 24
    eps: float = 2.0**-4
    sealed: int = 0
    lanes: int = 8
    timed: int = 0
    max_tokens: int = 32


class TaskJob(NamedTuple):
    """One item for the executor."""

    seed: int
    task: str
    encoder: str
    design: TaskDesign


def drawn(job: TaskJob) -> Texts:
    """Texts of a seed: other ones at each seed, as far as the task has so many."""
    rows = TASKS[job.task][1]()[:-HELD_BACK]
    classes = tuple(sorted({row["label"] for row in rows}))
    order = np.random.default_rng([job.seed, 0]).permutation(len(rows))
    wanted = 4 * (job.design.train + job.design.validation + job.design.test)
    kept = [rows[at] for at in order[:wanted]]
    labels = np.array([classes.index(row["label"]) for row in kept], np.int64)
    return Texts(tuple(row["text"] for row in kept), labels, classes)


def run_task(job: TaskJob) -> TaskCell:
    """All of it, in one thread."""
    started = time.process_time()
    design = job.design
    with one_thread():
        encoder = load_encoder(job.encoder, max_tokens=design.max_tokens)
        sizes = TextSettings(source=job.task, train=design.train, validation=design.validation, test=design.test)
        parts = split_texts(drawn(job), sizes, np.random.default_rng([job.seed, 1]))
        ensemble = EnsembleSettings(prompts=design.prompts)
        prompts = make_prompts(PromptSettings().templates[: design.candidates], (), parts.test.classes)
        seen = represent(encoder, parts, prompts, ensemble.noise, np.random.default_rng([job.seed, 2]))
        labels = parts.train.labels, parts.validation.labels
        fitted = fit(seen, *labels, parts.test.classes, prompts, HeadSettings(), ensemble)
        one, many = of_prompts(seen.test, [fitted.single]), of_prompts(seen.test, fitted.chosen)
        truth, best = parts.test.labels, clean_choice(fitted.each, fitted.single)
        clean = answers(chosen_prompts(fitted.all, [best]), of_prompts(seen.test, [best]))
        told = attacks(job, encoder, fitted, parts.test)
        told |= agreement(design, fitted.many, many)
        if design.timed:
            told |= timings(design, encoder, fitted, parts.test, one, many)
    return TaskCell(
        seed=job.seed,
        task=job.task,
        real=job.task not in PROCEDURAL,
        encoder=job.encoder.rsplit("/", 1)[-1],
        classes=len(parts.test.classes),
        prompts=design.prompts,
        single=float((answers(fitted.one, one) == truth).mean()),
        single_of_clean=float((clean == truth).mean()),
        ensemble=float((answers(fitted.many, many) == truth).mean()),
        seconds=time.process_time() - started,
        **told,
    )


def attacks(job: TaskJob, encoder: Encoder, fitted: Fitted, test: Texts) -> dict[str, Any]:
    """The first test texts, attacked on both classifiers, and on the prompt that is best on clean validation texts
    where that is another one than the single prompt."""
    best = clean_choice(fitted.each, fitted.single)
    third = victim_of(encoder, [fitted.prompts[best]], chosen_prompts(fitted.all, [best]))
    near, rng = neighbours_of(encoder.model, encoder.tokenizer), np.random.default_rng([job.seed, 3])
    rows, plan = [], replace(job.design.attack, reach=job.design.max_tokens)
    for text, label in list(zip(test.texts, test.labels.tolist(), strict=True))[: job.design.attacked]:
        found = duel(encoder, fitted, text, label, plan, rng, near)
        of_clean = found.single
        if best != fitted.single:
            of_clean = attack(third, text, label, plan, np.random.default_rng(rng.integers(2**63)), near)
        rows.append(
            {
                "single_before": found.single.before.argmax() == label,
                "ensemble_before": found.ensemble.before.argmax() == label,
                "single_attacked": found.single.after.argmax() == label,
                "single_of_clean_attacked": of_clean.after.argmax() == label,
                "ensemble_attacked": found.ensemble.after.argmax() == label,
                "ensemble_on_single": found.ensemble_on_single.argmax() == label,
                "single_on_ensemble": found.single_on_ensemble.argmax() == label,
                "single_queries": found.single.queries,
                "ensemble_queries": found.ensemble.queries,
            }
        )
    means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    return {"attacked_texts": len(rows), **means}


def clean_choice(right: Float[np.ndarray, " prompts"], single: int) -> int:
    """The prompt that is right on most of the clean validation texts; of equals the single prompt, then the first."""
    best = np.flatnonzero(right == right.max())
    return single if single in best else int(best[0])


def agreement(design: TaskDesign, heads: Heads, vectors: Representations) -> dict[str, Any]:
    """Answers of the circuit beside those of the clear pipeline: all test texts on the clear back end, some on SEAL."""
    circuit = EnsembleCircuit.make(heads, design.eps, questions=design.lanes)
    labels = asked(Session(circuit, "clear"), vectors, design.lanes)
    found = {
        "clear_asked": len(vectors),
        "clear_wrong": wrong(heads, vectors, labels, design.eps),
        "flagged": float(np.mean([label.index is None for label in labels])),
        "near": float((margins(mean_scores(heads, vectors)) < design.eps * unit_of(heads)).mean()),
        "levels": circuit.plan.parameters.levels,
        "ring": circuit.plan.parameters.ring,
    }
    if design.sealed:
        some = vectors[: design.sealed]
        labels = asked(Session(circuit, "seal"), some, design.lanes)
        found |= {"sealed_asked": len(some), "sealed_wrong": wrong(heads, some, labels, design.eps)}
    return found


def asked(session: Session, vectors: Representations, lanes: int) -> list[Label]:
    """Labels of all, so many texts a question."""
    labels: list[Label] = []
    for start in range(0, len(vectors), lanes):
        labels += session.ask(vectors[start : start + lanes]).labels
    return labels


def wrong(heads: Heads, vectors: Representations, labels: Sequence[Label], eps: float) -> int:
    """Answers that break the promise: another label than in the clear, or none where the classes differ by eps."""
    expected, share = answers(heads, vectors), margins(mean_scores(heads, vectors)) / unit_of(heads)
    broken = [
        label.index != expected[place] and (label.index is not None or share[place] >= eps)
        for place, label in enumerate(labels)
    ]
    return sum(map(bool, broken))


def timings(
    design: TaskDesign, encoder: Encoder, fitted: Fitted, test: Texts, one: Representations, many: Representations
) -> dict[str, Any]:
    """CPU seconds of a text through SEAL, with one prompt and with all, in turn; of each kind the fastest is kept.

    The single prompt's bound is set so that both compare equally finely: what differs is the number of prompts.
    """
    fineness = certain(fitted.many) / fitted.many.bound
    alone = replace(fitted.one, bound=certain(fitted.one) / fineness)
    sessions = [Session(EnsembleCircuit.make(heads, design.eps), "seal") for heads in (alone, fitted.many)]
    seconds: list[list[float]] = [[], []]
    for turn in range(design.timed):
        for place, vectors in enumerate((one, many)):
            began = time.process_time()
            sessions[place].ask(vectors[turn : turn + 1])
            seconds[place].append(time.process_time() - began)
    encoded = []
    for prompts in ([fitted.prompts[fitted.single]], [fitted.prompts[at] for at in fitted.chosen]):
        began = time.process_time()
        for text in test.texts[:8]:
            encoder.represent([text], prompts)
        encoded.append((time.process_time() - began) / 8)
    return {
        "one_seconds": min(seconds[0]),
        "many_seconds": min(seconds[1]),
        "encoder_one_seconds": encoded[0],
        "encoder_many_seconds": encoded[1],
    }


def certain(heads: Heads) -> float:
    """The bound that no text exceeds."""
    return certain_bound(heads.weights, heads.biases, heads.weights_of_prompts)
