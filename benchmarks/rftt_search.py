"""Tree search with prefixes kept against the same batch read anew, and against one request at a time.

    python benchmarks/rftt_search.py [--model small|smollm2] [--repeats 3] [--device cpu] [--json FILE]

16 trees grow in lock step, 4 leaves each, for 8 levels of steps of the same length; after each level one leaf of each
tree is the next level's parent. Every way writes the same steps for the same leaves and all must write the same tokens:
  reuse         every node keeps its keys and values (the product's default)
  batched       the same rows in one batch, their paths read anew by transformers' generate
  no budget     the first engine with nothing kept between two levels: its loop, its cache in place, and no reuse
  one by one    as released: one request at a time, its path read anew (some rows of some levels, scaled up)
`small` is a Llama of 4.2 M weights (256 x 4 layers) with steps of 24 tokens and prompts of 49 to 64, `smollm2` the real
SmolLM2-135M-Instruct (`burnish model smollm2 FOLDER`) with 4 trees, steps of 16 and prompts of 73 to 96. Then a whole
search, `search` itself with its selection and bookkeeping: which share of its time is the model's forward pass, which
the drawing of tokens, and which all the rest (gathering and keeping slices, trees, counts). On a CPU one thread, and
its own seconds rather than the wall's, which neighbours disturb; medians over repeats, and the ratio of each pair.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path as File
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
import transformers

from burnish.reason.rftt.generators.drawing import Drawing
from burnish.reason.rftt.generators.local import LocalEngine
from burnish.reason.rftt.generators.protocol import Path, PathNode, Prompt, Sampling, Written
from burnish.reason.rftt.generators.reencoding import Reencoding
from burnish.reason.rftt.generators.transformers_reuse import PrefixReuse
from burnish.reason.rftt.grammar import Grammar, rftt_grammar
from burnish.reason.rftt.search import SearchRules, search
from burnish.reason.rftt.vocabulary import extend
from burnish.testbeds.models import cached_model, character_tokenizer

GREEDY = Sampling(temperature=0.0)
LEAVES = 4
SETTINGS = {"small": (16, 8, 24, 64), "smollm2": (4, 8, 16, 96)}
"""Trees, levels, tokens of a step with its closing one, tokens of the longest prompt."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=SETTINGS, default="small")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--single", type=int, default=6, help="rows of a level that are asked one by one")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=File, help="write the rows here too")
    options = parser.parse_args()
    if options.device == "cpu":
        torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    transformers.utils.logging.set_verbosity_error()
    clock = time.process_time if options.device == "cpu" else _synchronized
    trees, levels, step, prompt = SETTINGS[options.model]
    make, grammar = engines(options.model, step, levels, options.device)
    weights = sum(weight.numel() for weight in make(Reencoding).model.parameters())
    print(f"{options.model}, {weights / 1e6:.1f} M weights; {options.device}, torch {torch.__version__}", flush=True)
    runs = [grown(make, grammar, trees, levels, prompt, options.single, clock, seed) for seed in range(options.repeats)]
    rows: list[dict[str, Any]] = []
    for level in range(levels):
        times = [run[level] for run in runs]
        rows.append({"level": level + 1} | _compared(times))
    rows.append({"level": "all"} | _compared([_total(run) for run in runs]))
    rows.append(shares(make, trees * LEAVES, prompt, clock))
    rows.append(within_budget(make, trees, prompt))
    for row in rows:
        print("  ".join(f"{name} {value}" for name, value in row.items()), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


def engines(name: str, step: int, levels: int, device: str) -> tuple[Callable[..., Any], Grammar]:
    """How to make an engine of a class, and the grammar; every step has its full length."""
    torch.manual_seed(0)
    if name == "small":
        tokenizer = character_tokenizer()
        model: Any = transformers.LlamaForCausalLM(
            transformers.LlamaConfig(
                vocab_size=496, hidden_size=256, intermediate_size=1024, num_hidden_layers=4, num_attention_heads=4,
                num_key_value_heads=2, max_position_embeddings=4096, initializer_range=0.2,
            )
        )  # fmt: skip
        for character in range(len(tokenizer), 496):  # as many words as the model has rows
            tokenizer.add_tokens([f"word{character}"])
    else:
        folder = cached_model("smollm2")
        if folder is None:
            raise SystemExit("SmolLM2 is not in the cache; run `burnish model smollm2 FOLDER` once")
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    grammar = rftt_grammar(max_depth=levels + 2)
    grammar = replace(grammar, actions=tuple(replace(action, tokens=step - 1) for action in grammar.actions))
    vocabulary = extend(model, tokenizer, grammar, seed=0)
    model.to(device).eval().requires_grad_(False)
    closing = torch.tensor(sorted(vocabulary.closes.values()), device=device)

    def never_early(_module: Any, _inputs: Any, logits: Any) -> Any:
        return logits.index_fill(-1, closing, -30.0)  # only where the grammar leaves nothing else

    model.get_output_embeddings().register_forward_hook(never_early)
    return lambda kind, **settings: kind(model, tokenizer, vocabulary, grammar, **settings), grammar


def prompts_of(trees: int, longest: int, seed: int) -> list[Prompt]:
    """Questions of different lengths, random text."""
    rng = np.random.default_rng(seed)
    lengths = longest - rng.integers(0, longest // 4, trees)
    return [Prompt(f"{seed}/{tree}", "", tuple(rng.integers(4, 90, int(n)).tolist())) for tree, n in enumerate(lengths)]


def grown(
    make: Callable[..., Any],
    grammar: Grammar,
    trees: int,
    levels: int,
    longest: int,
    single: int,
    clock: Callable[[], float],
    seed: int,
) -> list[dict[str, float]]:
    """Seconds of each level, by way."""
    rng = np.random.default_rng([seed, 1])
    reuse, batched, alone = make(PrefixReuse), make(Reencoding), make(Reencoding)
    bare = make(PrefixReuse, budget=0, note=lambda _: None)
    parents = [Path(prompt) for prompt in prompts_of(trees, longest, seed)]
    found, asked = [], 0
    for _ in range(levels):
        paths = [parent for parent in parents for _ in range(LEAVES)]
        legal = [[name for name in grammar.legal(path.actions) if not grammar.action(name).ends] for path in paths]
        actions = [names[int(rng.integers(len(names)))] for names in legal]
        asked += sum(path.length + 1 for path in paths)
        some = rng.choice(len(paths), single, replace=False).tolist()
        seconds = {}
        seconds["reuse"], texts = _timed(reuse, paths, actions, clock)
        seconds["batched"], again = _timed(batched, paths, actions, clock)
        seconds["no budget"], third = _timed(bare, paths, actions, clock)
        parts = [_timed(alone, [paths[row]], [actions[row]], clock) for row in some]
        seconds["one by one"] = sum(part[0] for part in parts) * len(paths) / single
        same = [one.ids == other.ids for one, other in zip(texts, again, strict=True)]
        same += [one.ids == other.ids for one, other in zip(texts, third, strict=True)]
        same += [part[1][0].ids == texts[row].ids for part, row in zip(parts, some, strict=True)]
        if sum(same) < 0.99 * len(same):  # half precision may tip a token now and then
            raise SystemExit(f"the ways write different tokens: {same}")
        found.append(seconds)
        chosen = [LEAVES * tree + int(rng.integers(LEAVES)) for tree in range(trees)]
        parents = [_longer(reuse, paths[row], actions[row], texts[row]) for row in chosen]
    for engine in (reuse, batched, bare):
        if engine.counts.encoded + engine.counts.reused != asked:
            raise SystemExit("tokens read and tokens reused do not sum to what was asked about")
    return found


def shares(make: Callable[..., Any], trees: int, longest: int, clock: Callable[[], float]) -> dict[str, Any]:
    """Where the time of a whole search goes."""
    engine = make(PrefixReuse)
    spent = {"forward": 0.0, "drawing": 0.0}
    grammar = engine.compiled.grammar

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **settings: Any) -> Any:
            begun = clock()
            try:
                return function(*arguments, **settings)
            finally:
                spent[name] += clock() - begun

        return run

    forward, step = engine.model.forward, Drawing.step
    engine.model.forward, Drawing.step = counted("forward", forward), counted("drawing", step)
    try:
        begun = clock()
        found = search(
            prompts_of(trees, longest, seed=77),
            engine,
            grammar,
            lambda paths: [float(len(path.nodes) % 2) for path in paths],
            SearchRules(rollouts=2, sampling=GREEDY),
            width=trees,
        )
        total = clock() - begun
    finally:
        engine.model.forward, Drawing.step = forward, step
    rest = total - sum(spent.values())
    return {
        "whole search": f"{trees} trees, {sum(len(tree.rollouts) for tree in found)} rollouts",
        "s": round(total, 2),
        "tokens/s": round(engine.counts.generated / total),
        "forward": round(spent["forward"] / total, 3),
        "drawing": round(spent["drawing"] / total, 3),
        "gathering and search": round(rest / total, 3),
        **vars(engine.counts),
    }


def within_budget(make: Callable[..., Any], trees: int, longest: int) -> dict[str, Any]:
    """A search that may keep a third of what it would: the most it ever held, and what it read again for it."""
    rules = SearchRules(rollouts=2, sampling=GREEDY)
    counts, peaks, budget = [], [], 1 << 40
    for _ in range(2):
        engine = make(PrefixReuse, budget=budget)
        search(prompts_of(trees, longest, 78), engine, engine.compiled.grammar, lambda paths: [0.0] * len(paths), rules)
        counts.append(engine.counts)
        peaks.append(engine.cache.peak)
        if engine.cache.peak > budget:
            raise SystemExit(f"the cache held {engine.cache.peak:,} bytes of {budget:,}")
        budget = peaks[0] // 3
    return {
        "budget": f"{peaks[1] / 2**20:.1f} of {peaks[0] // 3 / 2**20:.1f} MiB held, {peaks[0] / 2**20:.1f} without one",
        "read": f"{counts[1].encoded} tokens, {counts[0].encoded} without one",
    }


def _timed(
    engine: LocalEngine, paths: Sequence[Path], actions: Sequence[str], clock: Callable[[], float]
) -> tuple[float, list[Written]]:
    begun = clock()
    written = engine.complete(paths, actions, GREEDY, [0] * len(paths))
    return clock() - begun, written


def _longer(engine: LocalEngine, path: Path, action: str, step: Written) -> Path:
    return Path(path.prompt, (*path.nodes, PathNode(action, (*engine.opening(action), *step.ids), step.text)))


def _compared(times: Sequence[dict[str, float]]) -> dict[str, Any]:
    medians = {name: round(statistics.median(each[name] for each in times), 3) for name in times[0]}
    ratios = {
        f"{name} / reuse": round(statistics.median(each[name] / each["reuse"] for each in times), 2)
        for name in ("batched", "no budget", "one by one")
    }
    return {f"{name} s": value for name, value in medians.items()} | ratios


def _total(run: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: sum(level[name] for level in run) for name in run[0]}


def _synchronized() -> float:
    torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    main()
