"""Preflight: what a recipe would do, and what it would take. Reads configs and a few records; loads no weights."""

from __future__ import annotations

import importlib.util
import os
from itertools import islice
from pathlib import Path
from typing import Any

from burnish.align.generators.vllm import NO_VLLM
from burnish.align.pair_table import read_triplets
from burnish.align.probes import ProbeSet, read_probes
from burnish.align.recipe import ShapeRecipe
from burnish.align.records import Record
from burnish.align.sources import read_records
from burnish.align.truths import allowed_families
from burnish.align.vocabularies import load_vocabulary
from burnish.core.errors import UserError
from burnish.core.forecast import PAGE, TRL, Forecast
from burnish.core.hardware import flops_per_second
from burnish.core.metrics import bytes_shown, duration
from burnish.core.models import load_tokenizer, read_config, resolve, split_reference
from burnish.dialogue.sizes import count_parameters, training_memory
from burnish.dialogue.sources import rows

LOOKED_AT = 64
"""Records that are read to see whether the data is what the recipe takes it for."""
COUNTED = 100_000
"""Rows that are counted at most."""
SHARE = 0.3
"""How much of its limit an answer fills, on average: a guess, said as one."""
EFFICIENCY = 0.3
"""Part of a matrix product's rate that generation and training reach; a GPU is some hundred times faster."""
PAIR_TOKENS = 600
"""Of a pair, its picture twice: a guess."""
ANSWER_BYTES = 1_000
"""Of an answer and its view's description on disk (measured)."""
FILES = 40_000
"""Bytes of the small files of a round: tokenizer, table of pairs, figures (measured)."""


def check(recipe: ShapeRecipe) -> list[tuple[str, Any]]:
    """Rows for ``burnish check``.

    Raises:
        UserError: a model, data set, probe set or vocabulary that does not exist; a model that takes no images or has
            no chat template; no usable record, or one whose picture is a probe.
    """
    folder = resolve(split_reference(recipe.model)[0])
    config = read_config(folder)
    if "vision_config" not in config:
        raise UserError(f"model: {recipe.model}: takes no images; choose an image-text model")
    has_template = any((folder / name).exists() for name in ("chat_template.jinja", "chat_template.json"))
    if not has_template and not load_tokenizer(recipe.model).chat_template:
        raise UserError(f"{recipe.model}: it has no chat template; put chat_template.jinja beside it")
    vocabulary = load_vocabulary(recipe.vocabulary)
    probes = None
    if recipe.probe is not None:
        probes = read_probes(recipe.probe, vocabulary, most_pixels=recipe.most_pixels, seed=recipe.seed)
    size = count_parameters(folder, sees=True)
    if recipe.generator.engine == "vllm" and importlib.util.find_spec("vllm") is None:
        raise UserError(NO_VLLM)
    found: list[tuple[str, Any]] = [
        ("model", f"{(config.get('architectures') or ['?'])[0]}, {size / 1e6:,.2f} M parameters, takes images"),
        (
            "vocabulary",
            f"{recipe.vocabulary}: {len(vocabulary.entities):,} things, {len(vocabulary.kinds):,} attributes",
        ),
    ]
    if recipe.triplets is None:
        made, pairs, seconds = _factory(recipe, probes, size)
        found += made
    else:
        path = Path(recipe.triplets).expanduser()
        ready = list(islice(read_triplets(path / "triplets.jsonl" if path.is_dir() else path, recipe.system), COUNTED))
        pairs, seconds = len(ready), 0.0
        found.append(("triplets", f"{pairs:,} ready ones in {recipe.triplets}"))
    if recipe.train:
        found += _training(recipe, size)
    found.append(_probe(probes))
    return [*found, *forecast(recipe, size, pairs, seconds).rows()]


def forecast(recipe: ShapeRecipe, size: int, pairs: int, seconds: float) -> Forecast:
    """What all rounds will take. Of a round that is over its checkpoints are removed.

    Args:
        recipe: what is made and trained.
        size: parameters.
        pairs: of a round, at most.
        seconds: that generation takes.
    """
    rounds = recipe.rounds if recipe.train else 1
    answers = 0 if recipe.triplets is not None else pairs * recipe.views.views
    each = 2 if recipe.dtype == "bfloat16" else 4
    disk = PAGE + rounds * answers * ANSWER_BYTES
    if not recipe.train:
        return Forecast(TRL + size * each, disk, seconds)
    asked, adapter = recipe.training, recipe.adapter is not None
    memory = training_memory(size, recipe.dtype, adapter=adapter, reference=asked.reference == "model" and not adapter)
    seen = asked.steps * asked.batch if asked.steps else asked.epochs * pairs
    seconds += rounds * 6.0 * size * seen * PAIR_TOKENS / (EFFICIENCY * flops_per_second())
    weights = 0 if adapter else size * each
    return Forecast(TRL + memory, disk + rounds * (weights + FILES), seconds)


