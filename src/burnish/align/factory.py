"""The triplet factory: a stream of records in, shards of pairs out; views, answers, summaries and winners between.

What a shard holds depends on its records, the settings and the model alone, not on batches, so one that a killed run
lacks comes out as it would have. Knows the rooms of align; of the model it knows the protocol.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from burnish.align.cases import Case, Heard
from burnish.align.gate import Candidates, form_pair
from burnish.align.generators.counts import CountingGenerator
from burnish.align.reading import Vocabulary
from burnish.align.recipe import GeneratorSettings
from burnish.align.records import Answer, Ask, Record, Sampling
from burnish.align.settings import PairSettings, ViewSettings
from burnish.align.store import Shards, TripletSet
from burnish.align.summary import summary_prompt, wants_summary
from burnish.align.truths import Allowed, allowed_families
from burnish.align.views import CLIP_MEAN, CLIP_STD, View, make_views, plan_views
from burnish.core.streams import batched

MOST_FLOATS = 1 << 25
"""Values of the views that are made at once, and that arithmetic holds a few times over: 128 MiB."""
MOST_BYTES = 1 << 28
"""Bytes of the views that wait to be answered."""


@dataclass(frozen=True)
class FactoryPlan:
    """All that decides what is made of a record, but for the model.

    Attributes:
        views: how pictures are changed.
        pairs: which text wins, which loses, what is kept.
        generator: how answers are written; of these, ``batch`` decides nothing.
        vocabulary: what texts may speak of.
        seed: of views and answers.
        mean: of the model's image processor, for noise.
        std: likewise.
        system: system turn of the prompts that are written down; none leaves it out.
    """

    views: ViewSettings
    pairs: PairSettings
    generator: GeneratorSettings
    vocabulary: Vocabulary
    seed: int = 0
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD
    system: str | None = None

    @property
    def digest(self) -> str:
        """The same for plans that make the same."""
        groups = (self.views, self.pairs, self.generator)
        settings = [group.model_dump(mode="json", exclude={"batch"}) for group in groups]
        words = [[*phrase, kind, name] for phrase, (kind, name) in self.vocabulary.phrases.items()]
        told = json.dumps([settings, words, self.seed, self.mean, self.std, self.system], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class _Planned:
    """A record and the views that it will get."""

    record: Record
    allowed: Allowed
    views: tuple[View, ...]

    @property
    def values(self) -> int:
        """Of all its views."""
        return 3 * self.record.image.width * self.record.image.height * len(self.views)


def make_triplets(
    records: Iterable[Record],
    generator: CountingGenerator,
    plan: FactoryPlan,
    folder: Path,
    *,
    progress: Callable[[Iterable[Any], str], Iterable[Any]] = lambda items, _label: items,
    after_shard: Callable[[], object] = lambda: None,
) -> TripletSet:
    """Make a pair of every record that yields one. Called again on the same folder, it makes what is missing.

    Args:
        records: of :func:`burnish.align.sources.read_records`; read as a stream, a shard at a time, on every call, so
            that no shard of other records is taken for theirs.
        generator: the model.
        plan: the settings.
        folder: where the triplets go.
        progress: shows how far the loop over shards is, as :meth:`burnish.core.run.Run.progress`.
        after_shard: called after each; what it raises ends the work, and no shard is lost.

    Returns:
        The set; its tally says whether it is fit to be trained on.

    Raises:
        UserError: the folder holds shards of other records or settings; what records and generator raise.
        BurnishError: the disk is full; the shards before are whole.
    """
    shards = Shards(folder, plan.digest, plan.system)
    for number, batch in enumerate(progress(batched(records, plan.generator.records), "shards")):
        if not shards.holds(number, batch):
            before = generator.counts
            cases = list(make_cases(batch, generator, plan))
            shards.write(number, batch, cases, generator.counts - before)
        after_shard()
    return shards.finish()


def make_cases(records: Sequence[Record], generator: CountingGenerator, plan: FactoryPlan) -> Iterator[Case]:
    """What becomes of each record of a shard.

    Args:
        records: a few; their views are made and answered together.
        generator: the model.
        plan: the settings.

    Source: SHAPE, the making of triplets; views, prompt and gate are ours.
    """
    planned = [_planned(record, plan) for record in records]
    answers = _answered(planned, generator, plan)
    candidates = [
        Candidates(each.record.sample, each.record.question, each.record.text, tuple(answer.text for answer in found))
        for each, found in zip(planned, answers, strict=True)
    ]
    summaries = _summaries(candidates, generator, plan)
    for each, found, case in zip(planned, answers, candidates, strict=True):
        summary = summaries.get(case.sample)
        if summary is not None:
            case = replace(case, summary=summary.text, summary_cut=summary.cut)
        record = each.record
        yield Case(
            record.sample,
            record.picture,
            record.row,
            record.question,
            record.text,
            tuple(Heard(view.family, view.parameters, answer) for view, answer in zip(each.views, found, strict=True)),
            {str(family): words for family, words in each.allowed.excluded.items()},
            summary,
            form_pair(case, plan.vocabulary, plan.pairs),
        )


def _planned(record: Record, plan: FactoryPlan) -> _Planned:
    allowed = allowed_families(record.question, record.text, plan.views)
    return _Planned(record, allowed, plan_views(record.sample, allowed.families, plan.views, plan.seed))


def _answered(planned: Sequence[_Planned], generator: CountingGenerator, plan: FactoryPlan) -> list[list[Answer]]:
    """The answers on each record's views; as many records at a time as their views fit into memory."""
    settings = plan.generator
    sampling = Sampling(settings.tokens, settings.temperature, settings.top_p)
    found: list[list[Answer]] = []
    for portion in _portions(planned):
        shown = show_views([(each.record.image, each.views) for each in portion], plan.mean, plan.std)
        asks = [
            Ask(each.record.question, image, _seed(plan.seed, view))
            for each, images in zip(portion, shown, strict=True)
            for view, image in zip(each.views, images, strict=True)
        ]
        answers = iter(generator.answer(asks, sampling))
        found += [list(islice(answers, len(each.views))) for each in portion]
    return found


