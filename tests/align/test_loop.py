"""The rounds as one run: killed at every seam it ends bit-identical; it stops where a round makes the model worse."""

import hashlib
import json
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("trl")

from safetensors.torch import load_file

from burnish.align import loop
from burnish.align.loop import align
from burnish.align.recipe import ShapeRecipe
from burnish.core.errors import Interrupted, UserError
from burnish.core.run import Run
from burnish.dialogue.models import load_chat_model
from tests.align.scenes import shape
from tests.align.test_engines import Server, completion
from tests.forked import CONTEXT

SEAMS = ("shard", "pairs", "table", "step", "model", "measure")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    shape(folder)
    return folder


def ran(recipe: ShapeRecipe, path: Path) -> Any:
    with Run(recipe, path, quiet=True) as run:
        run.value = align(recipe, run)
    return run.value


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def killed_after(owner: Any, name: str, times: int) -> None:
    """Have the process end right after a function was called for so many times."""
    real, called = getattr(owner, name), 0

    def wrapped(*arguments: Any, **options: Any) -> Any:
        nonlocal called
        found = real(*arguments, **options)
        called += 1
        if called == times:
            die()
        return found

    setattr(owner, name, wrapped)


def killed(seam: str, world: str, path: str, changes: dict[str, Any]) -> None:
    """A run that is killed at a seam: what it had called by then is done and written."""
    from burnish.align import figures, preference
    from burnish.align.generators.transformers import TransformersGenerator
    from burnish.core.trainer import RunCallback

    owner, name, times = {
        "shard": (TransformersGenerator, "answer", 6),  # two of the start's figures are asked, one a shard
        "pairs": (loop, "write_pairs", 1),
        "table": (preference, "write_reference", 1),
        "step": (RunCallback, "on_step_end", 3),
        "model": (loop, "save_model", 1),
        "measure": (figures, "score_answers", 1),
    }[seam]
    killed_after(owner, name, times)
    ran(shape(Path(world), **changes), Path(path))


