"""Tables and pictures of the rftt study. Knows matplotlib, no models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from burnish.core.intervals import mean_share_interval
from burnish.core.report import Section, subplots
from burnish.core.study import Glance
from burnish.core.study_picture import Dots, draw_dots, small_bars
from burnish.studies.rftt.claims import best_arm, by_world
from burnish.studies.rftt.records import (
    BARE,
    NO_PRM,
    NO_SEARCH,
    OURS,
    Cell,
    MendCell,
    ReinforceCell,
    SearchCell,
)
from burnish.testbeds.ways import WAYS

Kind = Literal["hidden", "single"]
COLOURS = {"tags": "#1f6fb4", "bare": "#c8553d", "words": "#4b9560"}
STYLES = {"functional token": "-", "least certain": "--", "first token": "-.", "iid": ":"}
MENDED = {"spliced": "rows with splices", "without": "the same without"}
ANSWERED = {
    "spliced": "rows with splices",
    "no verify": "verify masked",
    "no refine": "refine masked",
    "without": "rows without splices",
}


def sections(cells: Sequence[Cell]) -> list[Section]:
    """The report's parts."""
    searches = [cell for cell in cells if isinstance(cell, SearchCell)]
    mends = [cell for cell in cells if isinstance(cell, MendCell)]
    trained = by_world([cell for cell in cells if isinstance(cell, ReinforceCell)])
    budget = float(np.mean([cell.hidden.budget for cell in searches]))
    return [
        Section(
            "Questions solved for the tokens spent",
            "Above: three ways, of which the question asks for one; solutions to learn from do not look. Below: one "
            "way. Share of questions with a right one among the completions so far, over the tokens drawn for a "
            "question; what completions share, imposed tokens and the end of a sequence are counted once each. Bars: "
            "95 % Korn-Graubard intervals over worlds. `least certain` branches where a greedy pass is least certain, "
            "`first token` at the first one; both count the greedy pass as their first completion.",
            figure=search_figure(searches),
        ),
        Section(
            "The same, at one budget",
            f"What tags take to try every way once, {budget:.0f} tokens a question with three ways: every other arm "
            "draws as long as it has spent less, so none gets fewer. Small dots are worlds.",
            figure=budget_figure(searches),
            table=search_table(searches),
        ),
        Section(
            "Finding and mending a mistake",
            "Above: a wrong way is imposed as the first step; how often the trace still ends right. Middle: plain "
            "greedy accuracy. Below: majorities of a search and of independent completions that cost as much as the "
            "largest search.",
            figure=mend_figure(mends),
            table=mend_table(mends),
        ),
        Section(
            "Reinforcement",
            "Plain greedy accuracy over generated tokens, mean over worlds; of each arm and world the learning rate "
            "that is best on other questions. All arms have the same grid, batch, clipping and divergence.",
            figure=training_figure(trained),
            table=training_table(trained),
        ),
        Section(
            "Use of functional tokens",
            "Steps of each way in a completion while training on independent completions: what reinforcement makes of "
            "the choice. Where branches are imposed every way has a third of them.",
            figure=use_figure(trained),
        ),
    ]


