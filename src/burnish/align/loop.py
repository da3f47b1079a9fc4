"""SHAPE from a recipe in a run folder: rounds of triplets, preference training and measuring, until the last or drift.

What a step leaves is an artifact, and what is there is not made again: triplets by shards, the table of pairs, that of
the reference, the trained model, its figures. Each phase opens the model it needs anew, so that one is in memory at a
time and a resumed round goes on from the same weights. The model of a round is the next one's generator and reference
(as the release has it, by inference). An adapter is merged after its round: the next generator is then a plain
model, whatever engine runs it, its reference is the same model with the new adapter off, and adapters do not pile up.
"""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from burnish.align.drift import stop_reason
from burnish.align.engines import normalisation, open_generator, open_model
from burnish.align.factory import FactoryPlan, make_triplets
from burnish.align.figures import figures_of
from burnish.align.generators.endpoint import EndpointGenerator
from burnish.align.judge import judge_descriptions
from burnish.align.pair_table import read_triplets, write_pairs
from burnish.align.preference import build_trainer
from burnish.align.probes import ProbeSet, read_probes
from burnish.align.reading import Vocabulary
from burnish.align.recipe import ShapeRecipe, round_seed
from burnish.align.sources import read_records
from burnish.align.store import TripletSet, open_triplets
from burnish.align.vocabularies import load_vocabulary
from burnish.core.errors import Interrupted, UserError
from burnish.core.files import read_json, remove
from burnish.core.models import resolve, save_model, split_reference
from burnish.core.run import Run
from burnish.core.trainer import keep_to_themselves, train, trainer_arguments, wait_for
from burnish.dialogue.saving import Gathered, is_spread

CARD = """---
library_name: transformers
tags: [shape, dpo, trl]
---
{name}, aligned by SHAPE (`burnish run`), round {number} of {rounds}, seed {seed}: preference training, {pairs:,} pairs.
"""


def align(recipe: ShapeRecipe, run: Run) -> Path:
    """Align a vision-language model in rounds.

    Returns:
        The folder of the last good model (the one given, where no round's was good), or that of the triplets where
        nothing is trained.

    Raises:
        UserError: a model, data or settings that do not go together; winners that the views do not agree with more than
            with the losers, in the first round.
        Interrupted: a stop signal came; the state is saved.
    """
    keep_to_themselves()
    vocabulary = load_vocabulary(recipe.vocabulary)
    probes = None
    if recipe.probe is not None:
        probes = read_probes(recipe.probe, vocabulary, most_pixels=recipe.most_pixels, seed=recipe.seed, note=run.note)
    return _Rounds(recipe, run, vocabulary, probes).go()


