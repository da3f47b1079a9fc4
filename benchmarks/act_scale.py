"""How many agents one machine carries, and how soon an interrupt is acted on.

    python benchmarks/act_scale.py [--size small|full] [--json FILE]

Scale: agents in one craftworld, on the virtual clock, each gathering for itself with a scripted planner of 8 s a call,
all planning while they act. Events a second of real time go into a SQLite log as shipped; memory is the difference of
the process's resident set (at its peak) over that before the world was made, divided by the number of agents (a process
for each row, so that it begins at the same). Planners see their own agent only: with a prompt about all of 1,000
teammates the prompt, not the runtime, would be measured.

Interrupts: on the wall's clock, in a world whose commands wait and cost nothing: real seconds from the planner's
decision (its event in the log) to the first command of the new skill (likewise), the old skill's clean-up included.
With several agents the wait for the other agents' turns of the loop is in it, and all of their planners' server too,
which runs in this process; they see all of their team.

Both with `planning: continuous`, as published, which is the harder for a large team and has the target, and with
`planning: events`. CPU seconds are those of the process: on a machine that is shared they say more than real ones.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import anyio
import numpy as np

from burnish.act import clock
from burnish.act.episode import open_chat
from burnish.act.memory.log import Event, Memory
from burnish.act.memory.sqlite import SQLiteMemory
from burnish.act.planner import Chat
from burnish.act.policies import policy_app
from burnish.act.recipe import CraftworldSettings, EndpointSettings, GoalSettings, Limits, RuntimeSettings
from burnish.act.runtime import Agent, Runtime
from burnish.act.skill_context import SkillContext
from burnish.act.skills.gathering import OBTAIN, STEPWISE
from burnish.act.skills.library import Library
from burnish.act.skills.living import LIVING
from burnish.act.world import Happening
from burnish.act.worlds.craftworld.world import CraftWorld

SIZES = {
    "small": {"agents": 100, "seconds": 10.0, "interrupts": 50},
    "full": {"agents": 1_000, "seconds": 20.0, "interrupts": 600},
}
TARGET = 0.010  # seconds, of the 99th percentile, with one agent and with several
REAL_TIME = 1.0  # seconds of the world in one real second, at least
Planning = Literal["continuous", "events"]
PLANNINGS: tuple[Planning, ...] = ("continuous", "events")


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Peak(threading.Thread):
    """The largest resident set while it runs."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.bytes = resident()
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.1):
            self.bytes = max(self.bytes, resident())


def scale(agents: int, seconds: float, planning: Planning) -> dict[str, Any]:
    """Play ``seconds`` of the virtual clock with so many agents in one world."""
    _play(4, 1.0, planning)  # imports and tables, which are not an agent's
    row = _play(agents, seconds, planning)
    met = row["times real time"] >= REAL_TIME
    return row | {"target": f"{REAL_TIME:g} times real time: {'met' if met else 'missed'}"}


def _play(agents: int, seconds: float, planning: Planning) -> dict[str, Any]:
    names = [f"agent_{number}" for number in range(agents)]
    settings = CraftworldSettings(
        size=max(64, round(16 * agents**0.5)),
        start={"wooden_sword": 1},
        goal=GoalSettings(items={"iron_pickaxe": 64}),  # more than can be had in the time: nobody is done early
    )
    runtime = RuntimeSettings(
        clock="virtual", planning=planning, shared_memory=False, limits=Limits(seconds=seconds, steps=10**9)
    )
    with tempfile.TemporaryDirectory() as folder:
        memory = SQLiteMemory(Path(folder) / "memory.sqlite")

        async def main() -> int:
            world = CraftWorld(settings, 0, {"team": names})
            library = Library([OBTAIN, *STEPWISE, *LIVING])
            chat = open_chat(EndpointSettings(url="policy:gatherer", latency=8.0, stream=False, token_budget=10**12))
            team = [Agent(name, "an iron pickaxe", library, chat) for name in names]
            await Runtime(runtime, world.team("team"), memory, team).run()
            await chat.close()
            return (await memory.snapshot()).version

        gc.collect()
        before, peak = resident(), Peak()
        peak.start()
        begun, cpu = time.monotonic(), time.process_time()
        events = clock.run(main, "virtual")
        took, cpu = time.monotonic() - begun, time.process_time() - cpu
        peak.over.set()
        peak.join()
        clock.run(memory.close, "virtual")
    return {
        "agents": agents,
        "planning": planning,
        "virtual seconds": seconds,
        "real seconds": round(took, 1),
        "CPU seconds": round(cpu, 1),
        "events": events,
        "events a second": round(events / took),
        "times real time": round(seconds / took, 2),
        "KB an agent": round((peak.bytes - before) / 1024 / agents, 1),
    }


