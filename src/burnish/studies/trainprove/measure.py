"""What one seed of the TrainProVe study measured, from stored answers: every suspect under every rule. No training, no
report.

A suspect is judged twice: with all shadows ("seen": its source is among them), and with its source hidden from shadows
and calibration ("hidden"). Guilty suspects and mixtures have no source to hide, so one innocent source after another is
hidden and their rate is the mean. "fair" suspects have an architecture that no shadow has as well.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from burnish.core.errors import UserError
from burnish.prove.trainprove.agreement import RIDGE, difference_effect, family_targets, fit_ridge, label_agreement
from burnish.prove.trainprove.analysis import analyse
from burnish.prove.trainprove.calibration import (
    Shadows,
    attainable,
    closed_world,
    convicted,
    novelty,
    vote_log_ratio,
)
from burnish.prove.trainprove.fraction import estimate_fraction
from burnish.prove.trainprove.published import by_accuracy, by_entropy, by_similarity, mixed_order
from burnish.prove.trainprove.queries import choose, disagreement, votes
from burnish.studies.trainprove.experiment import CLASSES, MINE, MIXED, TWIN, Design, load, picture_path, validation
from burnish.studies.trainprove.records import Area, Audit, Estimate, SeedCell, Suspect
from burnish.testbeds.classifiers import FACTORIES

BATCHES = (16, 32, 128)
"""Of the published rule; 128 and 16 are the paper's."""
NOVELTY = 0.05


class SeedJob(NamedTuple):
    """One item for the executor: a seed whose models have answered."""

    seed: int
    design: Design
    folder: Path


def measure(job: SeedJob) -> SeedCell:
    """All suspects of a seed under all rules, and the areas under the curve of each statistic."""
    design, models = job.design, Models(job.design, job.seed, job.folder)
    return SeedCell(
        seed=job.seed,
        alpha=design.alpha,
        sources=len(design.innocents),
        least_p=attainable(len(design.innocents) - 1),
        shadows=int(models.fitted.sum()),
        queries=models.labels.shape[1],
        suspects=tuple(_suspect(models, int(row)) for row in np.flatnonzero(~models.shadow)),
        auc={name: _areas(models, values) for name, values in _statistics(models).items()},
        fractions=_fractions(models),
        audits={
            "guilty": _audit(models, int(np.flatnonzero(~models.shadow & (models.source == 0))[-1])),
            "innocent": _audit(models, int(np.flatnonzero(~models.shadow & (models.source > 0))[-1])),
        },
    )


class Models:
    """All models of a seed: answers, roles, and who is fitted."""

    def __init__(self, design: Design, seed: int, folder: Path) -> None:
        _, self.truth, self.sets = validation(seed, folder)
        stored = {name: load(folder / "answers" / f"{seed}-{name}.safetensors") for name in design.sources}
        self.design, self.seed = design, seed
        self.logits = np.concatenate([each["logits"] for each in stored.values()])
        self.labels = self.logits.argmax(axis=2).astype(np.int64)
        self.shadow = np.concatenate([each["shadow"] for each in stored.values()]).astype(bool)
        self.kind = np.concatenate([each["kind"] for each in stored.values()])
        self.fraction = np.concatenate([each["fraction"] for each in stored.values()])
        names = [name for name, each in stored.items() for _ in each["kind"]]
        self.name = np.array(names)
        # 0 the defender's, 1.. the innocent ones, -1 neither
        number = {MINE: 0} | {name: place + 1 for place, name in enumerate(design.innocents)}
        self.source = np.array([number.get(name, -1) for name in names])
        self.fitted = self.shadow & (self.source >= 0)
        self.agreement = label_agreement(self.labels, self.labels, self.sets, CLASSES)
        self.right = self.labels == self.truth[None, :]
        learned = {name: load(picture_path(folder, seed, name))["learned"] for name in (MINE, *design.innocents)}
        self.shared = {name: float(np.isin(rows, learned[MINE]).mean()) for name, rows in learned.items()}

    def shadows(self, hide: int | None = None, agreement: np.ndarray | None = None) -> tuple[Shadows, np.ndarray]:
        """The shadows without a hidden source, and their rows."""
        rows = np.flatnonzero(self.fitted & (self.source != hide))
        matrix = self.agreement if agreement is None else agreement
        return Shadows(matrix[rows][:, rows], self.source[rows]), rows


