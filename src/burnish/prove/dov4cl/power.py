"""What an audit could have found: guilty shadows put to the suspect's very test, and what more images would bring. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool

from burnish.prove.dov4cl.image_tests import STATISTICS
from burnish.prove.statistics import binomial_interval

POWER = 0.8
"""The share of the guilty that a test is expected to find."""
MOST = 0.5
"""The share that its 95 % interval must lie above before silence counts: 6 of 6, 8 of 9."""


def power_shown(found: int, models: int, foreseen: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The share of guilty shadows that the test finds, with its Clopper-Pearson interval.

    Args:
        found: guilty shadows that the suspect's test accuses.
        models: guilty shadows in all; without any, nothing is known of the power.
        foreseen: of :func:`outlook`.

    Returns:
        ``reached``, ``found``, ``models``, ``interval``, ``wanted``; ``images_needed`` of each set where the share is too
        small, ``shadows_needed`` where it is large enough and the shadows too few to show it; ``by``, ``foreseen``.
    """
    power: dict[str, Any] = {
        "wanted": POWER,
        "reached": None,
        "interval": None,
        "found": found,
        "models": models,
        "images_needed": None,
        "shadows_needed": None,
        "by": {name: dict(each) for name, each in foreseen.items()},
    }
    if not models:
        return power
    low, high = binomial_interval(found, models)
    power |= {"reached": found / models, "interval": [low, high]}
    if power["reached"] < POWER:
        counts = [each["images_needed"] for each in foreseen.values() if each["images_needed"] is not None]
        power["images_needed"] = min(counts, default=None)
    elif low <= MOST:
        power["shadows_needed"] = models_needed(found, models)
    return power


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
) -> dict[str, dict[str, Any]]:
    """For each statistic, an estimate of what differences and how many images the test needs. A normal approximation.

    Args:
        mean: effects of each model, by model and statistic.
        shadows: names of the innocent ones.
        guilty: names of those trained on the public images.
        public: which images are.
        errors: bootstrap standard errors of the suspect's effects, by statistic.
        level: at which the test rejects at the first step of Holm's rule.

    Returns:
        ``standard_error``; ``detectable``, the effect found with probability .8; ``expected``, the mean effect of the guilty
        beyond the innocent, and ``images_needed`` of each set to find it so: none without guilty shadows, for what the suspect
        itself shows is no measure of what guilt would show.
    """
    from scipy.stats import norm

    reach = float(norm.ppf(1 - level)) + float(norm.ppf(POWER))
    smaller = min(int(public.sum()), int((~public).sum()))
    by: dict[str, dict[str, Any]] = {}
    for name in STATISTICS:
        error = float(np.mean(errors[name]))
        each: dict[str, Any] = {
            "standard_error": error,
            "detectable": reach * error,
            "expected": None,
            "images_needed": None,
        }
        if guilty:
            usual = float(np.mean([mean[shadow][name] for shadow in shadows]))
            each["expected"] = float(np.mean([mean[model][name] for model in guilty])) - usual
            if each["expected"] > 0:
                each["images_needed"] = max(2, math.ceil(smaller * (each["detectable"] / each["expected"]) ** 2))
        by[name] = each
    return by