def search_figure(cells: Sequence[SearchCell]) -> Any:
    """Solved over tokens, in both kinds of world."""
    figure, axes = subplots(2, 1, height=8.4)
    kinds: tuple[Kind, Kind] = ("hidden", "single")
    for axis, kind in zip(np.ravel(axes), kinds, strict=True):
        searches = [getattr(cell, kind) for cell in cells]
        trials = sum(each.questions for each in searches)
        for name in shown_arms(cells, kind):
            arms = [each.arms[name] for each in searches]
            tokens = np.mean([arm.tokens for arm in arms], axis=0)
            solved = zip(*(arm.solved for arm in arms), strict=True)
            found = [mean_share_interval(values, trials) for values in solved]
            mean = np.array([each.mean for each in found])
            bars = None
            if len(arms) > 1:
                bars = np.array([mean - [each.low for each in found], [each.high for each in found] - mean])
            form, how = name.split(", ")
            axis.errorbar(
                tokens,
                mean,
                yerr=bars,
                label=name,
                color=COLOURS[form],
                linestyle=STYLES[how.split(" at ")[0]],
                linewidth=2.4 if name == OURS else 1.3,
                elinewidth=0.7,
                marker=".",
            )
        axis.set(xlabel="tokens a question", ylabel="solved", ylim=(0, 1.03), title=f"{kind} way")
        axis.legend(fontsize=7, handlelength=3, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
    return figure


def shown_arms(cells: Sequence[SearchCell], kind: Kind) -> list[str]:
    """Ours, the branching controls, and of independent completions the best temperature of each form."""
    searches = [getattr(cell, kind) for cell in cells]
    names = [name for name in searches[0].arms if "iid" not in name]
    forms = dict.fromkeys(name.split(",")[0] for name in searches[0].arms)
    return [*names, *(best_arm(searches, (f"{form}, iid",)) for form in forms)]


def budget_figure(cells: Sequence[SearchCell]) -> Any:
    """Dots of every arm that is shown."""
    names = shown_arms(cells, "hidden")
    figure, axes = subplots(1, 1, height=0.6 + 0.42 * len(names))
    values = {name: [cell.hidden.arms[name].within for cell in cells] for name in names}
    draw_dots(axes[0, 0], [Dots(name, mean_share_interval(own), {"": own}) for name, own in values.items()])
    axes[0, 0].set(xlim=(0, 1.02), xlabel="questions solved, three ways")
    return figure


def search_table(cells: Sequence[SearchCell]) -> list[dict[str, str]]:
    """Every arm, in both kinds of world."""
    rows = []
    for name in cells[0].hidden.arms:
        row = {"arm": name}
        for kind, words in (("hidden", "three ways"), ("single", "one way")):
            arms = [getattr(cell, kind).arms.get(name) for cell in cells]
            there = all(arm is not None for arm in arms)
            row[f"{words}: solved"] = f"{np.mean([arm.within for arm in arms]):.3f}" if there else "-"
            row[f"{words}: tokens"] = f"{np.mean([arm.paid for arm in arms]):.1f}" if there else "-"
        rows.append(row)
    return rows


def mend_figure(cells: Sequence[MendCell]) -> Any:
    """Mended, accuracy, votes."""
    figure, axes = subplots(3, 1, height=6.4)
    votes = {name: "iid" if name == "iid" else f"search, {name}" for name in cells[0].votes}
    for axis, (field, names) in zip(
        np.ravel(axes), (("mended", MENDED), ("accuracy", ANSWERED), ("votes", votes)), strict=True
    ):
        rows = []
        for name, words in names.items():
            values = [getattr(cell, field)[name] for cell in cells]
            rows.append(Dots(words, mean_share_interval(values), {"": values}))
        draw_dots(axis, rows)
        axis.set(xlim=(0, 1.02))
    return figure


def mend_table(cells: Sequence[MendCell]) -> list[dict[str, str]]:
    """What became of the trees, and the votes with their tokens."""
    rows = {name: np.mean([cell.rows[name] for cell in cells]) for name in cells[0].rows}
    found = [{"what": name.replace("_", " "), "mean over worlds": f"{value:.1f}"} for name, value in rows.items()]
    for name in cells[0].votes:
        accuracy, tokens = (
            float(np.mean([getattr(cell, field)[name] for cell in cells])) for field in ("votes", "vote_tokens")
        )
        what = "iid" if name == "iid" else f"a search with {name} rollouts"
        found.append({"what": f"majority of {what}", "mean over worlds": f"{accuracy:.3f} for {tokens:.0f} tokens"})
    return found


def training_figure(worlds: Sequence[dict[str, ReinforceCell]]) -> Any:
    """Accuracy over generated tokens."""
    figure, axes = subplots(1, 1, height=3.8)
    for name in worlds[0]:
        runs = [arms[name].best for arms in worlds]
        axes[0, 0].plot(
            np.mean([each.tokens for each in runs], axis=0) / 1000,
            np.mean([each.accuracy for each in runs], axis=0),
            marker="o",
            label=name,
        )
    axes[0, 0].set(xlabel="thousand tokens generated", ylabel="accuracy")
    axes[0, 0].legend(fontsize=7)
    return figure


def training_table(worlds: Sequence[dict[str, ReinforceCell]]) -> list[dict[str, str]]:
    """Before and after, and every rate of the grid."""
    rows = []
    for name in worlds[0]:
        cells = [arms[name] for arms in worlds]
        best = [cell.best for cell in cells]
        row = {
            "arm": name,
            "before": f"{np.mean([each.accuracy[0] for each in best]):.3f}",
            "after": str(mean_share_interval([each.accuracy[-1] for each in best])),
            "tokens": f"{np.mean([each.tokens[-1] for each in best]):,.0f}",
            "steps": f"{np.mean([each.steps for each in best]):.0f}",
        }
        for rate in cells[0].runs:
            after = np.mean([cell.runs[rate].accuracy[-1] for cell in cells])
            row[f"at {rate}"] = f"{after:.3f} (chosen {sum(cell.rate == rate for cell in cells)}x)"
        rows.append(row)
    return rows


def use_figure(worlds: Sequence[dict[str, ReinforceCell]]) -> Any:
    """Ways over training, by the arm with tags that chooses them itself, or else by the one with branches."""
    arm = NO_SEARCH if NO_SEARCH in worlds[0] else NO_PRM
    figure, axes = subplots(1, 1, height=3.0)
    courses = [arms[arm].best.course for arms in worlds]
    steps = min(map(len, courses))
    tokens = np.mean([[row["tokens"] for row in course[:steps]] for course in courses], axis=0)
    for way in WAYS:
        use = np.mean([[row[f"steps/{way}"] for row in course[:steps]] for course in courses], axis=0)
        axes[0, 0].plot(tokens / 1000, use, label=way)
    axes[0, 0].set(ylim=(0, 1), xlabel="thousand tokens generated", ylabel="steps a completion", title=arm)
    axes[0, 0].legend(fontsize=7)
    return figure


def glance(cells: Sequence[Cell]) -> Glance:
    """Solved for the same tokens, and accuracy after reinforcement."""
    hidden = [cell.hidden for cell in cells if isinstance(cell, SearchCell)]
    trained = by_world([cell for cell in cells if isinstance(cell, ReinforceCell)])
    rivals = {words: best_arm(hidden, (form,)) for words, form in (("no tags", "bare"), ("in words", "words"))}
    solved = {
        words: float(np.mean([each.arms[name].within for each in hidden]))
        for words, name in {"functional tokens": OURS, **rivals}.items()
    }
    after, before = (
        [float(np.mean([arms[name].best.accuracy[place] for arms in trained])) for name in (NO_PRM, BARE)]
        for place in (-1, 0)
    )
    words = (
        f"For {np.mean([each.budget for each in hidden]):.0f} tokens a question, branching at functional tokens solves "
        f"{solved['functional tokens']:.0%}, the best search without them {solved['no tags']:.0%}, "
        f"{solved['in words']:.0%} where words name the way. Reinforced: {before[0]:.0%} to {after[0]:.0%} with them, "
        f"{before[1]:.0%} to {after[1]:.0%} without."
    )
    return Glance(words, small_bars(solved), "a Llama of 2 layers, trained here")
