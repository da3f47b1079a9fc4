"""One transformer block end to end under encryption: its error, what each step takes, and BERT-base on paper.

    python benchmarks/private_block.py [--width 64] [--tokens 8] [--plan-only]

GPT-2's block of transformers with one head and random weights, its polynomials fitted to 500 random texts. Against the
same block in the clear (with polynomials: the noise; exact: noise and polynomials) on a text that was not fitted to.
Seconds are of the CPU, of one thread; the first run, which encodes the matrices, is counted.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from transformers import GPT2Config
from transformers.models.gpt2.modeling_gpt2 import GPT2Block

from burnish.private.block.circuit import LEVELS, EncryptedBlock, input_levels
from burnish.private.block.fitting import FittedBlock, approximate, fit
from burnish.private.block.weights import exact, weights_of
from burnish.private.encryption.cost import CostTable, cost_table
from burnish.private.encryption.parameters import Parameters
from burnish.private.encryption.seal import SealClient, SealEvaluator
from burnish.private.planning import plan_circuit

PARAMETERS = Parameters(ring=32768, scale_bits=44, levels=LEVELS, end_bits=55)
BOOTSTRAP = 20.0
"""Seconds of a full bootstrap at ring 65,536 that the extrapolation takes: an assumption, see private_bootstrap.py."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=8)
    parser.add_argument("--plan-only", action="store_true", help="no encryption: the plan and the extrapolation")
    given = parser.parse_args()
    torch.manual_seed(0)
    weights = weights_of(GPT2Block(GPT2Config(n_embd=given.width, n_head=1, n_layer=1), layer_idx=0).eval())
    rng = np.random.default_rng(0)
    fitted = fit(weights, rng.normal(size=(500, given.tokens, given.width)))
    block = EncryptedBlock(fitted, given.tokens, PARAMETERS.slots)
    costs = cost_table()
    plan = plan_circuit(block.run, PARAMETERS, 3, costs=costs)
    print(f"width {given.width}, {given.tokens} tokens, {PARAMETERS}: {PARAMETERS.modulus_bits} bits, {LEVELS} levels")
    memory = f"{plan.key_bytes / 2**30:.1f} GiB of keys, {plan.peak_bytes / 2**20:.0f} MiB of ciphertexts"
    print(f"{len(plan.rotations)} rotations; {memory}")
    for step in plan.steps:
        levels = f"levels {step.first:2d} to {step.last:2d}"
        print(f"  {step.name or 'between':25s} {levels}  {step.seconds:6.2f} s planned  {step.operations}")
    print(f"planned: {plan.seconds:.1f} s, and {plan.first_seconds:.1f} s the first time")
    if not given.plan_only:
        measure(block, fitted, rng.normal(size=(given.tokens, given.width)))
    extrapolate(costs)


def measure(block: EncryptedBlock, fitted: FittedBlock, states: np.ndarray) -> None:
    begun = time.thread_time()
    client = SealClient.make(PARAMETERS)
    evaluator = SealEvaluator(PARAMETERS, client.evaluation_keys(block.rotations))
    print(f"keys made and read: {time.thread_time() - begun:.1f} s", flush=True)
    inputs = [client.encrypt(slots, level) for slots, level in zip(block.encode(states), input_levels(), strict=True)]
    begun = time.thread_time()
    answer = block.run(evaluator, inputs)
    print(f"block: {time.thread_time() - begun:.1f} s")
    found = block.decode(client.decrypt(answer))
    near, true = approximate(fitted, states[None])[0], exact(fitted.weights, states[None]).result[0]
    added = np.abs(true - states).mean()
    print(f"error: {np.abs(found - near).max():.1e} of noise, {np.abs(found - true).max():.1e} in all at most,")
    print(f"       {np.abs(found - true).mean():.1e} in all on average, where the block adds {added:.1e} to its input")


def extrapolate(costs: CostTable) -> None:
    """BERT-base with the same scheme: 12 layers, 768 wide, 12 heads, 128 tokens. Counted, not run."""
    layers, width, heads, tokens, slots, middle = 12, 768, 12, 128, PARAMETERS.slots, LEVELS // 2
    states = width * tokens // slots  # ciphertexts of the hidden states: 6
    dims = slots // tokens  # dimensions in one: 128
    matrices = 12  # of 768 x 768: four of the attention, eight of the feed-forward part
    products = matrices * states * states * dims
    rotations = matrices * states * (8 + dims // 8)
    pairs = heads * tokens * tokens // slots  # ciphertexts of the scores: 12
    switches = pairs * (2 + 3) + 4 * states * 5 + 2 * states * 6  # scores and shares, GELU, norms
    bootstraps = 2 * states + pairs
    each = {
        "products with plaintexts": products * costs.seconds("multiply_plain", 32768, middle),
        "rotations": rotations * costs.seconds("rotate", 32768, middle),
        "products of ciphertexts": switches * costs.seconds("relinearise", 32768, middle),
        "bootstraps": bootstraps * BOOTSTRAP,
    }
    print("EXTRAPOLATED, never run: BERT-base, 128 tokens, one core of this machine, a layer at the middle level")
    for name, seconds in each.items():
        print(f"  {name:25s} {layers * seconds:10,.0f} s")
    print(f"  {'in all':25s} {layers * sum(each.values()):10,.0f} s")
    print("  published by NEXUS (NDSS 2025) of its own system: 37.3 s on GPUs, said to be 42.3 times its CPU version")
    print("  (so about 1,580 s there, on many cores), with 164 MB sent; its parameters are below 128 bits as we count")


if __name__ == "__main__":
    main()
