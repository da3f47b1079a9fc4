"""Pictures and tables of the shape study. Knows matplotlib, no models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from burnish.core.intervals import mean_share_interval
from burnish.core.report import Section, subplots
from burnish.core.study import Glance
from burnish.core.study_picture import Dots, draw_dots, small_bars
from burnish.studies.shape.claims import World, by_world, start_of
from burnish.studies.shape.records import CAPTIONS, GATED, START, ArmCell, Cell, Regime, Texts
from burnish.studies.shape.theory import caption_recall, greedy_recall, voted_recall

WORDS: Mapping[Regime, str] = {"fit": "a start that hardly names what is not there", "weak": "a weak start"}


def sections(cells: Sequence[Cell]) -> list[Section]:
    """The report's parts; those on weak starts where there are any."""
    found = []
    for regime, words in WORDS.items():
        worlds = by_world(cells, regime)
        if worlds:
            found += _of_regime(worlds, words, regime)
    return found


def _of_regime(worlds: Sequence[World], words: str, regime: Regime) -> list[Section]:
    outside = [why for world in worlds for why in start_of(world).out_of_bounds]
    refusal = f" Nothing is judged on it: {'; '.join(outside)}." if outside and regime == "fit" else ""
    return [
        Section(
            f"Descriptions, from {words}",
            "Recall and precision of facts (things and their colours) in greedy descriptions of scenes not trained on. "
            "One small dot a world, the large one their mean with its 95 % Korn-Graubard interval; the dashed line is "
            f"the start.{refusal}",
            figure=description_figure(worlds),
        ),
        Section(
            f"Arms, from {words}",
            "Means over worlds, at the learning rate that was best on other scenes. `within` is the recall when each "
            "description is cut to its start's length; `facts a word` counts true ones, each once; `generated` is the "
            "tokens of the answers that an arm learns from.",
            table=arm_table(worlds),
        ),
        Section(
            f"What the views of {words} agree on",
            _theory_words(worlds),
            table=vote_table(worlds),
        ),
        Section(
            f"What was learnt from, from {words}",
            "Texts of the pairs against the truth, means over worlds: supervised arms learn the winner alone.",
            table=pair_table(worlds),
        ),
        Section(f"Learning rates, from {words}", "F1 of facts on the scenes for choosing.", table=rate_table(worlds)),
    ]


def _theory_words(worlds: Sequence[World]) -> str:
    ceiling = _mean([start_of(world).ceiling for world in worlds])
    names = [arm for arm in worlds[0] if arm != START]
    reached = {arm: _mean([world[arm].worth.recall for world in worlds]) for arm in names}
    best = max(reached, key=lambda arm: reached[arm])
    ours = f"`{GATED}` stays {ceiling - reached[GATED]:.2f} below it" if GATED in reached else "our arm did not run"
    return (
        f"A captioner without a fault would name {caption_recall():.2f} of the things in a text, {greedy_recall():.2f} "
        f"in its likeliest one, and any two of four views {voted_recall(4, 2):.2f}, any one of them "
        f"{voted_recall(4, 1):.2f} (things; plain shapes). Measured on the records: a perfect vote over these answers "
        f"could reach a recall of {ceiling:.2f}; {ours}, the arm of the highest recall, `{best}`, "
        f"{ceiling - reached[best]:.2f}. Below: the supervised texts, the answers on each kind of view, and what so "
        "many of a picture's views agree on."
    )


def description_figure(worlds: Sequence[World]) -> Any:
    """Recall and precision of every arm and world."""
    names = list(worlds[0])
    figure, axes = subplots(2, 1, height=1.4 + 0.84 * len(names))
    for place, quantity in enumerate(("recall", "precision")):
        rows = []
        for name in names:
            values = [float(getattr(world[name].worth, quantity)) for world in worlds]
            rows.append(Dots(name, mean_share_interval(values), {"": values}))
        start = _mean([float(getattr(world[START].worth, quantity)) for world in worlds])
        draw_dots(axes[place, 0], rows, lines=(start,))
        axes[place, 0].set(xlim=(0, 1.02), xlabel=quantity)
    return figure


