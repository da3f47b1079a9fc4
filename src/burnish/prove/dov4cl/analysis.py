"""From stored answers to findings: the tests, the rank among the shadows, the power, the verdict. Pure and
deterministic.

An audit and whoever verifies its evidence call the same function on the same arrays. Knows no model and no picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from burnish.core.errors import UserError
from burnish.core.parallel import one_thread
from burnish.prove.dov4cl.family import family_tests
from burnish.prove.dov4cl.findings import Effects, ImageCounts, OwnershipFindings, OwnershipPower, Split
from burnish.prove.dov4cl.image_tests import (
    STATISTICS,
    Steadiness,
    bootstrap,
    effect,
    image_test,
    paper_p,
    paper_vector,
    steadiness,
)
from burnish.prove.dov4cl.power import MOST, POWER, outlook, power_shown
from burnish.prove.evasion import USUAL, Probes, as_unclear, clearness, measure_evasion
from burnish.prove.evidence.analysis import Analysis
from burnish.prove.findings import Outcome, StatisticalTest, Verdict, smallest
from burnish.prove.statistics import holm, significant

Answers = Mapping[str, tuple[np.ndarray, np.ndarray]]

KEPT = ("seed", "test", "alpha", "a", "draws", "repeats", "private_is", "split_check", "split_alpha")


def settings_in(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of :func:`analyse` that a recipe (as plain data) decides; ``split`` comes from the pictures."""
    options = {name: recipe["suspect"][name] for name in ("queries", "pooling")}
    return options | {name: recipe[name] for name in KEPT}


def analyse(arrays: Mapping[str, np.ndarray], settings: Mapping[str, Any]) -> OwnershipFindings:
    """Findings of an ownership audit.

    Args:
        arrays: ``public`` (Boolean, [images]); embeddings ``NAME_global`` [draws, images, M, dim] and ``NAME_local``
            [draws, images, N, dim] for NAME ``suspect``, ``shadow_000`` ... and, where shadows were trained on the
            public images, ``guilty_000`` ... With the arrays of :func:`burnish.prove.dov4cl.probes.probe_arrays` it is
            also looked at whether the suspect evades.
        settings: those of :func:`settings_in`, and ``split`` (``auc``, ``p`` and ``alpha`` of the split check; ``None``
            where
            ``split_check`` is off); ``own_signal``: whether the power is that at the suspect's own signal, where
            that is low (evidence from before this was looked at is computed as it was).

    Raises:
        UserError: arrays missing, of the wrong shape, or not finite.
    """
    public, answers = _read(arrays)
    # one thread: the same last digits wherever the evidence is checked
    with one_thread():
        unclear = _unclear(answers) if settings.get("own_signal") and settings["test"] != "paper" else None
        played = answers if unclear is None else _as_unclear(answers, unclear, settings)
        findings = (_paper if settings["test"] == "paper" else _permutation)(public, played, settings)
        if unclear is not None:
            findings = _at_own_signal(findings, unclear)
        if "probe_public" in arrays:
            findings = _with_evasion(findings, arrays, answers, settings)
    split = findings.split
    checked = settings.get("split_check", "off") != "off"
    if checked and (split is None or split.alpha != settings["split_alpha"]):
        raise UserError("settings: the split check that split_check asks for is missing, or was made at another level")
    if split is None or not significant(split.p, split.alpha):
        return findings
    because = (
        "public and private images can be told apart without any model (area under the curve "
        f"{split.auc:.2f}, p = {split.p:.3g}): a difference between them proves nothing about the suspect"
    )
    verdict = Verdict(outcome="inconclusive", alpha=settings["alpha"], because=because)
    return findings.model_copy(update={"verdict": verdict})


def _unclear(answers: Answers) -> float | None:
    """The suspect's signal against the lowest of a shadow, where it is lower than any honest model's is."""
    views = _views(answers)
    found = clearness(views["suspect"], [each for name, each in views.items() if name.startswith("shadow_")])
    return found if found < USUAL else None


