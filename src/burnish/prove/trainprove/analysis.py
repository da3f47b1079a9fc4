"""From stored answers to findings: pure and deterministic, so that whoever holds the answers can compute it again.

Knows no model and no file. The audit calls :func:`analyse`, and so does the check of an evidence folder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from burnish.core.errors import UserError
from burnish.prove.evasion import label_signs, repeat_signs
from burnish.prove.evidence.analysis import Analysis
from burnish.prove.findings import Outcome, StatisticalTest, Verdict
from burnish.prove.statistics import Grubbs, binomial_interval, bootstrap_interval, significant
from burnish.prove.trainprove.agreement import difference_effect, family_targets, fit_ridge, label_agreement
from burnish.prove.trainprove.calibration import (
    Shadows,
    attainable,
    closed_world,
    never_seen,
    novelty,
    open_world,
    rates,
    source_shares,
    sources_needed,
)
from burnish.prove.trainprove.consistency import as_inconsistent, self_agreement
from burnish.prove.trainprove.findings import (
    Accuracies,
    FractionInterval,
    GrubbsRule,
    ProvenanceFindings,
    Rate,
    Scores,
)
from burnish.prove.trainprove.fraction import estimate_fraction
from burnish.prove.trainprove.published import by_accuracy, by_entropy, by_similarity, mixed_order

Arrays = Mapping[str, np.ndarray]
OPEN = "the suspect's source is exchangeable with the innocent sources: one more draw of the same kind"
CLOSED = "the suspect was made like one of the innocent shadows: same sources, same ways of training"
EFFECT = (
    "a source shows in the accuracy on its own pictures beyond that on the others'; effects are normal: the interval "
    "then takes "
    "in 0 for 95 of 100 models of one more innocent source; a size, no test"
)
PUBLISHED = "close training pictures give close accuracies; not being an outlier convicts, so innocence is no null here"
SUBJECT = (
    "evidence speaks of my generator or a derivative of it (distilled, fine-tuned), not of who ran it",
    "labels of the validation pictures are what their prompts said",
    "the suspect was not trained on the very validation pictures, and answers as the deployed model does",
)


KEPT = ("statistic", "alpha", "novelty", "ridge", "batch", "least_power", "seed")


def settings_in(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of :func:`analyse` that a recipe (as plain data) decides."""
    names = [recipe["mine"]["name"], *(each["name"] for each in recipe["others"])]
    options = {key: recipe["suspect"][key] for key in ("queries", "pooling")}
    return {"classes": len(recipe["classes"]), "sources": names} | options | {key: recipe[key] for key in KEPT}


def analyse(arrays: Arrays, settings: Mapping[str, Any]) -> ProvenanceFindings:
    """Findings of an audit.

    Args:
        arrays: ``suspect_labels`` [n]; ``shadow_labels`` [m, n] and ``shadow_source`` [m] (0 = mine); ``truth`` and
            ``sets`` [n] (set 0 = my generator's pictures); where there are any ``mixture_labels`` [k, n] and
            ``mixture_fraction`` [k]; for the published variants ``suspect_logits`` [n, c] and ``shadow_logits`` [n, c]
            (of the first shadow of mine); where pictures were asked again ``again_rows`` [k] and ``again_labels``
            [k, 2].
        settings: ``classes`` (how many), ``sources`` (names, mine first), ``statistic``, ``alpha``, ``novelty``,
            ``ridge``, ``batch``, ``least_power`` and ``seed``; ``queries``, the budget (or none), and ``pooling`` of
            the suspect; ``evasion``: whether to look at how the suspect answers; ``own_consistency``: whether the power
            is that at the suspect's own consistency, where it does not always stay with its labels (evidence from
            before either was looked at is computed as it was).

    Raises:
        UserError: arrays that do not fit together, labels out of range, or too few shadows or sources.
    """
    _check(arrays, settings)
    sets = arrays["sets"]
    suspect, labels = arrays["suspect_labels"][None, :], arrays["shadow_labels"]
    everyone = np.concatenate([suspect, labels])
    agreement = label_agreement(everyone, everyone, sets, int(settings["classes"]))
    shadows = Shadows(agreement[1:, 1:], arrays["shadow_source"], float(settings["ridge"]))
    kernel = agreement[:1, 1:]
    tests = _tests(arrays, shadows, kernel)
    strange = float(novelty(shadows, kernel)[0])
    published = _published(arrays, settings)
    power, false_accusation = _rates(shadows, settings)
    stays = _consistency(arrays, settings)
    assumptions = (OPEN, *SUBJECT)
    signs: tuple[str, ...] = ()
    if settings.get("evasion"):
        signs = label_signs(arrays["suspect_labels"], labels, arrays["truth"])
        if "again_rows" in arrays:
            signs += repeat_signs(arrays["suspect_labels"][arrays["again_rows"]], arrays["again_labels"])
    if settings["statistic"] == "agreement":
        verdict = _verdict(tests[0], strange, len(shadows.innocents), power, len(sets), settings)
        if stays < 1.0:
            power, _ = _rates(shadows, settings, _as_inconsistent(arrays, stays, settings))
            played = _verdict(tests[0], strange, len(shadows.innocents), power, len(sets), settings)
            verdict = _at_own_consistency(verdict, played, stays)
    else:
        rule, verdict = _published_verdict(published, settings)
        tests, assumptions = (rule, *tests), (PUBLISHED, *SUBJECT)
        power = false_accusation = None  # those are of the other procedure
    if signs and (verdict.outcome != "evidence" or not verdict.calibrated):
        because = f"the suspect evades: {'; '.join(signs)}"
        verdict = Verdict(outcome="cannot be judged", alpha=verdict.alpha, because=because)
    return ProvenanceFindings(
        queries=len(sets),
        shadows={
            name: int((arrays["shadow_source"] == number).sum()) for number, name in enumerate(settings["sources"])
        },
        accuracy=_accuracies(arrays),
        published=published,
        scores=_scores(shadows, kernel),
        tests=tests,
        deciding=tests[0].name,
        novelty_p=strange,
        shares={
            settings["sources"][source]: float(share)
            for source, share in zip(shadows.innocents, source_shares(shadows, kernel)[0], strict=True)
        },
        sources=len(shadows.innocents),
        sources_needed=sources_needed(float(settings["alpha"])),
        power=power,
        false_accusation=false_accusation,
        fraction=_fraction(arrays, settings, shadows, kernel),
        assumptions=assumptions,
        verdict=verdict,
    )