def _summaries(candidates: Sequence[Candidates], generator: CountingGenerator, plan: FactoryPlan) -> dict[str, Answer]:
    """The model's summaries by sample, of those records that lack nothing else."""
    wanting = [case for case in candidates if wants_summary(case, plan.vocabulary, plan.pairs)]
    asks = []
    for case in wanting:
        # the original is one view more where it votes
        texts = [*case.answers, case.original] if plan.pairs.original_votes else case.answers
        asks.append(Ask(summary_prompt(plan.generator.summary, case.question, texts), None))
    answers = generator.answer(asks, Sampling(plan.generator.tokens)) if asks else []
    return {case.sample: answer for case, answer in zip(wanting, answers, strict=True)}


def show_views(
    pictures: Sequence[tuple[Image.Image, Sequence[View]]],
    mean: tuple[float, float, float] = CLIP_MEAN,
    std: tuple[float, float, float] = CLIP_STD,
) -> list[list[Image.Image]]:
    """The views of each picture, as pictures. Those of one size are made together.

    Args:
        pictures: with their plans.
        mean: of the model's image processor, for noise.
        std: likewise.
    """
    sizes: dict[tuple[int, int], list[int]] = {}
    for number, (image, _) in enumerate(pictures):
        sizes.setdefault(image.size, []).append(number)
    found: dict[int, list[Image.Image]] = {}
    for (width, height), numbers in sizes.items():
        most = max(len(pictures[number][1]) for number in numbers)
        at_once = max(1, MOST_FLOATS // (3 * width * height * most))
        for start in range(0, len(numbers), at_once):
            some = numbers[start : start + at_once]
            values = np.stack([np.asarray(pictures[number][0].convert("RGB")) for number in some])
            images = torch.from_numpy(values).permute(0, 3, 1, 2).float() / 255
            made = make_views(images, [pictures[number][1] for number in some], mean=mean, std=std)
            pixels = iter((made * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy())
            for number in some:
                found[number] = [Image.fromarray(each) for each in islice(pixels, len(pictures[number][1]))]
    return [found[number] for number in range(len(pictures))]


def _portions(planned: Sequence[_Planned]) -> Iterator[list[_Planned]]:
    waiting: list[_Planned] = []
    for each in planned:
        if waiting and sum(other.values for other in waiting) + each.values > MOST_BYTES:
            yield waiting
            waiting = []
        waiting.append(each)
    if waiting:
        yield waiting


def _seed(seed: int, view: View) -> int:
    """Of an answer's noise, which has nothing of the view's own."""
    told = f"answer {seed} {view.sample} {view.number}"
    return int.from_bytes(hashlib.sha256(told.encode()).digest()[:8], "big")
