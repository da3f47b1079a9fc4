"""One arm of the shape study in one world: its pairs or texts, training at every learning rate of the grid, its worth.

All arms of a world start from the same weights and learn from the same records; those that need answers on views share
the start's, so that they have all generated the same tokens. They take the same number of optimizer steps of the same
size (twice as many where two rounds are compared). Learning rates are chosen on other scenes, preference arms from one
grid, supervised ones from another.
"""

from __future__ import annotations

import copy
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from burnish.align.cases import Case
from burnish.align.gate import Candidates, Pair, form_pair
from burnish.align.preference import align_in_memory
from burnish.align.reading import normal_words
from burnish.align.recipe import ShapeRecipe
from burnish.align.records import Triplet
from burnish.align.settings import PairSettings
from burnish.core.parallel import one_thread
from burnish.dialogue.models import ChatModel
from burnish.studies.shape.records import (
    CAPTIONS,
    GATED,
    LONGEST,
    PUBLISHED,
    RANDOM,
    SECOND,
    SEVA,
    TWICE,
    WINNERS,
    ArmCell,
    Pairs,
    Trained,
    Worth,
)
from burnish.studies.shape.world import (
    Shown,
    Start,
    WorldJob,
    answer_views,
    draw_records,
    load_start,
    measure_on,
    probe_set,
    random_numbers,
    scenes_of,
    start_model,
    texts_against,
    words_of,
    worth_of,
)
from burnish.testbeds.scene_model import pixel_values, teach
from burnish.testbeds.scenes import QUESTION

SUMMARISED: Mapping[str, Any] = {"winner": "merger", "original_votes": True}
"""A model this small cannot summarise: the merger of facts stands for it, which reads the original as one view more."""
SETTINGS: Mapping[str, PairSettings] = {
    PUBLISHED: PairSettings(**SUMMARISED, threshold=1, margin=None, duplicate_penalty=0),
    GATED: PairSettings(**SUMMARISED, threshold=2),
    LONGEST: PairSettings(winner="longest", margin=None, duplicate_penalty=0),
}
"""Published: whatever one of the texts says, contradictions left out, every pair. Ours: what two of them say, and only
pairs whose winner the views agree with more."""


class ArmDesign(NamedTuple):
    """What a size spends on every arm.

    Attributes:
        arms: in a world with a fit start.
        weak_arms: where the start is weak.
        rates: the grid of preference arms.
        supervised_rates: the grid of supervised arms.
        steps: of a round.
        batch: pairs or texts a step.
    """

    arms: tuple[str, ...] = (CAPTIONS, WINNERS, RANDOM, SEVA, LONGEST, PUBLISHED, GATED, TWICE, SECOND)
    weak_arms: tuple[str, ...] = (PUBLISHED, GATED)
    rates: tuple[float, ...] = (3e-5, 1e-4, 3e-4)
    supervised_rates: tuple[float, ...] = (1e-4, 3e-4, 1e-3)
    steps: int = 40
    batch: int = 16


class ArmJob(NamedTuple):
    """One item for the executor."""

    start: WorldJob
    arm: str
    design: ArmDesign


class Text(NamedTuple):
    """A record's texts as an arm has them; supervised arms learn the chosen one."""

    shown: Shown
    chosen: str
    rejected: str


def train_arm(job: ArmJob) -> ArmCell:
    """All learning rates of an arm; the chosen one is tested."""
    started = time.process_time()
    with one_thread(), tempfile.TemporaryDirectory() as work:
        arm = _Arm(job, load_start(job.start), Path(work))
        found = arm.second_round() if job.arm == SECOND else arm.one_round()
    return ArmCell(
        world=job.start.world,
        regime=job.start.regime,
        arm=job.arm,
        runs=found.runs,
        worth=found.worth,
        pairs=found.pairs,
        generated=found.generated,
        seconds=time.process_time() - started,
    )


class _Found(NamedTuple):
    """What an arm gave, beside its cell's other fields."""

    runs: dict[str, Trained]
    worth: Worth
    pairs: Pairs | None
    generated: int