def _tests(arrays: Arrays, shadows: Shadows, kernel: np.ndarray) -> tuple[StatisticalTest, ...]:
    """The tests on agreement, the deciding one first, and the size of the effect."""
    score = float(shadows.scores(kernel)[0])
    pooled, largest = closed_world(shadows, kernel[0])
    rows = [
        ("open world", float(open_world(shadows, kernel)[0]), OPEN),
        ("closed world, pooled", pooled, CLOSED),
        ("closed world, maximum over sources", largest, CLOSED),
    ]
    ranked = (StatisticalTest(name=name, statistic=score, p=p, assumption=assumed) for name, p, assumed in rows)
    return (*ranked, _effect(arrays))


def _published_verdict(
    published: Mapping[str, GrubbsRule | None], settings: Mapping[str, Any]
) -> tuple[StatisticalTest, Verdict]:
    """The chosen published rule as a test without a p-value, and what it says."""
    name = settings["statistic"]
    rule = published[name]
    assert rule is not None  # checked with the settings
    test = StatisticalTest(name=f"published rule ({name})", statistic=rule.statistic, p=None, assumption=PUBLISHED)
    because = (
        "the published rule, kept for comparison, convicts whatever is no low outlier; its false-accusation "
        f"rate is not controlled (statistic {rule.statistic:.3f}, critical {rule.critical:.3f})"
    )
    outcome: Outcome = "no evidence" if rule.rejected else "evidence"
    return test, Verdict(outcome=outcome, alpha=float(settings["alpha"]), because=because, calibrated=False)


def _check(arrays: Arrays, settings: Mapping[str, Any]) -> None:
    needed = ("suspect_labels", "shadow_labels", "shadow_source", "truth", "sets")
    absent = [name for name in needed if name not in arrays]
    if absent:
        raise UserError(f"answers: `{absent[0]}` is missing")
    images = len(arrays["truth"])
    budget = settings.get("queries")
    if budget is not None and images > budget:
        raise UserError(f"answers: {images} images were asked about, more than the budget of {budget}")
    for name in ("suspect_labels", "sets"):
        if len(arrays[name]) != images:
            raise UserError(f"answers: {name} has {len(arrays[name])} images, truth {images}")
    if arrays["shadow_labels"].shape != (len(arrays["shadow_source"]), images):
        raise UserError(
            f"answers: shadow_labels is {arrays['shadow_labels'].shape}; wanted one row for each of "
            f"{len(arrays['shadow_source'])} shadows and one column for each of {images} images"
        )
    rows = arrays.get("again_rows")
    if rows is not None and (rows.size == 0 or rows.min() < 0 or rows.max() >= images):
        raise UserError(f"answers: again_rows are to be places among the {images} images")
    if rows is not None and arrays["again_labels"].shape[:1] != rows.shape:
        raise UserError(f"answers: again_labels is {arrays['again_labels'].shape}; wanted a row for each again_rows")
    labels = arrays["suspect_labels"]
    if images and not (labels.min() >= 0 and labels.max() < settings["classes"]):
        raise UserError(
            f"suspect: answers label {int(labels.max() if labels.min() >= 0 else labels.min())}, and the recipe lists "
            f"{settings['classes']} classes; list the suspect's classes in the order of its labels"
        )
    if settings["statistic"] in ("grubbs_entropy", "grubbs_similarity") and "suspect_logits" not in arrays:
        raise UserError(f"answers: {settings['statistic']} needs logits; ask the suspect for them (answer: logits)")


