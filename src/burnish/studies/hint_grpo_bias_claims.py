"""Claims of the calibration half of the Hint-GRPO study, written down before any judged run, and its part of the report.

The unit of every interval is the seed: its own model, its own scenes. Knows numbers; matplotlib draws the figure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from burnish.core.report import Section, subplots
from burnish.studies.claims import Claim, Interval, judge, t_interval
from burnish.studies.hint_grpo_bias import PUBLISHED, SHIFTED, TRAINED, mixed, mixture

Cells = Sequence[dict[str, Any]]


def _at(cell: dict[str, Any], kind: str, gamma: float, method: str = "calibrated") -> float:
    return float(cell["accuracy"][method][kind][cell["gammas"].index(gamma)])


def _over(cells: Cells, number: Callable[[dict[str, Any]], float]) -> list[float]:
    return [number(cell) for cell in cells]


def judge_bias(cells: Cells) -> list[Claim]:
    """The claims of the calibration half, each with its own verdict."""
    return [_counter(cells), _inner(cells), _noise(cells), _cost(cells), _bias(cells)]


def _counter(cells: Cells) -> Claim:
    ours, plain = (_over(cells, lambda cell, g=g: _at(cell, "counter", g)) for g in (PUBLISHED, 0.0))  # type: ignore[misc]
    interval = t_interval(np.subtract(ours, plain).tolist())
    sampled = "; ".join(
        f"sampled at temperature {name} without calibration {np.mean([c['sampled'][name]['counter'] for c in cells]):.3f}"
        for name in cells[0]["sampled"]
    )
    return Claim(
        name="calibration_counter",
        claim=f"Calibration (gamma {PUBLISHED:g}) raises accuracy on counter-examples to what the text suggests",
        paper="Geo170K 45.62 -> 46.68 (no counter-examples apart)",
        rule="paired 95 % t interval of the difference over seeds lies above 0",
        ours=float(np.mean(ours)),
        baseline=float(np.mean(plain)),
        interval=interval,
        verdict=judge(interval),
        note=sampled,
    )


def _inner(cells: Cells) -> Claim:
    """The best inner strength is chosen on the other seeds, so that a maximum over noise cannot win by being one."""
    curves = np.array([mixture(cell, SHIFTED) for cell in cells])
    gains, found = [], []
    for index, curve in enumerate(curves):
        others = np.delete(curves, index, axis=0) if len(curves) > 1 else curves
        inner = 1 + int(others.mean(0)[1:-1].argmax())
        gains.append(float(curve[inner] - max(curve[0], curve[-1])))
        found.append(float(curve[inner]))
    interval = t_interval(gains)
    gammas = cells[0]["gammas"]
    means = ", ".join(f"{gamma:g}: {value:.3f}" for gamma, value in zip(gammas, curves.mean(0), strict=True))
    return Claim(
        name="calibration_inverted_u",
        claim=f"With {SHIFTED:.0%} counter-examples accuracy over gamma is an inverted U: an inner strength beats both ends",
        paper="gamma 0 / 0.8 / 1.6: 45.62 / 46.68 / 44.69",
        rule="95 % t interval over seeds of (inner strength, chosen on the other seeds) - (the better end) lies above 0",
        ours=float(np.mean(found)),
        baseline=float(np.mean(np.maximum(curves[:, 0], curves[:, -1]))),
        interval=interval,
        verdict=judge(interval),
        note=f"accuracy by gamma {means}",
    )


def _noise(cells: Cells) -> Claim:
    """Each contrast at its best strength for the mixture on average over seeds: the same tuning for both."""
    best = {
        method: np.array([mixture(cell, SHIFTED, method) for cell in cells])[
            :, int(np.mean([mixture(cell, SHIFTED, method) for cell in cells], axis=0).argmax())
        ]
        for method in ("calibrated", "noised")
    }
    interval = t_interval((best["calibrated"] - best["noised"]).tolist())
    published = np.mean([mixed(cell["vcd"], SHIFTED) for cell in cells])
    return Claim(
        name="calibration_vs_noised_image",
        claim="Contrast with the absent image beats contrast with a noised one (VCD) on that mixture, both at their best gamma",
        paper="-",
        rule="paired 95 % t interval of the difference over seeds lies above 0",
        ours=float(best["calibrated"].mean()),
        baseline=float(best["noised"].mean()),
        interval=interval,
        verdict=judge(interval),
        note=f"VCD as published (strength 1, cut-off .1): {published:.3f}; not a claim of the paper",
    )


def _cost(cells: Cells) -> Claim:
    ours, plain = (
        _over(cells, lambda cell, g=g: mixture(cell, TRAINED)[cell["gammas"].index(g)])  # type: ignore[misc]
        for g in (PUBLISHED, 0.0)
    )
    interval = t_interval(np.subtract(ours, plain).tolist())
    return Claim(
        name="calibration_in_distribution",
        claim=f"Calibration (gamma {PUBLISHED:g}) costs at most a point of accuracy where the text is as right as in training",
        paper="not reported",
        rule="paired 95 % t interval of the difference over seeds lies above -0.01",
        ours=float(np.mean(ours)),
        baseline=float(np.mean(plain)),
        interval=interval,
        verdict=judge(interval, -0.01),
        note="expected to fail: where the prior holds, plain decoding is the better guess",
    )


def _bias(cells: Cells) -> Claim:
    plain, ours = (
        _over(cells, lambda cell, n=name: cell["meter"][n]["text_bias/unchanged"])  # type: ignore[misc]
        for name in ("plain", "calibrated")
    )
    interval: Interval = t_interval(np.subtract(plain, ours).tolist())
    return Claim(
        name="calibration_text_bias",
        claim="Calibration lowers text bias: fewer answers stay the same when the image is swapped",
        paper="65 % of the training's gain is there without the image",
        rule="paired 95 % t interval of the fall over seeds lies above 0",
        ours=float(np.mean(ours)),
        baseline=float(np.mean(plain)),
        interval=interval,
        verdict=judge(interval),
    )


def bias_sections(cells: Cells) -> list[Section]:
    """The report's parts on calibration."""
    chosen = ", ".join(f"{cell['chosen']['gamma']:g}" for cell in cells)
    return [
        Section(
            "Answering without looking: calibration",
            "A tiny LLaVA learned that each room has its usual thing (right in nine scenes of ten). Accuracy over the strength "
            "gamma, mean over seeds with the range as a band: on counter-examples, in distribution, and with "
            f"{SHIFTED:.0%} counter-examples. Left the text-only contrast of the paper, right the noised image of VCD. "
            "Calibration is no better guess where the text is as right as it was in training: there it costs accuracy.",
            figure=gamma_figure(cells),
        ),
        Section("Strengths", f"Chosen on held-out questions, one a seed: {chosen}.", table=gamma_table(cells)),
        Section(
            "Text-bias meter",
            "Shares of held-out questions, in distribution. Unchanged: the same answer after the image was swapped.",
            table=[
                {"decoding": name}
                | {
                    key.removeprefix("text_bias/").replace("_", " "): format(
                        np.mean([cell["meter"][name][key] for cell in cells]), ".0f" if "questions" in key else ".3f"
                    )
                    for key in cells[0]["meter"][name]
                }
                for name in cells[0]["meter"]
            ],
        ),
    ]