@dataclass
class _Arm:
    """An arm while it runs."""

    job: ArmJob
    start: Start
    work: Path

    def one_round(self) -> _Found:
        """From the start, on the records of the first round (of both, where twice as many are asked for)."""
        rounds = (0, 1) if self.job.arm == TWICE else (0,)
        texts, dropped = [], Counter[str]()
        for number in rounds:
            shown = draw_records(self.job.start, number)
            cases = list(self.start.answers[number].cases())
            texts += self._texts(shown, cases, dropped)
        steps = self.job.design.steps * len(rounds)
        best, runs = self._every_rate(lambda: start_model(self.job.start), texts, steps)
        used = () if self.job.arm in (CAPTIONS, RANDOM) else rounds
        generated = sum(self.start.answers[number].counts.generated for number in used)
        return _Found(runs, self._worth(best), self._pairs(texts, dropped), generated)

    def second_round(self) -> _Found:
        """The first round's best model answers the second round's records, and is trained on the pairs."""
        first = draw_records(self.job.start, 0)
        texts = self._texts(first, list(self.start.answers[0].cases()), Counter())
        best, _ = self._every_rate(lambda: start_model(self.job.start), texts, self.job.design.steps)
        shown = draw_records(self.job.start, 1)
        answered = answer_views(best, shown, self.job.start, self.work / "answers")
        dropped = Counter[str]()
        texts = self._texts(shown, list(answered.cases()), dropped)
        last, runs = self._every_rate(lambda: copy.deepcopy(best), texts, self.job.design.steps)
        generated = self.start.answers[0].counts.generated + answered.counts.generated
        return _Found(runs, self._worth(last), self._pairs(texts, dropped), generated)

    # What is learnt

    def _texts(self, shown: Sequence[Shown], cases: Sequence[Case], dropped: Counter[str]) -> list[Text]:
        """The arm's texts of a round."""
        arm = self.job.arm
        if arm == CAPTIONS:
            return [Text(each, each.record.text, "") for each in shown]
        if arm == RANDOM:
            return _other_captions(shown, random_numbers(self.job.start.world, arm))
        if arm == SEVA:
            return list(_clean_over_changed(shown, cases, dropped))
        settings = SETTINGS.get(arm, SETTINGS[GATED])
        words, found = words_of(self.job.start.design.sprites), []
        for each, case in zip(shown, cases, strict=True):
            answers = tuple(view.answer.text for view in case.heard)
            pair = form_pair(Candidates(case.sample, case.question, case.original, answers), words, settings)
            if isinstance(pair, Pair):
                found.append(Text(each, pair.chosen, pair.rejected))
            else:
                dropped[pair.reason] += 1
        return found

    def _pairs(self, texts: Sequence[Text], dropped: Counter[str]) -> Pairs:
        truths, words = [each.shown.truth for each in texts], words_of(self.job.start.design.sprites)
        return Pairs(
            kept=len(texts),
            dropped=dict(dropped),
            chosen=texts_against([each.chosen for each in texts], truths, words),
            rejected=texts_against([each.rejected for each in texts], truths, words),
        )

    # Training

    def _every_rate(
        self, fresh: Callable[[], ChatModel], texts: Sequence[Text], steps: int
    ) -> tuple[ChatModel, dict[str, Trained]]:
        """The model of the best F1 on other scenes (of equals that of the smaller rate), and all rates."""
        supervised = self.job.arm in (CAPTIONS, WINNERS)
        design, others = self.job.design, probe_set(self.job.start, validation=True)
        best: ChatModel | None = None
        runs: dict[str, Trained] = {}
        for rate in sorted(design.supervised_rates if supervised else design.rates):
            chat = fresh()
            if texts:  # where a weak start yields no pair there is nothing to learn
                (self._teach if supervised else self._prefer)(chat, texts, rate, steps)
            told = measure_on(chat, self.job.start, others).described.facts
            if best is None or told.f1 > max(run.chosen_by for run in runs.values()):
                best = chat
            runs[f"{rate:g}"] = Trained(chosen_by=told.f1, recall=told.recall, precision=told.precision)
        assert best is not None
        return best, runs

    def _prefer(self, chat: ChatModel, texts: Sequence[Text], rate: float, steps: int) -> None:
        """A round of the product's preference training."""
        import torch

        torch.manual_seed(self.job.start.world)
        pictures = self.work / "pictures"
        pictures.mkdir(exist_ok=True)
        triplets = []
        for text in texts:
            record = text.shown.record
            path = pictures / f"{record.picture}.png"
            if not path.exists():
                record.image.save(path)
            triplets.append(Triplet(record.sample, path, QUESTION, text.chosen, text.rejected))
        with tempfile.TemporaryDirectory() as folder:
            align_in_memory(self._recipe(rate, steps), chat, triplets, Path(folder))

    def _recipe(self, rate: float, steps: int) -> ShapeRecipe:
        return ShapeRecipe.model_validate(
            {
                "model": str(self.job.start.path / "model"),
                "data": {"source": "burnish.testbeds.scenes:training"},
                "device": "cpu",
                "seed": self.job.start.world,
                "training": {"learning_rate": rate, "steps": steps, "batch": self.job.design.batch},
            }
        )

    def _teach(self, chat: ChatModel, texts: Sequence[Text], rate: float, steps: int) -> None:
        """Supervised training on the chosen texts, by passes in new orders."""
        pictures = pixel_values(chat, np.stack([np.asarray(each.shown.record.image) for each in texts]))
        rng, batch = random_numbers(self.job.start.world, self.job.arm), self.job.design.batch
        rows = np.concatenate([rng.permutation(len(texts)) for _ in range(-(-steps * batch // len(texts)))])

        def batches() -> Iterator[tuple[np.ndarray, list[tuple[str, str]]]]:
            for step in range(steps):
                some = rows[step * batch : (step + 1) * batch]
                yield some, [(QUESTION, texts[row].chosen) for row in some]

        frozen = chat.model.model.vision_tower.requires_grad_(False)  # as preference training leaves it
        teach(chat, pictures, batches(), steps, rate, scenes_of(self.job.start.design.sprites))
        frozen.requires_grad_(True)

    def _worth(self, chat: ChatModel) -> Worth:
        probes = probe_set(self.job.start, validation=False)
        return worth_of(measure_on(chat, self.job.start, probes), self.start.texts, self.job.start, probes)


def _other_captions(shown: Sequence[Shown], rng: np.random.Generator) -> list[Text]:
    """A record's own caption over that of another picture."""
    order = rng.permutation(len(shown)).tolist()
    pairs = [
        (shown[place], shown[other].record.text) for place, other in zip(order, [*order[1:], order[0]], strict=True)
    ]
    return [
        Text(each, each.record.text, other)
        for each, other in pairs
        if normal_words(other) != normal_words(each.record.text)
    ]


def _clean_over_changed(shown: Sequence[Shown], cases: Sequence[Case], dropped: Counter[str]) -> Iterator[Text]:
    """The answer on the picture itself over that on its first changed view which says something else."""
    for each, case in zip(shown, cases, strict=True):
        clean, *changed = [view.answer.text for view in case.heard]
        other = next((text for text in changed if normal_words(text) not in ((), normal_words(clean))), None)
        if other is None or not normal_words(clean):
            dropped["identical answers"] += 1
        else:
            yield Text(each, clean, other)
