"""The revision that a stored claim names: of the code that ran, not of the claims that were stored meanwhile."""

import itertools
import subprocess
import time
from pathlib import Path

import pytest

from burnish.core import hardware


def test_stored_claims_make_no_revision_dirty_and_code_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docs" / "claims").mkdir(parents=True)
    (tmp_path / "src" / "burnish" / "core").mkdir(parents=True)
    files = [tmp_path / "docs" / "claims" / "rmm.json", tmp_path / "src" / "burnish" / "core" / "hardware.py"]
    for file in files:
        file.write_text("old")
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for words in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "one"]):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    monkeypatch.setattr(hardware, "__file__", str(files[1]))
    clean = hardware.git_revision()
    assert clean is not None
    assert not clean.endswith("-dirty")
    files[0].write_text("new")
    assert hardware.git_revision() == clean
    files[1].write_text("new")
    assert hardware.git_revision() == f"{clean}-dirty"


def test_the_rate_of_this_machine_is_measured_once_and_soon() -> None:
    hardware.flops_per_second.cache_clear()
    start = time.process_time()
    rate = hardware.flops_per_second()
    assert 1e8 < rate < 1e14
    assert time.process_time() - start < 5  # of all threads, on a machine that others use
    assert hardware.flops_per_second() == rate


def test_a_machine_that_others_use_is_no_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second of somebody else's work within every product."""
    seconds = itertools.count()
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(seconds)))
    hardware.flops_per_second.cache_clear()
    assert hardware.flops_per_second() > 1e9
    hardware.flops_per_second.cache_clear()
