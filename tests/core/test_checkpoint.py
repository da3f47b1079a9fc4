import math
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from burnish.core import checkpoint
from burnish.core.errors import BurnishError

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=3)
        | st.tuples(inner, inner)
    ),
    max_leaves=10,
)


def latest(folder: Path, warn: Callable[[str], Any]) -> tuple[int, dict[Any, Any]]:
    """The newest good checkpoint, which must be there."""
    found = checkpoint.load_latest(folder, warn)
    assert found is not None
    return found


@given(values)
def test_any_plain_state_comes_back_equal(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    folder = tmp_path_factory.mktemp("state")
    checkpoint.save(folder, 3, {"value": value}, keep=1)
    step, content = latest(folder, pytest.fail)
    assert (step, content) == (3, {"value": value})
    assert type(content["value"]) is type(value)


def test_tensors_and_arrays_come_back_with_their_bits(tmp_path: Path) -> None:
    shared = torch.randn(4, 4)
    state: dict[Any, Any] = {
        "bf16": torch.randn(3).bfloat16(),
        "strided": shared.t(),
        "shared": [shared, shared],
        "empty": torch.zeros(0, 2),
        "array": np.arange(6, dtype=np.uint32).reshape(2, 3),
        "odd": [math.inf, -math.inf],
        3: {"exp_avg": torch.ones(2)},
    }
    checkpoint.save(tmp_path, 0, state, keep=1)
    _, back = latest(tmp_path, pytest.fail)
    assert torch.equal(back["bf16"].view(torch.int16), state["bf16"].view(torch.int16))
    assert torch.equal(back["strided"], state["strided"])
    assert torch.equal(back["shared"][1], shared)
    assert back["empty"].shape == (0, 2)
    assert back["array"].dtype == np.uint32
    assert np.array_equal(back["array"], state["array"])
    assert back["odd"] == state["odd"]
    assert torch.equal(back[3]["exp_avg"], torch.ones(2))


@pytest.mark.parametrize("bad", [object(), {1.5: 2}, {"a": [print]}, {"f": b"bytes"}])
def test_what_no_checkpoint_can_hold_is_named(tmp_path: Path, bad: object) -> None:
    with pytest.raises(BurnishError, match="checkpoint: "):
        checkpoint.save(tmp_path, 0, {"state": bad}, keep=1)
    assert not list(tmp_path.iterdir())


def save_three(folder: Path) -> list[Path]:
    return [checkpoint.save(folder, step, {"w": torch.full((50,), float(step))}, keep=3) for step in range(3)]


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("fault", [truncate, flip, os.unlink])
@pytest.mark.parametrize("name", ["tensors.safetensors", "state.json", "manifest.json"])
def test_damage_is_named_and_the_one_before_is_used(tmp_path: Path, fault, name: str) -> None:
    *_, last = save_three(tmp_path)
    fault(last / name)
    warnings: list[str] = []
    step, content = latest(tmp_path, warnings.append)
    assert step == 1
    assert torch.equal(content["w"], torch.full((50,), 1.0))
    (warning,) = warnings
    assert str(last) in warning
    assert name in warning


def test_all_damaged_is_an_error_not_a_fresh_start(tmp_path: Path) -> None:
    for path in save_three(tmp_path):
        flip(path / "tensors.safetensors")
    with pytest.raises(BurnishError, match="every checkpoint is damaged"):
        latest(tmp_path, lambda _: None)


def test_only_the_last_are_kept(tmp_path: Path) -> None:
    for step in range(5):
        checkpoint.save(tmp_path, step, {}, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000003", "step-00000004"]


@pytest.fixture
def small_disk(tmp_path: Path):
    """A file system of 1 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() or shutil.which("mount") is None:
        pytest.skip("mounting a small tmpfs needs root")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small tmpfs is not allowed here")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_full_disk_is_one_line_and_the_last_good_one_loads(small_disk: Path) -> None:
    checkpoint.save(small_disk, 0, {"w": torch.ones(1000)}, keep=2)
    with pytest.raises(BurnishError, match="the disk is full; free some space") as caught:
        checkpoint.save(small_disk, 1, {"w": torch.ones(400_000)}, keep=2)
    assert "\n" not in str(caught.value)
    assert [path.name for path in small_disk.iterdir()] == ["step-00000000"]
    step, content = latest(small_disk, pytest.fail)
    assert step == 0
    assert torch.equal(content["w"], torch.ones(1000))


def test_full_disk_during_a_run_is_one_line(small_disk: Path) -> None:
    from burnish.core.run import Run
    from tests.core.loops import LoopRecipe, train

    recipe = LoopRecipe(checkpoint_every=0, steps=30, width=4096)
    with pytest.raises(BurnishError, match="the disk is full"), Run(recipe, small_disk / "run", quiet=True) as run:
        train(recipe, run)


@pytest.mark.parametrize(
    "manifest",
    ['{"files": {}}', '{"files": {"tensors.safetensors": {"sizf": 1, "sha256": ""}}}', '{"files": 3}', "[]"],
)
def test_a_damaged_manifest_costs_one_checkpoint(tmp_path: Path, manifest: str) -> None:
    *_, last = save_three(tmp_path)
    (last / "manifest.json").write_text(manifest)
    step, _ = latest(tmp_path, lambda _: None)
    assert step == 1


def test_rotation_never_drops_the_good_one_for_a_damaged_later_one(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 5, {"w": torch.ones(2)}, keep=1)
    later = tmp_path / "step-00000010"
    shutil.copytree(tmp_path / "step-00000005", later)
    flip(later / "tensors.safetensors")
    assert latest(tmp_path, lambda _: None)[0] == 5
    checkpoint.save(tmp_path, 7, {"w": torch.ones(2)}, keep=1)
    assert latest(tmp_path, pytest.fail)[0] == 7
