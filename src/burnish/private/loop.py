"""SecPE from a recipe in a run folder: fit heads, choose prompts, attack both classifiers, answer under encryption.

What a run keeps does not depend on the dice of encryption: labels and figures in the clear, and of the ciphertexts the
sizes; only `sent.bin`, the first bytes of one question, is another each time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from burnish.core.parallel import one_thread
from burnish.core.run import Run
from burnish.private.attacks.neighbours import neighbours_of
from burnish.private.attacks.search import AttackPlan
from burnish.private.bundle import ClientModel, save_bundle
from burnish.private.duels import Duel, duel
from burnish.private.encoders import Encoder, load_encoder
from burnish.private.ensemble.circuit import EnsembleCircuit
from burnish.private.fitting import Fitted, Seen, fit, of_prompts, represent
from burnish.private.heads import aggregate_scores, answers, margins, spread, unit_of
from burnish.private.prompts import make_prompts
from burnish.private.questions import Session
from burnish.private.recipe import EncoderSettings, SecpeRecipe
from burnish.private.texts import Parts, read_texts, split_texts

SHOWN_BYTES = 4096
"""Of a question, for the report's picture."""
SEEN = "representations.safetensors"


class Rows:
    """What was measured so far, a row a step."""

    def __init__(self) -> None:
        self.duels: list[dict[str, Any]] = []
        self.questions: list[dict[str, Any]] = []

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {"duels": self.duels, "questions": self.questions}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """From the checkpoint."""
        self.duels, self.questions = list(state["duels"]), list(state["questions"])


def make_classifier(recipe: SecpeRecipe, run: Run) -> Path:
    """Make and measure a private classifier. Returns the folder ``service``: the server's half and the client's.

    Raises:
        UserError: data, model, prompts or an eps that do not go together.
        BurnishError: a vector that is not finite, or a full disk.
        Interrupted: a stop signal came; the state is saved.
    """
    service = run.path / "artifacts" / "service"
    if run.finished:
        return service
    with one_thread():
        encoder = open_encoder(recipe.encoder)
        parts = split_texts(read_texts(recipe.data, run.note), recipe.data, run.rng("parts"))
        prompts = make_prompts(recipe.prompts.templates, recipe.prompts.words, parts.test.classes)
        seen = _seen(recipe, run, encoder, parts, prompts)
        labels = parts.train.labels, parts.validation.labels
        fitted = fit(seen, *labels, parts.test.classes, prompts, recipe.heads, recipe.ensemble)
        circuit = EnsembleCircuit.make(fitted.many, recipe.encryption.eps)
        rows = _measured(recipe, run, encoder, parts, fitted, circuit)
    templates = tuple(prompts[at].template for at in fitted.chosen)
    client = ClientModel(
        recipe.encoder.model, encoder.pooling, encoder.max_tokens, templates, parts.test.classes, recipe.encryption.eps
    )
    save_bundle(service, fitted.many, client)
    run.artifact("attacks.json", rows.duels)
    run.artifact("questions.json", rows.questions)
    run.artifact("outcome.json", outcome(seen, parts, fitted, circuit, rows))
    return service


def open_encoder(settings: EncoderSettings, *, weights: bool = True) -> Encoder:
    """The client's model, where it shall compute.

    Raises:
        UserError: no such model.
    """
    import torch

    device = "cuda" if settings.device == "auto" and weights and torch.cuda.is_available() else None
    return load_encoder(
        settings.model, settings.pooling, settings.max_tokens, device=device, batch=settings.batch, weights=weights
    )


def attack_plan(recipe: SecpeRecipe, reach: int) -> AttackPlan:
    """As the search takes it. ``reach``: words that the encoder may read of a text, a token each."""
    given = recipe.attack
    return AttackPlan(given.kinds, given.budget, given.share, given.each, reach)


def _seen(recipe: SecpeRecipe, run: Run, encoder: Encoder, parts: Parts, prompts: list[Any]) -> Seen:
    """Representations of all texts: made once, read again by a run that goes on."""
    from safetensors.numpy import load, save

    rng = run.rng("noise")  # drawn from whether or not the file is there: what follows must not depend on it
    path = run.path / "artifacts" / SEEN
    if path.exists():
        arrays = load(path.read_bytes())
        return Seen(**{name: array for name, array in arrays.items() if name != "cut"}, cut=float(arrays["cut"][0]))
    run.note(f"{run.path}: {sum(map(len, (parts.train.texts, parts.validation.texts, parts.test.texts))):,} texts")
    seen = represent(encoder, parts, prompts, recipe.ensemble.noise, rng)
    if seen.cut:
        run.note(
            f"{run.path}: {seen.cut:.1%} of the texts are longer than {encoder.max_tokens} tokens and lose their end"
        )
    run.artifact(SEEN, save({**vars(seen), "cut": np.array([seen.cut])}))
    return seen