def arm_table(worlds: Sequence[World]) -> list[dict[str, str]]:
    """What every arm reached."""
    rows = []
    for name in worlds[0]:
        cells = [world[name] for world in worlds]
        worth = [cell.worth for cell in cells]
        generated = [cell.generated for cell in cells if isinstance(cell, ArmCell)]
        rows.append(
            {
                "arm": name,
                "recall": f"{_mean([each.recall for each in worth]):.3f}",
                "precision": f"{_mean([each.precision for each in worth]):.3f}",
                "F1": f"{_mean([each.f1 for each in worth]):.3f}",
                "within": f"{_mean([each.within for each in worth]):.3f}",
                "facts a word": f"{_mean([each.right_a_word for each in worth]):.3f}",
                "words": f"{_mean([each.words for each in worth]):.1f}",
                "repeated": f"{_mean([each.repeated for each in worth]):.3f}",
                "POPE F1": f"{_mean([each.pope for each in worth]):.3f}",
                "yes": f"{_mean([each.pope_yes for each in worth]):.2f}",
                "generated": f"{_mean(generated):,.0f}" if generated else "-",
            }
        )
    return rows


def vote_table(worlds: Sequence[World]) -> list[dict[str, str]]:
    """The supervised texts, the answers on views, and their votes against the truth."""
    starts = [start_of(world) for world in worlds]
    families = dict.fromkeys(family for start in starts for family in start.families)
    groups: dict[str, list[Texts]] = {
        "supervised texts": [start.originals for start in starts],
        "all answers": [start.answers for start in starts],
    }
    groups |= {f"answers, {each}": [s.families[each] for s in starts if each in s.families] for each in families}
    groups |= {f"agreed by {threshold}": [start.voted[threshold] for start in starts] for threshold in starts[0].voted}
    return [{"texts": name, **_shown(found)} for name, found in groups.items()]


def pair_table(worlds: Sequence[World]) -> list[dict[str, str]]:
    """What the texts of each arm's pairs are worth, and what was dropped."""
    rows = []
    for name in worlds[0]:
        pairs = [cell.pairs for world in worlds if isinstance(cell := world[name], ArmCell) and cell.pairs is not None]
        if not pairs:
            continue
        chosen, rejected = _shown([each.chosen for each in pairs]), _shown([each.rejected for each in pairs])
        if not any(each.rejected.words for each in pairs):  # supervised on texts that nothing loses to
            rejected = dict.fromkeys(rejected, "-")
        reasons = dict.fromkeys(reason for each in pairs for reason in each.dropped)
        dropped = {reason: _mean([each.dropped.get(reason, 0) for each in pairs]) for reason in reasons}
        rows.append(
            {
                "arm": name,
                "kept": f"{_mean([each.kept for each in pairs]):,.0f}",
                **{f"winner's {key}": value for key, value in chosen.items()},
                **{f"loser's {key}": value for key, value in rejected.items()},
                "dropped": ", ".join(f"{count:.0f} {reason}" for reason, count in dropped.items()) or "-",
            }
        )
    return rows


def rate_table(worlds: Sequence[World]) -> list[dict[str, str]]:
    """How each arm fared at each learning rate, and how often it was chosen."""
    rows = []
    for name in worlds[0]:
        cells = [cell for world in worlds if isinstance(cell := world[name], ArmCell)]
        for rate in cells[0].runs if cells else ():
            runs = [cell.runs[rate] for cell in cells]
            rows.append(
                {
                    "arm": name,
                    "learning rate": rate,
                    "F1": f"{_mean([run.chosen_by for run in runs]):.3f}",
                    "recall": f"{_mean([run.recall for run in runs]):.3f}",
                    "precision": f"{_mean([run.precision for run in runs]):.3f}",
                    "chosen": f"{sum(cell.rate == rate for cell in cells)} of {len(cells)}",
                }
            )
    return rows


def glance(cells: Sequence[Cell]) -> Glance:
    """Recall before and after, beside more supervised training."""
    worlds = by_world(cells, "fit")
    recall = {arm: _mean([world[arm].worth.recall for world in worlds]) for arm in (GATED, CAPTIONS, START)}
    precision = {arm: _mean([world[arm].worth.precision for world in worlds]) for arm in (GATED, START)}
    words = (
        f"Described {recall[START]:.0%} of what is in a picture; preferring what its answers on changed pictures agree "
        f"on, it describes {recall[GATED]:.0%} ({recall[CAPTIONS]:.0%} by learning the captions further). Right facts: "
        f"{precision[GATED]:.0%} of those named, {precision[START]:.0%} before."
    )
    return Glance(
        words,
        small_bars({"SHAPE": recall[GATED], "captions": recall[CAPTIONS], "before": recall[START]}),
        "a small LLaVA, trained here",
    )


def _shown(found: Sequence[Texts]) -> dict[str, str]:
    return {
        "recall": f"{_mean([each.recall for each in found]):.3f}",
        "precision": f"{_mean([each.precision for each in found]):.3f}",
        "words": f"{_mean([each.words for each in found]):.1f}",
    }


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))
