"""A trainer that TRL owns, in a run folder of ours: killed, damaged and stopped, it ends bit-identical."""

import gc
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import weakref
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from burnish.core.errors import BurnishError
from burnish.core.recipe import Recipe
from tests.forked import CONTEXT
from tests.ranks import ended, started

pytest.importorskip("trl")


def sft(
    path: str, steps: int = 10, die_at_save: int = 0, pause: float = 0.0, rate: float = 1e-2, die_trained: bool = False
) -> str:
    """Ten steps of supervised fine-tuning of a tiny Qwen3 through the callback; the hash of the final weights."""
    import torch
    from datasets import Dataset
    from transformers import Qwen3Config, Qwen3ForCausalLM, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from burnish.core.run import Run
    from burnish.core.trainer import train, trainer_arguments
    from burnish.testbeds.models import character_tokenizer

    torch.set_num_threads(1)

    class Dies(TrainerCallback):
        """SIGKILL after a save and before its manifest: a torn checkpoint."""

        saves = 0

        def on_save(self, *args, **kwargs) -> None:
            Dies.saves += 1
            if Dies.saves == die_at_save:
                os.kill(os.getpid(), signal.SIGKILL)

        def on_step_end(self, *args, **kwargs) -> None:
            time.sleep(pause)

    with Run(Recipe(method="sft", checkpoint_every=0), path, quiet=True) as run:
        tokenizer = character_tokenizer()
        config = Qwen3Config(
            vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=2, head_dim=16, attention_dropout=0.1,
        )  # fmt: skip
        trainer = SFTTrainer(
            model=Qwen3ForCausalLM(config),
            args=SFTConfig(
                **trainer_arguments(run), max_steps=steps, per_device_train_batch_size=4, use_cpu=True, bf16=False,
                logging_steps=1, learning_rate=rate, max_length=32, gradient_checkpointing=False,
            ),
            train_dataset=Dataset.from_list([{"text": f"{n} and {n * 3 % 97}"} for n in range(60)]),
            processing_class=tokenizer,
            callbacks=[Dies()],
        )  # fmt: skip
        train(trainer, run)
        if die_trained:
            os.kill(os.getpid(), signal.SIGKILL)
        digest = hashlib.sha256()
        for tensor in trainer.model.state_dict().values():
            digest.update(tensor.numpy().tobytes())
        run.artifact("hash.txt", digest.hexdigest())
    return digest.hexdigest()


def child(path: Path, **kwargs) -> BaseProcess:
    process = CONTEXT.Process(target=sft, args=(str(path),), kwargs=kwargs)
    process.start()
    return process


def wait_for_lines(metrics: Path, count: int, process: BaseProcess) -> None:
    while not metrics.exists() or len(metrics.read_bytes().splitlines()) < count:
        assert process.is_alive(), "the child ended early"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sft") / "run"
    process = child(path)
    process.join(300)
    assert process.exitcode == 0
    return path


def test_a_loss_that_is_no_number_ends_the_training(tmp_path: Path) -> None:
    """Transformers would log it as 0 and go on."""
    with pytest.raises(BurnishError, match=r"step \d: loss is nan; .* lower the learning rate"):
        sft(str(tmp_path / "run"), rate=1e30)


def test_a_trainer_ends_with_its_training(tmp_path: Path) -> None:
    """Its callback knows it: a cycle would keep weights and optimizer until garbage is collected."""
    from burnish.core.run import Run
    from burnish.core.trainer import RunCallback

    class Trainer:
        callback: RunCallback

    with Run(Recipe(method="sft"), tmp_path / "run", quiet=True) as run:
        trainer = Trainer()
        trainer.callback = RunCallback(run, 1, "", trainer)
        seen = weakref.ref(trainer)
        gc.disable()
        try:
            del trainer
            assert seen() is None
        finally:
            gc.enable()


def logged(path: Path) -> list[tuple[int, float, int]]:
    """Steps, losses, and the tokens that TRL counts from the start of the training."""
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return [(row["step"], row["loss"], row["num_tokens"]) for row in rows if "loss" in row]


@pytest.mark.slow
@pytest.mark.parametrize("death", [*({"die_at_save": save} for save in (1, 2, 5, 9)), {"die_trained": True}], ids=str)
def test_killed_where_a_checkpoint_is_not_what_it_seems(tmp_path: Path, whole: Path, death: dict[str, Any]) -> None:
    """Before its manifest is there: it is torn, and the one before is used. After the last step, which ends no epoch:
    from a checkpoint of it a trainer of transformers would go on for a step more.
    """
    process = child(tmp_path / "run", **death)
    process.join(300)
    assert process.exitcode == -signal.SIGKILL
    process = child(tmp_path / "run")
    process.join(300)
    assert process.exitcode == 0
    assert (tmp_path / "run/artifacts/hash.txt").read_text() == (whole / "artifacts/hash.txt").read_text()
    assert logged(tmp_path / "run") == logged(whole)


