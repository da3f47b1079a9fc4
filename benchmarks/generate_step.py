"""What routing costs: a training step of MINT's layers against dense ones of the same active size.

    python benchmarks/generate_step.py [--json FILE]

Both are the product's layers over the same rows; a token passes through matrices of the same sizes, but MINT has three
sets of them. Timed is what a step does per layer: forward and backward.
  mint      three experts, kinds as slices, nothing permuted
  dense     one expert for all kinds
  gather    three experts with the tokens in reading order: picked by index before each projection and put back after,
            as a model that routes by a mask does
  qwen3     transformers' own decoder layers of that size over as many tokens, plainly causal; for scale
Also: one optimizer step of AdamW (it touches all experts' parameters, so three times as many), and a mask that is built
against one that is kept. One thread, CPU seconds; the ways take turns, the median of ratios within a round is given.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from torch import Tensor
from torch.nn import functional as F

from burnish.generate.attention import batch_mask, batch_positions
from burnish.generate.config import UnifiedConfig
from burnish.generate.experts import ROUTINGS, Parts, StackedLinear, StackedNorm, Used, by_expert, expert_sizes
from burnish.generate.model import UnifiedModel
from burnish.generate.records import KINDS, Batch, Layout, Segment
from burnish.generate.sequence import dense_mask, storage, table

AT_MOST = 1.05
SIZES = {  # width, feed-forward, heads, layers, rows, patches, text
    "small": (96, 384, 4, 4, 32, 16, 26),
    "wider": (256, 1024, 8, 4, 8, 64, 64),
    "published": (896, 4864, 14, 1, 4, 256, 128),
}


class Gathered(StackedLinear):
    """The same experts over tokens in reading order: a gather and a scatter around each projection."""

    places: list[Tensor]

    def forward(self, parts: Parts, used: Used = None) -> Parts:  # noqa: ARG002 - all are used
        whole = parts[0]
        out = whole.new_empty(*whole.shape[:-1], self.weight.shape[0] // self.experts)
        for place, weight in zip(self.places, by_expert(self.weight, self.experts).unbind(0), strict=True):
            out = out.index_put((place,), F.linear(whole[place], weight))
        return [out]


class GatheredNorm(StackedNorm):
    places: list[Tensor]

    def forward(self, parts: Parts, used: Used = None) -> Parts:  # noqa: ARG002 - all are used
        whole = parts[0]
        out = torch.empty_like(whole)
        for place, weight in zip(self.places, by_expert(self.weight, self.experts).unbind(0), strict=True):
            out = out.index_put((place,), F.rms_norm(whole[place], whole.shape[-1:], weight, self.eps))
        return [out]


def model_of(routing: str, size: tuple[int, ...]) -> UnifiedModel:
    width, inner, heads, layers, _, patches, _ = size
    torch.manual_seed(0)
    text = {
        "model_type": "qwen2",
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "intermediate_size": inner,
        "vocab_size": 64,
    }
    side = int(patches**0.5)
    return UnifiedModel(UnifiedConfig(text=text, routing=ROUTINGS[routing], patch_dim=12, grid=(side, side)))


def batch_of(size: tuple[int, ...]) -> Batch:
    *_, rows, patches, text = size
    layout = Layout(
        (Segment("text", text), Segment("clean", patches, 0), Segment("text", 4), Segment("noisy", patches, 1))
    )
    pictures = torch.randn(rows, 1, patches, 12)
    return Batch(layout, torch.zeros(rows, text + 4, dtype=torch.long), pictures, pictures, torch.rand(rows, 1))


def layers_step(model: UnifiedModel, batch: Batch, in_reading_order: bool = False) -> Callable[[], None]:
    """Forward and backward of the layers alone."""
    tokens = {kind: batch.layout.tokens(kind) for kind in KINDS}
    kinds = model.kinds
    length, rows, width = sum(tokens.values()), len(batch.tokens), model.config.text_config().hidden_size
    states = torch.randn(length, rows, width, requires_grad=True)
    reading = model.reading(batch_positions(batch, kinds), batch_mask(batch, kinds, "sdpa"))
    sizes = [length] if in_reading_order else expert_sizes(model.config.routing, tokens)

    def step() -> None:
        parts = list(torch.split(states, sizes))
        for layer in model.layers:
            parts, _ = layer(parts, reading)
        torch.cat(parts).square().mean().backward()
        model.zero_grad(set_to_none=True)
        states.grad = None

    return step


def gathered_step(size: tuple[int, ...], batch: Batch) -> Callable[[], None]:
    model = model_of("mint", size)
    kinds = [batch.layout.segments[place].kind for place in table(batch.layout).segment.tolist()]
    places = [torch.tensor([at for at, kind in enumerate(kinds) if kind == wanted]) for wanted in KINDS]
    for module in model.layers.modules():
        if isinstance(module, StackedLinear):
            assert module.bias is None or module.bias.numel()
            module.bias = None
            module.__class__ = Gathered
        elif isinstance(module, StackedNorm):
            module.__class__ = GatheredNorm
        else:
            continue
        module.places = places  # type: ignore[assignment]
    return layers_step(model, batch, in_reading_order=True)


def qwen3_step(size: tuple[int, ...], batch: Batch) -> Callable[[], None]:
    import transformers

    width, inner, heads, layers, rows, *_ = size
    config = transformers.Qwen3Config(
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=width // heads,
        intermediate_size=inner,
        vocab_size=64,
    )
    model = transformers.Qwen3Model(config)
    length = sum(segment.length for segment in batch.layout.segments)
    states = torch.randn(rows, length, width, requires_grad=True)

    def step() -> None:
        model(inputs_embeds=states, use_cache=False).last_hidden_state.square().mean().backward()
        model.zero_grad(set_to_none=True)
        states.grad = None

    return step


def timed(step: Callable[[], None], times: int) -> float:
    start = time.process_time()
    for _ in range(times):
        step()
    return (time.process_time() - start) / times


def ratios(ways: dict[str, Callable[[], None]], seconds: float, rounds: int) -> dict[str, Any]:
    for step in ways.values():
        step()
    times = max(1, int(seconds / rounds / len(ways) / timed(ways["dense"], 1)))
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, step in ways.items():
            found[name].append(timed(step, times))
    return {
        name: {
            "ms": round(1000 * median(values), 3),
            "over_dense": round(median(a / b for a, b in zip(values, found["dense"], strict=True)), 3),
        }
        for name, values in found.items()
    }


def optimizer_ms(routing: str, size: tuple[int, ...]) -> float:
    model = model_of(routing, size)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4, foreach=True)
    optimizer.step()
    return round(1000 * timed(optimizer.step, 5), 3)


def mask_ms(batch: Batch) -> dict[str, float]:
    kinds = ("text", "clean", "noisy")
    order = storage(batch.layout, kinds)

    def built() -> None:
        table.cache_clear()
        dense_mask(batch.layout)[order][:, order]

    return {
        "built": round(1000 * timed(built, 5), 4),
        "kept": round(1000 * timed(lambda: batch_mask(batch, kinds, "sdpa") and None, 500), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seconds", type=float, default=20, help="CPU seconds a size")
    parser.add_argument("--sizes", nargs="*", default=list(SIZES), choices=list(SIZES))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    report: dict[str, Any] = {"machine": platform.processor() or platform.machine(), "torch": torch.__version__}
    for name in asked.sizes:
        size = SIZES[name]
        batch = batch_of(size)
        ways = {
            "dense": layers_step(model_of("dense", size), batch),
            "mint": layers_step(model_of("mint", size), batch),
            "gather": gathered_step(size, batch),
            "qwen3": qwen3_step(size, batch),
        }
        tokens = len(batch.tokens) * sum(segment.length for segment in batch.layout.segments)
        found = ratios(ways, asked.seconds, rounds=9)
        report[name] = {
            "size": size,
            "tokens": tokens,
            "ways": found,
            "tokens_a_second": round(tokens / found["mint"]["ms"] * 1000),
            "adamw_ms": {routing: optimizer_ms(routing, size) for routing in ("dense", "mint")},
            "mask_ms": mask_ms(batch),
            "holds": found["mint"]["over_dense"] <= AT_MOST,
        }
        print(name, json.dumps(report[name]), flush=True)
    if asked.json:
        asked.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
