"""MINT from a recipe in a run folder: read samples, build the model, train the stages, draw, save."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from burnish.core.errors import UserError
from burnish.core.method import import_object
from burnish.core.models import load_tokenizer, read_config, resolve
from burnish.core.run import Run
from burnish.generate.artist import DrawSettings, ModelArtist, set_wording
from burnish.generate.codecs.latent import LatentCodec
from burnish.generate.codecs.opening import open_codec
from burnish.generate.config import UnifiedConfig
from burnish.generate.folder import Unified, check_codec, load_unified
from burnish.generate.initial import from_scratch, from_text, routing_table
from burnish.generate.plan import Wording
from burnish.generate.plan_file import to_yaml
from burnish.generate.recipe import MintRecipe
from burnish.generate.script import Script
from burnish.generate.steps.chain import Policy, run_chain
from burnish.generate.steps.outcome import outcome
from burnish.generate.steps.state import State
from burnish.generate.training.defects import pixels_of
from burnish.generate.training.samples import read_each_once, read_samples
from burnish.generate.training.trainer import Trainer

SHOWN = 6
"""Prompts of the test set that are drawn at the end."""
CARD = """---
library_name: burnish
pipeline_tag: text-to-image
tags: [mint, unified-model]
---
A unified model that plans, draws, describes, reflects and corrects (`burnish run`, MINT): {steps} steps from {base},
seed {seed}. Draw with `burnish generate draw "..." --model FOLDER`.
"""


def train(recipe: MintRecipe, run: Run) -> Path:
    """Train a unified model. Returns its folder.

    Raises:
        UserError: data, model or settings that do not go together.
        BurnishError: a loss that is no number (the samples are named), or a full disk.
        Interrupted: a stop signal came; the state is saved.
    """
    if run.finished:
        return run.path / "artifacts" / "model"
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=recipe.device == "cpu", mixed_precision="no")
    torch.manual_seed(recipe.seed % 2**63)
    unified = start_model(recipe)
    if recipe.model.base is None:
        run.note("TRAINING STARTS FROM SCRATCH: `model.base` names no checkpoint, so all weights are random")
    else:
        run.note(f"every expert starts from {recipe.model.base}")
    if isinstance(unified.codec, LatentCodec):
        unified.codec.model.to(accelerator.device)
    sources = [stage.data or recipe.data for stage in recipe.stages]
    samples = read_each_once(sources, recipe.wording, unified.codec.size, run.note)
    test = read_samples(recipe.test, recipe.wording, unified.codec.size, run.note) if recipe.test is not None else []
    script = Script(unified.tokenizer, recipe.wording)
    shards = run.path / "checkpoints"
    trainer = Trainer(recipe, unified.model, script, unified.codec, samples, accelerator, test, shards)
    start = run.restore(trainer)
    for step, logged in enumerate(run.progress(trainer.units(), "steps", trainer.steps), start):
        run.log(step, **logged)
        run.checkpoint(step, trainer)
    weights = trainer.finished_weights()
    finished = unified
    if run.is_main:
        model = type(unified.model)(unified.model.config)
        model.load_state_dict(weights)
        finished = replace(unified, model=model.to(accelerator.device).eval())
        prompts = [sample.prompt for sample in (test or samples[-1])[:SHOWN]]
        show(finished, prompts, run)
    return run.save_model(
        finished, card=CARD.format(steps=trainer.steps, base=recipe.model.base or "scratch", seed=recipe.seed)
    )


def start_model(recipe: MintRecipe) -> Unified:
    """The model that training starts from, with its tokenizer and codec.

    Raises:
        UserError: no tokenizer, or a base, codec and routing that do not fit each other.
    """
    settings = recipe.model
    if settings.base is not None:
        folder = resolve(settings.base)
        if read_config(folder).get("model_type") == UnifiedConfig.model_type:
            unified = load_unified(folder, routing_table(settings.routing), dtype="float32")
            if unified.tokenizer is None:
                unified = replace(unified, tokenizer=_tokenizer(recipe))
            check_codec(unified.model, unified.codec, str(folder))
            set_wording(unified, recipe.wording)
            return unified
    codec = open_codec(settings.codec)
    tokenizer = _tokenizer(recipe)
    if settings.base is None:
        model = from_scratch(settings, codec, len(tokenizer))
    else:
        known = int(read_config(resolve(settings.base)).get("vocab_size", 0))
        model = from_text(settings, codec, max(known, len(tokenizer)))
    unified = Unified(model, codec, tokenizer)
    set_wording(unified, recipe.wording)
    if settings.base is None and not unified.model.places.is_meta:  # a check has no numbers to begin from
        begin_places(unified, recipe.wording)
    return unified


@torch.no_grad()
def begin_places(unified: Unified, wording: Wording) -> None:
    """In a model from scratch, words for places begin as the codes of the patches there: what a plan says and what is
    drawn then speak of a place alike from the first step, which they else have to find out."""
    rows, columns = unified.codec.grid
    model, unknown = unified.model, unified.tokenizer.unk_token_id
    for word, box in wording.places.items():
        token = unified.tokenizer.convert_tokens_to_ids(word)
        if token is None or token == unknown:
            continue
        top, left, bottom, right = pixels_of(box, (rows, columns))
        inside = torch.zeros(rows, columns, dtype=torch.bool, device=model.places.device)
        inside[top:bottom, left:right] = True
        model.embedding.weight[token] = model.places[inside.flatten()].mean(0)


def _tokenizer(recipe: MintRecipe) -> Any:
    name = recipe.tokenizer or recipe.model.base
    if name is None:
        raise UserError("tokenizer: not given, and no model.base has one; name a folder, a hub id or module:function")
    if ":" in name and not Path(name).expanduser().exists():
        return import_object(name, "tokenizer")()
    return load_tokenizer(name)


def show(unified: Unified, prompts: Sequence[str], run: Run) -> None:
    """Draw prompts with all thoughts; pictures of the steps, plans and counts go to the run's artifacts."""
    from burnish.generate.steps_picture import steps_figure

    artist = ModelArtist(unified, DrawSettings(constrained=False))
    states = [State(prompt, number) for number, prompt in enumerate(prompts)]
    done = run_chain(states, artist, Policy())
    memory = io.BytesIO()
    steps_figure(done).savefig(memory, format="png", dpi=120, bbox_inches="tight", metadata={"Software": None})
    run.artifact("steps.png", memory.getvalue())
    for number, state in enumerate(done):
        if state.plan is not None:
            run.artifact(f"plans/{number}.yaml", to_yaml(state.plan, artist.wording, state.prompt))
    run.artifact("outcome.json", {**outcome(done).row(), "prompts": list(prompts)})