@pytest.mark.slow
def test_killed_at_a_random_moment_then_damaged(tmp_path: Path, whole: Path) -> None:
    process = child(tmp_path / "run", pause=0.05)
    metrics = tmp_path / "run" / "metrics.jsonl"
    wait_for_lines(metrics, 5, process)
    process.kill()
    process.join()
    finished = [
        path for path in (tmp_path / "run/checkpoints").glob("checkpoint-*") if (path / "manifest.json").exists()
    ]
    newest = max(finished, key=lambda path: int(path.name.split("-")[1]))
    data = bytearray((newest / "optimizer.pt").read_bytes())
    data[len(data) // 2] ^= 1
    (newest / "optimizer.pt").write_bytes(data)
    process = child(tmp_path / "run")
    process.join(300)
    assert (tmp_path / "run/artifacts/hash.txt").read_text() == (whole / "artifacts/hash.txt").read_text()


@pytest.mark.slow
def test_terminated_then_resumed(tmp_path: Path, whole: Path) -> None:
    process = child(tmp_path / "run", pause=0.3)
    metrics = tmp_path / "run" / "metrics.jsonl"
    wait_for_lines(metrics, 3, process)
    process.terminate()
    process.join(60)
    assert json.loads((tmp_path / "run/run.json").read_text())["status"] == "interrupted"
    process = child(tmp_path / "run")
    process.join(300)
    assert (tmp_path / "run/artifacts/hash.txt").read_text() == (whole / "artifacts/hash.txt").read_text()


def test_a_first_save_that_was_never_finished_is_no_damage(tmp_path: Path) -> None:
    """Killed between mark and manifest of its only checkpoint, a training begins anew; a damaged one does not."""
    from burnish.core.files import write_manifest
    from burnish.core.run import Run
    from burnish.core.trainer import MARK, last_checkpoint

    folder = tmp_path / "run/checkpoints/checkpoint-1"
    with Run(Recipe(method="sft"), tmp_path / "run", quiet=True) as run:
        folder.mkdir(parents=True)
        (folder / "weights").write_bytes(b"1234")
        (folder / MARK).write_text('{"metrics": 0}')
        assert last_checkpoint(run) is None
        write_manifest(folder)
        assert last_checkpoint(run) == str(folder)
        (folder / "weights").write_bytes(b"1235")
        with pytest.raises(BurnishError, match="every checkpoint is damaged"):
            last_checkpoint(run)


def test_a_second_training_forgets_its_own_lines_only(tmp_path: Path) -> None:
    """Killed before its first checkpoint, it starts again; what the first training logged stays."""
    from burnish.core.run import Run
    from burnish.core.trainer import last_checkpoint

    with Run(Recipe(method="sft"), tmp_path / "run", quiet=True) as run:
        run.log(1, **{"sft/reward": 1.0})
        for steps in (2, 1):  # what this training got to log before it was killed
            assert last_checkpoint(run, "rl") is None
            for step in range(steps):
                run.log(step, **{"rl/reward": 0.5})
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [next(name for name in row if "/" in name) for row in rows] == ["sft/reward", "rl/reward"]


def torchrun(path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0"]
    command += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0", "-m", "tests.core.test_trainer", str(path)]
    return subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=200)


@pytest.mark.slow
def test_two_gloo_processes_stop_together_and_resume_exactly(tmp_path: Path) -> None:
    """DDP over two ranks: one owner of the folder, a stop signal that both honour, a result without a trace of it."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    with started(sft, str(whole)) as processes:
        assert ended(processes) == [0, 0]
    with started(sft, str(cut), 10, 0, 0.3) as processes:
        wait_for_lines(cut / "metrics.jsonl", 2, processes[0])
        os.kill(int((cut / ".owner").read_text()), signal.SIGTERM)  # one rank is told, all must stop
        ended(processes)
    assert json.loads((cut / "run.json").read_text())["status"] == "interrupted"
    # torchrun itself starts them this time: what the others are given in its place is what it gives
    again = torchrun(cut)
    assert again.returncode == 0, again.stderr[-3000:]
    assert (cut / "artifacts/hash.txt").read_text() == (whole / "artifacts/hash.txt").read_text()
    assert logged(cut) == logged(whole)


if __name__ == "__main__":
    sft(sys.argv[1])