def _audit(models: Models, row: int) -> Audit:
    """One suspect as a user's audit would see it, its own source hidden."""
    own = models.source[row]
    rows = np.flatnonzero(models.fitted & ((models.source != own) | (own == 0)))
    names = [MINE, *(name for number, name in enumerate(models.design.innocents, 1) if number != own)]
    place = {name: number for number, name in enumerate(names)}
    known = np.flatnonzero(models.shadow & (models.name == MIXED))
    arrays = {
        "suspect_labels": models.labels[row],
        "shadow_labels": models.labels[rows],
        "shadow_source": np.array([place[name] for name in models.name[rows]]),
        "truth": models.truth,
        "sets": models.sets,
        "mixture_labels": models.labels[known],
        "mixture_fraction": models.fraction[known],
    }
    settings = {
        "classes": CLASSES,
        "sources": names,
        "statistic": "agreement",
        "alpha": models.design.alpha,
        "novelty": NOVELTY,
        "ridge": RIDGE,
        "batch": BATCHES[0],
        "least_power": 0.5,
        "seed": models.seed,
    }
    return Audit(source=str(models.name[row]), settings=settings, findings=analyse(arrays, settings).to_json())


def _suspect(models: Models, row: int) -> Suspect:
    design, own = models.design, models.source[row]
    shadows, rows = models.shadows()
    kernel = models.agreement[[row]][:, rows]
    pooled, _ = closed_world(shadows, kernel[0])
    hidden = [int(own)] if own > 0 else shadows.innocents
    under = [_hidden(models, row, source) for source in hidden]
    kind, source = list(FACTORIES)[models.kind[row]], str(models.name[row])
    return Suspect(
        source=source,
        kind=kind,
        fair=kind not in design.shadow_kinds,
        guilty=bool(own == 0),
        innocent=bool(own > 0),
        fraction=float(models.fraction[row]),
        shared=models.shared.get(source),
        score=float(shadows.scores(kernel)[0]),
        novelty_p=float(novelty(shadows, kernel)[0]),
        convicted=bool(convicted(shadows, kernel, design.alpha, NOVELTY)[0]),
        closed_pooled=float(pooled),
        hidden_convicted=float(np.mean([each[0] for each in under])),
        hidden_novel=float(np.mean([each[1] for each in under])),
        hidden_pooled=float(np.mean([each[2] for each in under])),
        accuracy=float(models.right[row][models.sets == 0].mean()),
        published=_published(models, row),
    )


def _hidden(models: Models, row: int, source: int) -> tuple[bool, bool, bool]:
    """Convicted, unlike any shadow, and convicted by the pooled closed-world p, with ``source`` hidden."""
    shadows, rows = models.shadows(hide=source)
    kernel = models.agreement[[row]][:, rows]
    guilty = bool(convicted(shadows, kernel, models.design.alpha, NOVELTY)[0])
    return (
        guilty,
        bool(novelty(shadows, kernel)[0] <= NOVELTY),
        closed_world(shadows, kernel[0])[0] <= models.design.alpha,
    )


def _published(models: Models, row: int) -> dict[str, bool | None]:
    """Whether each published rule convicts ("not an outlier") at our level; none where its batches are too few or
    equal."""
    one = int(np.flatnonzero(models.fitted & (models.source == 0))[-1])  # a convolutional shadow, as in the paper
    mine, alpha = models.sets == 0, models.design.alpha
    order = mixed_order(int(mine.sum()), models.seed)
    shadow_right, right = (models.right[each][mine][order] for each in (one, row))
    found: dict[str, bool | None] = {}
    for batch in BATCHES:
        try:
            found[f"batch {batch}"] = not by_accuracy(shadow_right, right, batch=batch, alpha=alpha).rejected
        except UserError:
            found[f"batch {batch}"] = None
    shadow, suspect, truth = models.logits[one][mine], models.logits[row][mine], models.truth[mine]
    found["entropy"] = not by_entropy(shadow, suspect, truth, batch=BATCHES[0], alpha=alpha).rejected
    found["similarity"] = not by_similarity(shadow, suspect, truth, alpha=alpha).rejected
    return found


