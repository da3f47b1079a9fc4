"""Code that a recipe lends: what counts, what is refused when it changes, whose an error is."""

import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures.process import _RemoteTraceback
from pathlib import Path

import pytest

from burnish.core.errors import UserError
from burnish.core.method import import_object, load_recipe
from burnish.core.run import Run
from burnish.core.user_code import LentCode, changes, changes_in_words, lent_code, line_in, theirs
from tests.core.loops import LoopRecipe

METHOD = "from burnish.core.method import Method\nfrom tests.core.loops import LoopRecipe\nimport {helper}\n\n{batch}\n"
Write = Callable[[str, str], Path]


@pytest.fixture
def lend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes a file of the user's into the working directory; its module is forgotten in the end."""
    before, path = set(sys.modules), list(sys.path)
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "home")

    def write(name: str, text: str) -> Path:
        file = Path.cwd() / name
        module = Path(name).parts[0].removesuffix(".py")
        if module in before:  # another test of this process has imported its own of that name
            monkeypatch.delitem(sys.modules, module, raising=False)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    yield write
    sys.path[:] = path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_lent_is_the_module_and_what_it_imports_from_its_folder(lend: Write) -> None:
    lend("mine.py", 'import json\n\nimport torch\nfrom burnish.core.run import Run\nLOOP = "parts.loop:run"\n')
    lend("parts/__init__.py", "")
    lend("parts/loop.py", "def run(recipe, run):\n    from . import shared\n    from .deep.er import x\n")
    lend("parts/shared.py", "import helper\n")
    lend("parts/deep/__init__.py", "from ..other import y\n")
    lend("parts/deep/er.py", "x = 1\n")
    lend("parts/other.py", "y = 1\n")
    lend("parts/unused.py", "")
    lend("helper.py", "import mine\n")  # in a circle
    lend("unused.py", "")
    parts = {f"parts{name}" for name in ("", ".loop", ".shared", ".deep", ".deep.er", ".other")}
    found = lent_code({"method": "mine:METHOD"})
    assert set(found.files) == {"mine", "helper", *parts}
    assert found.folders == (Path.cwd().resolve(),)
    assert not {"mine", "helper", "parts"} & sys.modules.keys()  # nothing was imported for that


@pytest.mark.parametrize(
    "settings",
    [
        {"method": "lent:METHOD"},
        {"method": "study:lent:STUDY"},
        {"method": "rmm", "tasks": [{"name": "a", "score": "lent:score"}]},
        {"method": "planning_acting", "world": {"kind": "own", "function": "lent:world"}},
        {"method": "planning_acting", "planner": {"url": "policy:lent:decide"}},
        {"method": "hint_grpo", "rewards": ["accuracy", "lent:reward"]},
        {"method": "dov4cl", "suspect": {"kind": "python", "model": "lent:suspect"}},
    ],
)
def test_whichever_setting_lends_it(lend: Write, settings: dict[str, object]) -> None:
    lend("lent.py", "")
    assert list(lent_code(settings).files) == ["lent"]


def test_what_is_no_code_of_the_users(lend: Write) -> None:
    lend("study.py", "")
    lend("train.py", "")
    named = {
        "a": "json:loads",
        "b": "burnish.core.run:Run",
        "c": "absent:thing",
        "d": "http://train:80",
        "e": "9:train",
    }
    assert lent_code({"method": "study:rmm", **named, "f": "a word about train: none", "g": 3, "h": None}).files == {}


def test_of_an_installed_package_only_the_file_itself_counts() -> None:
    found = lent_code({"score": "yaml.nodes:Node"})
    assert list(found.files) == ["yaml.nodes"]
    assert found.folders == ()


def begin(lend: Write, batch: str = "BATCH = 64", helper: str = "x = 1\n") -> LoopRecipe:
    lend("helper_of_mine.py", helper)
    lend("method_of_mine.py", METHOD.format(helper="helper_of_mine", batch=batch))
    return LoopRecipe(method="method_of_mine:METHOD")


