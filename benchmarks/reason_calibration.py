"""Tokens per second of calibrated decoding against plain decoding and against the released way of doing it.

    python benchmarks/reason_calibration.py [--batches 1 8] [--tokens 48] [--repeats 5] [--device cpu] [--json FILE]

A LLaVA with random weights whose prompt is nearly all image (336 px pictures: 576 image tokens, some 30 of text). In
turn, in one process:
  plain        transformers' generate
  calibrated   both branches in one pass, each prompt prefilled at its own length
  two passes   the branches one after the other (as a logits processor would run them)
  2B rows      as released: prompts with and without image padded to one batch of twice the rows from the start
All calibrated ways must write the same tokens. Time is a whole generation, prefill and vision tower included; `per
token` is the slope between a short and a long one. Medians; what counts is the ratio to plain.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from PIL import Image
from torch import Tensor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from burnish.dialogue.models import ChatModel, opened
from burnish.dialogue.rows import Question
from burnish.reason.calibration.decoding import Calibrated
from burnish.reason.calibration.logits import calibrate
from burnish.reason.calibration.settings import Calibration
from burnish.testbeds.models import character_tokenizer

GAMMA = 0.8
SHORT = 4
"""New tokens of the short generation that the slope starts from."""
SIZES = {
    "small": {
        "hidden_size": 768,
        "intermediate_size": 2048,
        "num_hidden_layers": 10,
        "num_attention_heads": 12,
        "num_key_value_heads": 4,
    },
    "3b": {
        "hidden_size": 2048,
        "intermediate_size": 11008,
        "num_hidden_layers": 36,
        "num_attention_heads": 16,
        "num_key_value_heads": 2,
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--tokens", type=int, default=48, help="new tokens")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--size", choices=SIZES, default="small", help="language model: about 0.1 or 3 billion weights")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, help="write the rows here too")
    options = parser.parse_args()
    chat = model(options.size, options.device)
    rows = []
    for batch in options.batches:
        ways = prepared(chat, batch)
        long = timed(ways, options.tokens, options.repeats)
        short = timed(ways, SHORT, options.repeats)
        slope = {name: (long[name] - short[name]) / (options.tokens - SHORT) for name in ways}
        rows += [
            {
                "batch": batch,
                "way": name,
                "tokens/s": round(batch * options.tokens / long[name], 1),
                "of plain": round(long["plain"] / long[name], 3),
                "ms per token": round(1000 * slope[name], 2),
                "times plain's": round(slope[name] / slope["plain"], 3),
            }
            for name in ways
        ]
        for row in rows[-len(ways) :]:
            print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


def model(size: str, device: str) -> ChatModel:
    """A LLaVA-1.5-like model: CLIP at 336 px with patches of 14, a Llama-like language model with 32,000 words."""
    torch.manual_seed(0)
    tokenizer = character_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    config = transformers.LlavaConfig(
        text_config={"model_type": "llama", "vocab_size": 32000, "max_position_embeddings": 4096, **SIZES[size]},
        vision_config={
            "model_type": "clip_vision_model",
            "hidden_size": 256,
            "intermediate_size": 1024,
            "num_hidden_layers": 6,
            "num_attention_heads": 4,
            "image_size": 336,
            "patch_size": 14,
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
    )
    dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
    with torch.device(device):
        network = transformers.LlavaForConditionalGeneration(config).to(dtype).eval()
    network.generation_config.eos_token_id = None  # every generation has its full length
    network.generation_config.pad_token_id = tokenizer.pad_token_id
    processor = transformers.LlavaProcessor(
        CLIPImageProcessorPil(size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336}),
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template="{% for m in messages %}{% for c in m.content %}{{ '<image>' if c.type == 'image' else c.text }}"
        "{% endfor %}{% endfor %}",
    )
    return ChatModel(network, processor, "benchmark")


def prepared(chat: ChatModel, batch: int) -> dict[str, Callable[[int], Tensor]]:
    """Each way as a function of the number of new tokens."""
    pictures = [Image.effect_noise((336, 336), 40 + index).convert("RGB") for index in range(batch)]
    questions = [Question("how many cubes are on the left?", "", images=(picture,)) for picture in pictures]
    inputs = chat.encode(chat.render(questions), opened(questions))
    without = chat.encode(chat.render(questions, images=False))

    def generated(custom: Any) -> Callable[[int], Tensor]:
        more = {} if custom is None else {"custom_generate": custom}
        return lambda tokens: chat.model.generate(**inputs, max_new_tokens=tokens, do_sample=False, **more)[:, -tokens:]

    return {
        "plain": generated(None),
        "calibrated": generated(Calibrated(without, Calibration(gamma=GAMMA))),
        "two passes": generated(Calibrated(without, Calibration(gamma=GAMMA, together=False))),
        "2B rows": lambda tokens: doubled(chat, inputs, without, tokens),
    }


@torch.no_grad()
def doubled(chat: ChatModel, inputs: dict[str, Any], without: dict[str, Any], tokens: int) -> Tensor:
    """Twice the rows from the prompt on: the text prompts are padded to the length of those with an image."""
    length = inputs["input_ids"].shape[1]
    pad = length - without["input_ids"].shape[1]
    state = {
        "attention_mask": torch.cat(
            [inputs["attention_mask"], torch.nn.functional.pad(without["attention_mask"], (pad, 0))]
        ),
        "pixel_values": inputs["pixel_values"],
        "use_cache": True,
        "logits_to_keep": 1,
    }
    blank = torch.nn.functional.pad(without["input_ids"], (pad, 0), value=chat.tokenizer.pad_token_id)
    ids = torch.cat([inputs["input_ids"], blank])
    state["position_ids"] = (state["attention_mask"].cumsum(1) - 1).clamp(min=0)
    first, written = True, []
    for _ in range(tokens):
        step = {} if first else {"next_sequence_length": 1}
        ready = chat.model.prepare_inputs_for_generation(ids, is_first_iteration=first, **step, **state)
        outputs = chat.model(**ready, return_dict=True)
        state = chat.model._update_model_kwargs_for_generation(outputs, state)
        image, text = outputs.logits[:, -1].float().chunk(2)
        written.append(calibrate(image, text, GAMMA).argmax(-1))
        ids = torch.cat([ids, torch.cat([written[-1]] * 2)[:, None]], dim=1)
        first = False
    return torch.stack(written, dim=1)


def timed(ways: dict[str, Callable[[int], Tensor]], tokens: int, repeats: int) -> dict[str, float]:
    """Median seconds of each way, in turn; the first round warms up and checks that all calibrated ways agree."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(repeats + 1):
        found = {}
        for name, way in ways.items():
            start = time.perf_counter()
            found[name] = way(tokens).cpu()
            if repeat:
                seconds[name].append(time.perf_counter() - start)
        agreed = [(found["calibrated"] == found[name]).float().mean().item() for name in ("two passes", "2B rows")]
        if min(agreed) < 0.9:  # half precision may tip a token now and then
            raise SystemExit(f"the ways write different tokens: {agreed}")
    return {name: statistics.median(values) for name, values in seconds.items()}


if __name__ == "__main__":
    main()
