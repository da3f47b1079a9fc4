"""The command line as a user meets it: help that works, one-line errors, exit codes.

Runs in processes of its own where that is the point; a process starts for seconds, so mistakes are typed in this one.
"""

import importlib.metadata
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import httpx
import numpy as np
import pytest
from typer.main import get_command

from burnish import cli
from burnish.cli import app
from burnish.cli.mergekit_flags import HONOURED, NEEDLESS, NEEDLESS_WITH_VALUE, REFUSED, WITHOUT_VALUE, translate
from burnish.cli.shared import only_data, print_table
from burnish.core.paths import shipped_recipes
from burnish.private.bundle import ClientModel, save_bundle
from burnish.private.heads import heads_of
from burnish.testbeds.small_bert import write_encoder
from tests.generate.untrained import equip_easel
from tests.once import shared_cache
from tests.prove.noise_evidence import write_noise

BURNISH = [sys.executable, "-m", "burnish.cli"]
ROOT = Path(__file__).parents[1]


def burnish(
    *arguments: str, cwd: Path, timeout: float = 300, command: Sequence[str] = BURNISH
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    return subprocess.run(
        [*command, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout, check=False
    )


@pytest.fixture
def typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """What the command's entry point does with a line typed in ``tmp_path``: exit status, output, errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.syspath_prepend(str(tmp_path))

    def line(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["burnish", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        code = ended.value.code
        assert isinstance(code, int)
        return code, *capsys.readouterr()

    return line


def commands(group, prefix: tuple[str, ...] = ()):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*prefix, name))
        else:
            yield (*prefix, name), command


EXAMPLES = {
    " ".join(path): (command.help or "").partition("Example: burnish ")[2].partition("\n")[0]
    for path, command in commands(get_command(app))
}


def test_every_command_teaches_by_example() -> None:
    assert [name for name, example in EXAMPLES.items() if not example] == []
    for name, example in EXAMPLES.items():
        words = shlex.split(example)
        assert words[: len(name.split())] == name.split() or name == "merge yaml"


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory, warm: Path) -> Iterator[Path]:
    """A folder with what the examples speak of: a tiny model, a text, a merge, a run, evidence."""
    folder = tmp_path_factory.mktemp("workshop")
    cache = shared_cache(tmp_path_factory, "tiny-llama", "vit-experts", "tiny-llava", "ways")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BURNISH_CACHE", str(cache))
        equip(folder, warm)
        yield folder


SHORT = [word for each in ("data.limit=16", "test=null", "warmup.steps=10", "rl=null") for word in ("--set", each)]
"""Enough for a model that can be searched."""


def equip(folder: Path, warm: Path) -> None:
    (folder / "tuned.yaml").write_text(
        "merge_method: passthrough\nmodels:\n- model: tiny-llama-too\n  parameters: {scale: 1.1}\n"
    )
    (folder / "moe.yaml").write_text(
        "base_model: tiny-llama-too\ngate_mode: random\n"
        "experts:\n- source_model: tiny-llama-too\n- source_model: tuned\n"
    )
    for line in (
        ["model", "tiny-llama", "tiny-llama-too"],
        ["merge", "tuned.yaml", "tuned"],
        ["model", "vit-experts", "vit-experts"],
        ["model", "tiny-llava", "tiny-llava"],
        ["model", "ways", "ways"],
        ["run", "planning_acting/tiny"],
        ["run", "rftt/tiny", *SHORT],
    ):
        assert burnish(*line, cwd=folder, command=[str(warm / "burnish")]).returncode == 0
    (folder / "text.txt").write_text("one line of text\nand another one\n" * 4)
    (folder / "merge.yaml").write_text(
        "merge_method: linear\nmodels:\n- model: tiny-llama-too\n  parameters: {weight: 1}\ndtype: float32\n"
    )
    write_noise(folder / "evidence")
    equip_service(folder)
    equip_easel(folder)


def equip_service(folder: Path) -> None:
    """A private classifier of random heads, and texts to attack it with."""
    write_encoder(folder / "encoder")
    labels = ("liked", "not liked")
    heads = heads_of(np.random.default_rng(0).normal(size=(2, 2, 16)), np.zeros((2, 2)), labels)
    model = ClientModel(str(folder / "encoder"), "mean", 32, ("{text}", "They say: {text}"), labels, 0.25)
    save_bundle(folder / "service", heads, model)
    rows = [{"text": f"They loved dish {number}", "label": labels[number % 2]} for number in range(20)]
    (folder / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


SERVING = {"act llm": "/v1/models", "act watch": "/state", "private serve": "/v1/service"}
"""Commands that go on until they are stopped, and what answers at their address."""
EXAMPLE_SECONDS = 60.0  # the longest that one example may take
ELSEWHERE = {"tour"}  # goes through all studies; `.ci/run` types it after the tests, and each study has a test


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_example_works(workshop: Path, warm: Path) -> None:
    """In an order in which later examples find what earlier ones made."""
    command = [str(warm / "burnish")]
    first = ["model", "run", "private keygen"]
    for name in sorted(
        EXAMPLES.keys() - ELSEWHERE, key=lambda name: (first.index(name) if name in first else len(first), name)
    ):
        words = shlex.split(EXAMPLES[name])
        if name in SERVING:
            code, said = served([*command, *words], SERVING[name], workshop)
            assert code == 128 + signal.SIGINT, f"burnish {EXAMPLES[name]}\n{said}"
        else:
            done = burnish(*words, cwd=workshop, timeout=EXAMPLE_SECONDS, command=command)
            said = done.stdout + done.stderr
            assert done.returncode == 0, f"burnish {EXAMPLES[name]}\n{said}"
        assert "Traceback" not in said


def served(words: list[str], where: str, cwd: Path) -> tuple[int, str]:
    """Start a serving command at a free port, wait until it answers, press Ctrl-C. Its exit status and what it said."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (cwd / "served.txt").open("w+") as said:
        process = subprocess.Popen(
            [*words, "--port", "0"], cwd=cwd, env=environment, stdout=said, stderr=subprocess.STDOUT
        )
        try:
            deadline, found = time.monotonic() + EXAMPLE_SECONDS, None
            while found is None and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
                found = re.search(r"http://127\.0\.0\.1:\d+", Path(said.name).read_text())
            assert found is not None, Path(said.name).read_text()
            assert httpx.get(found[0] + where, timeout=30.0).status_code == 200
            process.send_signal(signal.SIGINT)
            return process.wait(timeout=30), Path(said.name).read_text()
        finally:
            process.kill()
            process.wait()


def test_help_is_quick_and_imports_nothing_heavy(tmp_path: Path) -> None:
    code = "import sys; sys.argv = ['burnish', '--help']\nfrom burnish.cli import main\n"
    code += "try: main()\nexcept SystemExit: pass\n"
    code += "print(sorted({'torch', 'transformers', 'numpy', 'matplotlib', 'numba'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "Start with: burnish tour" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["run", "nothing"], 2, "nothing: no such file, and no shipped recipe of that name"),
        (["run", "nothing"], 2, "`burnish recipes` lists those"),
        (["check", "."], 2, ".: a folder; give a YAML file, or the name of a shipped recipe"),
        (["run", "rmm/tinny"], 2, "did you mean `rmm/tiny`?"),
        (["prove", "verify", "."], 2, ".: not an evidence folder; an audit leaves it in its run's folder"),
        (["run", "bad.yaml"], 2, "bad.yaml:2: `stepps` is not a setting; did you mean `steps`?"),
        (["run", "unknown.yaml"], 2, "method: `rm` is unknown; did you mean `rmm`?"),
        (["run", "empty.yaml"], 2, "a recipe is a mapping"),
        (["run", "absent.yaml"], 2, "no module named `not_there`"),
        (
            ["check", "merge.yaml", "--set", "mdels=[]"],
            2,
            "override mdels: `mdels` is not a setting; did you mean `models`",
        ),
        (["merge", "rmm/tiny", "out"], 2, "a recipe (`method: rmm`); it is run by `burnish run rmm/tiny`"),
        (
            ["merge", "merge.yaml", "out", "--trust-remote-code"],
            2,
            "--trust-remote-code: code of a model repository is",
        ),
        (["check", "loop.yaml", "--out", "."], 2, ".: not empty and not a run; choose another folder (--out)"),
        (["run", "loop.yaml", "--out", "loop.yaml/sub"], 2, "choose a place that you may write to"),
        (["run", "broken.yaml"], 2, "importing `broken_module` failed: SyntaxError"),
        (["run", "nothing.yaml"], 2, "names nothing; write it as module:OBJECT"),
        (["run", "near.yaml"], 2, "`tests.core.loops` has no `METHD`; did you mean `METHOD`?"),
        (["run", "bad.yaml", "--set", "stepps"], 2, "write it as key=value"),
        (["check", "loop.yaml", "--set", "steps=-"], 2, "override steps"),
        (["report", "."], 2, "not a run folder"),
        (["study", "rrm"], 2, "did you mean `rmm`?"),
        (["study", "tests.core.loops:PLANNED"], 2, "is planned and not built yet"),
        (["study", "rmm", "--size", "huge"], 2, "is none of smoke, tour, quick, full (--size)"),
        (["study", "rmm", "--seeds", "0"], 2, "seeds: at least 1, not 0 (--seeds)"),
        (["study", "rmm", "--until-decided", "--max-seeds", "0"], 2, "max_seeds: at least 1, not 0 (--max-seeds)"),
        (["study", "rmm", "--workers", "-1"], 2, "workers: at least 1, not -1 (--workers)"),
        (["tour", "--size", "full"], 2, "a tour is smoke or tour"),
        (["model", "gpt5"], 2, "known: smollm2"),
        (["data", "digit"], 2, "did you mean `digits`?"),
        (["data", "emoji", "--from", "nowhere"], 2, "no such folder"),
        (["schema", "rmn"], 2, "did you mean `rmm`?"),
        (["merge", "none.yaml", "out"], 2, "none.yaml: no such file"),
        (["nonsense"], 2, "No such command"),
        (["run"], 2, "Missing argument"),
        (["run", "--nope"], 2, "No such option"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    tmp_path: Path, typed: Callable[..., tuple[int, str, str]], arguments: list[str], code: int, said: str
) -> None:
    loop = "method: tests.core.loops:METHOD\n"
    (tmp_path / "loop.yaml").write_text(loop)
    (tmp_path / "bad.yaml").write_text(loop + "stepps: 1\n")
    (tmp_path / "unknown.yaml").write_text("method: rm\n")
    (tmp_path / "absent.yaml").write_text("method: not_there:METHOD\n")
    (tmp_path / "empty.yaml").write_text("")
    (tmp_path / "merge.yaml").write_text("merge_method: linear\n")
    (tmp_path / "nothing.yaml").write_text("method: ':x'\n")
    (tmp_path / "near.yaml").write_text("method: tests.core.loops:METHD\n")
    (tmp_path / "broken.yaml").write_text("method: broken_module:METHOD\n")
    (tmp_path / "broken_module.py").write_text("def (:\n")
    ended, _, errors = typed(*arguments)
    assert said in errors
    assert ended == code
    assert "Traceback" not in errors
    assert errors.startswith("burnish: ")
    assert len(errors.strip().splitlines()) == 1


def test_a_run_from_start_to_report(tmp_path: Path) -> None:
    (tmp_path / "loop.yaml").write_text("method: tests.core.loops:METHOD\nsteps: 5\n")
    done = burnish("run", "loop.yaml", "--out", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    html = (tmp_path / "run/report.html").read_text()
    assert "<svg" in html
    assert "loss" in html
    again = burnish("run", "loop.yaml", "--out", "run", cwd=tmp_path)
    assert "already finished, nothing is repeated" in again.stderr
    changed = burnish("run", "loop.yaml", "--out", "run", "--set", "steps=6", cwd=tmp_path)
    assert changed.returncode == 2
    assert "differs in steps" in changed.stderr
    assert burnish("run", "loop.yaml", "--out", "run", "--set", "steps=6", "--fresh", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("group", [[], ["act"], ["merge"], ["prove"], ["reason"]])
def test_no_command_is_described_by_half_a_sentence(
    typed: Callable[..., tuple[int, str, str]], group: list[str]
) -> None:
    _, shown, _ = typed(*group, "--help")
    listed = shown.partition("Commands:")[2].partition("Start with")[0].partition("Usage of each")[0]
    assert listed.strip().endswith(".")
    assert "..." not in listed


def test_sigterm_saves_and_tells(tmp_path: Path) -> None:
    (tmp_path / "loop.yaml").write_text("method: tests.core.loops:METHOD\nsteps: 1000000\n")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [*BURNISH, "run", "loop.yaml", "--out", "run"], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    )
    metrics, deadline = tmp_path / "run/metrics.jsonl", time.monotonic() + 60
    while not (metrics.exists() and metrics.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert "the same command goes on" in said
    assert "Traceback" not in said


def test_an_error_in_the_users_method_is_theirs(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(
        "from burnish.core.method import Method\nfrom burnish.core.recipe import Recipe\n\n\n"
        "def run(recipe, run):\n    return 1 / 0\n\n\nMETHOD = Method(name='broken', recipe=Recipe, run=run)\n"
    )
    (tmp_path / "recipe.yaml").write_text("method: broken:METHOD\n")
    done = burnish("run", "recipe.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "broken.py:6: ZeroDivisionError" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Traceback" in burnish("run", "recipe.yaml", "--debug", cwd=tmp_path).stderr


def test_a_fault_of_ours_is_one_line_and_debug_shows_where(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fault(*args: object, **kwargs: object) -> None:
        raise RuntimeError("of ours\nover two lines")

    monkeypatch.setattr("burnish.api.check", fault)
    monkeypatch.setattr("sys.argv", ["burnish", "check", "x"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 1
    assert (
        capsys.readouterr().err
        == "burnish: a fault of ours: RuntimeError: of ours over two lines; --debug shows where\n"
    )
    monkeypatch.setattr("sys.argv", ["burnish", "check", "x", "--debug"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    said = capsys.readouterr().err
    assert caught.value.code == 1
    assert "Traceback" in said
    assert "in fault" in said
    assert said.splitlines()[-1].startswith("burnish: a fault of ours: RuntimeError: of ours over two lines")


def test_ctrl_c_before_a_run_is_open_is_said(
    typed: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While libraries are imported nobody else catches it."""

    def importing(*args: object, **kwargs: object) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("burnish.api.study", importing)
    said = "burnish: interrupted; what was finished is kept\n"
    assert typed("study", "rmm") == (130, "", said)


def test_version_and_short_help(typed: Callable[..., tuple[int, str, str]]) -> None:
    assert typed("--version")[:2] == (0, f"burnish {importlib.metadata.version('burnish')}\n")
    assert typed("-h") == typed("--help")
    assert typed("run", "-h") == typed("run", "--help")


def test_debug_keeps_the_exit_code(typed: Callable[..., tuple[int, str, str]]) -> None:
    code, _, said = typed("run", "nothing", "--debug")
    assert code == 2
    assert "Traceback" in said
    assert said.splitlines()[-1].startswith("burnish: nothing: no such file")


@pytest.mark.parametrize("group", ["act", "generate", "merge", "private", "prove", "reason"])
def test_the_help_of_a_group_shows_what_its_commands_take(
    typed: Callable[..., tuple[int, str, str]], group: str
) -> None:
    _, shown, _ = typed(group, "--help")
    words = " ".join(shown.split())
    for path, command in commands(get_command(app)):
        if path[0] == group:
            assert f"burnish {' '.join(path)} " in words
            for each in command.params:
                assert each.opts[0] in words
    assert f"Example: burnish {group} " in words


def test_the_help_of_merge_is_that_of_a_merge(typed: Callable[..., tuple[int, str, str]]) -> None:
    _, shown, _ = typed("merge", "--help")
    assert "Usage: burnish merge YAML OUT [OPTIONS]" in shown
    assert "Largest size of an output file." in shown


def test_flags_of_mergekit_are_honoured_or_answered(typed: Callable[..., tuple[int, str, str]]) -> None:
    """Every flag of mergekit-yaml 0.1.5, except those that Burnish has under the same name."""
    from mergekit.options import MergeOptions

    ours = {"--device", "--quiet", "-v", "--verbosity"}
    names = {f"--{name.replace('_', '-')}" for name in MergeOptions.model_fields} - ours
    known = {*HONOURED, *WITHOUT_VALUE, *NEEDLESS, *NEEDLESS_WITH_VALUE, *REFUSED}
    assert names <= known
    words, notes = translate(
        ["a.yaml", "b", "--cuda", "--no-cuda", "--random-seed", "3", "--out-shard-size=2B", "--lora-merge-cache", "x"]
    )
    assert words == ["a.yaml", "b", "--device", "cuda", "--set", "seed=3", "--shard-size", "2B"]
    assert [note.partition(" changes nothing")[0] for note in notes] == ["--no-cuda", "--lora-merge-cache"]
    code, _, said = typed("merge", "none.yaml", "out", "--lazy-unpickle")
    assert code == 2
    assert said.splitlines()[0] == (
        "burnish: --lazy-unpickle changes nothing: models are always read piece by piece, and never unpickled"
    )


def test_quiet_leaves_results_and_errors(
    tmp_path: Path, typed: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BURNISH_QUIET", "")  # as it was before, when the test is over
    (tmp_path / "loop.yaml").write_text("method: tests.core.loops:METHOD\nsteps: 3\n")
    typed("run", "loop.yaml", "--out", "run")
    code, told, said = typed("run", "loop.yaml", "--out", "run")
    assert "already finished" in said
    code, again, said = typed("run", "loop.yaml", "--out", "run", "--quiet")
    assert (code, again, said) == (0, told, "")


def test_a_run_keeps_a_log_and_check_says_what_its_folder_holds(
    tmp_path: Path, typed: Callable[..., tuple[int, str, str]]
) -> None:
    (tmp_path / "loop.yaml").write_text("method: tests.core.loops:METHOD\nsteps: 3\n")
    told = json.loads(typed("check", "loop.yaml", "--out", "run", "--json")[1])
    assert next(row["value"] for row in told if row["what"] == "folder").startswith("run: new; ")
    assert typed("run", "loop.yaml", "--out", "run")[0] == 0
    log = (tmp_path / "run" / "run.log").read_text()
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+ INFO burnish: burnish run loop.yaml --out run ", log)
    typed("run", "loop.yaml", "--out", "run")
    assert (tmp_path / "run" / "run.log").read_text() == log  # a finished run is left as it is
    told = json.loads(typed("check", "loop.yaml", "--out", "run", "--json")[1])
    assert next(row["value"] for row in told if row["what"] == "folder").startswith("run: finished; ")
    assert "differs in steps" in typed("check", "loop.yaml", "--out", "run", "--set", "steps=4")[2]
    assert typed("report", "run", "--out", "elsewhere.html")[1] == "elsewhere.html\n"
    assert (tmp_path / "elsewhere.html").read_text().startswith("<!doctype html>")


def test_output_that_is_ascii_full_or_gone(tmp_path: Path) -> None:
    """Streams of real processes: in a terminal that knows ASCII only, on a full disk, in a pipe that nobody reads."""
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "COLUMNS": "80"}
    line = shlex.join([*BURNISH, "recipes", "--json"])

    def shell(command: str) -> tuple[str, str]:
        done = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, check=True)
        return done.stdout.decode("ascii"), done.stderr.decode("ascii")

    assert "planning_acting" in shell(shlex.join([*BURNISH, "study", "list"]))[0]
    said = "burnish: standard output: No space left on device; the work may be done and is not told\n"
    assert shell(f"{line} > /dev/full; echo $?") == ("1\n", said)
    assert shell(f"{line} | true; echo ${{PIPESTATUS[0]}}") == ("0\n", "")


def test_no_word_of_a_table_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    word = "https://example.org/" + "x" * 300
    print_table([{"what": "address", "value": word}], False)
    shown = capsys.readouterr().out
    assert "…" not in shown
    assert word in "".join(line.replace("address", "").strip() for line in shown.splitlines())


def test_a_misspelt_setting_is_named_before_anything_heavy_is_imported(tmp_path: Path) -> None:
    names = [name for name in shipped_recipes() if name.endswith("/tiny") and not name.startswith("merge/")]
    code = (
        "import sys\nfrom burnish import api\nfrom burnish.core.errors import UserError\n"
        f"for name in {names!r}:\n"
        "    try: api.run(name, overrides={'stepz': 1})\n"
        "    except UserError as error: assert '`stepz` is not a setting' in str(error), error\n"
        "    else: raise SystemExit(name)\n"
        "print(sorted({'torch', 'transformers', 'trl', 'sklearn', 'scipy', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == "[]\n"


def test_a_number_is_data_in_json_and_words_for_a_person(capsys: pytest.CaptureFixture[str]) -> None:
    data = {"size_bytes": 6_200_000, "time_seconds": 185, "n": 1797}
    rows = [{"what": what, "value": value} for what, value in data.items()]
    print_table(rows, True)
    assert json.loads(capsys.readouterr().out) == rows
    print_table(rows, False)
    assert capsys.readouterr().out.split()[-10:] == ["size", "6", "MB", "time", "3", "min", "05", "s", "n", "1,797"]
    print_table([{"what": "seconds", "value": 185.2}], False)
    assert capsys.readouterr().out.split()[-6:] == ["time", "about", "3", "min", "05", "s"]
    print_table([{"name": "a", "took_seconds": 8.2}], False)
    assert capsys.readouterr().out.split()[-3:] == ["a", "8", "s"]


def test_json_of_a_finished_run_is_that_of_the_first_call(
    tmp_path: Path, typed: Callable[..., tuple[int, str, str]]
) -> None:
    (tmp_path / "loop.yaml").write_text("method: tests.core.loops:METHOD\nsteps: 2\n")
    first, again = (typed("run", "loop.yaml", "--out", "run", "--json")[1] for _ in range(2))
    assert json.loads(first) == json.loads(again)
    assert json.loads(first)["state"] == "finished"


def test_what_the_users_code_prints_is_no_part_of_the_json(
    tmp_path: Path, typed: Callable[..., tuple[int, str, str]]
) -> None:
    (tmp_path / "talks.py").write_text(
        "from burnish.core.method import Method\nfrom tests.core.loops import LoopRecipe\n\n\n"
        "def run(recipe, run):\n    print('said')\n    return 5\n\n\n"
        "METHOD = Method(name='talks', recipe=LoopRecipe, run=run)\n"
    )
    (tmp_path / "talks.yaml").write_text("method: talks:METHOD\n")
    status, out, error = typed("run", "talks.yaml", "--json")
    assert (status, json.loads(out)["value"]) == (0, 5)
    assert "said" in error


def test_what_worker_processes_print_is_no_part_of_the_json(capfd: pytest.CaptureFixture[str]) -> None:
    with only_data(True):
        os.write(1, b"a child's\n")
    print("data")
    assert capfd.readouterr() == ("data\n", "a child's\n")


def test_json_where_a_result_is_printed(typed: Callable[..., tuple[int, str, str]]) -> None:
    shown = {}
    for arguments in ("env", "recipes", "data digits", "study list"):
        code, shown[arguments], _ = typed(*arguments.split(), "--json")
        assert code == 0
        json.loads(shown[arguments])
    assert len({row["study"] for row in json.loads(shown["study list"])}) == 10


def test_changed_code_and_runs_beside_each_other(
    tmp_path: Path, typed: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "from tests.core.loops import METHOD  # noqa: F401\n"
    (tmp_path / "lent_to_cli.py").write_text(code)
    (tmp_path / "lent.yaml").write_text("method: lent_to_cli:METHOD\nsteps: 3\n")
    assert typed("run", "lent.yaml", "--out", "a")[0] == 0
    (tmp_path / "lent_to_cli.py").write_text(code + "# changed\n")
    status, _, said = typed("run", "lent.yaml", "--out", "a")
    assert status == 2
    assert said.endswith("start afresh, or allow the changed code (--fresh, --allow-changed-code)\n")
    assert said.count("\n") == 1
    assert typed("run", "lent.yaml", "--out", "a", "--allow-changed-code")[0] == 0
    monkeypatch.delitem(sys.modules, "lent_to_cli")  # another process: this one has imported the file as it was
    assert typed("run", "lent.yaml", "--out", "b", "--set", "steps=2")[0] == 0
    status, shown, _ = typed("compare", "a", "b", "--out", "page.html", "--json")
    found = json.loads(shown)
    assert {"setting": "steps", "a": 3, "b": 2} in found["settings"]
    assert any("code of lent_to_cli" in row["setting"] for row in found["settings"])
    assert (tmp_path / found["report"]).is_file()
    status, shown, _ = typed("compare", "a", "b")
    assert status == 0
    assert shown.splitlines()[-1] == "compare.html"


def test_numbers_that_json_does_not_have_are_null(typed: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    """A score may be NaN where nothing was measured; whoever reads the JSON may be no Python."""
    (tmp_path / "unmeasured.py").write_text(
        "from burnish.core.method import Method\nfrom burnish.core.recipe import Recipe\n"
        "def loop(recipe, run):\n    return {'score': float('nan'), 'worst': [float('-inf'), 1.5]}\n"
        "METHOD = Method(name='unmeasured', recipe=Recipe, run=loop)\n"
    )
    (tmp_path / "unmeasured.yaml").write_text("method: unmeasured:METHOD\n")

    def strict(name: str) -> None:
        raise ValueError(name)

    for _ in range(2):  # the run, and the call that finds it finished
        code, out, _ = typed("run", "unmeasured.yaml", "--json")
        assert code == 0
        assert json.loads(out, parse_constant=strict)["value"] == {"score": None, "worst": [None, 1.5]}
