"""From the event log to two lanes for each agent, planning and acting: spans, interrupts, overlap. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from burnish.act.memory.log import Event

Lane = Literal["planning", "acting"]
SHORT = 40  # characters of an argument that is told with its skill


@dataclass(frozen=True)
class Span:
    """One planning call or one skill.

    Attributes:
        status: of a call: done, cancelled, or what failed; of a skill: done, failed, interrupted, or ``open``.
    """

    agent: str
    lane: Lane
    start: float
    end: float
    label: str
    status: str


class Interrupt(NamedTuple):
    """A skill stopped by a plan or a reflex."""

    agent: str
    time: float
    reason: str


class Reflex(NamedTuple):
    """An act without a plan."""

    agent: str
    time: float


class Hit(NamedTuple):
    """A blow taken, in points of damage."""

    agent: str
    time: float
    points: float


@dataclass(frozen=True)
class Timeline:
    """What an episode looked like.

    Attributes:
        spans: in order of their start.
        interrupts: in order of time, as the next two.
        end: seconds of the last event.
    """

    spans: tuple[Span, ...]
    interrupts: tuple[Interrupt, ...]
    reflexes: tuple[Reflex, ...]
    hits: tuple[Hit, ...]
    end: float

    def agents(self) -> list[str]:
        """Names, in order of appearance."""
        return list(dict.fromkeys(span.agent for span in self.spans))


def timeline(events: Iterable[Event]) -> Timeline:
    """Lanes of a log."""
    spans: list[Span] = []
    calls: dict[str, float] = {}
    skills: dict[str, tuple[float, str]] = {}
    reasons: dict[str, str] = {}
    interrupts: list[Interrupt] = []
    reflexes: list[Reflex] = []
    hits: list[Hit] = []
    end = 0.0
    for event in events:
        end, agent, data = event.time, event.agent, event.data
        match event.kind:
            case "call_start":
                calls[agent] = event.time
            case "call_end":
                spans.append(Span(agent, "planning", calls.pop(agent, event.time), event.time, "", data["status"]))
            case "plan":
                reasons[agent] = str(data.get("reason", ""))
            case "skill_start":
                skills[agent] = (event.time, label(data))
            case "skill_end":
                start, name = skills.pop(agent, (event.time, label(data)))
                spans.append(Span(agent, "acting", start, event.time, name, data["status"]))
                if data["status"] == "interrupted":
                    interrupts.append(Interrupt(agent, event.time, reasons.get(agent, "")))
            case "reflex":
                reflexes.append(Reflex(agent, event.time))
                reasons[agent] = f"reflex on {data['on']}"
            case "world" if data.get("kind") == "damage":
                hits.append(Hit(agent, event.time, float(data.get("amount", 0.0))))
    spans += [Span(agent, "planning", start, end, "", "open") for agent, start in calls.items()]
    spans += [Span(agent, "acting", start, end, name, "open") for agent, (start, name) in skills.items()]
    spans.sort(key=lambda span: span.start)
    return Timeline(tuple(spans), tuple(interrupts), tuple(reflexes), tuple(hits), end)


def label(call: Any) -> str:
    """A skill call in a few words: ``obtain torch``; of other worlds' skills, the first short text argument."""
    arguments = call.get("arguments", {})
    words = [value for value in arguments.values() if isinstance(value, str) and len(value) <= SHORT]
    about = next((str(arguments[key]) for key in ("item", "target", "to") if key in arguments), next(iter(words), ""))
    return f"{call['name'].removesuffix('_item')} {about}".replace("_", " ").strip()


def busy(spans: Sequence[Span], agent: str, lane: Lane) -> list[tuple[float, float]]:
    """Times in which an agent plans or acts, merged and in order."""
    merged: list[tuple[float, float]] = []
    for span in sorted((s for s in spans if s.agent == agent and s.lane == lane), key=lambda s: s.start):
        if merged and span.start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], span.end))
        else:
            merged.append((span.start, span.end))
    return merged


def overlap(line: Timeline, agent: str) -> float:
    """Share of an agent's acting time in which it also plans; 0 without any acting."""
    planning, acting = busy(line.spans, agent, "planning"), busy(line.spans, agent, "acting")
    both = sum(max(0.0, min(a[1], p[1]) - max(a[0], p[0])) for a in acting for p in planning)
    total = sum(end - start for start, end in acting)
    return both / total if total else 0.0
