"""The report of an episode: what happened in words, who planned and acted when, where it ended, what it cost."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from burnish.act.event_text import describe
from burnish.act.memory.log import Event
from burnish.act.timeline import Timeline, overlap, timeline
from burnish.core.files import read_json
from burnish.core.report import Section, subplots

COLOURS = {
    "planning": "#7c93c3",
    "cancelled": "#c9d2e6",
    "done": "#5a9e6f",
    "interrupted": "#e0a03a",
    "failed": "#c05b4d",
    "open": "#b8b8b8",
}
MOST_LINES = 60  # of the story; the log has them all
MOST_AGENTS = 8  # with lanes of their own


def read_events(path: Path) -> list[Event]:
    """The log of a run folder that has ended; empty if there is none."""
    log = path / "artifacts" / "events.jsonl"
    if not log.exists():
        return []
    return [Event(**json.loads(row)) for row in log.read_text("utf-8").splitlines()]


def run_sections(path: Path) -> list[Section]:
    """Sections of an episode's report."""
    events, outcome = read_events(path), read_json(path / "artifacts" / "outcome.json")
    if not events or outcome is None:
        return [Section("What happened", "The episode has not ended yet; the same command goes on with it.")]
    from burnish.act.team import Outcome

    ended = Outcome.from_json(outcome).summary()
    lanes = timeline(events)
    sections = [
        Section("How it ended", ended[0].upper() + ended[1:] + "."),
        Section("Who planned and acted when", LANES, figure=lanes_figure(lanes)),
    ]
    picture = path / "artifacts" / "map.svg"
    if picture.exists():
        words = "Seen from above; a bar under an agent is its health. Hold the pointer over a mark to read its name."
        sections.append(Section("Where it ended", words, html=picture.read_text("utf-8")))
    sections.append(Section("Agents", OVERLAP, table=agent_rows(events, lanes)))
    sections.append(Section("Skills", table=skill_rows(events)))
    rows = story(events)
    rest = f" The first {MOST_LINES} of {len(rows)} lines; the log has them all." if len(rows) > MOST_LINES else ""
    sections.append(Section("What happened", "Commands and observations are left out." + rest, table=rows[:MOST_LINES]))
    return sections


LANES = (
    "The upper lane of each agent is its planner: every box is one call, pale if it was cancelled because its answer "
    "could no longer matter. The lower lane is what it does: green done, amber interrupted, red failed. A bold line "
    "marks an interrupt, a triangle a reflex, a cross a blow taken."
)
OVERLAP = (
    "Overlap: the share of the time in which an agent acts that its planner is also at work; 0 when it plans, acts, "
    "plans, acts."
)


def lanes_figure(lanes: Timeline, title: str = "") -> Any:
    """Two lanes for each agent, on the clock of the run; a matplotlib figure."""
    agents = lanes.agents()[:MOST_AGENTS]
    figure, grid = subplots(1, 1, width=10.0, height=0.9 + 0.95 * max(1, len(agents)))
    draw_lanes(grid[0, 0], lanes, agents)
    if title:
        grid[0, 0].set_title(title, fontsize=10, loc="left")
    return figure


