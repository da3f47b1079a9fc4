"""Random numbers that are a function of (seed, model, flat index) and of nothing else.

A counter-based generator: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) applied to the index, keyed by seed and
model. So a random merge is the same whatever the device, the chunks or the threads, in torch and in the compiled
kernels alike.
"""

import torch
from jaxtyping import Int64
from torch import Tensor

from burnish.merge.methods.scalars import GOLDEN, MIX_A, MIX_B, WORD, key


def random_uint32(size: int, *, seed: int, model: int, device: torch.device) -> Int64[Tensor, " size"]:
    """Return one uniform 32-bit word (as int64) an entry, for entries 0 to size - 1 of one model's tensor."""
    # int64 products wrap modulo 2^64 exactly like the unsigned ones; only right shifts need their sign bits cleared.
    state = torch.arange(1, size + 1, dtype=torch.int64, device=device)
    state.mul_(_signed(GOLDEN)).add_(_signed(key(seed, model)))
    state.bitwise_xor_(_shifted(state, 30)).mul_(_signed(MIX_A))
    state.bitwise_xor_(_shifted(state, 27)).mul_(_signed(MIX_B))
    state.bitwise_xor_(_shifted(state, 31))
    return _shifted(state, 32) if model % 2 == 0 else state.bitwise_and_(0xFFFFFFFF)


def _shifted(state: Int64[Tensor, " size"], bits: int) -> Int64[Tensor, " size"]:
    return (state >> bits).bitwise_and_((1 << (64 - bits)) - 1)


def _signed(word: int) -> int:
    return word - WORD if word >= WORD // 2 else word