def _measured(
    recipe: SecpeRecipe, run: Run, encoder: Encoder, parts: Parts, fitted: Fitted, circuit: EnsembleCircuit
) -> Rows:
    """A step an attacked text, then a step a question under encryption."""
    rows, plan, near = Rows(), attack_plan(recipe, encoder.max_tokens), neighbours_of(encoder.model, encoder.tokenizer)
    attacks = min(recipe.attack.texts, len(parts.test.texts))
    asked = 2 * min(recipe.encryption.texts, attacks)
    session: Session | None = None
    for step in run.progress(range(run.restore(rows), attacks + asked), "texts"):
        if step < attacks:
            text, label = parts.test.texts[step], int(parts.test.labels[step])
            found = duel(encoder, fitted, text, label, plan, run.rng("attack"), near)
            rows.duels.append(duel_row(text, label, found))
            run.log(
                step,
                single_queries=found.single.queries,
                ensemble_queries=found.ensemble.queries,
                single_right=int(found.single.after.argmax() == label),
                ensemble_right=int(found.ensemble.after.argmax() == label),
            )
        else:
            if session is None:
                run.note(f"{run.path}: making keys for {len(circuit.plan.rotations)} rotations")
                session = Session(circuit, recipe.encryption.backend)
            given = sorted(rows.duels, key=_held)[(step - attacks) // 2]
            edited = (step - attacks) % 2 == 1
            row, seconds, sent = _question(session, encoder, fitted, given, edited=edited)
            rows.questions.append(row)
            if not (run.path / "artifacts" / "sent.bin").exists():
                run.artifact("sent.bin", sent[:SHOWN_BYTES])
            run.log(step, agrees=int(row["agrees"]), ambiguous=int(row["label"] is None), answer_seconds=seconds)
        run.checkpoint(step, rows)
    return rows


def _held(row: dict[str, Any]) -> bool:
    """Whether the single prompt withstood: what was turned is asked about first."""
    return not (row["single"]["right_before"] and not row["single"]["right_after"])


def _question(
    session: Session, encoder: Encoder, fitted: Fitted, given: dict[str, Any], *, edited: bool
) -> tuple[dict[str, Any], float, bytes]:
    """A text as it was, or as edited against the single prompt, under encryption and in the clear."""
    text = given["single"]["text"] if edited else given["text"]
    vectors = encoder.represent([text], [fitted.prompts[at] for at in fitted.chosen]).vectors
    scores = aggregate_scores(fitted.many, vectors)
    answer = session.ask(vectors)
    (label,) = answer.labels
    clear = int(answers(fitted.many, vectors)[0])
    names = fitted.many.labels
    row = {
        "text": text,
        "edited": edited,
        "truth": names[given["label"]],
        "label": None if label.index is None else names[label.index],
        "clear": names[clear],
        "agrees": label.index in (None, clear),
        "margin": float(margins(scores)[0] / unit_of(fitted.many)),
        "scores": scores[0].tolist(),
        "sent_bytes": len(answer.sent),
        "received_bytes": len(answer.received),
        "key_bytes": session.key_bytes,
    }
    return row, answer.seconds, answer.sent


def duel_row(text: str, label: int, found: Duel) -> dict[str, Any]:
    """One attacked text as plain data."""
    sides = {
        name: {
            "text": each.text,
            "before": each.before.tolist(),
            "after": each.after.tolist(),
            "queries": each.queries,
            "changed": each.changed,
            "right_before": int(each.before.argmax()) == label,
            "right_after": int(each.after.argmax()) == label,
            "other_right": int(other.argmax()) == label,
        }
        for name, each, other in (
            ("single", found.single, found.ensemble_on_single),
            ("ensemble", found.ensemble, found.single_on_ensemble),
        )
    }
    return {"text": text, "label": label, **sides}


def outcome(seen: Seen, parts: Parts, fitted: Fitted, circuit: EnsembleCircuit, rows: Rows) -> dict[str, Any]:
    """The run in figures."""
    truth, plan = parts.test.labels, circuit.plan
    one, many = of_prompts(seen.test, [fitted.single]), of_prompts(seen.test, fitted.chosen)
    scores = aggregate_scores(fitted.many, many)
    share = margins(scores) / unit_of(fitted.many)
    told = {
        "classes": fitted.many.labels,
        "single_prompt": fitted.prompts[fitted.single].template,
        "prompts": [fitted.prompts[at].template for at in fitted.chosen],
        "validation_each": fitted.each.tolist(),
        "single_accuracy": float((answers(fitted.one, one) == truth).mean()),
        "ensemble_accuracy": float((answers(fitted.many, many) == truth).mean()),
        "cut_share": seen.cut,
        "bound": fitted.many.bound,
        "eps": plan.eps,
        "ambiguous_share": float((share < plan.eps).mean()),
        "beyond_bound_share": float((spread(scores) > unit_of(fitted.many)).mean()),
        "levels": plan.levels,
        "ring": plan.parameters.ring,
        "scale_bits": plan.parameters.scale_bits,
        "modulus_bits": plan.parameters.modulus_bits,
        "rotations": len(plan.rotations),
    }
    for side in ("single", "ensemble") if rows.duels else ():
        other = "ensemble" if side == "single" else "single"
        for key, name, place in (
            ("right_before", f"{side}_before", side),
            ("right_after", f"{side}_attacked", side),
            ("other_right", f"{other}_under_attack_on_{side}", side),
        ):
            told[name] = float(np.mean([row[place][key] for row in rows.duels]))
        told[f"{side}_queries"] = float(np.mean([row[side]["queries"] for row in rows.duels]))
    if rows.questions:
        told["agreeing"] = float(np.mean([row["agrees"] for row in rows.questions]))
        told["ambiguous"] = float(np.mean([row["label"] is None for row in rows.questions]))
        told |= {name: rows.questions[0][name] for name in ("sent_bytes", "received_bytes", "key_bytes")}
    return told