def draw_lanes(axes: Any, lanes: Timeline, agents: Sequence[str]) -> None:
    """Draw the lanes of some agents onto axes."""
    ticks, names = [], []
    for row, agent in enumerate(agents):
        top, bottom = -row * 2.4, -row * 2.4 - 1.0
        for lane, base in (("planning", top), ("acting", bottom)):
            ticks.append(base)
            names.append(f"{agent}: plans" if lane == "planning" else "acts")
        for span in (span for span in lanes.spans if span.agent == agent):
            base = top if span.lane == "planning" else bottom
            key = span.status if span.lane == "acting" else ("planning" if span.status == "done" else "cancelled")
            axes.barh(
                base,
                max(span.end - span.start, lanes.end * 0.0005),
                left=span.start,
                height=0.78,
                color=COLOURS.get(key, COLOURS["failed"]),
                edgecolor="white",
                linewidth=0.6,
            )
            _write(axes, span.label, span.start, span.end, base, lanes.end)
        for who, at, _ in lanes.interrupts:
            if who == agent:
                axes.plot([at, at], [bottom - 0.5, top + 0.5], color="#9a3412", linewidth=1.8, zorder=4)
        for who, at in lanes.reflexes:
            if who == agent:
                axes.plot(at, top + 0.52, marker="v", color="#9a3412", markersize=6, zorder=5, clip_on=False)
        for who, at, _ in lanes.hits:
            if who == agent:
                axes.plot(at, bottom - 0.5, marker="x", color="#b91c1c", markersize=4.5, zorder=5, clip_on=False)
    axes.set_yticks(ticks, names, fontsize=8)
    axes.set_ylim(-(len(agents) - 1) * 2.4 - 1.7, 0.8)
    axes.set_xlim(0, max(lanes.end, 1e-6))
    axes.set_xlabel("seconds on the run's clock", fontsize=9)
    axes.grid(axis="y", visible=False)


def _write(axes: Any, text: str, start: float, end: float, base: float, whole: float) -> None:
    """A label inside of its box, as far as it fits."""
    room = int((end - start) / whole * 125) if whole else 0
    if text and room >= 4:
        shown = text if len(text) <= room else text[: room - 1] + "…"
        axes.text(start + (end - start) / 2, base, shown, ha="center", va="center", fontsize=7, color="white")


def agent_rows(events: Sequence[Event], lanes: Timeline) -> list[dict[str, Any]]:
    """One row an agent: skills by how they ended, calls, tokens, interrupts, overlap."""
    rows = []
    for agent in lanes.agents():
        mine = [event for event in events if event.agent == agent]
        ends = Counter(event.data["status"] for event in mine if event.kind == "skill_end")
        calls = [event for event in mine if event.kind == "call_end"]
        tokens = sum(sum(event.data["tokens"].values()) for event in calls)
        last = next((event for event in reversed(mine) if event.kind == "observe"), None)
        rows.append(
            {
                "agent": agent,
                "skills done": ends["done"],
                "interrupted": ends["interrupted"],
                "failed": ends["failed"],
                "reflexes": sum(event.kind == "reflex" for event in mine),
                "planning calls": len(calls),
                "tokens": f"{tokens:,}",
                "overlap": f"{overlap(lanes, agent):.0%}",
                "health at the end": "-" if last is None else last.data.get("health", "-"),
            }
        )
    return rows


def skill_rows(events: Iterable[Event]) -> list[dict[str, Any]]:
    """One row a skill: how often it ended how, and how long it took."""
    started: dict[tuple[str, int], float] = {}
    seconds: dict[str, list[float]] = {}
    ends: dict[str, Counter[str]] = {}
    for event in events:
        if event.kind == "skill_start":
            started[event.agent, event.data["skill"]] = event.time
        elif event.kind == "skill_end":
            name = event.data["name"]
            took = event.time - started.get((event.agent, event.data["skill"]), event.time)
            seconds.setdefault(name, []).append(took)
            ends.setdefault(name, Counter())[event.data["status"]] += 1
    return [
        {
            "skill": name,
            "runs": len(took),
            **{status: ends[name][status] for status in ("done", "interrupted", "failed")},
            "mean seconds": f"{sum(took) / len(took):.1f}",
            "longest": f"{max(took):.1f}",
        }
        for name, took in sorted(seconds.items(), key=lambda each: -sum(each[1]))
    ]


def story(events: Iterable[Event]) -> list[dict[str, str]]:
    """What happened, one line an event that matters."""
    described = ((event, describe(event)) for event in events)
    return [{"at": f"{event.time:.1f} s", "what": words} for event, words in described if words is not None]
