"""Agents on a real server in this process tree: flying-squid on 127.0.0.1, one for this module."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from burnish.act.episode import AgentPool, set_up_episode
from burnish.act.memory.sqlite import SQLiteMemory
from burnish.act.recipe import MinecraftSettings, TeamRecipe
from burnish.act.runtime import Runtime
from burnish.act.world import ActionFailed
from burnish.act.worlds.minecraft.packages import install
from burnish.act.worlds.minecraft.world import MinecraftWorld
from burnish.core.errors import UserError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (shutil.which("node") and shutil.which("npm")), reason="Node or npm is missing"),
]
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def packages() -> Path:
    try:
        return install(HERE)
    except UserError as error:
        pytest.skip(f"the test server's packages are not here, and could not be installed: {error}")


@pytest.fixture(scope="module")
def port(packages: Path) -> Iterator[int]:
    node = shutil.which("node")
    assert node is not None
    command = [node, str(HERE / "server.js"), str(packages)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        found = None
        for line in server.stdout:
            if line.startswith('{"port"'):
                found = int(json.loads(line)["port"])
                break
        assert found is not None, "the server did not start"
        yield found
        server.kill()


@asynccontextmanager
async def playing(port: int, packages: Path, *names: str, **more: object) -> AsyncIterator[MinecraftWorld]:
    settings = MinecraftSettings.model_validate({"port": port, "craft_command": "craft", "command_seconds": 30, **more})
    world = MinecraftWorld(settings, names, packages)
    try:
        yield world
    finally:
        await world.close()


async def give(world: MinecraftWorld, agent: str, item: str, count: int) -> None:
    await world.act(agent, "chat", {"text": f"/give {agent} {item} {count}"})
    with anyio.fail_after(5):
        while (await world.observe(agent))["inventory"].get(item, 0) < count:
            await anyio.sleep(0.05)


async def below(world: MinecraftWorld, agent: str) -> list[int]:
    x, y, z = (await world.observe(agent))["at"]
    return [x + 1, y - 1, z]


def test_walks(port: int, packages: Path) -> None:
    async def play() -> None:
        async with playing(port, packages, "walker") as world:
            x, y, z = (await world.observe("walker"))["at"]
            assert (await world.act("walker", "walk", {"to": [x + 4, y, z]}))["at"] == [x + 4, y, z]
            assert (await world.observe("walker"))["at"] == [x + 4, y, z]
            with pytest.raises(ActionFailed, match="no place"):
                await world.act("walker", "walk", {"to": [1, 2]})
            with pytest.raises(ActionFailed, match="no command"):
                await world.act("walker", "constructor", {})

    anyio.run(play)


def test_digs_and_collects(port: int, packages: Path) -> None:
    async def play() -> None:
        async with playing(port, packages, "digger", goal={"items": {"dirt": 1}}) as world:
            seen = await world.observe("digger")
            assert seen["goal"]["missing"] == {"dirt": 1}
            assert not seen["goal_reached"]
            at = await below(world, "digger")
            assert (await world.act("digger", "mine", {"at": at}))["got"] == {"dirt": 1}
            assert (await world.observe("digger"))["goal_reached"]
            with pytest.raises(ActionFailed, match="nothing to mine"):
                await world.act("digger", "mine", {"at": at})

    anyio.run(play)


def test_chats_crafts_and_shares(port: int, packages: Path) -> None:
    async def play() -> None:
        heard: list[str] = []
        async with playing(port, packages, "ann") as one, playing(port, packages, "bob") as other:

            async def listen() -> None:
                async for happening in one.happenings():
                    if happening.kind == "chat" and happening.data["text"] == "hello":
                        heard.append(happening.data["by"])
                        return

            await one.observe("ann")
            await other.observe("bob")
            with anyio.fail_after(5):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(listen)
                    await anyio.sleep(0)  # listens
                    await other.act("bob", "chat", {"text": "hello"})
            assert heard == ["bob"]
            await give(one, "ann", "oak_log", 2)
            made = await one.act("ann", "craft", {"item": "oak_planks", "times": 2, "uses": {"oak_log": 1}})
            assert made["got"] == {"oak_planks": 8}
            inventory = (await one.observe("ann"))["inventory"]
            assert inventory.get("oak_planks") == 8
            assert "oak_log" not in inventory
            with pytest.raises(ActionFailed, match="needs 1 oak_log"):
                await one.act("ann", "craft", {"item": "oak_planks", "times": 1, "uses": {"oak_log": 1}})

    anyio.run(play)


def test_interrupted_mid_dig(port: int, packages: Path) -> None:
    async def play() -> None:
        async with playing(port, packages, "stopper") as world:
            at = await below(world, "stopper")
            block = (await world.act("stopper", "claim", {"blocks": ["grass_block", "dirt"], "near": at}))["block"]
            begun = time.monotonic()
            with anyio.move_on_after(0.2):
                await world.act("stopper", "mine", {"at": at})
            assert time.monotonic() - begun < 1.0
            await anyio.sleep(1.5)
            assert (await world.observe("stopper"))["inventory"] == {}
            assert (await world.act("stopper", "claim", {"blocks": [block], "near": at}))["at"] == at
            assert (await world.act("stopper", "mine", {"at": at}))["got"] == {"dirt": 1}

    anyio.run(play)


def test_node_killed_mid_command(port: int, packages: Path) -> None:
    async def play() -> None:
        async with playing(port, packages, "lazarus") as world:
            await world.observe("lazarus")
            first = world.pid
            assert first is not None

            async def kill() -> None:
                await anyio.sleep(0.3)
                os.kill(first, signal.SIGKILL)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(kill)
                with pytest.raises(ActionFailed, match="connection to the game was lost"):
                    await world.act("lazarus", "wait", {"seconds": 20})
            assert (await world.observe("lazarus"))["alive"]
            assert world.pid not in (None, first)

    anyio.run(play)


def test_refused_connection_is_one_line(packages: Path) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        closed = held.getsockname()[1]

        async def play() -> None:
            async with playing(closed, packages, "nobody") as world:
                with pytest.raises(
                    UserError, match=rf"127.0.0.1:{closed} does not let nobody in: ECONNREFUSED"
                ) as refused:
                    await world.observe("nobody")
                assert "\n" not in str(refused.value)

        anyio.run(play)


async def kill_in_a_command(world: MinecraftWorld, memory: SQLiteMemory) -> None:
    with anyio.fail_after(20):
        while True:
            mined = [
                event async for event in memory.since(0) if event.kind == "command" and event.data["command"] == "mine"
            ]
            if mined and world.pid is not None:
                os.kill(world.pid, signal.SIGKILL)
                return
            await anyio.sleep(0.02)


@pytest.mark.parametrize("killed", [False, True])
def test_two_agents_share_memory_and_reach_a_goal(port: int, packages: Path, tmp_path: Path, killed: bool) -> None:
    recipe = TeamRecipe.model_validate(
        {
            "agents": [{"name": name, "goal": "what the team is missing"} for name in ("eve", "fay")],
            "planner": {"url": "policy:gatherer", "latency": 0.2},
            "world": {"kind": "minecraft", "port": port, "goal": {"team_items": {"dirt": 2}}},
            "runtime": {"clock": "wall", "limits": {"seconds": 40.0}},
        }
    )

    async def play() -> None:
        assert isinstance(recipe.world, MinecraftSettings)
        world = MinecraftWorld(recipe.world, ["eve", "fay"], packages)
        memory = SQLiteMemory(tmp_path / "memory.sqlite")
        pool = AgentPool(recipe, set_up_episode(recipe).library)
        try:
            async with anyio.create_task_group() as aside:
                if killed:
                    aside.start_soon(kill_in_a_command, world, memory)
                outcome = await Runtime(recipe.runtime, world, memory, pool.agents).run()
            assert not outcome.limit
            events = [event async for event in memory.since(0)]
            assert {event.agent for event in events if event.kind == "command_end"} == {"eve", "fay"}
            held = [(await world.observe(name))["inventory"].get("dirt", 0) for name in ("eve", "fay")]
            assert sum(held) >= 2
            lost = [event for event in events if "was lost" in event.data.get("why", "")]
            assert bool(lost) == killed
        finally:
            await pool.close()
            await memory.close()
            await world.close()

    anyio.run(play)
