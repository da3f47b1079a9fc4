"""The few numbers that the torch functions and the compiled kernels must share to the last bit. No torch, no numba."""

import math

GOLDEN = 0x9E3779B97F4A7C15
MIX_A = 0xBF58476D1CE4E5B9
MIX_B = 0x94D049BB133111EB
WORD = 2**64


def kept_by_density(size: int, density: float) -> int:
    """Return how many of `size` entries magnitude trimming keeps: max(1, int(density size)), none at density <= 0."""
    if density <= 0:
        return 0
    return size if density >= 1 else min(size, max(1, int(density * size)))


def band_counts(size: int, density: float, gamma: float) -> tuple[int, int]:
    """Return how many of `size` entries Model Breadcrumbs keeps, and how many larger ones it drops.

    In ascending order the first n - int(density n) - int(gamma n) entries (never below 0) are dropped and the next
    int(density n) kept: outliers give way when both shares do not fit.
    """
    kept = max(0, int(density * size))
    smallest = max(0, size - kept - int(gamma * size))
    return kept, max(0, size - smallest - kept)


def chance(density: float) -> int:
    """Return the share of the 2^32 values of a random word that keeps an entry."""
    return round(min(max(density, 0.0), 1.0) * 2**32)


def key(seed: int, model: int) -> int:
    """Return the 64-bit key of a seed and a pair of models: one 64-bit number serves two models, 32 bits each."""
    return _mix((_mix(seed % WORD) + (model // 2) * GOLDEN) % WORD)


def _mix(state: int) -> int:
    state = (state + GOLDEN) % WORD
    state = (state ^ (state >> 30)) * MIX_A % WORD
    state = (state ^ (state >> 27)) * MIX_B % WORD
    return state ^ (state >> 31)


def slerp_coefficients(dot: float, square_a: float, square_b: float, t: float) -> tuple[float, float]:
    """Return the factors of a and b from their dot product and squared norms."""
    norms = [math.sqrt(square) for square in (square_a, square_b)]
    # A zero vector has no direction: it counts as orthogonal, as in mergekit.
    scale = math.prod(norm if norm > 1e-8 else 1.0 for norm in norms)
    cosine = min(1.0, max(-1.0, dot / scale))
    if abs(cosine) > 0.9995:
        return 1 - t, t
    theta = math.acos(cosine)
    return math.sin((1 - t) * theta) / math.sin(theta), math.sin(t * theta) / math.sin(theta)
