"""All figures of a model after a round, from its texts and from the distribution behind them.

Whatever engine writes the answers of the factory, these are transformers' own: it gives the same answer in any batch,
and no server's model is measured for the one that was trained. Opens models; knows no run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from burnish.align.drift import Scores, divergence, score_answers
from burnish.align.engines import normalisation, open_model
from burnish.align.generators.transformers import TransformersGenerator
from burnish.align.measure import ViewAsking, measure, sampled
from burnish.align.probes import ProbeSet
from burnish.align.reading import Vocabulary
from burnish.align.recipe import ProbeSettings, ShapeRecipe
from burnish.align.records import Sampling
from burnish.dialogue.models import ChatModel
from burnish.dialogue.rows import Question


def figures_of(
    recipe: ShapeRecipe,
    settings: ProbeSettings,
    model: str | Path,
    probes: ProbeSet,
    vocabulary: Vocabulary,
    note: Callable[[str], object] = lambda _line: None,
) -> dict[str, Any]:
    """Describe, answer and sample on the probes, and compare with the model that the recipe starts from.

    Args:
        recipe: of the run.
        settings: its probe settings.
        model: what is measured.
        probes: on what.
        vocabulary: what texts may speak of.
        note: told once why something is slower than it could be.

    Returns:
        As JSON can hold it: ``figures`` by name (``entropy`` and ``kl`` in nats a token), the ``counts`` that they come
        from, the greedy ``texts`` and the ``sampled`` ones in the order of the pictures.

    Raises:
        UserError: a model or a picture that cannot be read.
    """
    chat = open_model(recipe, model)
    generator = TransformersGenerator(chat, system=recipe.system, batch=recipe.generator.batch, note=note)
    asked = recipe.generator
    sampling = Sampling(min(settings.tokens, asked.tokens), asked.temperature, asked.top_p)
    views = ViewAsking(recipe.views, sampling, recipe.seed, *normalisation(model))
    measured = measure(generator, probes, vocabulary, settings, views=views, most_pixels=recipe.most_pixels)
    answers = sampled(generator, probes, settings, seed=recipe.seed, most_pixels=recipe.most_pixels)
    questions = [Question(settings.question, "", images=(each.image,), row=each.row) for each in probes.pictures]
    batch = recipe.training.micro_batch or recipe.training.batch

    def score(judge: ChatModel) -> Scores:
        return score_answers(judge, questions, answers, recipe.system, batch=batch, most_pixels=recipe.most_pixels)

    own = score(chat)
    kl = 0.0
    if str(model) != recipe.model:
        del generator, chat  # one model at a time
        kl = divergence(own, score(open_model(recipe, recipe.model)))
    pope = {split: asdict(score) for split, score in measured.pope.items()}
    return {
        "figures": {**measured.shown, "entropy": own.entropy, "kl": kl},
        "counts": {"described": asdict(measured.described), "cut": measured.cut, "pope": pope},
        "texts": list(measured.texts),
        "sampled": answers,
    }