def _factory(recipe: ShapeRecipe, probes: ProbeSet | None, size: int) -> tuple[list[tuple[str, str]], int, float]:
    exclude = frozenset() if probes is None else probes.hashes
    settings = recipe.data.model_copy(update={"limit": min(LOOKED_AT, recipe.data.limit or LOOKED_AT)})
    records = list(read_records(settings, most_pixels=recipe.most_pixels, exclude=exclude))
    count, more = _count(recipe, len(records))
    rounds = recipe.rounds if recipe.train else 1
    answers = count * recipe.views.views
    summaries = count if recipe.pairs.winner == "summary" else 0
    tokens = (answers + summaries) * recipe.generator.tokens * rounds
    seconds = max(1.0, 2 * size * SHARE * tokens / (EFFICIENCY * flops_per_second()))
    words = sum(len(record.text.split()) for record in records) / len(records)
    said = [
        (
            "data",
            f"{recipe.data.source}; {count:,}{more} rows, of the first {len(records)} a text has {words:.1f} words",
        ),
        ("views", f"{recipe.views.views} a picture{_left_out(recipe, records)}"),
        ("winner", f"{recipe.pairs.winner}, against {recipe.pairs.loser}; margin {_or_none(recipe.pairs.margin)}"),
        (
            "a round",
            f"{answers:,} answers and {summaries:,} summaries of at most {recipe.generator.tokens:,} tokens, in shards "
            f"of {recipe.generator.records:,} records",
        ),
        (
            "generation",
            f"{rounds} rounds, at most {tokens:,} tokens; about {duration(seconds)} on this machine's processor if "
            f"{SHARE:.0%} of the limit is used, a hundredth of that on a GPU",
        ),
    ]
    return said, count, seconds


def _count(recipe: ShapeRecipe, known: int) -> tuple[int, str]:
    """Rows of the source, and a mark where there may be more; of a hub's data set only what was read is known."""
    source = recipe.data.source
    if not (Path(source).expanduser().exists() or ":" in source):
        return recipe.data.limit or known, "" if recipe.data.limit else " or more"
    bound = min(recipe.data.limit or COUNTED, COUNTED)
    count = sum(1 for _ in islice(rows(source, recipe.data.split, recipe.data.config), bound))
    return count, " or more" if count == COUNTED and recipe.data.limit is None else ""


def _left_out(recipe: ShapeRecipe, records: list[Record]) -> str:
    """What the rule on words leaves out, in the records that were read."""
    allowed = [allowed_families(record.question, record.text, recipe.views) for record in records]
    found = []
    for family in recipe.views.families:
        missing = sum(family not in each.families for each in allowed)
        if missing:
            found.append(f"{family} {missing / len(records):.0%}")
    return f"; left out for their words: {', '.join(found)}" if found else ""


def _training(recipe: ShapeRecipe, size: int) -> list[tuple[str, str]]:
    asked = recipe.training
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    adapter = recipe.adapter is not None
    second = asked.reference == "model" and not adapter
    memory = training_memory(size, recipe.dtype, adapter=adapter, reference=second)
    each = 2 if recipe.dtype == "bfloat16" else 4
    kept = 0 if adapter else 3 * max(2, recipe.keep)
    length = f"{asked.steps:,} steps" if asked.steps else f"{asked.epochs:g} epochs"
    rows = [
        (
            "training",
            f"{asked.loss}, beta {asked.beta:g}, {length} a round of {asked.batch * processes:,} pairs a step on "
            f"{processes} process(es); reference: {asked.reference}",
        ),
        (
            "for training",
            f"about {bytes_shown(memory)} in all for weights, gradients and optimizer; activations come on top",
        ),
        (
            "models",
            f"about {bytes_shown(size * each * recipe.rounds)} of models, and while a round is trained "
            f"{bytes_shown(size * each * kept)} of checkpoints",
        ),
    ]
    if recipe.dtype == "bfloat16" and not adapter:
        rows.append(
            ("precision", "weights in bfloat16: steps below 1e-5 round to nothing; float32, or an adapter, keeps them")
        )
    return rows


def _probe(probes: ProbeSet | None) -> tuple[str, str]:
    if probes is None:
        return "probe", "none: precision is not known, so no drift of it ends the rounds"
    things = sum(len(each.truth) for each in probes.pictures)
    return "probe", f"{len(probes.pictures):,} pictures with {things:,} things, {len(probes.probes):,} POPE questions"


def _or_none(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"
