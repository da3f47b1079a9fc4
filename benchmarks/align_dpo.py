"""A step of SHAPE's preference training against TRL's own trainer on the same pairs.

    python benchmarks/align_dpo.py [--repeats 3] [--steps 8] [--batch 8] [--device cpu] [--json FILE]

The same pairs of the same pictures, three ways, in turn, each from the same weights; all must log the same losses:
  trl      TRL's DPOTrainer with its collator, its reference a copy of the model (TRL refuses a table for pictures)
  model    ours, its reference a copy of the model too
  table    ours, its reference written down before the first step (the default); what that takes is a row of its own
The model is a LLaVA with random weights: 256 x 4 layers of a Llama, 128 x 2 of a CLIP tower, pictures of 96 px. On a
CPU one thread, and its own seconds rather than the wall's; medians over repeats, and the ratio of each round of three.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
import transformers
from datasets import Dataset
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from trl import DPOConfig, DPOTrainer

from burnish.align.pair_table import write_pairs
from burnish.align.preference import build_trainer, quiet_arguments, vision_towers
from burnish.align.recipe import ShapeRecipe
from burnish.align.records import Triplet
from burnish.core.trainer import keep_to_themselves
from burnish.dialogue.models import ChatModel
from burnish.dialogue.rows import open_picture
from burnish.testbeds.models import character_tokenizer

SIDE, PATCH = 96, 12
WARM_UP = 2
"""Steps before the clock starts."""
TEMPLATE = (
    "{% for m in messages %}{{ m.role }}: {% for c in m.content %}{{ '<image>' if c.type == 'image' else c.text }}"
    "{% endfor %}{{ '\\n' }}{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--device", default="cpu", choices=("cpu", "auto"))
    parser.add_argument("--json", type=Path, help="write the rows here too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    transformers.utils.logging.set_verbosity_error()
    keep_to_themselves()
    clock = time.process_time if options.device == "cpu" else _synchronized
    chat = new_model()
    print(f"{sum(weight.numel() for weight in chat.model.parameters()) / 1e6:.1f} M weights, torch {torch.__version__}")
    seconds: dict[str, list[float]] = {"trl": [], "model": [], "table": [], "table, before": []}
    with tempfile.TemporaryDirectory() as work:
        triplets = draw(Path(work), options.batch * 4)
        for _ in range(options.repeats):
            losses = {}
            for way in ("trl", "model", "table"):
                fresh = ChatModel(copy.deepcopy(chat.model), chat.processor, "benchmark")
                begun = clock()
                trainer = made(way, fresh, triplets, Path(work), options)
                before = clock() - begun
                losses[way], spent = trained(trainer, clock)
                seconds[way].append(spent / (options.steps - WARM_UP))
                if way == "table":
                    seconds["table, before"].append(before)
            for way in ("model", "table"):
                if not np.allclose(losses[way], losses["trl"], atol=1e-4):
                    raise SystemExit(f"{way} learns otherwise: {losses}")
    rows = [{"way": way, "seconds": round(statistics.median(found), 3)} for way, found in seconds.items()]
    for way in ("model", "table"):
        ratios = [own / theirs for own, theirs in zip(seconds[way], seconds["trl"], strict=True)]
        rows.append(
            {
                "way": f"a step of {way} over trl's",
                "ratio": round(statistics.median(ratios), 3),
                "range": [round(min(ratios), 3), round(max(ratios), 3)],
            }
        )
    for row in rows:
        print(row, flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


def new_model() -> ChatModel:
    tokenizer = character_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    config = transformers.LlavaConfig(
        text_config={
            "model_type": "llama", "vocab_size": len(tokenizer), "hidden_size": 256, "intermediate_size": 1024,
            "num_hidden_layers": 4, "num_attention_heads": 4, "pad_token_id": tokenizer.pad_token_id,
            "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
        },
        vision_config={
            "model_type": "clip_vision_model", "hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 2,
            "num_attention_heads": 4, "image_size": SIDE, "patch_size": PATCH,
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.LlavaForConditionalGeneration(config).eval()
    processor = transformers.LlavaProcessor(
        CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}),
        tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    )
    return ChatModel(model, processor, "benchmark")


def draw(folder: Path, count: int) -> list[Triplet]:
    """Pictures of noise and answers of 20 to 100 letters."""
    rng = np.random.default_rng(0)
    found = []
    for number in range(count):
        path = folder / f"{number}.png"
        Image.fromarray(rng.integers(0, 256, (SIDE, 4 * SIDE // 3, 3), dtype=np.uint8)).save(path)
        chosen, rejected = ("".join(rng.choice(list("abcde "), size)) + "z" for size in rng.integers(20, 100, 2))
        found.append(Triplet(f"{number}", path, "what is in the picture?", chosen, rejected))
    return found


def made(way: str, chat: ChatModel, triplets: list[Triplet], work: Path, options: argparse.Namespace) -> Any:
    """A trainer, ready to train."""
    quiet = quiet_arguments(work / "out", 0)
    if way == "trl":
        rows = [
            {
                "images": [open_picture(each.image)],
                "prompt": f"user: <image>{each.question}\nassistant: ",
                "chosen": each.chosen + chat.tokenizer.eos_token,
                "rejected": each.rejected + chat.tokenizer.eos_token,
            }
            for each in triplets
        ]
        for tower in vision_towers(chat.model):
            chat.model.get_submodule(tower).requires_grad_(False)
        config = DPOConfig(
            **quiet, max_length=None, per_device_train_batch_size=options.batch, max_steps=options.steps,
            learning_rate=1e-4, lr_scheduler_type="constant", logging_steps=1, use_cpu=options.device == "cpu",
            bf16=False, gradient_checkpointing=False, dataloader_pin_memory=False,
        )  # fmt: skip
        return DPOTrainer(
            chat.model,
            copy.deepcopy(chat.model),
            config,
            train_dataset=Dataset.from_list(rows),
            processing_class=chat.processor,
        )
    recipe = ShapeRecipe.model_validate(
        {
            "model": "none",
            "data": {"source": "none.jsonl"},
            "device": options.device,
            "bf16": False,
            "training": {
                "batch": options.batch, "steps": options.steps, "learning_rate": 1e-4, "lr_scheduler": "constant",
                "reference": way,
            },
        }
    )  # fmt: skip
    write_pairs(work / "pairs.arrow", triplets, chat)
    return build_trainer(recipe, chat, work / "pairs.arrow", None, **quiet)


def trained(trainer: Any, clock: Callable[[], float]) -> tuple[list[float], float]:
    """Losses by step, and seconds of the steps after the first few."""
    begun = 0.0

    class Watch(transformers.TrainerCallback):
        def on_step_end(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
            nonlocal begun
            if state.global_step == WARM_UP:
                begun = clock()

    trainer.remove_callback(transformers.PrinterCallback)
    trainer.add_callback(Watch())
    trainer.train()
    spent = clock() - begun
    return [row["loss"] for row in trainer.state.log_history if "loss" in row], spent


def _synchronized() -> float:
    torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    main()