def gamma_table(cells: Cells) -> list[dict[str, str]]:
    """Accuracies and the share of lured answers at each strength, mean over seeds."""
    rows = []
    for place, gamma in enumerate(cells[0]["gammas"]):
        columns: dict[str, float] = {
            "counter-examples": float(np.mean([cell["accuracy"]["calibrated"]["counter"][place] for cell in cells])),
            "in distribution": float(np.mean([mixture(cell, TRAINED)[place] for cell in cells])),
            f"{SHIFTED:.0%} counter-examples": float(np.mean([mixture(cell, SHIFTED)[place] for cell in cells])),
            "lured by the text": float(np.mean([cell["follows"][place] for cell in cells])),
            "noised image, counter-examples": float(
                np.mean([cell["accuracy"]["noised"]["counter"][place] for cell in cells])
            ),
        }
        rows.append({"gamma": f"{gamma:g}"} | {name: f"{value:.3f}" for name, value in columns.items()})
    return rows


def gamma_figure(cells: Cells) -> Any:
    """Accuracy over the strength for both contrasts."""
    figure, axes = subplots(1, 2)
    gammas = cells[0]["gammas"]
    curves = (("counter-examples", 1.0), ("in distribution", TRAINED), (f"{SHIFTED:.0%} counter-examples", SHIFTED))
    for axis, (method, title) in zip(
        np.ravel(axes), (("calibrated", "no image"), ("noised", "noised image")), strict=True
    ):
        for name, share in curves:
            values = np.array([mixture(cell, share, method) for cell in cells])
            line = axis.plot(gammas, values.mean(0), marker="o", label=name)[0]
            axis.fill_between(gammas, values.min(0), values.max(0), color=line.get_color(), alpha=0.15, linewidth=0)
        axis.set(title=f"contrast: {title}", xlabel="gamma", ylim=(0, 1))
    np.ravel(axes)[0].set_ylabel("accuracy")
    np.ravel(axes)[0].legend(fontsize=8)
    return figure
