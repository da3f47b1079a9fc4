"""The live page: what it serves, and a person in front of it (Chromium), against a run in another thread."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import uvicorn

from burnish.act import clock
from burnish.act.loop import play
from burnish.act.memory.log import Event
from burnish.act.recipe import TeamRecipe
from burnish.act.replay import paced, read_log, replay_run
from burnish.act.skill_context import SkillContext
from burnish.act.skills.library import Skill, skill
from burnish.act.watch.handlers import shown
from burnish.act.watch.server import watch_app
from burnish.act.world import Happening
from burnish.core.errors import UserError
from burnish.core.run import Run
from burnish.core.serving import Guarded

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


class Garden:
    """A world of real seconds: digging takes a minute, picking half a second."""

    def __init__(self) -> None:
        self.picked = 0

    async def observe(self, agent: str) -> dict[str, Any]:
        return {"health": 14, "inventory": {"apple": self.picked}, "goal_reached": self.picked >= 100}

    async def act(self, agent: str, command: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        await anyio.sleep(60.0 if command == "dig" else 0.5)
        self.picked += command == "pick"
        return {}

    async def happenings(self) -> AsyncIterator[Happening]:
        yield Happening("weather", "", {"what": "<script>alert(1)</script>"})
        await anyio.sleep_forever()

    def render(self) -> str:
        return (
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 300 120"><rect width="300" height="120" '
            f'fill="#dfe8c8"/><circle cx="{20 + self.picked * 9 % 260}" cy="60" r="9" fill="#c2410c"/></svg>'
        )


async def dig(context: SkillContext) -> None:
    """Dig the whole bed."""
    await context.act("dig")


async def pick(context: SkillContext) -> None:
    """Pick an apple."""
    await context.act("pick")


def garden(recipe: TeamRecipe) -> tuple[Garden, list[Skill]]:
    """The world of the recipe below."""
    return Garden(), [skill(dig), skill(pick)]


def gardener(known: Mapping[str, Any]) -> dict[str, Any]:
    """Digs until somebody asks for apples."""
    asked = any("apple" in message["text"] for message in known["chat"])
    name = "pick" if asked else "dig"
    return {"skill": {"name": name, "arguments": {}}, "interrupt": False, "reason": f"time to {name}"}


RECIPE = """
method: burnish.act:METHOD
agents: [{name: ann, goal: a tidy garden}, {name: bob, goal: a tidy garden}]
planner: {url: 'policy:tests.act.test_watch:gardener', latency: 0.4}
world: {kind: own, function: 'tests.act.test_watch:garden'}
runtime: {clock: wall, limits: {seconds: 90.0}}
"""


@contextmanager
def served(app: Any) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + 30
    while not server.started and time.monotonic() < until:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(10)


@contextmanager
def playing(path: Path) -> Iterator[Path]:
    """The recipe's run, in a thread, from its first event on; stopped at the end as by a signal."""
    recipe = TeamRecipe.load(RECIPE)
    runs: list[Run] = []

    def main() -> None:
        try:
            with Run(recipe, path, quiet=True) as run:
                runs.append(run)
                play(recipe, run)
        except BaseException:
            if not runs or not runs[0].stop_requested:
                raise

    thread = threading.Thread(target=main, daemon=True)
    thread.start()
    until = time.monotonic() + 60
    while not (path / "artifacts" / "map.svg").exists() and time.monotonic() < until:
        time.sleep(0.02)
    yield path
    runs[0]._signals.number = 15  # as the handler of a signal, which only a main thread has
    thread.join(30)
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short episode on the virtual clock that has ended."""
    path = tmp_path_factory.mktemp("ended") / "run"
    tiny = Path(__file__).parents[2] / "recipes" / "planning_acting" / "tiny.yaml"
    recipe = TeamRecipe.load(tiny, ["runtime.limits.seconds=40"])
    with Run(recipe, path, quiet=True) as run:
        play(recipe, run)
    return path


def ask(app: Any, method: str, where: str, **options: Any) -> httpx.Response:
    async def main() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8322") as client:
            return await client.request(method, where, **options)

    return clock.run(main)


# Told again, played again


def test_a_run_played_again_comes_out_the_same(ended: Path) -> None:
    found = replay_run(ended)
    assert (found.same, found.difference) == (True, "")
    assert found.events == len(read_log(ended)) > 50


def test_a_log_that_was_changed_does_not(ended: Path, tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "run"
    shutil.copytree(ended, path)
    with sqlite3.connect(path / "artifacts" / "memory.sqlite") as db:
        first = "(SELECT seq FROM events WHERE kind = 'observe' LIMIT 1)"
        db.execute(f"""UPDATE events SET data = '{{"health": 3}}' WHERE seq = {first}""")
    found = replay_run(path)
    assert not found.same
    assert "observe" in found.difference
    with sqlite3.connect(path / "artifacts" / "memory.sqlite") as db:
        db.execute("DELETE FROM events")
        rows = sqlite3.connect(ended / "artifacts" / "memory.sqlite").execute("SELECT * FROM events").fetchall()
        db.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", rows[:-1])
    assert "after its last event there is one more: `limit`" in replay_run(path).difference


def test_pauses_are_as_they_were() -> None:
    events = [Event(number, at, "ann", "chat", {"text": "x"}) for number, at in enumerate((2.0, 2.0, 5.0, 9.0), 1)]
    slept: list[float] = []
    assert list(paced(events, 2.0, slept.append)) == events
    assert slept == [1.5, 2.0]
    assert list(paced(events, None, slept.append)) == events
    assert len(slept) == 2
    with pytest.raises(UserError, match="2 is twice as fast"):
        list(paced(events, 0.0))


def test_the_commands(ended: Path, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from burnish.cli import app

    told = CliRunner().invoke(app, ["act", "replay", str(ended)])
    assert "ann: obtain" in told.stdout
    rows = CliRunner().invoke(app, ["act", "replay", str(ended), "--json"]).stdout
    assert rows == (ended / "artifacts" / "events.jsonl").read_text("utf-8")
    assert "the same" in CliRunner().invoke(app, ["act", "replay", str(ended), "--again"]).stdout
    for line, message in (
        (["replay", str(tmp_path)], "not a run's folder"),
        (["watch", str(tmp_path)], "not a run's folder"),
        (["watch", str(ended), "--host", "0.0.0.0"], "give a token"),
    ):
        error = CliRunner().invoke(app, ["act", *line]).exception
        assert isinstance(error, UserError)
        assert message in str(error)


# What it serves


@pytest.mark.parametrize(
    "where", ["/../run.json", "/%2e%2e/run.json", "/artifacts/memory.sqlite", "/map.svg/../outcome.json", "/docs"]
)
def test_nothing_else_is_served(ended: Path, where: str) -> None:
    assert ask(watch_app(ended), "GET", where).status_code == 404


def test_files_state_and_map(ended: Path) -> None:
    app = watch_app(ended)
    for name in ("/", "/watch.js", "/watch.css"):
        found = ask(app, "GET", name)
        assert found.status_code == 200
        assert "default-src 'self'" in found.headers["content-security-policy"]
    state = ask(app, "GET", "/state").json()
    assert (state["status"], state["clock"], state["deaf"]) == ("finished", "virtual", "the run has ended")
    assert [agent["name"] for agent in state["agents"]] == ["ann", "bob"]
    picture = ask(app, "GET", "/map.svg")
    assert picture.content == (ended / "artifacts" / "map.svg").read_bytes()
    assert "sandbox" in picture.headers["content-security-policy"]


def test_events_stream_from_where_one_left_off(ended: Path) -> None:
    log = read_log(ended)
    with served(watch_app(ended)) as url, httpx.Client() as client:  # noqa: SIM117
        with client.stream("GET", f"{url}/events", headers={"last-event-id": str(len(log) - 3)}) as answer:
            lines = answer.iter_lines()
            got = [next(lines) for _ in range(11)]
    assert got[0::3][:3] == [f"id: {len(log) - 2}", f"id: {len(log) - 1}", f"id: {len(log)}"]
    assert json.loads(got[7].removeprefix("data: "))["kind"] == "limit"
    assert got[9:11] == ["event: status", 'data: "finished"']
    assert ask(watch_app(ended), "GET", "/events?since=-1").status_code == 400


@pytest.mark.parametrize(
    ("where", "options", "status"),
    [
        ("/chat", {"json": {"text": "hello"}}, 409),
        ("/interrupt", {"json": {"agent": "ann"}}, 409),
        ("/chat", {"json": {"text": " "}}, 422),
        ("/chat", {"json": {"text": 7}}, 422),
        ("/chat", {"json": ["text"]}, 422),
        ("/chat", {"data": {"text": "hello"}}, 415),
        ("/chat", {"content": b"{", "headers": {"content-type": "application/json"}}, 422),
        ("/chat", {"json": {"text": "x" * 20_000}}, 413),
        ("/interrupt", {"json": {"agent": "eve"}}, 404),
        ("/interrupt", {"json": {"agent": ["ann"]}}, 404),
    ],
)
def test_what_cannot_be_done_is_refused(ended: Path, where: str, options: dict[str, Any], status: int) -> None:
    before = len(read_log(ended))
    assert ask(watch_app(ended), "POST", where, **options).status_code == status
    assert len(read_log(ended)) == before


def test_what_the_page_gets_is_short() -> None:
    data = {"health": 3, "blocks": {str(number): [number, number] for number in range(100)}, "text": "x" * 200}
    found = shown(Event(7, 1.0, "ann", "observe", data))
    assert found == {"seq": 7, "time": 1.0, "agent": "ann", "kind": "observe", "data": {"health": 3, "text": "x" * 200}}
    assert len(shown(Event(7, 1.0, "ann", "call_end", {"text": "y" * 9000}))["data"]["text"]) < 400


# A person in front of it


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (Debian: apt-get install chromium)")
def test_a_person_watches_speaks_and_interrupts(tmp_path: Path) -> None:
    from playwright.sync_api import expect, sync_playwright

    with (
        playing(tmp_path / "run") as path,
        served(Guarded(watch_app(path), "127.0.0.1", None)) as url,
        sync_playwright() as kit,
    ):
        browser = kit.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 860})
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("dialog", lambda dialog: problems.append("a script of the run ran"))
        page.goto(url)
        ann, story = page.locator('[data-agent="ann"]'), page.locator("#story")
        expect(page.locator("#status")).to_have_text("running", timeout=20_000)
        expect(ann.locator(".doing")).to_have_text("dig", timeout=20_000)
        expect(ann.locator(".thought")).to_have_text("time to dig")
        expect(story).to_contain_text("<script>alert(1)</script>")
        expect(page.locator("#map")).to_be_visible(timeout=20_000)
        page.get_by_label("Message to the team").fill("apples <b>please</b>")
        page.get_by_role("button", name="Send").click()
        expect(story).to_contain_text("human: apples <b>please</b>", timeout=20_000)
        # The planner has heard it, but the digging goes on until somebody stops it; the other agent's goes on after
        # that, too.
        expect(ann.locator(".thought")).to_have_text("time to pick", timeout=20_000)
        page.get_by_role("button", name="Interrupt ann").click()
        expect(story).to_contain_text("ann: dig interrupted", timeout=20_000)
        expect(ann.locator(".has")).to_contain_text("apple", timeout=20_000)
        expect(page.locator("#lanes path.mark")).to_have_count(1)
        expect(page.locator('[data-agent="bob"] .doing')).to_have_text("dig")
        assert page.locator("#lanes rect.planning").count() > 2
        assert page.screenshot(path=tmp_path / "page.png")
        browser.close()
    assert problems == []
    kinds = [event.kind for event in read_log(path)]
    assert kinds.count("human") == 1
    assert kinds.count("chat") == 1
