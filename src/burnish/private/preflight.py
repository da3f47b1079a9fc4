"""Preflight: what a recipe would do. Reads texts and the model's configuration, no weights; encrypts nothing."""

from __future__ import annotations

from typing import Any

from burnish.core.files import told_together
from burnish.core.forecast import PAGE, TORCH, Forecast, checkpoint_bytes
from burnish.core.hardware import flops_per_second
from burnish.private.encryption.openfhe import library
from burnish.private.ensemble.aggregates import PROXY_DEGREES
from burnish.private.ensemble.plan import make_plan
from burnish.private.loop import open_encoder
from burnish.private.prompts import make_prompts
from burnish.private.recipe import SecpeRecipe
from burnish.private.selection import refuse_count
from burnish.private.texts import read_texts, split_texts

EFFICIENCY = 0.5
"""Part of a matrix product's rate that a small encoder reaches on one thread; a GPU is 100 times faster."""
TEXT_SECONDS = 0.002
"""A text through the smallest encoder."""
KEY_COPIES = 8
"""How often the keys' bytes lie in memory at the peak: packed and unpacked, of client and server (measured)."""
ROW_BYTES = 4000
"""What is kept of an attacked text: in the attacks, in a checkpoint, in the report."""


def check(recipe: SecpeRecipe) -> list[tuple[str, Any]]:
    """Rows for ``burnish check``.

    Raises:
        UserError: texts, model, prompts or an eps that do not go together.
    """
    import numpy as np

    texts, encoder = told_together(lambda: read_texts(recipe.data), lambda: open_encoder(recipe.encoder, weights=False))
    split_texts(texts, recipe.data, np.random.default_rng(0))
    prompts = make_prompts(recipe.prompts.templates, recipe.prompts.words, texts.classes)
    encoder.check(prompts)
    refuse_count(recipe.ensemble.prompts, len(prompts))
    data, attack = recipe.data, recipe.attack
    count = data.train + 2 * data.validation + data.test
    plan = make_plan(
        recipe.ensemble.prompts,
        len(texts.classes),
        encoder.width,
        recipe.encryption.eps,
        recipe.ensemble.aggregate,
        proxy_degree=max(PROXY_DEGREES) if recipe.ensemble.aggregate == "probabilities" else 0,
    )
    weights = encoder.flops_weights
    mean = min(encoder.max_tokens, 16 + float(np.mean([len(text) for text in texts.texts[:1000]])) / 4)
    forwards = count * len(prompts) + attack.texts * attack.budget * (1 + recipe.ensemble.prompts)
    seconds = forwards * max(TEXT_SECONDS, 2 * weights * mean / (EFFICIENCY * flops_per_second()))
    if recipe.encryption.backend == "openfhe":
        library()
    parameters, keys = plan.parameters, len(plan.rotations) + 1
    # How far the certain bound lies above one that is seen, no one knows before the heads are fitted.
    calibrated = recipe.heads.bound == "calibrated" and recipe.ensemble.aggregate in ("logits", "weighted")
    encrypted = 0 if recipe.encryption.backend == "clear" else KEY_COPIES * keys * parameters.key_bytes
    taken = Forecast(
        memory_bytes=int(TORCH + 4 * sum(each.numel() for each in encoder.model.parameters()) + encrypted),
        disk_bytes=int(
            PAGE
            + ROW_BYTES * attack.texts
            + 4 * count * len(prompts) * encoder.width
            + checkpoint_bytes(recipe, ROW_BYTES * attack.texts, seconds)
        ),
        seconds=seconds,
    )
    least = "; at least: `heads.bound: calibrated` takes a few levels more, perhaps the next ring" if calibrated else ""
    return [
        (
            "texts",
            f"{data.source}: {len(texts.texts):,} of {len(texts.classes)} classes ({', '.join(texts.classes)[:80]})",
        ),
        ("parts", f"{data.train:,} to fit on, {data.validation:,} to choose by, {data.test:,} to measure on"),
        ("encoder", f"{type(encoder.model).__name__}, vectors of {encoder.width}, {encoder.pooling} pooling"),
        ("prompts", f"{recipe.ensemble.prompts} of {len(prompts)} candidates, by {recipe.ensemble.aggregate}"),
        (
            "attacks",
            f"{attack.texts} texts, {attack.budget} queries each, on the best single prompt and on the ensemble",
        ),
        (
            "encryption",
            f"ring {parameters.ring}, {parameters.levels} levels of {parameters.scale_bits} bits, 128-bit secure: eps "
            f"{recipe.encryption.eps:g} of the bound is told" + least,
        ),
        (
            "keys",
            f"{keys}, {parameters.key_bytes / 1e6:,.0f} MB each; a question of "
            f"{plan.packing.parts * parameters.ciphertext_bytes(parameters.levels) / 1e6:,.1f} MB",
        ),
        ("encoder's work", f"{forwards:,} texts, on one thread"),
        *taken.rows(),
    ]
