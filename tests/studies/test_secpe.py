"""The secpe study: what it draws, verdicts from made-up cells, what an argmax is counted to cost, a smoke run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from burnish.core.run import Run
from burnish.core.study import StudyRecipe
from burnish.private.argmax.records import Label
from burnish.private.encryption.bootstrap import Bootstrap
from burnish.private.heads import heads_of
from burnish.studies.secpe import timing
from burnish.studies.secpe.claims import judge_cells, least_ratio
from burnish.studies.secpe.experiment import TaskDesign, TaskJob, clean_choice, drawn, wrong
from burnish.studies.secpe.records import ArgmaxCell, Cell, RefreshCell, TaskCell
from burnish.studies.secpe.report import agreement_table, argmax_table, glance, sections, task_table
from burnish.studies.secpe.study import DESIGNS, STUDY, carry_out
from burnish.studies.secpe.timing import RefreshJob
from burnish.testbeds.texts import TASKS
from tests.judging import judged
from tests.once import smoke_study

NAMES = {
    "clean",
    "made_against_single",
    "adaptive",
    "transferred",
    "agreement_clear",
    "agreement_sealed",
    "overhead",
    "overhead_with_encoder",
    "argmax_sequential",
    "argmax_folding",
}


@pytest.mark.slow
def test_smoke_and_resume(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    path = smoke_study(tmp_path_factory, "secpe", tmp_path / "run")
    claims = json.loads((path / "artifacts" / "claims.json").read_text())
    assert {claim["name"] for claim in claims} == NAMES
    cells = json.loads((path / "artifacts" / "cells.json").read_text())
    assert [cell["kind"] for cell in cells] == ["task", "task", "argmax"]
    assert all(cell["clear_wrong"] == 0 for cell in cells[:2])
    assert cells[2]["right"]
    recipe = StudyRecipe(method="study:secpe", size="smoke", seeds=1)
    with Run(recipe, path, quiet=True) as run:
        again = STUDY.run(recipe, run)  # nothing is left to do: the cells come from the checkpoint
    assert [claim.model_dump(mode="json") for claim in judged(again.questions)] == claims


def task(seed: int, **changed: Any) -> TaskCell:
    noise = np.random.default_rng(seed).normal(0, 0.003)
    given: dict[str, Any] = {
        "seed": seed,
        "task": "emails",
        "real": True,
        "encoder": "minilm",
        "classes": 2,
        "prompts": 5,
        "single": 0.9,
        "single_of_clean": 0.91,
        "ensemble": 0.9 + noise,
        "attacked_texts": 16,
        "single_before": 0.9,
        "ensemble_before": 0.9,
        "single_attacked": 0.4,
        "single_of_clean_attacked": 0.35,
        "ensemble_attacked": 0.4 + noise,
        "ensemble_on_single": 0.7 + noise,
        "single_on_ensemble": 0.6,
        "single_queries": 30.0,
        "ensemble_queries": 30.0,
        "clear_asked": 120,
        "clear_wrong": 0,
        "flagged": 0.1,
        "near": 0.12,
        "sealed_asked": 100,
        "one_seconds": 2.0,
        "many_seconds": 2.02 + noise,
        "encoder_one_seconds": 0.1,
        "encoder_many_seconds": 0.5,
        "levels": 10,
        "ring": 32768,
        "seconds": 1.0,
    }
    return TaskCell.model_validate(given | changed)


def argmax(seed: int, pairs: float = 8.0) -> ArgmaxCell:
    step = 4 + np.random.default_rng(seed).normal(0, 0.01)
    seconds = {"4": pairs / 2, "128": pairs}
    return ArgmaxCell(seed=seed, ring=32768, eps=2**-6, pairs=seconds, right=True, step=step, last=3.0, seconds=1.0)


REFRESH = RefreshCell(bootstrap=12.0, ring=65536, slots=256, seconds=45.0)


def test_verdicts_follow_the_cells() -> None:
    cells: list[Cell] = [REFRESH]
    for seed in range(4):
        cells += [
            task(seed),
            task(seed, task="emoji", sealed_asked=0, one_seconds=None, many_seconds=None),
            argmax(seed),
        ]
    verdicts = {claim.name: claim.verdict for claim in judged(judge_cells(cells))}
    assert verdicts == {
        "clean": "holds",
        "made_against_single": "holds",
        "adaptive": "undecided",
        "transferred": "holds",
        "agreement_clear": "holds",
        "agreement_sealed": "holds",
        "overhead": "holds",
        "overhead_with_encoder": "does not hold",
        "argmax_sequential": "holds",
        "argmax_folding": "holds",
    }
    notes = {claim.name: claim.note for claim in judged(judge_cells(cells))}
    assert "The prompt that is best on clean validation texts alone: 0.350." in notes["adaptive"]
    assert "at 12.0 s a bootstrap" in notes["argmax_sequential"]
    alone = {claim.name: claim for claim in judged(judge_cells(cells[1:]))}["argmax_sequential"]
    assert alone.verdict == "holds"
    assert alone.note.startswith("No bootstrap was measured")
    many = judged(judge_cells([task(seed, clear_wrong=9) for seed in range(4)]))
    assert {claim.name: claim.verdict for claim in many}["agreement_clear"] == "does not hold"
    assert {claim.verdict for claim in judged(judge_cells([argmax(0)]))} == {"undecided"}


def test_what_an_argmax_costs_by_hand() -> None:
    cell = argmax(0).model_copy(update={"step": 4.0})
    assert cell.sequential(128) == 127 * 4 + 3
    assert cell.folding(128) == 7 * 4 + 3
    assert cell.sequential(4, 12.0) == 3 * (4 + 12) + 3
    assert least_ratio(cell) == min((2 * 4 + 3) / 4, (7 * 4 + 3) / 8)


def test_a_promise_is_broken_by_a_wrong_label_and_by_a_missing_one_outside_eps() -> None:
    heads = heads_of(np.array([[[1.0, 0.0], [-1.0, 0.0]]]), np.zeros((1, 2)), ("a", "b"))  # its bound is 2
    vectors = np.array([[[1.0, 0.0]], [[-1.0, 0.0]], [[0.02, 0.9998]]])
    first, second, none = Label(0, (0,)), Label(1, (1,)), Label(None, (0, 1))
    assert wrong(heads, vectors, [first, second, first], 0.1) == 0
    assert wrong(heads, vectors, [first, second, none], 0.1) == 0
    assert wrong(heads, vectors, [first, second, second], 0.1) == 1  # never, however near
    assert wrong(heads, vectors, [none, first, none], 0.1) == 2


def test_texts_of_a_seed_are_drawn_anew_and_the_last_ones_never() -> None:
    design = TaskDesign(10, 5, 5)
    one, again, other = (drawn(TaskJob(seed, "triage", "", design)) for seed in (1002, 1002, 1003))
    assert one.texts == again.texts
    assert len(one.texts) == 80
    assert one.texts != other.texts
    kept = {row["text"] for row in TASKS["triage"][1]()[:-600]}
    assert set(one.texts) <= kept


def test_tables_and_pictures() -> None:
    cells = [task(seed) for seed in range(2)]
    timings = [argmax(seed) for seed in range(2)]
    assert [section.title for section in sections([*cells, *timings])][-1] == "Argmax by number of classes"
    row = task_table([*cells, task(0, task="triage", real=False)])[1]
    assert row["task"] == "triage (procedural, 2 classes)"
    table = agreement_table([task(0, clear_wrong=2), task(1, sealed_asked=0, one_seconds=None, many_seconds=None)])
    assert table[0]["circuit, clear back end"] == "2 of 240 wrong"
    assert table[0]["through SEAL"] == "0 of 100 wrong"
    assert table[0]["encoder"] == "0.100 / 0.500"
    assert argmax_table(timings, None)[1].keys() == {"classes", "(c) all pairs", "(b) folding", "(a) sequential"}
    paid = argmax_table(timings, 12.0)[1]
    assert paid["(c) all pairs"] == "8.00 s"
    assert paid["(a) sequential with refreshes"].startswith("2035.")  # 127 steps of 4 + 12 s, and the last
    assert "Of 240 answers of the circuit 0 were wrong" in glance([*cells, *timings]).words


def test_the_choice_on_clean_texts_alone() -> None:
    assert clean_choice(np.array([0.8, 0.9, 0.95]), 1) == 2
    assert clean_choice(np.array([0.9, 0.9, 0.9]), 1) == 1  # the single prompt, where it is as good


def test_a_refresh_is_priced_where_the_library_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Bootstrap(65536, 256, 8, keys_seconds=30.0, seconds=12.0, error=1e-7)
    monkeypatch.setattr(timing, "measure_bootstrap", lambda ring, slots: found)
    for there, priced in ((True, 12.0), (False, None)):
        monkeypatch.setattr(timing, "can_bootstrap", lambda there=there: there)
        assert carry_out(RefreshJob()).bootstrap == priced  # type: ignore[union-attr]


def test_sizes() -> None:
    assert DESIGNS["quick"].sealed["emails"][0] * 3 >= 200
    assert set(DESIGNS["full"].tasks) == set(TASKS)
    assert len(TASKS) == 8
    assert DESIGNS["quick"].sealed.keys() <= set(DESIGNS["quick"].tasks)