def _as_unclear(answers: Answers, wanted: float, settings: Mapping[str, Any]) -> Answers:
    """With the guilty shadows' answers made as unclear as the suspect's: the power is then that on such ones."""
    rng = np.random.default_rng([settings["seed"], 161])

    def noisy(kind: np.ndarray) -> np.ndarray:
        return as_unclear(kind.reshape(-1, *kind.shape[2:]), wanted, rng).reshape(kind.shape)

    return {
        name: (noisy(pair[0]), noisy(pair[1])) if name.startswith("guilty_") else pair for name, pair in answers.items()
    }


def _at_own_signal(findings: OwnershipFindings, signal: float) -> OwnershipFindings:
    """The verdict says that the power is that at the suspect's own signal; where it is low, nothing can be judged."""
    verdict = findings.verdict
    if verdict.outcome == "evidence" or findings.power is None or findings.power.reached is None:
        return findings
    because = (
        f"the suspect's answers depend on the picture less than any shadow's (signal {max(signal, 0.0):.0%} of the "
        f"lowest of a shadow), and with answers made as unclear: {verdict.because}"
    )
    outcome: Outcome = "no evidence" if verdict.outcome == "no evidence" else "cannot be judged"
    return findings.model_copy(update={"verdict": Verdict(outcome=outcome, alpha=verdict.alpha, because=because)})


def _views(answers: Answers) -> dict[str, list[np.ndarray]]:
    return {name: [kind.reshape(-1, *kind.shape[2:]) for kind in pair] for name, pair in answers.items()}


def _with_evasion(
    findings: OwnershipFindings, arrays: Mapping[str, np.ndarray], answers: Answers, settings: Mapping[str, Any]
) -> OwnershipFindings:
    """With what was seen of the suspect's way of answering; one that evades is neither cleared nor left half open.

    Evidence stays evidence: the permutation test is exact whatever a suspect answers.
    """
    views = _views(answers)
    shadows = [each for name, each in views.items() if name.startswith("shadow_")]
    rng = np.random.default_rng([settings["seed"], 160])
    found = measure_evasion(views["suspect"], shadows, _probes(arrays), rng, gaps=bool(settings.get("own_signal")))
    verdict = findings.verdict
    if found.signs and (verdict.outcome != "evidence" or not verdict.calibrated):
        because = f"the suspect evades: {'; '.join(found.signs)}"
        verdict = Verdict(outcome="cannot be judged", alpha=verdict.alpha, because=because)
    return findings.model_copy(update={"evasion": found, "verdict": verdict})


def _probes(arrays: Mapping[str, np.ndarray]) -> Probes | None:
    if "probe_path" not in arrays:
        return None
    return Probes(arrays["probe_public"].astype(bool), arrays["probe_again"], arrays["probe_path"])


def _read(arrays: Mapping[str, np.ndarray]) -> tuple[np.ndarray, dict[str, tuple[np.ndarray, np.ndarray]]]:
    if "public" not in arrays:
        raise UserError("answers: no array `public`; it says which images are public")
    public = np.asarray(arrays["public"]).astype(bool)
    if min(public.sum(), (~public).sum()) < 2:
        raise UserError(f"answers: {public.sum()} public and {(~public).sum()} private images; a test needs 2 of each")
    names = sorted({name.rpartition("_")[0] for name in arrays if name.endswith(("_global", "_local"))})
    found = {
        name: (_answers(arrays, f"{name}_global", len(public)), _answers(arrays, f"{name}_local", len(public)))
        for name in names
    }
    if "suspect" not in found or not any(name.startswith("shadow_") for name in found):
        raise UserError(f"answers: of suspect and shadows there are only {names}")
    if len({len(array) for pair in found.values() for array in pair}) > 1:
        raise UserError("answers: not every model was asked in as many draws")
    return public, found


def _answers(arrays: Mapping[str, np.ndarray], name: str, images: int) -> np.ndarray:
    array = arrays.get(name)
    if array is None or array.ndim != 4 or array.shape[1] != images or array.shape[2] < 2:
        shape = "missing" if array is None else f"of shape {array.shape}"
        raise UserError(f"answers: {name} is {shape}; wanted [draws, {images} images, views, numbers]")
    if not np.isfinite(array).all():
        raise UserError(f"answers: {name} holds numbers that are not finite")
    return array


