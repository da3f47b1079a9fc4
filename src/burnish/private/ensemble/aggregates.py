"""What the secret matrix puts into the slots, so that differences of two classes' scores come out with few levels.

Every slot (i, j) of a question shall hold v_i - v_j, in shares of the certain bound, before the comparison. Where v is
linear in the representations, one matrix gives the differences themselves. Where a prompt's logits first go through
something that is not linear, and odd, the matrix gives z_i of each prompt in one group and -z_j in another, and the sum
over groups comes after it.

Classes are filled up to a power of two by some that nobody meets: zeros in their slots.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from burnish.private.argmax.records import power_of_two
from burnish.private.heads import Aggregate, Heads, Representations, certain_bound
from burnish.private.polynomials.records import Polynomial

PROXY_DEGREES = (3, 5, 7, 9, 11, 13, 15)
PROXY_ERROR = 2.0**-6
"""What a polynomial probability may differ from its tanh by; the degree is the least that does, or the last. Then it is
shrunk to at most 1/2, which doubles the error at most."""
PROXY_ROOM = 1e-4
"""What a peak may be above the nearest of the points that it is measured on."""


@dataclass(frozen=True)
class Shape:
    """How many places each stage has; all are powers of two.

    Attributes:
        classes: with those that fill up.
        groups: sets of outputs with inputs of their own.
        window: outputs of a group.
        inputs: of a group.
        stride: places between v_i - v_j and v_i - v_(j + 1).
    """

    classes: int
    groups: int
    window: int
    inputs: int
    stride: int


def shape_of(aggregate: Aggregate, prompts: int, classes: int, width: int) -> Shape:
    """Of an ensemble."""
    full = power_of_two(classes)
    if aggregate in ("logits", "weighted"):
        return Shape(full, 1, full**2, prompts * width, 1)
    stride = full if aggregate == "vote" else 1
    return Shape(full, 2 * power_of_two(prompts), full**2 * stride, width, stride)


def laid_out(shape: Shape, representations: Representations) -> Float[np.ndarray, "texts groups inputs"]:
    """Representations as the groups want them: all prompts in one, or a prompt a group, and all of that twice."""
    texts, prompts, width = representations.shape
    if shape.groups == 1:
        return representations.reshape(texts, 1, prompts * width).astype(np.float64)
    half = np.zeros((texts, shape.groups // 2, width))
    half[:, :prompts] = representations
    return np.concatenate([half, half], axis=1)


@dataclass(frozen=True)
class Emission:
    """The secret matrix, and what is added to its outputs.

    Attributes:
        matrix: of each group.
        constants: added to the matrix's outputs.
    """

    matrix: Float[np.ndarray, "groups window inputs"]
    constants: Float[np.ndarray, "groups window"]


def emit(heads: Heads, shape: Shape) -> Emission:
    """What the heads put into the slots."""
    if heads.aggregate in ("logits", "weighted"):
        return _emit_differences(heads, shape)
    return _emit_prompts(heads, shape)


def prompt_bound(heads: Heads) -> float:
    """No difference of two classes' logits of one prompt exceeds it, for representations of unit length."""
    steps = heads.weights[:, :, None] - heads.weights[:, None, :]
    offsets = np.abs(heads.biases[:, :, None] - heads.biases[:, None, :])
    return float((np.linalg.norm(steps, axis=-1) + offsets).max())


def reach(heads: Heads) -> float:
    """How far the scores' differences can go, over the heads' bound; votes and probabilities stay within 1 anyway."""
    if heads.aggregate in ("vote", "probabilities"):
        return 1.0
    return max(1.0, certain_bound(heads.weights, heads.biases, heads.weights_of_prompts) / heads.bound)


def proxy(heads: Heads) -> Polynomial:
    """The probability of a class without a softmax: an odd polynomial near tanh(n z / (2 (n - 1))) / 2 of its centred
    logit z, over z's whole range. For two classes the difference of two is that of the softmax; for more it has the
    softmax's slope where all classes are alike. It never passes 1/2: differences beyond 1 are beyond what the
    comparison is made for, where it swings back and would name another class."""
    reach = prompt_bound(heads) / 2
    points = np.cos(np.linspace(0, np.pi, 2001))
    wanted = np.tanh(reach * points) / 2
    for degree in PROXY_DEGREES:
        found = np.polynomial.chebyshev.chebfit(points, wanted, degree)
        found[::2] = 0.0
        if np.abs(np.polynomial.chebyshev.chebval(points, found) - wanted).max() <= PROXY_ERROR:
            break
    found /= max(1.0, 2 * (1 + PROXY_ROOM) * float(np.abs(np.polynomial.chebyshev.chebval(points, found)).max()))
    return Polynomial(tuple(found.tolist()))


def _emit_differences(heads: Heads, shape: Shape) -> Emission:
    prompts, classes, width = heads.weights.shape
    full, furthest = shape.classes, heads.bound * reach(heads)
    shares = heads.weights_of_prompts[:, None, None]
    weights = (shares * heads.weights).transpose(1, 0, 2).reshape(classes, prompts * width) / furthest
    biases = (heads.weights_of_prompts[:, None] * heads.biases).sum(0) / furthest
    matrix, constants = np.zeros((full, full, shape.inputs)), np.zeros((full, full))
    matrix[:classes, :classes] = weights[:, None] - weights[None]
    constants[:classes, :classes] = biases[:, None] - biases[None]
    return Emission(matrix.reshape(1, -1, shape.inputs), constants.reshape(1, -1))


def _emit_prompts(heads: Heads, shape: Shape) -> Emission:
    prompts, classes, width = heads.weights.shape
    full, half, bound = shape.classes, shape.groups // 2, prompt_bound(heads)
    matrix = np.zeros((2, half, full, full, shape.stride, width))
    constants = np.zeros((2, half, full, full, shape.stride))
    if heads.aggregate == "vote":
        # z_i - z_l for each rival l; a class that fills up, or is its own rival, is beaten by all
        constants[...] = 1.0
        rivals = np.eye(classes)[:, :, None, None] == 0
        weights = np.where(
            rivals, heads.weights.transpose(1, 0, 2)[:, None] - heads.weights.transpose(1, 0, 2)[None], 0
        )
        biases = np.where(rivals[..., 0], heads.biases.T[:, None] - heads.biases.T[None], bound)
        for i in range(classes):
            for j in range(classes):
                if i != j:
                    for side, own in ((0, i), (1, j)):
                        matrix[side, :prompts, i, j, :classes] = weights[own].transpose(1, 0, 2) / bound
                        constants[side, :prompts, i, j, :classes] = biases[own].T / bound
    else:
        scale = classes / ((classes - 1) * bound)
        weights = (heads.weights - heads.weights.mean(1, keepdims=True)) * scale
        biases = (heads.biases - heads.biases.mean(1, keepdims=True)) * scale
        for i in range(classes):
            for j in range(classes):
                if i != j:
                    for side, own, sign in ((0, i, 1.0), (1, j, -1.0)):
                        matrix[side, :prompts, i, j, 0] = sign * weights[:, own]
                        constants[side, :prompts, i, j, 0] = sign * biases[:, own]
    flat = (shape.groups, shape.window)
    return Emission(matrix.reshape(*flat, width), constants.reshape(flat))