def _statistics(models: Models) -> dict[str, np.ndarray]:
    """Every statistic as [hidden source, model] scores, high = guilty; what fits nothing is the same in every row."""
    design, number = models.design, range(1, len(models.design.innocents) + 1)
    plain, effect = difference_effect(models.right, models.sets)
    _, odds = difference_effect(models.right, models.sets, logit=True)
    rng = np.random.default_rng([models.seed, 2])
    found = {
        "accuracy (published)": np.tile(plain, (len(number), 1)),
        "difference in differences": np.tile(effect, (len(number), 1)),
        "difference in differences, logit": np.tile(odds, (len(number), 1)),
        "votes": np.stack([_votes(models, source) for source in number]),
        "agreement": np.stack([_scores(models, source, models.agreement) for source in number]),
    }
    budget = min(design.budget, models.labels.shape[1])
    random = choose(rng.random(models.labels.shape[1]), models.sets, budget)  # as the product's `choice: random`
    found[f"agreement, {budget} random images"] = np.stack([_on(models, source, random) for source in number])
    found[f"agreement, {budget} chosen images"] = np.stack([_on(models, s, _chosen(models, s, budget)) for s in number])
    return found


def _scores(models: Models, hide: int, agreement: np.ndarray) -> np.ndarray:
    shadows, rows = models.shadows(hide, agreement)
    ridge = fit_ridge(shadows.agreement, family_targets(shadows.source == 0), shadows.ridge)
    scores = ridge.score(agreement[:, rows])
    scores[rows] = ridge.leave_one_out()
    return scores


def _on(models: Models, hide: int, images: np.ndarray) -> np.ndarray:
    labels, sets = models.labels[:, images], models.sets[images]
    return _scores(models, hide, label_agreement(labels, labels, sets, CLASSES))


def _chosen(models: Models, hide: int, budget: int) -> np.ndarray:
    """Images on which half of the shadows of each family dispute, the hidden source's left out."""
    rows = np.flatnonzero(models.fitted & (models.source != hide))[::2]
    mine, others = (models.labels[rows[(models.source[rows] == 0) == own]] for own in (True, False))
    dispute = disagreement(votes(mine, CLASSES), votes(others, CLASSES))
    return choose(dispute, models.sets, budget)


def _votes(models: Models, hide: int) -> np.ndarray:
    rows = np.flatnonzero(models.fitted & (models.source != hide))
    mine, others = (votes(models.labels[rows[(models.source[rows] == 0) == own]], CLASSES) for own in (True, False))
    return np.array([vote_log_ratio(mine, others, labels) for labels in models.labels])


def _areas(models: Models, values: np.ndarray) -> Area:
    """Area under the curve of guilty against innocent suspects whose source is hidden: mean over the hidden sources."""
    fair = np.array([list(FACTORIES)[kind] not in models.design.shadow_kinds for kind in models.kind])
    return Area(hidden=_area(models, values, ~models.shadow), fair=_area(models, values, ~models.shadow & fair))


def _area(models: Models, values: np.ndarray, chosen: np.ndarray) -> float:
    guilty = np.flatnonzero(chosen & (models.source == 0))
    each = []
    for place in range(len(values)):
        innocent = np.flatnonzero(chosen & (models.source == place + 1))
        if len(innocent):
            each.append(auc(values[place][guilty], values[place][innocent]))
    return float(np.mean(each))


def auc(guilty: np.ndarray, innocent: np.ndarray) -> float:
    """Chance that a guilty suspect scores above an innocent one; ties count half."""
    above = guilty[:, None] - innocent[None, :]
    return float(((above > 0) + 0.5 * (above == 0)).mean())


def _fractions(models: Models) -> tuple[Estimate, ...]:
    """Estimated share of the defender's pictures of every mixture suspect, and of pure ones; none outside what is
    calibrated."""
    shadows, rows = models.shadows()
    ridge = fit_ridge(shadows.agreement, family_targets(shadows.source == 0), shadows.ridge)
    known = np.flatnonzero(models.shadow & (models.name == MIXED))
    scores = np.concatenate([ridge.leave_one_out(), ridge.score(models.agreement[known][:, rows])])
    fractions = np.concatenate([models.fraction[rows], models.fraction[known]])
    found = []
    for row in np.flatnonzero(~models.shadow & (models.name != TWIN)):
        value = float(ridge.score(models.agreement[[row]][:, rows])[0])
        each = estimate_fraction(scores, fractions, value)
        found.append(
            Estimate(
                truth=float(models.fraction[row]),
                estimate=None if each is None else each.estimate,
                low=None if each is None else each.low,
                high=None if each is None else each.high,
            )
        )
    return tuple(found)
