"""Events in words: one short line for what matters to a person who watches, nothing for the rest."""

from __future__ import annotations

from burnish.act.memory.log import Event
from burnish.act.timeline import label


def describe(event: Event) -> str | None:
    """An event in one line, without its time; ``None`` for what is only for the record."""
    who, data = event.agent, event.data
    match event.kind:
        case "skill_start":
            reason = f" ({data['reason']})" if data.get("reason") else ""
            return f"{who}: {label(data)}{reason}"
        case "skill_end" if data["status"] != "done":
            why = f": {data['why']}" if data.get("why") else ""
            return f"{who}: {label(data)} {data['status']}{why}"
        case "reflex":
            return f"{who}: by reflex, on {data['on']}: {label(data['skill'])}"
        case "chat":
            return f"{who} says: {data['text']}"
        case "human":
            return f"{who}: interrupted by a person"
        case "goal":
            return f"{who}: goal reached"
        case "limit":
            return f"ended by a limit: {data['limit']}"
        case "call_end" if data["status"] not in ("done", "cancelled"):
            return f"{who}: the planner gave no answer: {data['status']}"
        case "world":
            return _world_event(who, event)
    return None


def _world_event(who: str, event: Event) -> str | None:
    data = event.data
    match data.get("kind"):
        case "damage":
            return f"{who}: hit by {data.get('by')}, {data.get('amount')} points, health {data.get('health')}"
        case "death":
            return f"{who}: dead, by {data.get('by')}"
        case "respawn":
            return f"{who}: back"
        case "kill":
            return f"{who}: killed a {data.get('what')}"
        case "boss":
            return f"the {str(data.get('name')).replace('_', ' ')}: {data.get('phase')}"
        case "order":
            return f"wanted now: {data.get('count')} {data.get('item')} instead of {data.get('instead_of')}"
        case "item":
            return f"{who}: got {data.get('count')} {data.get('item')} from {data.get('by')}"
    return None
