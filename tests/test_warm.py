"""A command that starts at once ends, reads and says as one that does not."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest


def both(warm: Path, folder: Path, line: str) -> list[tuple[int, str]]:
    """Exit status and output of a line in bash, with the interpreter and with what stands in for it."""
    found = []
    for bins in (Path(sys.executable).parent, warm):
        path = os.pathsep.join([str(bins), str(Path(sys.executable).parent), os.environ["PATH"]])
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=folder,
            env=os.environ | {"PATH": path},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        found.append((done.returncode, done.stdout))
    return found


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("python script.py one 'two words'", 0),
        ("python -c 'import sys; sys.exit(3)'", 3),
        ("python -c 'import sys; sys.exit(\"why\")'", 1),
        ("python -c '1 / 0'", 1),
        ("python -c 'import os, signal; os.kill(os.getpid(), signal.SIGKILL)'; echo $? | grep 137", 0),
        ("timeout 1 python -c 'import time; time.sleep(50)'", 124),
        ("echo piped | python -c 'print(input())' | tr a-z A-Z", 0),
        ("SAID=this python -c 'import os; print(os.environ[\"SAID\"])'", 0),
        ("python -m json.tool nothing.json", 2),
    ],
)
def test_it_does_what_the_interpreter_does(warm: Path, tmp_path: Path, line: str, code: int) -> None:
    (tmp_path / "script.py").write_text(
        "import os, sys\nimport beside\nprint(sys.argv, os.getcwd(), __name__, beside.HERE)\n"
    )
    (tmp_path / "beside.py").write_text("HERE = 'beside'\n")
    real, copy = both(warm, tmp_path, line)
    assert copy == real
    assert copy[0] == code


def test_a_mistake_of_a_user_is_one(warm: Path, tmp_path: Path) -> None:
    done = subprocess.run([warm / "burnish", "run", "nothing"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("burnish: nothing: no such file")


def test_it_ends_with_who_asked(warm: Path, tmp_path: Path) -> None:
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    with subprocess.Popen([warm / "python", "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, text=True) as asking:
        assert asking.stdout is not None
        copy = psutil.Process(int(asking.stdout.readline()))
        asking.kill()
        copy.wait(30)


def test_two_at_a_time_each_hear_their_own_end(warm: Path, tmp_path: Path) -> None:
    code = "import os, sys, time\nwhile not os.path.exists(sys.argv[1]): time.sleep(.01)\nsys.exit(int(sys.argv[1]))"
    slow, fast = (
        subprocess.Popen([warm / "python", "-c", code, word], cwd=tmp_path, stdout=subprocess.DEVNULL) for word in "21"
    )
    (tmp_path / "1").touch()
    assert fast.wait(30) == 1
    assert slow.poll() is None
    (tmp_path / "2").touch()
    assert slow.wait(30) == 2


def test_who_goes_before_speaking_harms_nobody(warm: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(str(warm / "warm"))
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(str(warm / "warm"))
        socket.send_fds(asking, [b"."], [0, 1, 2])
        asking.sendall(b'["burnish", [')
    done = subprocess.run([warm / "python", "-c", "print(5)"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "5\n")
