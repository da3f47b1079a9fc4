"""Tables and pictures of the calibration half of the Hint-GRPO study. Knows matplotlib, no models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from burnish.core.report import Section, subplots
from burnish.studies.hint_grpo.bias import SHIFTED, TRAINED
from burnish.studies.hint_grpo.records import BiasCell

Cells = Sequence[BiasCell]


def bias_sections(cells: Cells) -> list[Section]:
    """The report's parts on calibration."""
    chosen = ", ".join(f"{cell.chosen.gamma:g}" for cell in cells)
    return [
        Section(
            "Answering without looking: calibration",
            "A tiny LLaVA learned that each room has its usual thing (right in nine scenes of ten). Accuracy over "
            "the strength gamma, mean over seeds with the range as a band: on counter-examples, in distribution, and "
            f"with {SHIFTED:.0%} counter-examples. Above the text-only contrast of the paper, below the noised image "
            "of VCD. Calibration is no better guess where the text is as right as it was in training: there it costs "
            "accuracy.",
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
                        np.mean([cell.meter[name][key] for cell in cells]), ".0f" if "questions" in key else ".3f"
                    )
                    for key in cells[0].meter[name]
                }
                for name in cells[0].meter
            ],
        ),
    ]


def gamma_table(cells: Cells) -> list[dict[str, str]]:
    """Accuracies and the share of lured answers at each strength, mean over seeds."""
    rows = []
    for place, gamma in enumerate(cells[0].gammas):
        columns: dict[str, float] = {
            "counter-examples": float(np.mean([cell.accuracy["calibrated"]["counter"][place] for cell in cells])),
            "in distribution": float(np.mean([cell.mixture(TRAINED)[place] for cell in cells])),
            f"{SHIFTED:.0%} counter-examples": float(np.mean([cell.mixture(SHIFTED)[place] for cell in cells])),
            "lured by the text": float(np.mean([cell.follows[place] for cell in cells])),
            "noised image, counter-examples": float(
                np.mean([cell.accuracy["noised"]["counter"][place] for cell in cells])
            ),
        }
        rows.append({"gamma": f"{gamma:g}"} | {name: f"{value:.3f}" for name, value in columns.items()})
    return rows


def gamma_figure(cells: Cells) -> Any:
    """Accuracy over the strength for both contrasts."""
    figure, axes = subplots(2, 1, height=5.4)
    gammas = cells[0].gammas
    curves = (("counter-examples", 1.0), ("in distribution", TRAINED), (f"{SHIFTED:.0%} counter-examples", SHIFTED))
    for axis, (method, title) in zip(
        np.ravel(axes), (("calibrated", "no image"), ("noised", "noised image")), strict=True
    ):
        for name, share in curves:
            values = np.array([cell.mixture(share, method) for cell in cells])
            line = axis.plot(gammas, values.mean(0), marker="o", label=name)[0]
            axis.fill_between(gammas, values.min(0), values.max(0), color=line.get_color(), alpha=0.15, linewidth=0)
        axis.set(title=f"contrast: {title}", xlabel="gamma", ylabel="accuracy", ylim=(0, 1))
    np.ravel(axes)[0].legend(fontsize=8)
    return figure