@pytest.mark.parametrize("status", ["interrupted", "finished"])
@pytest.mark.parametrize(("change", "file"), [({"batch": "BATCH = 8"}, "method"), ({"helper": "x = 2\n"}, "helper")])
def test_changed_code_is_refused_with_the_file(
    lend: Write, status: str, change: dict[str, str], file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    work(begin(lend), status)
    before = json.loads(Path("run/run.json").read_text())
    assert before["status"] == status
    changed = begin(lend, **change)
    said = rf"run: the code .* has changed since the run began \(\S*{file}_of_mine.py: SHA-256 \w{{12}}, now \w{{12}}\)"
    with pytest.raises(UserError, match=said) as caught:
        Run(changed, "run", quiet=True).__enter__()
    assert caught.value.arguments == ("fresh", "allow_changed_code")
    assert json.loads(Path("run/run.json").read_text()) == before
    with Run(changed, "run", allow_changed_code=True) as run:
        assert run.finished is (status == "finished")
    assert f"{file}_of_mine.py" in capsys.readouterr().err
    after = json.loads(Path("run/run.json").read_text())
    if status == "finished":
        assert after == before  # nothing was computed with the new code
        return
    (allowed,) = after["code_changes_allowed"]
    (one,) = allowed["files"]
    name = f"{file}_of_mine"
    assert (one["module"], one["before"]) == (name, before["code"]["files"][name]["sha256"])
    assert one["now"] == after["code"]["files"][name]["sha256"] != one["before"]
    with Run(changed, "run", quiet=True):
        pass  # from now on this is the run's code
    assert len(json.loads(Path("run/run.json").read_text())["code_changes_allowed"]) == 1


def work(recipe: LoopRecipe, status: str) -> None:
    try:
        with Run(recipe, "run", quiet=True) as run:
            run.artifact("half.json", {})
            if status == "interrupted":
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass


def test_fresh_takes_the_new_code_and_so_does_a_run_that_did_nothing_yet(lend: Write) -> None:
    work(begin(lend), "finished")
    with Run(begin(lend, "BATCH = 8"), "run", fresh=True, quiet=True) as run:
        assert not run.finished
    with pytest.raises(UserError, match="no such model"), Run(begin(lend), "refused", quiet=True):
        raise UserError("no such model")
    with Run(begin(lend, "BATCH = 4"), "refused", quiet=True) as run:
        assert run.resumed


def test_a_module_that_was_imported_before_it_changed_does_not_run(lend: Write) -> None:
    """In a notebook: the run would record the new file, and be one of the old code."""
    begin(lend)
    import_object("method_of_mine:BATCH", "method")
    work(begin(lend), "finished")
    changed = begin(lend, "BATCH = 1_000")
    before = Path("run/run.json").read_bytes()
    for folder, fresh in (("run", True), ("another", False)):
        with pytest.raises(UserError, match=r"method_of_mine.py: has changed since this Python imported it"):
            Run(changed, folder, fresh=fresh, quiet=True).__enter__()
    assert Path("run/run.json").read_bytes() == before  # nothing was thrown away
    importlib.invalidate_caches()
    importlib.reload(sys.modules["method_of_mine"])
    with Run(changed, "run", fresh=True, quiet=True) as run:
        assert not run.finished


def test_code_that_moved_with_its_content_is_the_same_and_new_or_absent_files_are_named(lend: Write) -> None:
    file = {"file": "/a/x.py", "sha256": "a" * 64}
    before = {"files": {"x": file, "y": {"file": "/a/y.py", "sha256": "b" * 64}}}
    assert changes(before, {"files": {"x": {**file, "file": "/b/x.py"}, "y": before["files"]["y"]}}) == []
    found = changes(before, {"files": {"x": file, "z": {"file": "/a/z.py", "sha256": "c" * 64}}})
    assert changes_in_words(found) == "/a/y.py: no longer used; /a/z.py: new"


def test_the_revision_of_the_users_repository_is_kept(lend: Write) -> None:
    lend("lent.py", "")
    assert lent_code({"score": "lent:f"}).record()["git_revisions"] == {str(Path.cwd()): None}
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org"]
    for line in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
        subprocess.run([*git, *line], check=True)
    (revision,) = lent_code({"score": "lent:f"}).record()["git_revisions"].values()
    assert len(revision) >= 12
    lend("lent.py", "x = 1\n")
    assert list(lent_code({"score": "lent:f"}).record()["git_revisions"].values()) == [f"{revision}-dirty"]


def test_an_error_is_theirs_where_it_came_through_their_code(lend: Write) -> None:
    file = lend("lent.py", "import json\n\n\ndef f():\n    return json.loads('{')\n")
    code = lent_code({"score": "lent:f"})
    function = import_object("lent:f", "score")
    with pytest.raises(UserError, match=r"lent.py:5: JSONDecodeError: .* \(in your score\)"), theirs(code, "score"):
        function()
    with pytest.raises(ZeroDivisionError), theirs(code, "score"):
        _ = 1 / 0
    with pytest.raises(UserError, match=r"^lent:METHOD: ZeroDivisionError"), theirs(code, "method", "lent:METHOD"):
        _ = 1 / 0
    lent = sys.modules["lent"]
    exec(compile("def leave():\n    raise SystemExit(3)\n", str(file), "exec"), vars(lent))
    with pytest.raises(UserError, match=r"lent.py:2: SystemExit: 3 \(in your score\)"), theirs(code, "score"):
        lent.leave()
    with pytest.raises(SystemExit), theirs(code, "score"):
        sys.exit(2)  # a rank that leaves without a word
    with pytest.raises(UserError, match=r"^as it is$"), theirs(code, "score"):
        raise UserError("as it is")
    sent = ValueError("x")
    text = f'Traceback:\n  File "/lib/pool.py", line 3\n  File "{file}", line 12, in f\n'
    sent.__cause__ = _RemoteTraceback(text)  # type: ignore[arg-type]  # a text, whatever its stub says
    assert line_in(sent, code) == f"{file}:12"
    assert line_in(sent, LentCode()) is None


def test_a_module_beside_its_recipe_is_found_from_any_folder(
    lend: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        lend(f"{name}/beside.py", "from tests.core.loops import METHOD\n")
        lend(f"{name}/loop.yaml", "method: beside:METHOD\nsteps: 7\n")
    (tmp_path / "elsewhere").mkdir()
    home = Path.cwd()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load_recipe(home / "one/loop.yaml")[1].method == "beside:METHOD"
    assert [lent.file for lent in lent_code("beside:METHOD").files.values()] == [home / "one/beside.py"]
    with pytest.raises(UserError, match=r"`beside` was imported from \S*one/beside.py, not from \S*two/beside.py"):
        load_recipe(home / "two/loop.yaml")
    load_recipe(home / "one/loop.yaml")  # whose turn it is again


def test_a_module_that_fails_to_import_is_named_with_the_line(lend: Write) -> None:
    lend("torn.py", "import json\n\nx = json.loads('{')\n")
    with pytest.raises(UserError, match=r"score: importing `torn` failed: JSONDecodeError: .* \(\S*torn.py:3\)"):
        import_object("torn:f", "score")