def _accuracies(arrays: Arrays) -> Accuracies:
    right = arrays["suspect_labels"] == arrays["truth"]
    sets = arrays["sets"]
    return Accuracies(mine=float(right[sets == 0].mean()), references=float(right[sets != 0].mean()))


def _effect(arrays: Arrays) -> StatisticalTest:
    """Difference in differences: the suspect's, minus the mean over innocent sources, with a 95 % prediction interval.

    The interval says how far one model of one more innocent source would stray (Student's t, S - 1 degrees of freedom):
    it takes in the spread between sources and, where a source has several shadows, between its models.
    """
    from scipy import stats

    right = np.concatenate([arrays["suspect_labels"][None, :], arrays["shadow_labels"]]) == arrays["truth"][None, :]
    values = difference_effect(right, arrays["sets"])[1]
    suspect, shadows, source = float(values[0]), values[1:], arrays["shadow_source"]
    groups = [shadows[source == name] for name in np.unique(source[source != 0])]
    means, sizes = np.array([each.mean() for each in groups]), np.array([len(each) for each in groups])
    between = float(means.var(ddof=1))
    free = int((sizes - 1).sum())
    within = sum(float(((each - each.mean()) ** 2).sum()) for each in groups) / max(1, free)
    # a source's mean varies by (between + within / size); one model by (between + within)
    one = between + within * float(np.mean(1 - 1 / sizes))
    half = float(stats.t.ppf(0.975, len(means) - 1)) * float(np.sqrt(one + between / len(means)))
    effect = suspect - float(means.mean())
    return StatisticalTest(
        name="difference in differences",
        statistic=suspect,
        p=None,
        effect=effect,
        interval=(effect - half, effect + half),
        assumption=EFFECT,
    )


def _published(arrays: Arrays, settings: Mapping[str, Any]) -> dict[str, GrubbsRule | None]:
    """The published rule and its variants on my generator's pictures; none where it cannot be applied."""
    mine = arrays["sets"] == 0
    truth = arrays["truth"][mine]
    shadow = arrays["shadow_labels"][int(np.flatnonzero(arrays["shadow_source"] == 0)[0])][mine]
    alpha, batch = float(settings["alpha"]), int(settings["batch"])
    order = mixed_order(len(truth), int(settings["seed"]))
    right, theirs = (shadow == truth)[order], (arrays["suspect_labels"][mine] == truth)[order]
    calls: dict[str, Callable[[], Grubbs]] = {
        "grubbs_paper": lambda: by_accuracy(right, theirs, batch=batch, alpha=alpha)
    }
    if "suspect_logits" in arrays:
        pair = arrays["shadow_logits"][mine], arrays["suspect_logits"][mine]
        calls["grubbs_entropy"] = lambda: by_entropy(*pair, truth, batch=batch, alpha=alpha)
        calls["grubbs_similarity"] = lambda: by_similarity(*pair, truth, alpha=alpha)
    found: dict[str, GrubbsRule | None] = {}
    for name, call in calls.items():
        try:
            each = call()
        except UserError as error:
            if settings["statistic"] == name:
                raise UserError(f"statistic {name}: {error}; use a smaller batch or more validation pictures") from None
            found[name] = None
        else:
            found[name] = GrubbsRule(
                statistic=float(each.statistic), critical=float(each.critical), rejected=bool(each.rejected)
            )
    return found


def _scores(shadows: Shadows, kernel: np.ndarray) -> Scores:
    ridge = fit_ridge(shadows.agreement, family_targets(shadows.source == 0), shadows.ridge)
    return Scores(
        suspect=float(ridge.score(kernel)[0]),
        shadows=tuple(float(value) for value in ridge.leave_one_out()),
        source=tuple(int(each) for each in shadows.source),
    )


def _consistency(arrays: Arrays, settings: Mapping[str, Any]) -> float:
    """How far the suspect agrees with itself; 1 also where it was not asked again."""
    if not settings.get("own_consistency") or "again_rows" not in arrays:
        return 1.0
    return self_agreement(arrays["suspect_labels"][arrays["again_rows"]], arrays["again_labels"])


