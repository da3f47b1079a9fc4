"""Burnish as a wheel, in clean environments that uv made, without pip: on every interpreter at hand that it allows.

Nothing is fetched: uv takes from its cache what the set-up has put there. An interpreter for which that is not enough
(another minor version) is left out; the one that runs the tests never is.
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
UV = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
OFFLINE = {"UV_OFFLINE": "1", "UV_FIND_LINKS": os.environ.get("UV_FIND_LINKS") or os.environ.get("PIP_FIND_LINKS", "")}
SAID = "trainprove needs mlxtend, sklearn; the extra `realdata` brings it: "

pytestmark = [pytest.mark.slow, pytest.mark.skipif(UV is None, reason="uv is not here (the set-up installs it)")]


def done(words: Sequence[str | Path], cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.run(
        list(map(str, words)),
        cwd=cwd,
        env={**kept, **OFFLINE, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    assert UV is not None
    out = tmp_path_factory.mktemp("wheel")
    made = done([UV, "build", "--wheel", "-o", str(out), str(ROOT)], out)
    assert made.returncode == 0, made.stderr
    return next(out.glob("*.whl"))


def interpreters() -> list[str]:
    """Python 3.11 and newer, one of each version; that of the tests first."""
    here = ".".join(map(str, sys.version_info[:3]))
    if UV is None:
        return [here]
    listed = done([UV, "python", "list", "--only-installed", "--output-format", "json"], ROOT)
    found = {here: sys.executable}
    for each in json.loads(listed.stdout or "[]"):
        version = each["version_parts"]
        if (version["major"], version["minor"]) >= (3, 11) and each["implementation"] == "cpython":
            found.setdefault(each["version"], each["path"])
    return list(found.values())


@pytest.mark.parametrize("interpreter", interpreters())
def test_a_wheel_works_where_there_is_no_pip_and_says_what_is_missing(
    interpreter: str, wheel: Path, tmp_path: Path
) -> None:
    assert UV is not None
    made = done([UV, "venv", "-q", "--python", interpreter, tmp_path / "venv"], tmp_path)
    assert made.returncode == 0, made.stderr
    python = tmp_path / "venv" / "bin" / "python"
    install: list[str | Path] = [UV, "pip", "install", "-q", "--python", python, "-c", ROOT / "constraints.txt"]
    installed = done([*install, wheel], tmp_path)
    if installed.returncode and interpreter != sys.executable:
        pytest.skip(f"{interpreter}: not all that it needs is in uv's cache")
    assert installed.returncode == 0, installed.stderr
    assert done([python, "-m", "pip", "--version"], tmp_path).returncode != 0

    def burnish(*words: str) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([str(Path(UV or "").parent), os.environ.get("PATH", "")])
        return done([python.with_name("burnish"), *words], tmp_path, PATH=path, BURNISH_CACHE=str(tmp_path / "cache"))

    assert burnish("--version").stdout.startswith("burnish ")
    assert [row["recipe"] for row in json.loads(burnish("recipes", "--json").stdout)].count("trainprove/tiny") == 1

    # What a recipe lacks is named before it runs, and the command that is shown mends it.
    for verb in ("check", "run"):
        lacking = burnish(verb, "trainprove/tiny")
        command = lacking.stderr.strip().partition(SAID)[2]
        assert (lacking.returncode, command) == (2, f"uv pip install --python {python} '{wheel}[realdata]'")
    mended = done(["sh", "-c", f"{shutil.which('env')} PATH='{Path(UV).parent}':\"$PATH\" {command} -q"], tmp_path)
    assert mended.returncode == 0, mended.stderr
    assert burnish("check", "trainprove/tiny").returncode == 0

    # Registry packages are unpacked by every 3.11 (tarfile's own filters came with 3.11.4), wheels without pip.
    (tmp_path / "a.txt").write_text("a")
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as archive:
        archive.add(tmp_path / "a.txt", "package/a.txt")
    code = (
        "from importlib.metadata import version; from pathlib import Path\n"
        "from burnish.testbeds.packages import from_pypi, unpack\n"
        "unpack(Path('a.tgz'), Path('out'))\n"
        "from_pypi(f'filelock=={version(\"filelock\")}', {'filelock/__init__.py': Path('out/filelock.py')})\n"
    )
    path = os.pathsep.join([str(Path(UV).parent), os.environ.get("PATH", "")])
    unpacked = done([python, "-c", code], tmp_path, PATH=path)
    assert unpacked.returncode == 0, unpacked.stderr
    assert (tmp_path / "out" / "package" / "a.txt").read_text() == "a"
    assert "FileLock" in (tmp_path / "out" / "filelock.py").read_text()
