"""The documentation runs: every page's blocks, in order, in a folder of their own; tables made from code are current.

How a block is read (` ```LANGUAGE title="FILE" WORDS ` or ` ```{.LANGUAGE .WORD} `):
- `console`: each line that starts with `$ ` runs in bash, offline; a trailing `# exit N` names a status other than 0.
  The lines below it are what must appear in its output; `...` stands for anything.
- with a title, any language: written to that file. `python` without one: executed.
- `no-run` (a device, the hub, the network): only parsed.

After a change of a method's parameters or a recipe's settings: `python -m tests.test_docs` writes the tables anew.
"""

import ast
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from burnish.core.paths import find_recipe, shipped_recipes
from burnish.testbeds.models import MODELS
from tests.forecasts import hold_seconds
from tests.once import shared_cache

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
# Pages of one line share a folder: the later ones go on where the first stopped.
STORIES = [
    ["README.md"],
    ["install.md", "index.md"],
    ["spine.md"],
    ["write-a-method.md"],
    ["merge.md", "mergekit.md"],
    ["rmm.md"],
    ["suspects.md"],
    ["dov4cl.md", "evidence.md"],
    ["trainprove.md"],
    ["hint_grpo.md"],
    ["rftt.md"],
    ["shape.md"],
    ["sakd.md"],
    ["secpe.md", "private-service.md"],
    ["calibration.md"],
    ["planning_acting.md"],
    ["own-world.md"],
    ["craftworld.md"],
    ["mint.md", "mint-at-scale.md"],
]
SLOW = {
    "README.md",
    "spine.md",
    "write-a-method.md",
    "merge.md",
    "rmm.md",
    "suspects.md",
    "dov4cl.md",
    "trainprove.md",
    "hint_grpo.md",
    "rftt.md",
    "shape.md",
    "sakd.md",
    "secpe.md",
    "calibration.md",
    "planning_acting.md",
    "own-world.md",
    "craftworld.md",
    "mint.md",
}
# Pages with a run that is forecast; it must be over in one go, and its time not be set by a clock of its own.
FORECAST = {
    "rmm.md": "runs/rmm-tiny",
    "shape.md": "runs/shape-tiny",
    "sakd.md": "runs/sakd-tiny",
    "mint.md": "runs/mint-tiny",
    "hint_grpo.md": "runs/hint_grpo-tiny",
}
REST = sorted({path.name for path in DOCS.glob("*.md")} - {page for story in STORIES for page in story})
Factory = pytest.TempPathFactory
MODEL = re.compile(r"burnish model (?!list)([a-z0-9-]+)")
RECIPE = re.compile(r"burnish (?:run|check) ([a-z_]+/[a-z0-9-]+)")
FENCE = re.compile(r"^```(?P<info>[^\n`]+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block and where it stands."""

    where: str
    language: str
    title: str
    run: bool
    body: str


def blocks(page: str) -> Iterator[Block]:
    path = ROOT / page if page == "README.md" else DOCS / page
    text = path.read_text("utf-8")
    for match in FENCE.finditer(text):
        words = shlex.split(match["info"].strip("{}").replace(".", " ", 1) if "{" in match["info"] else match["info"])
        title = next((word.removeprefix("title=") for word in words if word.startswith("title=")), "")
        where = f"{path.name}:{text[: match.start()].count(chr(10)) + 1}"
        run = not {"no-run", ".no-run"} & set(words)
        yield Block(where, words[0], title, run, match["body"])


@dataclass(frozen=True)
class Command:
    """One command of a console block, its exit status, and lines of its output."""

    line: str
    status: int
    output: tuple[str, ...]


def commands(block: Block) -> list[Command]:
    found: list[Command] = []
    for part in re.split(r"^\$ ", block.body, flags=re.MULTILINE)[1:]:
        part = part.replace("\\\n", " ")
        first, *output = part.splitlines()
        status = re.search(r"\s+# exit (\d+)$", first)
        line = first[: status.start()] if status else first
        found.append(Command(line, int(status[1]) if status else 0, tuple(row for row in output if row.strip())))
    assert found, f"{block.where}: a console block without a command"
    return found


def environment(*bins: Path) -> dict[str, str]:
    path = os.pathsep.join([*map(str, bins), str(Path(sys.executable).parent), os.environ["PATH"]])
    return os.environ | {"PATH": path, "HF_HUB_OFFLINE": "1", "COLUMNS": "160"}


def run(line: list[str], folder: Path, *bins: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        line, cwd=folder, env=environment(*bins), capture_output=True, text=True, timeout=500, stdin=subprocess.DEVNULL
    )


def squeezed(text: str) -> str:
    return " ".join(text.split())


def assert_shown(expected: str, shown: str, where: str) -> None:
    """Every piece of the line between `...` appears, in order."""
    pattern = ".*".join(re.escape(squeezed(piece)) for piece in expected.split("..."))
    lines = [squeezed(line) for line in shown.splitlines()]
    assert any(re.search(pattern, line) for line in lines), f"{where}: no line like\n  {expected}\nin\n{shown}"


def carry_out(block: Block, folder: Path, warm: Path) -> None:
    if block.title:
        path = folder / block.title
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.body, "utf-8")
    elif block.language == "console" and block.run:
        for command in commands(block):
            done = run(["bash", "-c", command.line], folder, warm)
            shown = done.stdout + done.stderr
            assert done.returncode == command.status, f"{block.where}: $ {command.line}\n{done.returncode}: {shown}"
            for expected in command.output:
                assert_shown(expected, shown, f"{block.where}: $ {command.line}")
    elif block.language == "python" and block.run:
        done = run([str(warm / "python"), "-c", block.body], folder)
        assert done.returncode == 0, f"{block.where}:\n{done.stderr}"


