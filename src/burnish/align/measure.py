"""A model on a probe set: what it describes, what it answers to POPE, and how far it agrees with itself over views.

All of it comes from texts, greedy ones but for the views, and adds up from whole counts: no figure depends on how many
pictures are asked together. Knows generators, probes and meters; knows no trainer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from PIL import Image

from burnish.align.factory import show_views
from burnish.align.facts import Reading, agreement
from burnish.align.meters import Described, describe
from burnish.align.pope import PopeScore, Split, score_pope
from burnish.align.probes import ProbePicture, ProbeSet
from burnish.align.reading import Vocabulary, read
from burnish.align.recipe import ProbeSettings
from burnish.align.records import Ask, Generator, Sampling
from burnish.align.settings import ViewSettings
from burnish.align.truths import allowed_families
from burnish.align.views import CLIP_MEAN, CLIP_STD, View, plan_views
from burnish.dialogue.rows import MOST_PIXELS

AT_ONCE = 256
"""Pictures that are opened and asked about together at most; a generator makes its own batches of them."""
MOST_OPEN = 1 << 25
"""Pixels of these pictures together; their views are several times as many, of three bytes each."""
POPE_TOKENS = 16
"""Longest answer to a question of yes or no."""


@dataclass(frozen=True)
class Measured:
    """A model on a probe set.

    Attributes:
        described: its descriptions against what is in the pictures.
        pope: its answers, by split.
        texts: the descriptions, in the order of the pictures.
        cut: descriptions that the limit of tokens ended.
        agreement: mean agreement of the answers on two views of a picture, in [0, 1]; none: not asked.
    """

    described: Described
    pope: Mapping[Split, PopeScore]
    texts: tuple[str, ...]
    cut: int
    agreement: float | None = None

    @property
    def shown(self) -> dict[str, float]:
        """The figures by name, as reports and tables show them."""
        named = {
            "recall": self.described.facts.recall,
            "precision": self.described.facts.precision,
            "chair_i": self.described.chair_i,
            "words": self.described.length,
            "facts_per_word": self.described.facts_per_word,
        }
        for split, score in self.pope.items():
            named |= {f"pope_{split}_f1": score.f1, f"pope_{split}_yes": score.yes_rate}
        return named | ({} if self.agreement is None else {"agreement": self.agreement})


def measure(
    generator: Generator,
    probes: ProbeSet,
    vocabulary: Vocabulary,
    settings: ProbeSettings,
    *,
    views: ViewAsking | None = None,
    most_pixels: int = MOST_PIXELS,
) -> Measured:
    """Describe every picture, answer every probe, and (with ``views``) describe the pictures' views too.

    Args:
        generator: the model.
        probes: on what.
        vocabulary: what texts may speak of.
        settings: what is asked, and how long a description may be.
        views: how views are made and answered; none leaves the agreement out.
        most_pixels: larger pictures are shrunk to this many.

    Raises:
        UserError: a picture that can no longer be read; a question that the model cannot take.
    """
    asked: dict[str, list[int]] = {}
    for place, probe in enumerate(probes.probes):
        asked.setdefault(probe.image, []).append(place)
    texts: list[str] = []
    said = [""] * len(probes.probes)
    described, cut, agreements = Described(), 0, list[float]()
    for part, images in _opened(probes.pictures, most_pixels):
        greedy = Sampling(tokens=settings.tokens)
        answers = generator.answer([Ask(settings.question, image) for image in images], greedy)
        cut += sum(answer.cut for answer in answers)
        for picture, answer in zip(part, answers, strict=True):
            texts.append(answer.text)
            described += describe(read(answer.text, vocabulary), picture.truth)
        places = [
            (place, image) for each, image in zip(part, images, strict=True) for place in asked.get(each.picture, ())
        ]
        short = Sampling(tokens=POPE_TOKENS)
        replies = generator.answer([Ask(probes.probes[place].question, image) for place, image in places], short)
        for (place, _), reply in zip(places, replies, strict=True):
            said[place] = reply.text
        if views is not None:
            agreements += views.agreements(generator, part, images, vocabulary, settings.question)
    mean = sum(agreements) / len(agreements) if agreements else None
    return Measured(described, score_pope(probes.probes, said), tuple(texts), cut, mean)


def _opened(
    pictures: Iterable[ProbePicture], most_pixels: int
) -> Iterator[tuple[list[ProbePicture], list[Image.Image]]]:
    """Pictures with their images, as many at a time as memory should hold."""
    part: list[ProbePicture] = []
    images: list[Image.Image] = []
    held = 0
    for each in pictures:
        image = each.open(most_pixels)
        size = image.width * image.height
        if part and (len(part) == AT_ONCE or held + size > MOST_OPEN):
            yield part, images
            part, images, held = [], [], 0
        part.append(each)
        images.append(image)
        held += size
    if part:
        yield part, images


@dataclass(frozen=True)
class ViewAsking:
    """How the views of a probe's picture are made and answered: as those of the training pictures.

    Attributes:
        settings: how many views, which families, how strong.
        sampling: how answers are sampled.
        seed: of the views and of the answers.
        mean: of the model's image processor, for noise.
        std: likewise.
    """

    settings: ViewSettings
    sampling: Sampling
    seed: int = 0
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD

    def agreements(
        self,
        generator: Generator,
        pictures: Sequence[ProbePicture],
        images: Sequence[Image.Image],
        vocabulary: Vocabulary,
        question: str,
    ) -> list[float]:
        """Mean agreement of two views of each picture, 0 to 1; nothing for a single view."""
        if self.settings.views < 2:
            return []
        plans = [self._plan(each, question) for each in pictures]
        made = show_views(list(zip(images, plans, strict=True)), self.mean, self.std)
        asks = [
            Ask(question, image, seed=view.key % 2**63)
            for row, views in zip(made, plans, strict=True)
            for image, view in zip(row, views, strict=True)
        ]
        answers = generator.answer(asks, self.sampling)
        read_answers = [read(answer.text, vocabulary) for answer in answers]
        count = self.settings.views
        return [_own(read_answers[start : start + count]) for start in range(0, len(read_answers), count)]

    def _plan(self, picture: ProbePicture, question: str) -> tuple[View, ...]:
        truth = ", ".join(map(str, picture.truth))  # a view must leave it true
        families = allowed_families(question, truth, self.settings).families
        return plan_views(picture.picture, families, self.settings, self.seed)


def _own(readings: Sequence[Reading]) -> float:
    pairs = list(combinations(readings, 2))
    return sum(agreement(first, second) for first, second in pairs) / len(pairs)


def sampled(
    generator: Generator, probes: ProbeSet, settings: ProbeSettings, *, seed: int, most_pixels: int = MOST_PIXELS
) -> list[str]:
    """A description of each picture drawn from the model's own distribution: temperature 1, no nucleus.

    Args:
        generator: the model.
        probes: on what.
        settings: what is asked, and how long a description may be.
        seed: of the draws.
        most_pixels: larger pictures are shrunk to this many.

    Raises:
        UserError: a picture that can no longer be read.
    """
    drawn = Sampling(settings.tokens, temperature=1.0)
    texts: list[str] = []
    for part, images in _opened(probes.pictures, most_pixels):
        asks = [
            Ask(settings.question, image, (seed + int(each.picture[:15], 16)) % 2**63)
            for each, image in zip(part, images, strict=True)
        ]
        texts += [answer.text for answer in generator.answer(asks, drawn)]
    return texts
