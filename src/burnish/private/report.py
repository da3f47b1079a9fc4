"""Sections of a SecPE run's report: what the server saw, what the client got, levels, attacks."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from burnish.core.files import read_json
from burnish.core.report import Section, subplots
from burnish.core.study_picture import BLUE, GREY

LONGEST = 220
"""Characters of a text that the report shows."""
SIDES = {"single": "the single prompt", "ensemble": "the ensemble"}
LINES = 8
"""Attacked texts that it shows."""


def run_sections(path: Path) -> list[Section]:
    """From the folder of a finished run."""
    artifacts = path / "artifacts"
    told = read_json(artifacts / "outcome.json")
    if not isinstance(told, dict):
        return []
    questions, duels = (read_json(artifacts / f"{name}.json") or [] for name in ("questions", "attacks"))
    found = [Section("What came out", table=outcome_rows(told))]
    if questions:
        sent = artifacts / "sent.bin"
        data = sent.read_bytes() if sent.is_file() else b""
        found.append(
            Section(
                "What the client typed, and got",
                "A text as it was, and as edited against the best single prompt. `ambiguous` may be said where the "
                f"best two classes differ by less than eps, {told['eps']:g} of the public bound; `margin` is that.",
                table=question_rows(questions),
            )
        )
        if data:
            found.append(
                Section(
                    "What the server saw",
                    f"The first {len(data):,} of {told['sent_bytes']:,} bytes of one question, a dot a byte. The same "
                    "text looks different each time; stripes are the upper bits of its numbers of 8 bytes, "
                    "which nobody uses. The server sees no more of a text, nor of its answer.",
                    figure=byte_figure(data),
                )
            )
    found.append(
        Section(
            "What levels are spent on",
            f"Each product takes one of {sum(told['levels'].values())} levels; ring {told['ring']:,} with a modulus of "
            f"{told['modulus_bits']} bits, 128-bit secure by the standard's table. No bootstrapping.",
            figure=level_figure(told["levels"]),
        )
    )
    if duels:
        found.append(
            Section(
                "Under attack",
                "Greedy edits with the same queries against the best single prompt and against the ensemble; and each "
                "classifier on what was made against the other. The attacker sees scores, which nobody is given.",
                figure=attack_figure(told),
            )
        )
        found.append(
            Section(
                "Scores before and after",
                "The right class's score less the best other one's, in scores of each classifier: below 0 the answer "
                "is wrong. An arrow a text, from before to after the attack.",
                figure=score_figure(duels),
            )
        )
        found.append(Section("What attacks look like", table=duel_rows(duels, told["classes"])))
    prompts = [{"prompt": text, "part": "ensemble"} for text in told["prompts"]]
    found.append(
        Section("Prompts", table=[{"prompt": told["single_prompt"], "part": "best single one"}, *prompts], folded=True)
    )
    return found


def outcome_rows(told: Mapping[str, Any]) -> list[dict[str, str]]:
    """What a reader asks first, one line each."""
    found = {
        "accuracy on clean test texts": f"{told['ensemble_accuracy']:.3f} by the ensemble, "
        f"{told['single_accuracy']:.3f} by the best single prompt",
        "closer than eps": f"{told['ambiguous_share']:.1%} of the test texts: those may be ambiguous",
    }
    if "single_attacked" in told:
        found["accuracy under attack"] = (
            f"{told['ensemble_attacked']:.3f} of the ensemble (before: {told['ensemble_before']:.3f}), "
            f"{told['single_attacked']:.3f} of the single prompt (before: {told['single_before']:.3f})"
        )
    if told["cut_share"]:
        found["too long for the encoder"] = f"{told['cut_share']:.1%} of the texts lost their end"
    if "agreeing" in told:
        found["under encryption"] = f"{told['agreeing']:.0%} as in the clear, or said to be ambiguous"
        found["sizes"] = (
            f"{told['key_bytes'] / 1e6:,.0f} MB of keys once, {told['sent_bytes'] / 1e6:,.2f} MB a question, "
            f"{told['received_bytes'] / 1e6:,.2f} MB an answer"
        )
    return [{"what": name, "value": value} for name, value in found.items()]


def question_rows(questions: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Texts under encryption."""
    return [
        {
            "text": shortened(row["text"]),
            "edited": "yes" if row["edited"] else "no",
            "the client got": row["label"] or "ambiguous",
            "in the clear": row["clear"],
            "right": row["truth"],
            "margin": f"{row['margin']:.3f}",
        }
        for row in questions
    ]