def hold_to_forecast(folder: Path, path: str, warm: Path) -> None:
    """The CPU seconds of a page's run, against the seconds that `check` forecasts."""
    done = run(["bash", "-c", f"burnish check {path}/recipe.yaml --json"], folder, warm)
    assert done.returncode == 0, done.stderr
    hold_seconds(folder / path, json.loads(done.stdout))


@pytest.mark.timeout(1800)  # a dozen start-ups on a busy machine
@pytest.mark.parametrize(
    "story",
    [pytest.param(story, marks=[pytest.mark.slow] * (story[0] in SLOW), id=story[0]) for story in STORIES],
)
def test_what_a_page_says_to_type_works(
    story: list[str], warm: Path, tmp_path: Path, tmp_path_factory: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = [block for page in story for block in blocks(page)]
    asked = "".join(block.body for block in told if block.run)
    shipped = "".join(find_recipe(name).read_text() for name in set(RECIPE.findall(asked)) & set(shipped_recipes()))
    named = {name for name in MODELS if re.search(rf"[ \[]{name}[/\s]", shipped.replace(",", " "))}
    models = {*MODEL.findall(asked), *named, *(["dov4cl-demo"] if "burnish run dov4cl/" in asked else [])}
    monkeypatch.setenv("BURNISH_CACHE", str(shared_cache(tmp_path_factory, *sorted(models))))
    folder = tmp_path / "here"
    folder.mkdir()
    for block in told:
        carry_out(block, folder, warm)
    for page in FORECAST.keys() & set(story):
        hold_to_forecast(folder, FORECAST[page], warm)


@pytest.mark.parametrize("page", REST)
def test_other_pages(
    page: str, warm: Path, tmp_path: Path, tmp_path_factory: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    test_what_a_page_says_to_type_works([page], warm, tmp_path, tmp_path_factory, monkeypatch)


@pytest.mark.parametrize("page", [*(page for story in STORIES for page in story), *REST])
def test_blocks_can_be_read(page: str) -> None:
    for block in blocks(page):
        assert block.language in {"console", "python", "yaml", "json", "text", "sh"}, block.where
        if block.language == "python":
            ast.parse(block.body)
        elif block.language == "yaml":
            list(yaml.safe_load_all(block.body))
        elif block.language == "console":
            for command in commands(block):
                assert subprocess.run(["bash", "-n", "-c", command.line]).returncode == 0, block.where


def test_the_tutorial_keeps_its_word() -> None:
    method = next(block for block in blocks("write-a-method.md") if block.title == "distil.py")
    assert len(method.body.splitlines()) <= 60


# Tables that are made from code.


def methods_table() -> str:
    from burnish.merge.methods import registry
    from burnish.merge.methods.parameter import Parameter

    def said(name: str, parameter: Parameter) -> str:
        default = parameter.default
        if parameter.inert:
            return f"`{name}` (no effect)"
        if parameter.required:
            return f"`{name}`"
        return f"`{name}` {str(default).lower() if isinstance(default, bool | None) else default}"

    lines = ["| method | models | base | per model | once | source |", "| --- | --- | --- | --- | --- | --- |"]
    for name in registry.names():
        method = registry.get(name)
        per_model = ", ".join(said(key, value) for key, value in method.model_parameters.items())
        once = ", ".join(said(key, value) for key, value in method.parameters.items())
        marks = " (random)" * method.random + f" ({method.statistics})" * bool(method.statistics)
        wants = method.wants.removesuffix("s").removesuffix(" model")
        cells = [f"`{name}`{marks}", wants, method.base, per_model or "-", once or "-", method.reference]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def settings_table(settings: type[BaseModel], left_out: Collection[str] = ()) -> str:
    lines = ["| setting | default | meaning |", "| --- | --- | --- |"]
    properties = settings.model_json_schema()["properties"]
    for name in settings.model_fields:
        if name in left_out:
            continue
        entry = properties[name]
        meaning = " ".join(entry.get("description", "").split())
        if "enum" in entry:
            meaning = f"{' / '.join(f'`{value}`' for value in entry['enum'])}. {meaning}"
        missing = "required" if settings.model_fields[name].is_required() else "none"
        default = f"`{str(entry['default']).lower()}`" if "default" in entry else missing
        lines.append(f"| `{name}` | {default} | {meaning.strip().replace('|', '/')} |")
    return "\n".join(lines)


def search_settings() -> str:
    from burnish.core.recipe import Recipe
    from burnish.merge.rmm.recipe import SearchRecipe

    return settings_table(SearchRecipe, {*Recipe.model_fields, "tasks", "candidates", "ppo"})


def audit_settings() -> str:
    from burnish.core.recipe import Recipe
    from burnish.prove.trainprove.recipe import AuditRecipe

    groups = {"suspect", "mine", "others", "architectures", "training", "variation", "mixtures"}
    return settings_table(AuditRecipe, {*Recipe.model_fields, *groups})


def suspect_settings() -> str:
    from burnish.prove.suspects import SuspectSettings

    return settings_table(SuspectSettings)


def suspect_openapi() -> str:
    from burnish.prove.suspects.server import serve_answers

    described = serve_answers({}).openapi()
    for method in described["paths"]["/v1/answers"].values():
        del method["responses"]["422"], method["operationId"]
    schemas = described["components"]["schemas"]
    described["components"]["schemas"] = {name: schemas[name] for name in ("Question", "Reply")}
    return f"```yaml\n{yaml.safe_dump(described, sort_keys=False, width=110)}```"


def craftworld_settings() -> str:
    from burnish.act.recipe import CraftworldSettings

    return settings_table(CraftworldSettings, {"kind", "goal", "orders", "opponents"})


def craftworld_orders() -> str:
    from burnish.act.recipe import OrderSettings

    return settings_table(OrderSettings)


def craftworld_goal() -> str:
    from burnish.act.recipe import GoalSettings

    return settings_table(GoalSettings)


def parallel_table() -> str:
    from burnish.core.method import all_methods

    words = {"ranks": "ranks", "executor": "workers", "none": "one process"}
    lines = ["| method | `method:` | uses |", "| --- | --- | --- |"]
    found = sorted((list(words).index(method.parallel), method.name, method) for method in all_methods()[0])
    lines += [f"| {method.shown} | `{method.name}` | {words[method.parallel]} |" for _, _, method in found]
    return "\n".join(lines)


TABLES: dict[str, dict[str, Callable[[], str]]] = {
    "scaling.md": {"parallel": parallel_table},
    "merge.md": {"methods": methods_table},
    "rmm.md": {"settings": search_settings},
    "trainprove.md": {"settings": audit_settings},
    "craftworld.md": {"settings": craftworld_settings, "goal": craftworld_goal, "orders": craftworld_orders},
    "suspects.md": {"settings": suspect_settings, "openapi": suspect_openapi},
}


def with_table(page: str) -> str:
    text = (DOCS / page).read_text("utf-8")
    for mark, table in TABLES[page].items():
        before, start, rest = text.partition(f"<!-- {mark} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        assert start and end, f"{page}: the marks around its {mark} are missing"  # noqa: PT018
        text = f"{before}{start}{table()}\n{end}{after}"
    return text


@pytest.mark.parametrize("page", TABLES)
def test_tables_are_up_to_date(page: str) -> None:
    assert with_table(page) == (DOCS / page).read_text("utf-8"), "run `python -m tests.test_docs`"


def test_site_builds(tmp_path: Path) -> None:
    pytest.importorskip("material")
    done = run(
        [
            sys.executable,
            "-m",
            "mkdocs",
            "build",
            "--strict",
            "-f",
            str(ROOT / "mkdocs.yml"),
            "-d",
            str(tmp_path / "site"),
        ],
        tmp_path,
    )
    assert done.returncode == 0, done.stderr


if __name__ == "__main__":
    for name in TABLES:
        (DOCS / name).write_text(with_table(name), "utf-8")
