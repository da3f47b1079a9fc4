"""Task-vector methods written out entry by entry, in float64: slow and obvious."""

import math

import numpy as np


def ranked(delta):
    """Flat indices, largest magnitude first, lower index first among equals."""
    return sorted(range(len(delta)), key=lambda i: (-abs(delta[i]), i))


def largest(delta, density):
    count = len(delta) if density >= 1 else 0 if density <= 0 else max(1, math.floor(density * len(delta)))
    return set(ranked(delta)[:count])


def without_outliers(delta, density, gamma):
    if density >= 1:
        return set(range(len(delta)))
    size = len(delta)
    ascending = ranked(delta)[::-1]
    first = max(0, size - int(density * size) - int(gamma * size))
    return set(ascending[first : first + int(density * size)])


def merge(base, models, kept, weight, *, elect, normalize, lambda_=1.0):
    """base + lambda * mix of the weighted kept deltas; `kept` holds one set of flat indices a model."""
    merged = []
    for i, before in enumerate(base):
        parts = [
            share * (float(model[i]) - float(before)) if i in mask else 0.0
            for model, mask, share in zip(models, kept, weight, strict=True)
        ]
        if elect:
            sign = 1 if sum(parts) >= 0 else -1
            agreeing = [m for m, part in enumerate(parts) if part * sign > 0]
        else:
            agreeing = list(range(len(parts)))
        mixed = sum(parts[m] for m in agreeing)
        if normalize:
            mixed /= sum(weight[m] for m in agreeing) or 1.0
        merged.append(float(before) + lambda_ * mixed)
    return np.array(merged)
