"""Hint-GRPO: what its machinery costs a step against TRL's own GRPO, and how many rollouts the ladder saves.

    python benchmarks/hint_grpo.py [--steps 6] [--repeats 5] [--device cpu] [--json FILE]

Overhead: the same Llama, questions, group size, reward, reference model and number of sampled tokens; TRL's GRPOTrainer
against the hint trainer that tries level 0 of every question only, so both sample as many completions of the same
length. Runs of a few steps in turn, in one process; medians, and the ratio of each pair; on a CPU its own seconds, not
the wall's, which neighbours disturb. Rollouts: the ladder (without memory) against all levels at once (the published
schedule), training the arithmetic world's model. A group's completions depend on its prompt and step alone, so both
learn from the same groups and must end with the same weights, bit for bit.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import logging
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
import transformers
import trl

from burnish.dialogue.rewards import Accuracy
from burnish.dialogue.verify import Verifier
from burnish.reason.hint_grpo.hint_sampler import Hints
from burnish.reason.hint_grpo.rows import read_table, write_table
from burnish.reason.hint_grpo.schedule import Exhaustive, Fixed, Ladder
from burnish.reason.hint_grpo.trainer import HintGRPOTrainer
from burnish.testbeds.arithmetic import draw_questions, make_tokenizer, train_base

GROUP = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=6, help="optimizer steps of a timed run")
    parser.add_argument("--repeats", type=int, default=5, help="timed runs of each side")
    parser.add_argument("--questions", type=int, default=16, help="a step")
    parser.add_argument("--tokens", type=int, default=32, help="of every completion")
    parser.add_argument("--width", type=int, default=256, help="of the timed model, of 4 layers")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument(
        "--training", type=int, default=100, help="steps of the two trainings whose rollouts are counted"
    )
    parser.add_argument("--json", type=Path, help="write the rows here too")
    options = parser.parse_args()
    if options.device == "cpu":
        torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        rows = [overhead(Path(folder), options), rollouts(Path(folder), options.training)]
    for row in rows:
        print(
            ", ".join(
                f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in row.items()
            )
        )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


def overhead(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds a step of both, and the median of the pairs' ratios less one."""
    tokenizer = make_tokenizer()
    save(train_base(steps=0, width=options.width, layers=4), tokenizer, folder / "timed")
    questions = draw_questions(options.questions * options.steps, (8,), seed=1)
    table = read_table(write_table(folder / "timed.arrow", questions))
    seconds: dict[str, list[float]] = {"trl": [], "hints": []}
    for repeat in range(options.repeats + 1):  # the first is a warm-up
        for name in ("trl", "hints") if repeat % 2 else ("hints", "trl"):
            trainer = build(name, folder, table, options)
            clock = time.process_time if options.device == "cpu" else time.perf_counter
            started = clock()
            quietly(trainer.train)
            if options.device == "cuda":
                torch.cuda.synchronize()
            if repeat:
                seconds[name].append((clock() - started) / options.steps)
    ratios = [own / plain for own, plain in zip(seconds["hints"], seconds["trl"], strict=True)]
    return {
        "benchmark": "overhead",
        "device": torch.cuda.get_device_name() if options.device == "cuda" else "cpu, 1 thread",
        "completions a step": options.questions * GROUP,
        "tokens a completion": options.tokens,
        "TRL s/step": statistics.median(seconds["trl"]),
        "hints s/step": statistics.median(seconds["hints"]),
        "overhead": statistics.median(ratios) - 1,
        "overhead, fastest runs": min(seconds["hints"]) / min(seconds["trl"]) - 1,
    }


def build(name: str, folder: Path, table: Any, options: argparse.Namespace) -> Any:
    """One of the two trainers, on a fresh copy of the timed model."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder / "timed", dtype=torch.float32)
    args = trl.GRPOConfig(
        output_dir=str(folder / "out"),
        per_device_train_batch_size=options.questions * GROUP,
        num_generations=GROUP,
        max_completion_length=options.tokens,
        generation_kwargs={"min_new_tokens": options.tokens},  # every completion is as long
        beta=0.04,
        loss_type="grpo",
        max_steps=options.steps,
        activation_checkpointing=False,
        use_cpu=options.device == "cpu",
        bf16=False,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        logging_steps=1,
    )
    accuracy = Accuracy(Verifier(), "answer")
    tokenizer = make_tokenizer()
    if name == "trl":
        return trl.GRPOTrainer(model, accuracy, args, table, processing_class=tokenizer)
    return HintGRPOTrainer(model, [accuracy], args, table, tokenizer, Hints(levels=3, schedule=Fixed(0), prefill=""))


def rollouts(folder: Path, steps: int) -> dict[str, Any]:
    """Completions of the ladder over those of all levels at once, in trainings that must end with the same weights."""
    tokenizer = make_tokenizer()
    save(train_base(), tokenizer, folder / "base")
    table = read_table(write_table(folder / "rollouts.arrow", draw_questions(8 * steps, (6, 7, 8), seed=2)))
    generated, weights = {}, {}
    for name, schedule in (("ladder", Ladder(remembers=False)), ("all levels", Exhaustive())):
        model = transformers.AutoModelForCausalLM.from_pretrained(folder / "base", dtype=torch.float32)
        args = trl.GRPOConfig(
            output_dir=str(folder / "out"), per_device_train_batch_size=8 * GROUP, num_generations=GROUP,
            max_completion_length=16, beta=0.04, loss_type="grpo", learning_rate=2e-4, lr_scheduler_type="constant",
            max_steps=steps, use_cpu=True, bf16=False, report_to="none", save_strategy="no", disable_tqdm=True,
            activation_checkpointing=False,
        )  # fmt: skip
        accuracy = Accuracy(Verifier(), "answer")
        trainer = HintGRPOTrainer(model, [accuracy], args, table, tokenizer, Hints(levels=3, schedule=schedule))
        draw_by_prompt(trainer)
        quietly(trainer.train)
        generated[name] = trainer.generated["completions"]
        weights[name] = torch.cat([each.detach().flatten() for each in trainer.model.parameters()])
    return {
        "benchmark": "rollouts",
        "steps": steps,
        "ladder": generated["ladder"],
        "all levels": generated["all levels"],
        "same weights": torch.equal(*weights.values()),
        "ratio": generated["ladder"] / generated["all levels"],
    }


def draw_by_prompt(trainer: Any) -> None:
    """Make a group's completions depend on its prompt and the step only, so that both schedules see the same ones."""
    sample = trainer._generate_single_turn

    def seeded(prompt_ids: Sequence[Sequence[int]], images: Any, fields: Any, num_generations: int) -> Any:
        found = []
        with torch.random.fork_rng():
            for start in range(0, len(prompt_ids), num_generations):
                group = prompt_ids[start : start + num_generations]
                seed = hashlib.sha256(bytes(group[0]) + str(trainer.state.global_step).encode()).digest()
                torch.manual_seed(int.from_bytes(seed[:4], "big"))
                found += sample(group, images, fields, num_generations)[0]
        return found, None

    trainer._generate_single_turn = seeded


def save(model: Any, tokenizer: Any, folder: Path) -> None:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def quietly(function: Any, *arguments: Any) -> Any:
    with contextlib.redirect_stdout(io.StringIO()):
        return function(*arguments)


if __name__ == "__main__":
    main()