def _as_inconsistent(arrays: Arrays, stays: float, settings: Mapping[str, Any]) -> np.ndarray:
    """Agreement with all shadows of my generator's, were these as inconsistent as the suspect."""
    labels, rng = arrays["shadow_labels"], np.random.default_rng([int(settings["seed"]), 162])
    mine = as_inconsistent(labels[arrays["shadow_source"] == 0], stays, rng)
    return label_agreement(mine, labels, arrays["sets"], int(settings["classes"]))


def _at_own_consistency(clean: Verdict, played: Verdict, stays: float) -> Verdict:
    """With the power at the suspect's own consistency: where only that is too low, nothing can be judged."""
    if clean.outcome != "no evidence":
        return played
    because = (
        f"asked the same pictures again, the suspect agrees with itself {stays:.2f} beyond chance (a model 1), and "
        f"with shadows as inconsistent: {played.because}"
    )
    outcome: Outcome = "no evidence" if played.outcome == "no evidence" else "cannot be judged"
    return played.model_copy(update={"outcome": outcome, "because": because})


def _rates(
    shadows: Shadows, settings: Mapping[str, Any], played: np.ndarray | None = None
) -> tuple[Rate | None, Rate | None]:
    """Power and false accusations of the very procedure, on shadows that play the suspect; none where there are too
    few."""
    try:
        found = rates(shadows, float(settings["alpha"]), float(settings["novelty"]), played)
    except UserError:
        return None, None
    caught, all_mine = int(found.caught.sum()), len(found.caught)
    low, high = bootstrap_interval(
        found.accused.astype(float),
        np.random.default_rng(int(settings["seed"])),
        clusters=found.accused_source.astype(np.int64),
    )
    if not found.accused.any():
        high = never_seen(len(shadows.innocents))  # a bootstrap of zeros knows no width
    return (
        Rate(value=caught / all_mine, interval=binomial_interval(caught, all_mine), models=all_mine),
        Rate(value=float(found.accused.mean()), interval=(low, high), level=found.level, models=len(found.accused)),
    )


def _fraction(
    arrays: Arrays, settings: Mapping[str, Any], shadows: Shadows, kernel: np.ndarray
) -> FractionInterval | None:
    """95 % interval of the used fraction, ends none where the suspect is like no mixture. A point estimate errs too
    much."""
    if "mixture_labels" not in arrays or not len(arrays["mixture_labels"]):
        return None
    ridge = fit_ridge(shadows.agreement, family_targets(shadows.source == 0), shadows.ridge)
    mixed = label_agreement(arrays["mixture_labels"], arrays["shadow_labels"], arrays["sets"], int(settings["classes"]))
    scores = np.concatenate([ridge.leave_one_out(), ridge.score(mixed)])
    known = np.concatenate([(shadows.source == 0).astype(float), arrays["mixture_fraction"].astype(float)])
    found = estimate_fraction(scores, known, float(ridge.score(kernel)[0]))
    return FractionInterval(low=None if found is None else found.low, high=None if found is None else found.high)


def _verdict(
    test: StatisticalTest,
    novelty_p: float,
    sources: int,
    power: Rate | None,
    queries: int,
    settings: Mapping[str, Any],
) -> Verdict:
    """The outcome by rule: a test that cannot convict or cannot be trusted is inconclusive, whatever its p."""
    alpha, least_power = float(settings["alpha"]), float(settings["least_power"])
    p = test.p
    assert p is not None
    reached = "unknown (too few shadows)" if power is None else f"{power.value:.2f}"
    outcome: Outcome = "inconclusive"
    if not significant(attainable(sources), alpha):
        because = (
            f"{sources} innocent sources can give no p below {attainable(sources):.3f}; alpha {alpha:g} needs "
            f"{sources_needed(alpha)} sources, however many shadows each has"
        )
    elif significant(novelty_p, float(settings["novelty"])):
        because = f"the suspect is unlike any shadow (novelty p {novelty_p:.3f}): add architectures and sources"
    elif significant(p, alpha):
        outcome, because = "evidence", f"open-world p {p:.4f} over {sources} innocent sources; power {reached}"
    elif power is None or power.value < least_power:
        because = (
            f"open-world p {p:.4f}, but the power reached is {reached}, below {least_power:g}: train more shadows of "
            "my "
            f"generator ({_more(power)}) or ask about more images than {queries:,}"
        )
    else:
        outcome, because = "no evidence", f"open-world p {p:.4f} over {sources} innocent sources; power {reached}"
    return Verdict(outcome=outcome, alpha=alpha, because=because)


def _more(power: Rate | None) -> str:
    return "at least 2" if power is None else f"more than {power.models}"


ANALYSIS = Analysis(findings=analyse, settings=settings_in)
"""What the method's manifest names as `analyse`."""
