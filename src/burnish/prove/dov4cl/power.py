"""What an audit could have found: guilty shadows put to the suspect's very test, and what more images would bring.
Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool

from burnish.prove.dov4cl.findings import Outlook, OwnershipPower
from burnish.prove.dov4cl.image_tests import STATISTICS
from burnish.prove.statistics import binomial_interval

POWER = 0.8
"""The share of the guilty that a test is expected to find."""
MOST = 0.5
"""The share that its 95 % interval must lie above before silence counts: 6 of 6, 8 of 9."""


def power_shown(found: int, models: int, foreseen: Mapping[str, Outlook]) -> OwnershipPower:
    """The share of guilty shadows that the test finds, with its Clopper-Pearson interval.

    Args:
        found: guilty shadows that the suspect's test accuses.
        models: guilty shadows in all; without any, nothing is known of the power.
        foreseen: of :func:`outlook`.
    """
    reached = found / models if models else None
    interval = binomial_interval(found, models) if models else None
    images_needed = shadows_needed = None
    if reached is not None and reached < POWER:
        counts = [each.images_needed for each in foreseen.values() if each.images_needed is not None]
        images_needed = min(counts, default=None)
    elif interval is not None and interval[0] <= MOST:
        shadows_needed = models_needed(found, models)
    return OwnershipPower(
        wanted=POWER,
        reached=reached,
        interval=interval,
        found=found,
        models=models,
        images_needed=images_needed,
        shadows_needed=shadows_needed,
        by=dict(foreseen),
    )


def models_needed(found: int, models: int) -> int:
    """How many guilty shadows show that most are found, if the share found stays as it is (at least :data:`POWER`)."""
    count = models + 1
    while binomial_interval(found * count // models, count)[0] <= MOST:
        count += 1
    return count


def outlook(
    mean: Mapping[str, Mapping[str, float]],
    shadows: Sequence[str],
    guilty: Sequence[str],
    public: Bool[np.ndarray, " images"],
    errors: Mapping[str, Sequence[float]],
    level: float,
) -> dict[str, Outlook]:
    """For each statistic, an estimate of what differences and how many images the test needs. A normal approximation.

    Args:
        mean: effects of each model, by model and statistic.
        shadows: names of the innocent ones.
        guilty: names of those trained on the public images.
        public: which images are.
        errors: bootstrap standard errors of the suspect's effects, by statistic.
        level: at which the test rejects at the first step of Holm's rule.

    Returns:
        By statistic. What the suspect itself shows is no measure of what guilt would show: without guilty shadows
        nothing is expected.
    """
    from scipy.stats import norm

    reach = float(norm.ppf(1 - level)) + float(norm.ppf(POWER))
    smaller = min(int(public.sum()), int((~public).sum()))
    by: dict[str, Outlook] = {}
    for name in STATISTICS:
        error = float(np.mean(errors[name]))
        detectable = reach * error
        expected = needed = None
        if guilty:
            usual = float(np.mean([mean[shadow][name] for shadow in shadows]))
            expected = float(np.mean([mean[model][name] for model in guilty])) - usual
            if expected > 0:
                needed = max(2, math.ceil(smaller * (detectable / expected) ** 2))
        by[name] = Outlook(standard_error=error, detectable=detectable, expected=expected, images_needed=needed)
    return by