@dataclass
class _Measured:
    """What the draws gave: per statistic the suspect's tests and standard errors, per model its effects.

    Attributes:
        tests: the suspect's, draw by draw.
        errors: by statistic, the bootstrap standard error of each draw.
        effects: by model, the effects of each draw by statistic.
        played: by guilty shadow, the p-values of the suspect's very tests.
    """

    tests: list[StatisticalTest]
    errors: dict[str, list[float]]
    effects: dict[str, list[dict[str, float]]]
    played: dict[str, list[float]]


def _permutation(public: np.ndarray, answers: Answers, settings: Mapping[str, Any]) -> OwnershipFindings:
    shadows = [name for name in answers if name.startswith("shadow_")]
    guilty = [name for name in answers if name.startswith("guilty_")]
    measured = _Measured([], {name: [] for name in STATISTICS}, {name: [] for name in answers}, {n: [] for n in guilty})
    for draw in range(len(answers["suspect"][0])):
        _measure(draw, public, answers, settings, measured)
    adjusted = holm(np.array([test.p for test in measured.tests]))
    tests = [test.model_copy(update={"adjusted_p": float(p)}) for test, p in zip(measured.tests, adjusted, strict=True)]
    mean = {
        name: {key: float(np.mean([one[key] for one in each])) for key in STATISTICS}
        for name, each in measured.effects.items()
    }
    family = family_tests(mean["suspect"], [mean[name] for name in shadows])
    alpha = settings["alpha"]
    caught = sum(significant(float(holm(np.array(each)).min()), alpha) for each in measured.played.values())
    foreseen = outlook(mean, shadows, guilty, public, measured.errors, alpha / len(tests))
    power = power_shown(caught, len(guilty), foreseen)
    best = float(adjusted.min())
    return OwnershipFindings(
        tests=(*tests, *family),
        verdict=_verdict(best, power, alpha),
        deciding=smallest(tests),
        p=best,
        power=power,
        assumptions=_assumptions(settings, family=True),
        images=_counts(public),
        shadows=len(shadows),
        guilty_shadows=len(guilty),
        split=_split(settings),
        effects=Effects(
            suspect=mean["suspect"],
            shadows=tuple(mean[name] for name in shadows),
            guilty=tuple(mean[name] for name in guilty),
        ),
    )


def _measure(draw: int, public: np.ndarray, answers: Answers, settings: Mapping[str, Any], measured: _Measured) -> None:
    """Test the suspect, and every guilty shadow in its place, on one draw of views."""
    rng = np.random.default_rng([settings["seed"], draw])
    shadows = [name for name in answers if name.startswith("shadow_")]
    usual: Steadiness | None = None
    # one model's pairs at a time: there may be many models and thousands of images
    for name in shadows:
        found = _steadiness(answers[name], draw)
        measured.effects[name].append(effect(found, public))
        usual = found if usual is None else usual.plus(found)
    assert usual is not None  # _read saw to it
    suspect = _steadiness(answers["suspect"], draw)
    measured.effects["suspect"].append(effect(suspect, public))
    usual = usual.over(len(shadows))
    for number, name in enumerate(measured.played, 1):
        found = _steadiness(answers[name], draw)
        measured.effects[name].append(effect(found, public))
        # the suspect's very test, with arrangements of its own
        stream = np.random.default_rng([settings["seed"], draw, number])
        tested = image_test(found.minus(usual), public, settings["draws"], stream)
        measured.played[name] += [one.p for one in tested.values()]
    rest = suspect.minus(usual)
    resampled = bootstrap(rest, public, 1000, rng)
    several = len(answers["suspect"][0]) > 1
    for name, result in image_test(rest, public, settings["draws"], rng).items():
        low, high = np.quantile(resampled[name], [0.025, 0.975])
        measured.errors[name].append(float(resampled[name].std()))
        measured.tests.append(
            StatisticalTest(
                name=f"{name} relationship" + (f", draw {draw + 1}" if several else ""),
                statistic=result.effect,
                p=result.p,
                effect=result.effect,
                interval=(float(low), float(high)),
                assumption="public and private images are alike but for the label (exchangeable)",
            )
        )


def _steadiness(pair: tuple[np.ndarray, np.ndarray], draw: int) -> Steadiness:
    return steadiness(pair[0][draw], pair[1][draw])


