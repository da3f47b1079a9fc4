"""One world of the shape study: its scenes, how models are measured on them, and its start with its answers on views.

The start and its answers are made once and lie in a folder; every arm of the world begins with both.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from burnish.align.factory import FactoryPlan, make_triplets
from burnish.align.facts import Fact, Thing, merge, vote
from burnish.align.generators.transformers import TransformersGenerator
from burnish.align.measure import measure
from burnish.align.meters import Described, describe, share
from burnish.align.pope import pope_probes
from burnish.align.probes import ProbePicture, ProbeSet
from burnish.align.reading import Vocabulary, read
from burnish.align.recipe import GeneratorSettings, ProbeSettings
from burnish.align.records import Record, make_record, picture_hash
from burnish.align.settings import PairSettings, ViewSettings
from burnish.align.store import TripletSet, open_triplets
from burnish.align.winners import render, truncate
from burnish.core.files import folder_atomic, write_atomic
from burnish.core.parallel import one_thread
from burnish.dialogue.models import ChatModel, load_chat_model
from burnish.studies.shape.records import Regime, StartCell, Texts, Worth
from burnish.testbeds.scene_model import Spend, train_model
from burnish.testbeds.scenes import (
    PROBE,
    PROBES,
    QUESTION,
    SHAPE_WORLD,
    TRAINING,
    Scene,
    World,
    captioned,
    stream_scenes,
    vocabulary_of,
)
from burnish.testbeds.sprites import sprite_world

TOKENS = 32
"""Longest answer: four things take 25."""
APART = 10_000
"""Between the seeds of two worlds' scenes; a stream takes one a few hundred scenes."""
VALIDATION = 5_000
"""From the seed of a world's test scenes to that of the scenes by which learning rates are chosen."""


class WorldDesign(NamedTuple):
    """What a size spends on a world before any arm.

    Attributes:
        spend: on a fit start.
        weak: on a weak one; none leaves this regime out.
        records: captioned scenes of a round.
        views: of each.
        temperature: of the answers.
        tests: scenes on which arms are compared.
        validation: scenes by which learning rates are chosen.
        sprites: real pictures (emoji and stamps) instead of plain shapes.
    """

    spend: Spend = Spend()
    weak: Spend | None = Spend(seeing=0, steps=300)
    records: int = 320
    views: int = 4
    temperature: float = 1.0
    tests: int = 300
    validation: int = 150
    sprites: bool = False


class WorldJob(NamedTuple):
    """A start to make.

    Attributes:
        world: its seed.
        regime: how long it is trained.
        design: the rest.
        folder: of all starts.
    """

    world: int
    regime: Regime
    design: WorldDesign
    folder: Path

    @property
    def path(self) -> Path:
        """The start's own folder."""
        return self.folder / f"{self.world}-{self.regime}"


@lru_cache(maxsize=2)
def scenes_of(sprites: bool) -> World:
    """What scenes are made of."""
    return sprite_world() if sprites else SHAPE_WORLD


@lru_cache(maxsize=2)
def words_of(sprites: bool) -> Vocabulary:
    """What their captions speak of."""
    return Vocabulary(**vocabulary_of(scenes_of(sprites)))


class Shown(NamedTuple):
    """A record and all that is in its picture."""

    record: Record
    truth: tuple[Thing, ...]


def draw_records(job: WorldJob, round_number: int) -> list[Shown]:
    """The captioned scenes of a round (0 is the first), whose truth only the study knows."""
    world, count = scenes_of(job.design.sprites), job.design.records
    seed = TRAINING + APART * job.world
    scenes, questions = stream_scenes(2 * count, seed, world), captioned(2 * count, seed, world)
    found = []
    for scene, question in zip(scenes, questions, strict=True):
        found.append(Shown(make_record(scene.image, question.question, question.answer, question.row), truth_of(scene)))
    return found[round_number * count : (round_number + 1) * count]