class Empty:
    """A world in which commands wait and nothing is computed."""

    async def observe(self, _agent: str) -> dict[str, Any]:
        return {"health": 20}

    async def act(self, _agent: str, command: str, _arguments: Mapping[str, Any]) -> dict[str, Any]:
        if command == "wait":
            await anyio.sleep_forever()
        return {}

    async def happenings(self) -> AsyncIterator[Happening]:
        await anyio.sleep_forever()
        yield Happening("never")


async def left(context: SkillContext) -> None:
    """Hold something on the left, until stopped."""
    await _hold(context)


async def right(context: SkillContext) -> None:
    """Hold something on the right, until stopped."""
    await _hold(context)


async def _hold(context: SkillContext) -> None:
    context.on_leaving("release")
    await context.act("hold")
    await context.act("wait")


def restless(known: Mapping[str, Any]) -> dict[str, Any]:
    """A policy that wants the other hand at once, each time."""
    doing = known["you"]["doing"]
    other = "right" if doing and doing["name"] == "left" else "left"
    return {"skill": {"name": other, "arguments": {}}, "interrupt": True, "reason": "the other hand"}


def interrupts(agents: int, number: int, planning: Planning) -> list[float]:
    """Real seconds of so many interrupts or more, all agents together."""
    library = Library([left, right])
    # An agent's planner takes 20 ms; with more agents longer, so that the machine is not asked for more than it can do.
    latency = 0.02 * agents
    settings = RuntimeSettings(clock="wall", planning=planning, limits=Limits(seconds=3600.0, steps=number + agents))

    async def main(memory: Memory) -> list[Event]:
        chat = Chat(
            EndpointSettings(url="http://policy/v1", stream=False, token_budget=10**12), policy_app(restless, latency)
        )
        team = [Agent(f"agent_{each}", "none", library, chat) for each in range(agents)]
        await Runtime(settings, Empty(), memory, team).run()
        await chat.close()
        return [event async for event in memory.since(0)]

    with tempfile.TemporaryDirectory() as folder:
        memory = SQLiteMemory(Path(folder) / "memory.sqlite")
        events = clock.run(lambda: main(memory), "wall")
        clock.run(memory.close, "wall")
    return latencies(events)


def latencies(events: list[Event]) -> list[float]:
    """From each decision that stopped a skill to the first command of the next skill."""
    decided: dict[str, float] = {}
    stopped: set[str] = set()
    found = []
    for event in events:
        if event.kind == "plan" and event.data.get("interrupt"):
            decided[event.agent] = event.time
        elif event.kind == "skill_end" and event.data["status"] == "interrupted" and event.agent in decided:
            stopped.add(event.agent)
        elif event.kind == "command" and event.agent in stopped:
            stopped.discard(event.agent)
            found.append(event.time - decided.pop(event.agent))
    return found


def _interrupted(agents: int, number: int, planning: Planning) -> dict[str, Any]:
    begun = time.process_time()
    found = np.array(interrupts(agents, number, planning)) * 1000
    cpu = time.process_time() - begun
    p50, p99 = np.percentile(found, [50, 99])
    return {
        "interrupted agents": agents,
        "planning": planning,
        "interrupts": len(found),
        "p50 ms": round(float(p50), 2),
        "p99 ms": round(float(p99), 2),
        "longest ms": round(float(found.max()), 2),
        "CPU ms an interrupt, call included": round(cpu * 1000 / len(found), 2),
        "target": f"p99 below {TARGET * 1000:g} ms: {'met' if p99 < TARGET * 1000 else 'missed'}",
    }


def _show(row: Mapping[str, Any]) -> None:
    print("  ".join(f"{key}: {value}" for key, value in row.items()), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--json", type=Path, help="write the rows here too")
    options = parser.parse_args()
    size = SIZES[options.size]
    print(
        f"{platform.machine()}, {os.cpu_count()} CPUs, {platform.system()} {platform.release()}, Python "
        f"{platform.python_version()}"
    )
    rows = []
    for planning in PLANNINGS:
        with ProcessPoolExecutor(1, get_context("spawn")) as fresh:
            rows.append(fresh.submit(scale, int(size["agents"]), size["seconds"], planning).result())
        _show(rows[-1])
    for planning in PLANNINGS:
        for agents in (1, 20):
            rows.append(_interrupted(agents, int(size["interrupts"]), planning))
            _show(rows[-1])
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
