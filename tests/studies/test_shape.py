"""The SHAPE study: a smoke run that is resumed, verdicts and pictures from made-up cells, its theory against draws."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from burnish.align.facts import Thing
from burnish.align.records import make_record
from burnish.core.run import Run
from burnish.core.study import StudyRecipe
from burnish.studies.shape.claims import by_world, judge_cells
from burnish.studies.shape.experiment import SETTINGS, _other_captions
from burnish.studies.shape.records import (
    CAPTIONS,
    GATED,
    LONGEST,
    PUBLISHED,
    RANDOM,
    SECOND,
    SEVA,
    START,
    TWICE,
    WINNERS,
    ArmCell,
    Cell,
    StartCell,
    Texts,
)
from burnish.studies.shape.report import arm_table, description_figure, glance, pair_table, rate_table, sections
from burnish.studies.shape.study import DESIGNS, STUDY
from burnish.studies.shape.theory import caption_recall, greedy_recall, kept_counts, voted_recall
from burnish.studies.shape.world import Shown, WorldDesign, WorldJob, draw_records, probe_set
from burnish.testbeds.scenes import draw_scenes, partial_caption
from tests.judging import judged
from tests.once import smoke_study

ARMS = (CAPTIONS, WINNERS, RANDOM, SEVA, LONGEST, PUBLISHED, GATED, TWICE, SECOND)


@pytest.mark.slow
def test_smoke_and_resume(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    path = smoke_study(tmp_path_factory, "shape", tmp_path / "run")
    claims = json.loads((path / "artifacts" / "claims.json").read_text())
    names = [claim["name"] for claim in claims]
    assert len(set(names)) == len(names) == 20
    assert all(claim["verdict"] == "undecided" for claim in claims)
    recipe = StudyRecipe(method="study:shape", size="smoke", seeds=1)
    with Run(recipe, path, quiet=True) as run:
        again = STUDY.run(recipe, run)  # nothing is left to do: the cells come from the checkpoint
    assert [claim.model_dump(mode="json") for claim in judged(again.questions)] == claims
    cells = json.loads((path / "artifacts" / "cells.json").read_text())
    assert [(cell["regime"], cell["arm"]) for cell in cells] == [
        *(("fit", arm) for arm in (START, *ARMS)),
        *(("weak", arm) for arm in (START, PUBLISHED, GATED)),
    ]


def texts(recall: float, precision: float = 0.95) -> dict[str, float]:
    return {"recall": recall, "precision": precision, "words": 9.0}


def world(seed: int, gains: Mapping[str, float], start: float = 0.6, regime: str = "fit") -> list[dict[str, Any]]:
    """Cells of a world in which every arm has a gain of recall over the start."""
    rng = np.random.default_rng(seed)

    def worth(gain: float) -> dict[str, float]:
        recall = start + gain + float(rng.normal(0, 0.003))
        rest = {"within": recall, "right_a_word": 0.3, "repeated": 0.0, "pope": 0.8, "pope_yes": 0.5}
        noise = {name: value + float(rng.normal(0, 0.001)) for name, value in rest.items() if name != "within"}
        return {**texts(recall, 0.95 + float(rng.normal(0, 0.001))), "within": recall, **noise}

    shared = {"world": seed, "regime": regime, "seconds": 1.0}
    first = {
        **shared,
        "arm": START,
        "worth": worth(0.0),
        "originals": texts(0.63, 1.0),
        "answers": texts(0.55),
        "families": {"clean": texts(0.6), "crop": texts(0.5)},
        "ceiling": 0.9,
        "voted": {"1": texts(0.9), "2": texts(0.7)},
    }
    pairs = {"kept": 10, "dropped": {"no answer": 2}, "chosen": texts(0.8 + 0.01 * seed), "rejected": texts(0.6)}
    run = {"chosen_by": 0.7, "recall": 0.6, "precision": 0.9}
    runs = {"0.0001": run, "0.0003": {**run, "chosen_by": 0.7 + 0.1 * (seed % 2)}}
    arms = ARMS if regime == "fit" else (PUBLISHED, GATED)
    return [
        first,
        *(
            {**shared, "arm": arm, "runs": runs, "worth": worth(gains.get(arm, 0.0)), "pairs": pairs, "generated": 99}
            for arm in arms
        ),
    ]


def read_cells(plain: list[dict[str, Any]]) -> list[Cell]:
    return [StartCell.model_validate(each) if "ceiling" in each else ArmCell.model_validate(each) for each in plain]


GAINS = {GATED: 0.1, SECOND: 0.2, PUBLISHED: 0.05, WINNERS: 0.15, TWICE: 0.1}


def test_verdicts_follow_the_arms() -> None:
    cells = [cell for seed in range(5) for cell in world(seed, GAINS) + world(seed, {GATED: -0.1}, 0.4, "weak")]
    verdicts = {claim.name: claim.verdict for claim in judged(judge_cells(read_cells(cells)))}
    assert verdicts == {
        "winners": "holds",
        "recall": "holds",
        "pope": "undecided",
        "precision": "holds",
        "length": "holds",
        "facts_a_word": "holds",
        "published_recall": "holds",
        "gate": "holds",
        "gate_precision": "undecided",
        "gate_a_word": "undecided",
        "captions": "holds",
        "sft_winners": "does not hold",
        "random": "holds",
        "seva": "holds",
        "longest": "holds",
        "second": "holds",
        "second_twice": "holds",
        "weak_winners": "holds",
        "weak": "does not hold",
        "weak_precision": "holds",
    }


def test_a_start_out_of_bounds_is_not_judged() -> None:
    """One world whose start names nearly all: nothing about fit starts is decided, and why is said."""
    cells = [cell for seed in range(4) for cell in world(seed, GAINS, 0.6 if seed else 0.9)]
    cells += [cell for seed in range(4) for cell in world(seed, {GATED: -0.1}, 0.4, "weak")]
    claims = judged(judge_cells(read_cells(cells)))
    assert {claim.verdict for claim in claims if not claim.name.startswith("weak")} == {"undecided"}
    assert all(
        claim.note.startswith("refused: the start's recall 0.9") and "of world 0 is not in 0.45 to 0.8" in claim.note
        for claim in claims
        if not claim.name.startswith("weak")
    )
    assert next(claim for claim in claims if claim.name == "weak").verdict == "does not hold"
    assert "Nothing is judged on it" in sections(read_cells(cells))[0].text


def test_worlds_that_lack_an_arm_wait() -> None:
    cells = read_cells(world(0, GAINS) + world(1, GAINS)[:-1])
    assert [next(iter(arms.values())).world for arms in by_world(cells, "fit")] == [0]


def test_pictures_and_tables() -> None:
    cells = read_cells([cell for seed in range(2) for cell in world(seed, GAINS)])
    worlds = by_world(cells, "fit")
    assert [row["arm"] for row in arm_table(worlds)] == [START, *ARMS]
    assert arm_table(worlds)[0]["generated"] == "-"
    axes = description_figure(worlds).axes
    assert [label.get_text().replace("\n", " ") for label in axes[0].get_yticklabels()] == [START, *ARMS]
    rows = rate_table(worlds)
    assert rows[0]["chosen"] == "1 of 2"  # of equals the smaller rate; world 1 takes the other
    assert rows[1] == {
        "arm": CAPTIONS,
        "learning rate": "0.0003",
        "F1": "0.750",
        "recall": "0.600",
        "precision": "0.900",
        "chosen": "1 of 2",
    }
    assert pair_table(worlds)[0]["dropped"] == "2 no answer"
    assert pair_table(worlds)[0]["loser's recall"] == "0.600"
    first = worlds[0][CAPTIONS]
    assert isinstance(first, ArmCell)
    assert first.pairs is not None
    alone = first.pairs.model_copy(update={"rejected": Texts(recall=0, precision=0, words=0)})
    lone = {CAPTIONS: first.model_copy(update={"pairs": alone})}
    assert pair_table([lone])[0]["loser's recall"] == "-"
    assert "describes 70%" in glance(cells).words


def test_theory_agrees_with_draws() -> None:
    """Captions of many scenes: what one names, and what two of four name."""
    rng = np.random.default_rng(0)
    named = voted = total = 0
    for scene in draw_scenes(3000, seed=1):
        told = [partial_caption(scene.truth, rng) for _ in range(4)]
        counts = [sum(f"{colour} {name}" in text for text in told) for name, (colour,) in scene.truth]
        named, voted, total = named + sum(counts), voted + sum(count >= 2 for count in counts), total + len(counts)
    assert named / 4 / total == pytest.approx(caption_recall(), abs=0.01)
    assert voted / total == pytest.approx(voted_recall(4, 2), abs=0.01)
    assert sum(kept_counts(4)) == pytest.approx(1)
    # by hand: of 2 things one (.64 against .36), of 3 one (.352 against .324 each), of 4 two (.42 against .29 each)
    assert greedy_recall() == pytest.approx((1 + 1 + 2) / 9)


def test_rounds_have_records_of_their_own_and_no_test_scene(tmp_path: Path) -> None:
    job = WorldJob(3, "fit", WorldDesign(records=40, tests=40, validation=40), tmp_path)
    first, second = ({each.record.picture for each in draw_records(job, number)} for number in (0, 1))
    tests, others = (probe_set(job, validation=validation).hashes for validation in (False, True))
    sets = [first, second, tests, others]
    assert all(len(each) == 40 for each in sets)
    assert len(set().union(*sets)) == 160
    assert all(set(each.truth) for each in draw_records(job, 0))


def test_another_pictures_caption_loses() -> None:
    scenes = draw_scenes(30, seed=2)
    shown = [
        Shown(make_record(scene.image, "?", f"There is a thing {number}."), (Thing("ring"),))
        for number, scene in enumerate(scenes)
    ]
    found = _other_captions(shown, np.random.default_rng(0))
    assert sorted(each.chosen for each in found) == sorted(each.record.text for each in shown)
    assert sorted(each.rejected for each in found) == sorted(each.record.text for each in shown)
    assert all(each.chosen == each.shown.record.text != each.rejected for each in found)


def test_sizes_are_as_documented() -> None:
    assert set(DESIGNS["quick"].arms.arms) == set(ARMS) == set(DESIGNS["full"].arms.arms)
    assert DESIGNS["full"].world.sprites
    assert not any(DESIGNS[size].world.sprites for size in ("smoke", "tour", "quick"))
    # every preference arm gets one grid
    assert SETTINGS[PUBLISHED].margin is None
    assert SETTINGS[GATED].margin is not None
