"""A block under encryption: right against transformers' own block, its polynomial form, and level by level."""

import numpy as np
import pytest
import torch
from transformers import GPT2Config
from transformers.models.gpt2.modeling_gpt2 import GPT2Block

from burnish.core.errors import UserError
from burnish.private.block.circuit import LEVELS, EncryptedBlock, input_levels
from burnish.private.block.fitting import approximate, fit
from burnish.private.block.weights import exact, weights_of
from burnish.private.encryption.clear import ClearClient, ClearEvaluator
from burnish.private.encryption.parameters import Parameters

PARAMETERS = Parameters(ring=32768, scale_bits=40, levels=LEVELS, end_bits=55)


def gpt2_block(width=16, heads=1):
    torch.manual_seed(0)
    config = GPT2Config(n_embd=width, n_head=heads, n_layer=1, attn_pdrop=0.0, resid_pdrop=0.0)
    config._attn_implementation = "eager"
    block = GPT2Block(config, layer_idx=0).eval()
    with torch.no_grad():
        for name, parameter in block.named_parameters():
            if "weight" in name and parameter.dim() == 2:
                parameter.mul_(4)
            else:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return block


def states(texts, tokens=4, width=16, seed=0):
    return np.random.default_rng(seed).normal(size=(texts, tokens, width))


def test_the_exact_block_is_that_of_transformers():
    block, x = gpt2_block(), states(3)
    mask = torch.full((4, 4), float("-inf")).triu(1)[None, None]
    with torch.no_grad():
        wanted = block(torch.tensor(x, dtype=torch.float32), attention_mask=mask)
    wanted = wanted[0] if isinstance(wanted, tuple) else wanted
    assert np.abs(exact(weights_of(block), x).result - wanted.numpy()).max() < 1e-4


def test_under_the_clear_back_end_it_is_its_polynomials():
    weights = weights_of(gpt2_block())
    fitted = fit(weights, states(200))
    x = states(1, seed=9)[0]
    block = EncryptedBlock(fitted, 4, PARAMETERS.slots)
    client = ClearClient(PARAMETERS)
    evaluator = ClearEvaluator(PARAMETERS, client.evaluation_keys(block.rotations))
    levels = input_levels()
    inputs = [client.encrypt(slots, level) for slots, level in zip(block.encode(x), levels, strict=True)]
    answer = block.run(evaluator, inputs)
    assert answer.level == 0
    assert np.abs(block.decode(answer.values) - approximate(fitted, x[None])[0]).max() < 1e-6
    assert np.abs(block.decode(client.decrypt(answer)) - block.decode(answer.values)).max() < 1e-3


def test_polynomials_stay_near_the_block_on_new_texts():
    weights = weights_of(gpt2_block())
    fitted = fit(weights, states(500))
    fresh = states(200, seed=1)
    wanted = exact(weights, fresh).result
    added = np.abs(wanted - fresh).mean()
    assert np.abs(approximate(fitted, fresh) - wanted).mean() < 0.1 * added


def test_bad_input():
    with pytest.raises(UserError, match="2 heads"):
        weights_of(gpt2_block(heads=2))
    fitted = fit(weights_of(gpt2_block()), states(20))
    for tokens, slots in [(3, 16384), (4, 128), (256, 16384)]:
        with pytest.raises(UserError, match="tokens"):
            EncryptedBlock(fitted, tokens, slots)
