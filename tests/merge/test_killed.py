"""SIGKILL in the middle of the jobs that make a folder: it is whole or absent, and the same command again ends well."""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from burnish.core.errors import UserError
from burnish.merge import extract_lora, merge, moe_merge, tokensurgeon
from tests.forked import CONTEXT

from .checkpoints import family, word_tokenizer

TWO = """\
merge_method: linear
models: [{{model: half, parameters: {{weight: 0.5}}}}, {{model: "{2}", parameters: {{weight: 0.5}}}}]
---
name: half
merge_method: linear
models: [{{model: "{0}", parameters: {{weight: 0.5}}}}, {{model: "{1}", parameters: {{weight: 0.5}}}}]
"""


def mixture(models: list[Path], out: Path) -> object:
    experts = [{"source_model": str(each), "positive_prompts": ["w"]} for each in models[1:]]
    return moe_merge(
        {"base_model": str(models[0]), "experts": experts, "gate_mode": "random"},
        out,
        shard_size="50KB",
        progress=False,
    )


def adapter(models: list[Path], out: Path) -> object:
    return extract_lora(models[1], models[0], out, rank=2)


def transplanted(models: list[Path], out: Path) -> object:
    return tokensurgeon(models[0], models[1], out, neighbours=4, shard_size="20KB", progress=False)


def chained(models: list[Path], out: Path) -> object:
    return merge(TWO.format(*models), out, threads=1, shard_size="20KB", progress=False)


JOBS: dict[str, Callable[[list[Path], Path], object]] = {
    "moe": mixture,
    "extract-lora": adapter,
    "tokensurgeon": transplanted,
    "documents": chained,
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    made = family(tmp_path_factory.mktemp("models"), "llama", 3, num_hidden_layers=2)
    for number, model in enumerate(made):
        word_tokenizer(model, [f"w{index}" for index in range(8 * number, 8 * number + 50)])
    return made


def carry_out(job: str, models: list[Path], out: Path, told: Path, die_at: int | None) -> None:
    """The job; killed before the given one of its acts on the disk, or telling what they all were."""
    acts: list[str] = []
    mine = (str(out), str(out.parent / f".{out.name}"))

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("open", "os.rename", "os.remove", "os.mkdir") and str(arguments[0]).startswith(mine):
            if len(acts) == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
            acts.append(event)

    sys.addaudithook(hear)
    JOBS[job](models, out)
    told.write_text(json.dumps(acts))


def weights(folder: Path) -> dict[str, bytes]:
    """Of every folder that looks finished, at ``folder`` or beside it; and the names of its other files."""
    files = [path for found in (folder, folder.with_name("out-parts")) for path in found.rglob("*") if path.is_file()]
    return {
        str(path.relative_to(folder.parent)): path.read_bytes() if path.suffix == ".safetensors" else b""
        for path in files
        if not any(part.startswith(".") for part in path.relative_to(folder.parent).parts)
    }


@pytest.mark.parametrize("job", JOBS)
def test_killed_it_leaves_no_half_and_the_same_again_ends_well(job: str, models: list[Path], tmp_path: Path) -> None:
    def child(place: str, die_at: int | None = None) -> Path:
        out = tmp_path / place / "out"
        out.parent.mkdir(exist_ok=True)
        process = CONTEXT.Process(target=carry_out, args=(job, models, out, tmp_path / "told", die_at))
        process.start()
        process.join(120)
        assert process.exitcode == (0 if die_at is None else -signal.SIGKILL)
        return out

    whole = weights(child("whole"))
    assert any(content for content in whole.values())
    acts = json.loads((tmp_path / "told").read_text())
    named = max(place for place, act in enumerate(acts) if act == "os.rename")
    for number, die_at in enumerate((len(acts) // 3, 2 * len(acts) // 3, named, named + 1)):
        out = child(f"killed-{number}", die_at)
        left = weights(out)
        # the journal goes last: who finds it beside a whole merge removes it
        assert {name: left[name] for name in left if not name.endswith("journal.jsonl")}.items() <= whole.items()
        finished = out.exists()
        assert finished == (die_at > named)
        if finished:
            assert {name for name in left if name.startswith("out/")} >= {n for n in whole if n.startswith("out/")}
        if finished and job != "documents":
            with pytest.raises(UserError, match="exists already"):  # nothing is left to do, and nothing is touched
                JOBS[job](models, out)
        else:
            JOBS[job](models, out)
        assert weights(out) == whole
        assert not [path for path in out.parent.iterdir() if path.name.startswith(".") and "lock" not in path.name]
