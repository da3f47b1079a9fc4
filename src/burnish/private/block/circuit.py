"""The block under encryption: 17 levels from the states to the states, no bootstrap.

slot = (dimension x copies + copy) x tokens + token, again and again to the end. So a rotation by whole dimensions is
one in a circle for every token and copy at once, and matrices are products with diagonals. For the attention, copy r
holds keys and values of r tokens back: all pairs are one product. For the feed-forward part, four copies hold four
times the width. A sum over copies is right in copy 0 only, since it runs into the next dimension; a matrix that follows
gives zeros elsewhere, and they are filled from there. The client, who knows the block's input, sends it normed, centred
and as it is: the first norm costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from burnish.core.errors import UserError
from burnish.private.block.fitting import GELU_DEGREE, NORM_DEGREE, FittedBlock
from burnish.private.block.weights import centred, normed
from burnish.private.encryption.interface import Evaluator
from burnish.private.encryption.steps import step
from burnish.private.polynomials.evaluation import evaluate
from burnish.private.polynomials.records import levels_of

Slots = Float[np.ndarray, " slots"]

LEVELS = 1 + 1 + 1 + 2 + 1 + 1 + (1 + levels_of(NORM_DEGREE) + 1) + (1 + levels_of(GELU_DEGREE) + 1)
"""Queries; copies; scores; shares; attention; its matrix; the norm; the feed-forward part."""


class EncryptedBlock:
    """A fitted block, for one text of a fixed number of tokens.

    Args:
        block: fitted.
        tokens: a power of two.
        slots: of a ciphertext.

    Raises:
        UserError: width or tokens no powers of two, a hidden part that is not 4 widths, or too few slots.
    """

    def __init__(self, block: FittedBlock, tokens: int, slots: int) -> None:
        weights, width = block.weights, block.weights.width
        if width & (width - 1) or tokens & (tokens - 1) or width < 4 or tokens < 4:
            raise UserError(f"block: width {width} and {tokens} tokens; powers of two from 4 on are computed here")
        if weights.up.shape[0] != 4 * width or width * tokens**2 > slots:
            raise UserError(f"block: hidden width {weights.up.shape[0]} or {tokens} tokens do not fit {slots} slots")
        self._block, self._tokens, self._width, self._slots = block, tokens, width, slots
        self._turn = tokens * tokens  # slots of a dimension: there are as many copies as tokens
        # Norm: the sum of squares of what leaves the matrices is (variance - middle) / half the range, plus a constant.
        half = (block.highest - block.lowest) / 2
        self._shrink = 1 / np.sqrt(width * half)
        self._offset = (1e-5 - (block.highest + block.lowest) / 2) / half
        self._centring = np.eye(width) - 1 / width

    @property
    def rotations(self) -> tuple[int, ...]:
        """Keys that it needs: for babies and giants one each, used again and again, since SEAL cannot hoist."""
        copies = [self._tokens << power for power in range((self._tokens - 1).bit_length())]
        return tuple(sorted({*self._dimensions, *copies, *(self._slots - step for step in (1, *copies))}))

    @property
    def _dimensions(self) -> list[int]:
        """Rotations that sum over dimensions."""
        return [self._turn << power for power in range((self._width - 1).bit_length())]

    @property
    def _babies(self) -> int:
        return 1 << ((self._width.bit_length() - 1) // 2)

    def encode(self, states: Float[np.ndarray, "tokens width"]) -> list[Slots]:
        """What the client encrypts at the highest level: the input normed; and, at the level after the attention, which
        is cheaper to send, the input centred for the norm, and as it is."""
        one = states[None]
        return [
            self._laid_out(normed(one)[0]),
            self._laid_out(centred(one)[0] * self._shrink),
            self._laid_out(states),
        ]

    def decode(self, slots: Slots) -> Float[np.ndarray, "tokens width"]:
        """The block's output in a decrypted ciphertext."""
        return np.asarray(slots[: self._width * self._turn].reshape(self._width, self._tokens, self._tokens)[:, 0].T)

    def run(self, evaluator: Evaluator, inputs: Sequence[Any]) -> Any:
        """From the three ciphertexts of :meth:`encode` to the output's."""
        around, middle = self._attention(evaluator, *inputs)
        with step("norm"):
            squares = evaluator.rescale(evaluator.multiply(around, around))
            squares = _summed(evaluator, squares, self._dimensions)
            inverse = evaluate(evaluator, evaluator.add_plain(squares, self._offset), self._block.norm)
            around = evaluator.rescale(evaluator.multiply(inverse, evaluator.drop(around, inverse.level)))
        weights = self._block.weights
        with step("up"):
            scaled = weights.up / (self._shrink * self._block.reach)
            raised = self._linear(evaluator, self._turned(evaluator, around), scaled)
            raised = evaluator.add_plain(raised, self._by_dimension(weights.up_bias / self._block.reach))
        with step("gelu"):
            raised = evaluate(evaluator, raised, self._block.gelu)
        with step("down"):
            lowered = self._linear(evaluator, self._turned(evaluator, raised), weights.down)
            lowered = _summed(evaluator, lowered, [self._tokens, 2 * self._tokens])
            lowered = evaluator.add_plain(lowered, self._by_dimension(weights.down_bias))
        return evaluator.add(lowered, evaluator.drop(middle, lowered.level))

    def _attention(self, evaluator: Evaluator, normed_input: Any, centred_input: Any, plain: Any) -> tuple[Any, Any]:
        """What goes into the second norm, centred and shrunk, and the states that the feed-forward part adds to."""
        weights = self._block.weights
        with step("queries, keys, values"):
            turned = self._turned(evaluator, normed_input)
            scale = 1 / np.sqrt(self._width)
            q = self._linear(evaluator, turned, weights.query * scale)
            q = evaluator.add_plain(q, self._by_dimension(weights.query_bias * scale))
            k = evaluator.add_plain(self._linear(evaluator, turned, weights.key), self._by_dimension(weights.key_bias))
            v = self._linear(evaluator, turned, weights.value)
            v = evaluator.add_plain(v, self._by_dimension(weights.value_bias))
        with step("copies"):
            k, v = self._copies(evaluator, k), self._copies(evaluator, v)
        with step("scores"):
            scores = evaluator.rescale(evaluator.multiply(evaluator.drop(q, k.level), k))
            scores = _summed(evaluator, scores, self._dimensions)
        with step("shares"):
            shares = self._cubic(evaluator, scores)
        with step("attention"):
            attended = evaluator.rescale(evaluator.multiply(shares, evaluator.drop(v, shares.level)))
            copies = [self._tokens << power for power in range((self._tokens - 1).bit_length())]
            attended = _summed(evaluator, attended, copies)
        with step("out"):
            turned = self._turned(evaluator, attended)
            shrunk = self._shrink * self._centring
            around = self._linear(evaluator, turned, shrunk @ weights.out, only_first=True)
            around = _summed(evaluator, around, [-step for step in copies])
            around = evaluator.add_plain(around, self._by_dimension(shrunk @ weights.out_bias))
            middle = self._linear(evaluator, turned, weights.out)
            middle = evaluator.add_plain(middle, self._by_dimension(weights.out_bias))
        return evaluator.add(around, centred_input), evaluator.add(middle, plain)

    def _turned(self, evaluator: Evaluator, cipher: Any) -> list[Any]:
        """Rotated by 0, 1, 2, ... dimensions, each from the one before."""
        turned = [cipher]
        for _ in range(1, self._babies):
            turned.append(evaluator.rotate(turned[-1], self._turn))
        return turned

    def _linear(
        self,
        evaluator: Evaluator,
        turned: Sequence[Any],
        matrix: Float[np.ndarray, "rows columns"],
        only_first: bool = False,
    ) -> Any:
        """A matrix for every token. Rows or columns of four widths lie in four copies, and again in the next four; what
        comes of columns is left to the caller to sum over copies. Giant steps from the last: each turns the sum of all
        that follow, so its diagonals come from so many dimensions before."""
        width, babies = self._width, self._babies
        blocks = (np.arange(self._tokens) % 4)[None, :] * width
        total = None
        for giant in reversed(range(0, width, babies)):
            inner = None
            for baby in range(babies):
                at = ((np.arange(width) - giant) % width)[:, None]
                rows = (at + blocks) % matrix.shape[0]
                columns = ((at + giant + baby) % width + blocks) % matrix.shape[1]
                diagonal = matrix[rows, columns]
                if only_first:
                    diagonal[:, 1:] = 0.0
                term = evaluator.multiply_plain(turned[baby], self._repeated(np.repeat(diagonal, self._tokens)))
                inner = term if inner is None else evaluator.add(inner, term)
            total = inner if total is None else evaluator.add(inner, evaluator.rotate(total, self._turn * babies))
        return evaluator.rescale(total)

    def _copies(self, evaluator: Evaluator, cipher: Any) -> Any:
        """In copy r the numbers of r tokens back; zeros where there is none."""
        total, turned = None, cipher
        for r in range(self._tokens):
            mask = np.zeros((self._width, self._tokens, self._tokens))
            mask[:, r, r:] = 1.0
            term = evaluator.multiply_plain(turned, self._repeated(mask))
            total = term if total is None else evaluator.add(total, term)
            if r + 1 < self._tokens:
                turned = evaluator.rotate(turned, -1)
        return evaluator.rescale(total)

    def _cubic(self, evaluator: Evaluator, scores: Any) -> Any:
        """Each pair's own cubic: (c_3 s + c_2) s^2 + c_1 s + c_0, in two levels."""
        shape = (self._width, self._tokens, self._tokens)
        c = [self._repeated(np.broadcast_to(self._block.shares[:, :, power].T, shape)) for power in range(4)]
        square = evaluator.rescale(evaluator.multiply(scores, scores))
        upper = evaluator.add_plain(evaluator.rescale(evaluator.multiply_plain(scores, c[3])), c[2])
        lower = evaluator.multiply_plain(evaluator.drop(scores, square.level), c[1])
        return evaluator.add_plain(evaluator.rescale(evaluator.add(evaluator.multiply(upper, square), lower)), c[0])

    def _by_dimension(self, values: Float[np.ndarray, " places"]) -> Slots:
        """One number a dimension, for every token; of four widths, each in its copy."""
        blocks = np.resize(values.reshape(-1, self._width), (self._tokens, self._width))
        return self._repeated(np.repeat(blocks.T, self._tokens))

    def _laid_out(self, states: Float[np.ndarray, "tokens width"]) -> Slots:
        return self._repeated(np.repeat(states.T[:, None], self._tokens, axis=1))

    def _repeated(self, values: Float[np.ndarray, " *shape"]) -> Slots:
        return np.asarray(np.tile(values.ravel(), self._slots // values.size))


def _summed(evaluator: Evaluator, cipher: Any, steps: Sequence[int]) -> Any:
    """Added to itself rotated, step after step."""
    for number in steps:
        cipher = evaluator.add(cipher, evaluator.rotate(cipher, number))
    return cipher


def input_levels() -> tuple[int, int, int]:
    """Levels to encrypt the three inputs at."""
    after = LEVELS - 7
    return LEVELS, after, after