@dataclass(frozen=True)
class _Rounds:
    """What all rounds share.

    Attributes:
        recipe: what was asked.
        run: where.
        vocabulary: what texts may speak of.
        probes: pictures to measure on; none measures nothing.
    """

    recipe: ShapeRecipe
    run: Run
    vocabulary: Vocabulary
    probes: ProbeSet | None

    def go(self) -> Path:
        """All rounds, or those until one goes wrong."""
        if not self.recipe.train:
            self._make(self.recipe.model, 1)
            return self._folder(1) / "triplets"
        best: str | Path = self.recipe.model
        start = self._measure(best, 0)
        figures, stopped = [start], None
        for number in range(1, self.recipe.rounds + 1):
            if self.recipe.triplets is None:
                self._make(best, number)
                stopped = self._fault(number)
            if stopped is not None:
                break
            trained = self._train(best, number)
            figures.append(self._measure(trained, number))
            stopped = stop_reason(start, figures[-1], self.recipe.drift)
            if stopped is not None:
                break
            best = trained
        if stopped is not None:
            kept = Path(best).parent.name if best != self.recipe.model else "the model that was given"
            self.run.note(f"round {number}: {stopped}; {kept} is kept")
        if best != self.recipe.model:
            self._judge(Path(best).parent)
        good = Path(best).parent.name if best != self.recipe.model else None
        self.run.artifact("outcome.json", {"best": good, "stopped": stopped, "rounds": figures})
        return Path(best) if good else resolve(split_reference(self.recipe.model)[0])

    # A round

    def _make(self, model: str | Path, number: int) -> None:
        """The triplets of a round."""
        recipe, run, folder = self.recipe, self.run, self._folder(number) / "triplets"
        done = folder / "triplets.jsonl"
        if run.is_main and not done.exists():
            records = read_records(
                recipe.data,
                run.note,
                most_pixels=recipe.most_pixels,
                exclude=frozenset() if self.probes is None else self.probes.hashes,
            )
            mean, std = normalisation(model)
            plan = FactoryPlan(
                views=recipe.views,
                pairs=recipe.pairs,
                generator=recipe.generator,
                vocabulary=self.vocabulary,
                seed=round_seed(recipe.seed, number),
                mean=mean,
                std=std,
                system=recipe.system,
            )

            def stop() -> None:
                if run.stop_requested:
                    raise Interrupted(f"{run.path}: stopped between shards; the same command goes on", run.stop_signal)

            with open_generator(recipe, model, run.note) as generator:
                made = make_triplets(records, generator, plan, folder, progress=run.progress, after_shard=stop)
            run.note(f"round {number}: {made.tally.kept:,} pairs of {made.tally.kept + _dropped(made):,} records")
        wait_for(done, run)

    def _fault(self, number: int) -> str | None:
        """Why a round's pairs must not be trained on; in the first round that is the user's to mend."""
        tally = open_triplets(self._folder(number) / "triplets").tally
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in tally.dropped.items())
        if not tally.kept:
            why = f"not one record yields a pair ({reasons})"
        elif self.recipe.drift.require_better_winners and not tally.winners_better:
            why = (
                f"the views agree with the winners ({tally.winner_quality:.3f}) no more than with the losers "
                f"({tally.loser_quality:.3f}): training would teach length and repetition"
            )
        else:
            return None
        if number == 1:
            # with no pair at all there is nothing to insist on
            insist = ", or train on them all the same with `drift.require_better_winners: false`" if tally.kept else ""
            raise UserError(f"round 1: {why}; take a stronger model, more views, or `pairs.winner: merger`{insist}")
        return why

    def _train(self, model: str | Path, number: int) -> Path:
        """The model of a round."""
        recipe, run, folder = self.recipe, self.run, self._folder(number)
        trained, stage = folder / "model", f"round-{number}"
        if not (trained / "config.json").exists():
            pairs = folder / "pairs.arrow"
            chat = open_model(recipe, model, placed=False)
            as_loaded = copy.deepcopy(chat.processor)  # a fast tokenizer's file keeps how the last call padded
            if run.is_main and not pairs.exists():
                if recipe.triplets is None:
                    rows = open_triplets(folder / "triplets").triplets()
                else:
                    rows = read_triplets(_ready(recipe.triplets), recipe.system)
                write_pairs(pairs, rows, chat, recipe.system, longest=recipe.training.longest, note=run.note)
            wait_for(pairs, run)
            trainer = build_trainer(
                recipe, chat, pairs, folder / "reference.safetensors", **trainer_arguments(run, stage)
            )
            spread = is_spread(trainer)
            if spread and recipe.adapter is not None:
                raise UserError("adapter: cannot be merged while its weights are spread over processes; use plain DDP")
            if spread and split_reference(model)[1] is not None:
                raise UserError(f"model: {model}: cannot be its own reference while spread; merge it (`burnish merge`)")
            train(trainer, run, stage=stage)
            card = CARD.format(
                name=recipe.model,
                number=number,
                rounds=recipe.rounds,
                seed=recipe.seed,
                pairs=len(trainer.train_dataset),
            )
            if recipe.adapter is not None:
                whole: Any = trainer.accelerator.unwrap_model(trainer.model).merge_and_unload()
            else:
                whole = Gathered(trainer, spread=spread)
            if run.is_main:
                save_model(whole, trained, as_loaded, card)
        wait_for(trained / "config.json", run)
        if run.is_main:  # a round's optimizer states are larger than its model, and nobody goes back to them
            remove(run.path / "checkpoints" / stage)
        return trained

    # Its figures

    def _measure(self, model: str | Path, number: int) -> dict[str, float]:
        """Figures of a model after a round, 0 for the start; what was measured before is not again."""
        settings, file = self.recipe.probe, self._folder(number) / "measured.json"
        if settings is None or self.probes is None:
            return {}
        if self.run.is_main and not file.exists():
            self._honour_stop()
            found = figures_of(self.recipe, settings, model, self.probes, self.vocabulary, self.run.note)
            self.run.artifact(str(file.relative_to(self.run.path / "artifacts")), found)
        wait_for(file, self.run)
        found = read_json(file)
        if found is None:
            raise UserError(f"{file}: cannot be read; remove it and run again")
        figures: dict[str, float] = found["figures"]
        return figures

    def _judge(self, round_folder: Path) -> None:
        """What the recipe's judge thinks of the last good model's descriptions, against the start's."""
        recipe, run, probes, file = self.recipe, self.run, self.probes, round_folder / "judged.json"
        if recipe.judge is None or recipe.probe is None or probes is None or not run.is_main or file.exists():
            return
        self._honour_stop()
        before, after = (read_json(folder / "measured.json")["texts"] for folder in (self._folder(0), round_folder))
        judge = EndpointGenerator(recipe.judge)
        try:
            found = judge_descriptions(
                judge, probes, recipe.probe.question, before, after, most_pixels=recipe.most_pixels
            )
        finally:
            judge.close()
        rate = None if found.win_rate is None else found.win_rate.model_dump(mode="json")
        run.artifact(str(file.relative_to(run.path / "artifacts")), {**asdict(found), "win_rate": rate})

    # Around them

    def _folder(self, number: int) -> Path:
        return self.run.path / "artifacts" / (f"round-{number}" if number else "start")

    def _honour_stop(self) -> None:
        if self.run.stop_requested:
            raise Interrupted(
                f"{self.run.path}: stopped between two phases; the same command goes on", self.run.stop_signal
            )


def _dropped(made: TripletSet) -> int:
    return sum(made.tally.dropped.values())


def _ready(given: str) -> Path:
    path = Path(given).expanduser()
    return path / "triplets.jsonl" if path.is_dir() else path