def truth_of(scene: Scene) -> tuple[Thing, ...]:
    """What is in a scene, in align's terms."""
    return tuple(Thing(name, tuple(sorted(attributes))) for name, attributes in scene.truth)


def probe_set(job: WorldJob, *, validation: bool) -> ProbeSet:
    """Scenes on which models are measured, with POPE's questions (none for choosing learning rates)."""
    world, design = scenes_of(job.design.sprites), job.design
    seed = PROBES + APART * job.world + VALIDATION * validation
    pictures = []
    for scene in stream_scenes(design.validation if validation else design.tests, seed, world):
        picture = picture_hash(scene.image)
        pictures.append(ProbePicture(picture, scene.image, truth_of(scene), f"scene of seed {seed}"))
    if validation:
        return ProbeSet(tuple(pictures), ())
    labels = {each.picture: [str(thing) for thing in each.truth] for each in pictures}
    things = {str(Thing(*thing)): [str(Thing(*other)) for other in world.near(thing)] for thing in world.things}
    return ProbeSet(tuple(pictures), tuple(pope_probes(labels, each=1, seed=job.world, near=things, template=PROBE)))


@dataclass(frozen=True)
class Measures:
    """A model on one set of scenes.

    Attributes:
        described: its descriptions against the truth.
        pope: mean F1 over splits, and mean share of yeses; 0 where nothing was asked.
        texts: the descriptions.
    """

    described: Described
    pope: tuple[float, float]
    texts: tuple[str, ...]


def measure_on(chat: ChatModel, job: WorldJob, probes: ProbeSet) -> Measures:
    """Greedy descriptions, and POPE where there are probes."""
    asked = ProbeSettings(source="", question=QUESTION, tokens=TOKENS)
    found = measure(TransformersGenerator(chat, batch=256), probes, words_of(job.design.sprites), asked)
    scores = list(found.pope.values())
    pope = [sum(values) / max(1, len(scores)) for values in ([s.f1 for s in scores], [s.yes_rate for s in scores])]
    return Measures(found.described, (pope[0], pope[1]), found.texts)


def worth_of(found: Measures, starts: Sequence[str], job: WorldJob, probes: ProbeSet) -> Worth:
    """What a model is worth.

    Args:
        found: on the test scenes.
        starts: the start's own descriptions of them, whose lengths the model's are cut to.
        job: the world.
        probes: the test scenes.
    """
    words = words_of(job.design.sprites)
    cut = [truncate(text, len(read(start, words).words)) for text, start in zip(found.texts, starts, strict=True)]
    told = texts_against(cut, [each.truth for each in probes.pictures], words)
    described = found.described
    return Worth(
        **counted(described).model_dump(),
        within=told.recall,
        right_a_word=share(described.facts.right, described.words),
        repeated=share(described.repeated, described.mentions),
        pope=found.pope[0],
        pope_yes=found.pope[1],
    )


def counted(found: Described) -> Texts:
    """The counts that claims speak of, as shares."""
    return Texts(recall=found.facts.recall, precision=found.facts.precision, words=found.length)


def texts_against(texts: Iterable[str], truths: Iterable[Sequence[Thing]], words: Vocabulary) -> Texts:
    """Texts against the truths of their pictures."""
    pairs = zip(texts, truths, strict=True)
    return counted(sum((describe(read(text, words), truth) for text, truth in pairs), Described()))


def view_settings(design: WorldDesign) -> ViewSettings:
    """The first view is the picture itself, as SeVa's winner needs it; the others are changed."""
    return ViewSettings(views=design.views, clean=True)