def _verdict(p: float, power: OwnershipPower, alpha: float) -> Verdict:
    if significant(p, alpha):
        because = f"the suspect is steadier on the public images than the shadow models are (p = {p:.3g}, corrected)"
        return Verdict(outcome="evidence", alpha=alpha, because=because)
    if power.reached is None or power.interval is None:
        detectable = ", ".join(f"{name} {each.detectable:.4f}" for name, each in power.by.items())
        because = (
            f"p = {p:.3g}; how often this test finds a guilty model is unknown, as no shadow was trained on the public "
            f"images (shadows.guilty); differences that it would find four times in five: {detectable}"
        )
        return Verdict(outcome="inconclusive", alpha=alpha, because=because)
    low, high = power.interval
    often = (
        f"this very test finds {power.found} of the {power.models} shadows trained on the public images "
        f"({low:.0%} to {high:.0%} of such models, with 95 % confidence)"
    )
    if power.reached < POWER:
        needed = power.images_needed
        more = f"; an estimated {needed:,} images of each set would be needed" if needed is not None else ""
        because = f"p = {p:.3g}, but with these images {often}, not {POWER:.0%}{more}"
        return Verdict(outcome="inconclusive", alpha=alpha, because=because)
    if low <= MOST:
        because = (
            f"p = {p:.3g}; {often}: too few to show that most would be found; it takes {power.shadows_needed} "
            "shadow models trained so (shadows.guilty)"
        )
        return Verdict(outcome="inconclusive", alpha=alpha, because=because)
    return Verdict(outcome="no evidence", alpha=alpha, because=f"p = {p:.3g}, and {often}")


def _paper(public: np.ndarray, answers: Answers, settings: Mapping[str, Any]) -> OwnershipFindings:
    repeats, alpha = settings["repeats"], settings["alpha"]
    vectors = {
        name: np.split(paper_vector(wide, small, public, settings["a"]).reshape(2, repeats, -1), repeats, axis=1)
        for name, (wide, small) in answers.items()
    }
    assumption = "the numbers of the rounds are independent (they are not: rounds share images)"
    tests, p_values = [], []
    for repeat in range(repeats):
        suspect = vectors["suspect"][repeat].ravel()
        shadows = [each[repeat].ravel() for name, each in vectors.items() if name.startswith("shadow_")]
        difference = float(suspect.mean() - np.concatenate(shadows).mean())
        p_values.append(paper_p(suspect, shadows))
        tests.append(
            StatisticalTest(
                name=f"published t-test, repetition {repeat + 1}",
                statistic=difference,
                p=p_values[-1],
                effect=difference,
                assumption=assumption,
            )
        )
    p = float(np.mean(p_values))
    because = f"mean p of {repeats} repetitions {p:.3g}; the published test is not calibrated, set test: permutation"
    outcome: Outcome = "evidence" if significant(p, alpha) else "no evidence"
    return OwnershipFindings(
        tests=tuple(tests),
        verdict=Verdict(outcome=outcome, alpha=alpha, because=because, calibrated=False),
        deciding=tests[0].name if repeats == 1 else None,
        p=p,
        power=None,
        assumptions=(*_assumptions(settings, family=False), assumption),
        images=_counts(public),
        shadows=sum(name.startswith("shadow_") for name in answers),
        guilty_shadows=0,
        split=_split(settings),
    )


def _counts(public: np.ndarray) -> ImageCounts:
    return ImageCounts(public=int(public.sum()), private=int((~public).sum()))


def _split(settings: Mapping[str, Any]) -> Split | None:
    return None if settings["split"] is None else Split.from_json(settings["split"])


def _assumptions(settings: Mapping[str, Any], *, family: bool) -> tuple[str, ...]:
    lines = [
        "Which of the owner's images were published was decided without regard to what they show (like a coin toss).",
        "The shadow models never saw a public image, nor a private one.",
        "The suspect never saw a private image.",
    ]
    if settings["private_is"] == "synthetic":
        lines.append(
            "The private images are synthetic: they are assumed to differ from the public ones in nothing that a "
            "model sees."
        )
    if settings["split"] is None:
        lines.append("Nobody checked that public and private images look alike (split_check: off).")
    if family:
        lines.append(
            "The rank and the mean test assume an innocent suspect that was trained as the shadows were (exchangeable)."
        )
    return tuple(lines)


ANALYSIS = Analysis(findings=analyse, settings=settings_in)
"""What the method's manifest names as `analyse`."""