def contents(path: Path) -> dict[str, str]:
    files = (file for file in (path / "artifacts").rglob("*") if file.is_file())
    return {str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def losses(path: Path) -> list[Any]:
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return [(name, value) for row in rows for name, value in row.items() if name.endswith("/loss")]


@pytest.mark.slow
@pytest.mark.parametrize("adapter", [None, {"rank": 2}], ids=["all", "adapter"])
def test_killed_at_every_seam_it_ends_bit_identical(world: Path, tmp_path: Path, adapter: Any) -> None:
    """Each round is hit at each of its seams, a round's first shard, table and step as well as a later one's."""
    changes = {"adapter": adapter, "checkpoint_every": 0}
    whole = shape(world, **changes)
    value = ran(whole, tmp_path / "whole")
    assert value == tmp_path / "whole/artifacts/round-2/model"
    deaths = []
    for seam in (*SEAMS, *SEAMS):
        process = CONTEXT.Process(target=killed, args=(seam, str(world), str(tmp_path / "cut"), changes))
        process.start()
        process.join(120)
        deaths.append(process.exitcode)
    assert deaths.count(-signal.SIGKILL) >= len(SEAMS) + 2  # the last ones may find nothing left to do
    assert set(deaths) <= {-signal.SIGKILL, 0}
    assert ran(whole, tmp_path / "cut") == tmp_path / "cut/artifacts/round-2/model"
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
    assert not list((tmp_path / "cut/checkpoints").rglob("optimizer*"))


def test_a_stop_signal_is_honoured_between_shards(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = shape(world, probe=None, rounds=1)
    real: Callable[..., Any] = vars(loop)["make_triplets"]

    def signalled(*arguments: Any, **options: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return real(*arguments, **options)

    monkeypatch.setattr(loop, "make_triplets", signalled)
    with pytest.raises(Interrupted, match="stopped between shards"):
        ran(recipe, tmp_path / "run")
    assert len(list((tmp_path / "run/artifacts/round-1/triplets/shards").iterdir())) == 1
    monkeypatch.undo()
    assert ran(recipe, tmp_path / "run") == tmp_path / "run/artifacts/round-1/model"


def test_a_round_that_costs_precision_ends_the_rounds_and_the_last_good_model_is_kept(
    world: Path, tmp_path: Path
) -> None:
    ruinous = {"learning_rate": 0.5, "max_grad_norm": 1e6}
    recipe = shape(world, training=ruinous, drift={"most_precision_lost": 0.0, "require_better_winners": False})
    value = ran(recipe, tmp_path / "run")
    outcome = json.loads((tmp_path / "run/artifacts/outcome.json").read_text())
    assert "precision fell from" in outcome["stopped"]
    assert outcome["best"] is None
    assert value == world / "scenes"  # the model that was given
    assert len(outcome["rounds"]) == 2
    assert not (tmp_path / "run/artifacts/round-2").exists()


def test_pairs_whose_winners_are_no_better_are_refused_first_and_end_the_rounds_later(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = shape(world, drift={"require_better_winners": True})
    real: Callable[..., Any] = vars(loop)["open_triplets"]
    bad = 1

    def opened(folder: Path) -> Any:
        found = real(folder)
        if folder.parent.name != f"round-{bad}":
            return replace(found, tally=replace(found.tally, winner_quality=0.9, loser_quality=0.1))
        return replace(found, tally=replace(found.tally, winner_quality=0.3, loser_quality=0.3))

    monkeypatch.setattr(loop, "open_triplets", opened)
    with pytest.raises(UserError, match=r"round 1: the views agree with the winners \(0\.300\) no more than"):
        ran(recipe, tmp_path / "first")
    bad = 2
    assert ran(recipe, tmp_path / "second") == tmp_path / "second/artifacts/round-1/model"
    outcome = json.loads((tmp_path / "second/artifacts/outcome.json").read_text())
    assert outcome["best"] == "round-1"
    assert outcome["stopped"].startswith("the views agree with the winners")


def test_triplets_alone_and_training_on_them_are_the_two_halves_of_a_round(world: Path, tmp_path: Path) -> None:
    whole = ran(shape(world, rounds=1, probe=None), tmp_path / "whole")
    made = ran(shape(world, train=False, probe=None), tmp_path / "made")
    assert made == tmp_path / "made/artifacts/round-1/triplets"
    for source in (made, made / "triplets.jsonl"):
        path = tmp_path / source.name
        trained = ran(shape(world, rounds=1, probe=None, triplets=str(source)), path)
        assert not (path / "artifacts/round-1/triplets").exists()
        one, other = load_file(whole / "model.safetensors"), load_file(trained / "model.safetensors")
        assert all(torch.equal(one[name], other[name]) for name in one)
    with pytest.raises(ValueError, match="ready pairs are of one round"):
        shape(world, triplets="x", rounds=2)
    with pytest.raises(ValueError, match="nothing else to do"):
        shape(world, triplets="x", rounds=1, train=False)


def test_a_server_writes_the_answers_and_no_model_is_opened(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What makes the triplets on one machine while the model is served on another."""
    texts = ["There is a red ring.", "There is a red ring and a blue square.", "There is a blue square."]
    server = Server(then=lambda body: completion(texts[body["seed"] % 3]))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setattr("burnish.align.engines.load_chat_model", lambda *_arguments, **_options: pytest.fail("opened"))
    asked = {"engine": "endpoint", "endpoint": server.settings.model_dump(mode="json")}
    try:
        made = ran(shape(world, train=False, probe=None, generator=asked), tmp_path / "run")
    finally:
        server.shutdown()
        server.server_close()
    assert len(server.asked) == 60
    assert sum(1 for _ in (made / "triplets.jsonl").open()) > 0


def test_an_adapter_is_merged_into_a_plain_model(world: Path, tmp_path: Path) -> None:
    trained = ran(shape(world, rounds=1, probe=None, adapter={"rank": 2}), tmp_path / "run")
    assert not list(trained.glob("adapter*"))
    before, after = load_file(world / "scenes/model.safetensors"), load_file(trained / "model.safetensors")
    assert before.keys() == after.keys()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert not any("vision_tower" in name for name in moved)
    assert load_chat_model(trained).takes_images


def test_a_probe_that_is_trained_on_is_refused(world: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"scene 0 of .*: its picture is in the probe set too"):
        ran(shape(world, data={"source": "tests.align.test_loop:leaking"}), tmp_path / "run")


def leaking() -> Any:
    """Captions of the probes' own pictures."""
    from burnish.dialogue.rows import Question
    from burnish.testbeds.scenes import probes

    for number, row in enumerate(probes()):
        yield Question("What is in the picture?", "a ring", images=(row["image"],), row=f"scene {number} of the probes")


def test_figures_of_every_round_are_written_down(world: Path, tmp_path: Path) -> None:
    ran(shape(world), tmp_path / "run")
    outcome = json.loads((tmp_path / "run/artifacts/outcome.json").read_text())
    start, first, second = outcome["rounds"]
    assert start["kl"] == 0
    assert first["kl"] != 0
    for figures in (start, first, second):
        assert {"recall", "precision", "words", "entropy", "agreement", "pope_adversarial_yes"} <= figures.keys()
        assert 0 <= figures["agreement"] <= 1
    kept = json.loads((tmp_path / "run/artifacts/start/measured.json").read_text())
    assert len(kept["texts"]) == 6
    assert kept["counts"]["described"]["texts"] == 6