def answer_views(chat: ChatModel, shown: Sequence[Shown], job: WorldJob, folder: Path) -> TripletSet:
    """The model's answers on the views of records, by the product's factory; any pair will do, arms form their own."""
    plan = FactoryPlan(
        views=view_settings(job.design),
        pairs=PairSettings(winner="merger", threshold=1, margin=None),
        generator=GeneratorSettings(temperature=job.design.temperature, tokens=TOKENS),
        vocabulary=words_of(job.design.sprites),
        seed=job.world,
    )
    generator = TransformersGenerator(chat, batch=256)
    return make_triplets([each.record for each in shown], generator, plan, folder)


def cell_file(job: WorldJob) -> Path:
    """The file that is there once a start is made: what was measured of it."""
    return job.path / "start.json"


def make_start(job: WorldJob) -> None:
    """Train a start, have it answer the views of both rounds' records, measure it."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    started = time.process_time()
    design = job.design
    spend = design.weak if job.regime == "weak" and design.weak is not None else design.spend
    with one_thread(), folder_atomic(job.path) as work:
        chat = train_model(job.world, spend, scenes_of(design.sprites))
        chat.model.save_pretrained(work / "model")
        chat.processor.save_pretrained(work / "model")
        shown = [draw_records(job, number) for number in (0, 1)]
        answered = [answer_views(chat, each, job, work / f"answers-{number}") for number, each in enumerate(shown)]
        probes = probe_set(job, validation=False)
        found = measure_on(chat, job, probes)
        write_atomic(work / "texts.txt", "".join(f"{text}\n" for text in found.texts))
        cell = StartCell(
            world=job.world,
            regime=job.regime,
            worth=worth_of(found, found.texts, job, probes),
            **_heard(shown[0], answered[0], job),
            seconds=time.process_time() - started,
        )
        write_atomic(work / "start.json", cell.model_dump_json())


def _heard(shown: Sequence[Shown], answered: TripletSet, job: WorldJob) -> dict[str, Any]:
    """What the answers on views are worth, one by one and together."""
    words = words_of(job.design.sprites)
    truths = [each.truth for each in shown]
    answers: dict[str, Described] = {}
    voted = dict.fromkeys(range(1, job.design.views + 1), Described())
    seen = true = 0
    for case, truth in zip(answered.cases(), truths, strict=True):
        readings = [read(view.answer.text, words) for view in case.heard]
        for view, reading in zip(case.heard, readings, strict=True):
            answers[view.family] = answers.get(view.family, Described()) + describe(reading, truth)
        facts = frozenset[Fact]().union(*(thing.facts for thing in truth))
        seen += len(facts & frozenset[Fact]().union(*(reading.facts for reading in readings)))
        true += len(facts)
        for threshold in voted:
            text = render(merge(readings, vote(readings, threshold).agreed), "sentence")
            voted[threshold] += describe(read(text, words), truth)
    return {
        "originals": texts_against([each.record.text for each in shown], truths, words),
        "answers": counted(sum(answers.values(), Described())),
        "families": {family: counted(found) for family, found in sorted(answers.items())},
        "ceiling": share(seen, true),
        "voted": {str(threshold): counted(found) for threshold, found in voted.items()},
    }


class Start(NamedTuple):
    """What an arm begins with.

    Attributes:
        texts: the start's descriptions of the test scenes.
        cell: what was measured of it.
        answers: on the views of each round's records.
    """

    texts: list[str]
    cell: StartCell
    answers: tuple[TripletSet, TripletSet]


def load_start(job: WorldJob) -> Start:
    """A start that was made."""
    texts = (job.path / "texts.txt").read_text().split("\n")[:-1]
    cell = StartCell.model_validate_json(cell_file(job).read_bytes())
    return Start(texts, cell, (open_triplets(job.path / "answers-0"), open_triplets(job.path / "answers-1")))


def start_model(job: WorldJob) -> ChatModel:
    """The start itself, anew on every call."""
    return load_chat_model(job.path / "model", dtype="float32", device="cpu")


def random_numbers(world: int, arm: str) -> np.random.Generator:
    """Random numbers of an arm's own."""
    return np.random.default_rng([world, 67, *arm.encode()])