def duel_rows(duels: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> list[dict[str, str]]:
    """Texts whose answers were turned first, and what was edited."""
    turned = [sum(row[side]["right_before"] > row[side]["right_after"] for side in SIDES) for row in duels]
    order = sorted(range(len(duels)), key=lambda place: -turned[place])
    rows = []
    for row in (duels[place] for place in order[:LINES]):
        shown = {"text": shortened(row["text"], 90), "right": classes[row["label"]]}
        for side, words in SIDES.items():
            helped = "nothing helped" if row[side]["right_before"] else "wrong before any edit"
            shown[f"against {words}"] = edits(row["text"], row[side]["text"]) or helped
            shown[f"{words} said"] = classes[int(np.argmax(row[side]["after"]))]
        rows.append(shown)
    return rows


def edits(before: str, after: str) -> str:
    """The words that differ, as they were and as they are."""
    old, new = before.split(), after.split()
    matched = difflib.SequenceMatcher(a=old, b=new, autojunk=False).get_opcodes()
    parts = [(" ".join(old[a:b]), " ".join(new[c:d])) for kind, a, b, c, d in matched if kind != "equal"]
    return ", ".join(f"{one} > {other}" for one, other in parts)


def shortened(text: str, longest: int = LONGEST) -> str:
    """The beginning of a text."""
    return text if len(text) <= longest else f"{text[:longest]} ..."


def byte_figure(data: bytes) -> Any:
    """A dot a byte, in rows."""
    figure, grid = subplots(height=2.2)
    axes = grid[0, 0]
    columns = 128
    values = np.frombuffer(data[: len(data) // columns * columns], np.uint8).reshape(-1, columns)
    axes.imshow(values, cmap="gray", aspect="auto", interpolation="nearest", vmin=0, vmax=255)
    axes.axis("off")
    return figure


def level_figure(levels: Mapping[str, int]) -> Any:
    """One bar, step by step."""
    figure, grid = subplots(height=1.6)
    axes, left = grid[0, 0], 0
    for place, (name, count) in enumerate(levels.items()):
        axes.barh([0], [count], left=left, color=f"C{place}", height=0.5, label=f"{name}: {count}")
        left += count
    axes.set(xlim=(0, left), xlabel="levels", yticks=[])
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(fontsize=8, frameon=False, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure


def attack_figure(told: Mapping[str, Any]) -> Any:
    """Accuracy of both classifiers, by what was attacked."""
    figure, grid = subplots(height=2.8)
    axes = grid[0, 0]
    groups = (
        ("not attacked", "single_before", "ensemble_before"),
        ("attack on itself", "single_attacked", "ensemble_attacked"),
        ("attack on the other", "single_under_attack_on_ensemble", "ensemble_under_attack_on_single"),
    )
    for shift, colour, part, label in ((-0.19, GREY, 1, "best single prompt"), (0.19, BLUE, 2, "ensemble")):
        values = [told[group[part]] for group in groups]
        places = [place + shift for place in range(len(groups))]
        axes.bar(places, values, width=0.36, color=colour, label=label)
        for place, value in zip(places, values, strict=True):
            axes.annotate(f"{value:.2f}", (place, value), (0, 2), textcoords="offset points", ha="center", fontsize=8)
    axes.set_xticks(range(len(groups)), [group[0] for group in groups])
    axes.set(ylabel="accuracy", ylim=(0, 1.12))
    axes.legend(fontsize=8, frameon=False, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure


def score_figure(duels: Sequence[Mapping[str, Any]]) -> Any:
    """Leads before and after, one below the other."""
    figure, grid = subplots(2, 1, height=4.6)
    for axes, side, words in zip(grid.flat, ("single", "ensemble"), ("best single prompt", "ensemble"), strict=True):
        for place, row in enumerate(duels):
            start, end = (_lead(row[side][name], row["label"]) for name in ("before", "after"))
            colour = "#c8553d" if end < 0 <= start else BLUE if start >= 0 else GREY
            axes.annotate("", (place, end), (place, start), arrowprops={"arrowstyle": "->", "color": colour, "lw": 1.2})
            axes.plot([place], [start], ".", color=colour, markersize=5)
        axes.axhline(0, color=GREY, linestyle="--", linewidth=1)
        axes.set_title(words, fontsize=9)
        axes.set(xlabel="text", xlim=(-1, len(duels)))
        ends = [_lead(row[side][name], row["label"]) for row in duels for name in ("before", "after")]
        reach = 1.1 * max(map(abs, ends))
        axes.set_ylim(-reach, reach)
    return figure


def _lead(scores: Sequence[float], label: int) -> float:
    return scores[label] - max(score for place, score in enumerate(scores) if place != label)
