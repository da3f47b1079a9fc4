"""Random numbers that are a function of (seed, model, flat index) and of nothing else.

A counter-based generator: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) applied to the index, keyed by seed and model. So
a random merge is the same whatever the device, the chunks or the threads, in torch and in the compiled kernels alike.
"""

import torch
from jaxtyping import Int64
from torch import Tensor

GOLDEN = 0x9E3779B97F4A7C15
MIX_A = 0xBF58476D1CE4E5B9
MIX_B = 0x94D049BB133111EB
_WORD = 2**64


def key(seed: int, model: int) -> int:
    """Return the 64-bit key of a seed and a pair of models: one 64-bit number serves two models, 32 bits each."""
    return _mix((_mix(seed % _WORD) + (model // 2) * GOLDEN) % _WORD)


def random_uint32(size: int, *, seed: int, model: int, device: torch.device) -> Int64[Tensor, " size"]:
    """Return one uniform 32-bit word (as int64) an entry, for entries 0 to size - 1 of one model's tensor."""
    # int64 products wrap modulo 2^64 exactly like the unsigned ones; only right shifts need their sign bits cleared.
    state = torch.arange(1, size + 1, dtype=torch.int64, device=device)
    state.mul_(_signed(GOLDEN)).add_(_signed(key(seed, model)))
    state.bitwise_xor_(_shifted(state, 30)).mul_(_signed(MIX_A))
    state.bitwise_xor_(_shifted(state, 27)).mul_(_signed(MIX_B))
    state.bitwise_xor_(_shifted(state, 31))
    return _shifted(state, 32) if model % 2 == 0 else state.bitwise_and_(0xFFFFFFFF)


def _mix(state: int) -> int:
    state = (state + GOLDEN) % _WORD
    state = (state ^ (state >> 30)) * MIX_A % _WORD
    state = (state ^ (state >> 27)) * MIX_B % _WORD
    return state ^ (state >> 31)


def _shifted(state: Int64[Tensor, " size"], bits: int) -> Int64[Tensor, " size"]:
    return (state >> bits).bitwise_and_((1 << (64 - bits)) - 1)


def _signed(word: int) -> int:
    return word - _WORD if word >= _WORD // 2 else word
