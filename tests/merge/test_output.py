"""The output folder: one owner, whole or absent, durable, and "already done" only where it is true."""

import fcntl
import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from burnish.core.errors import UserError
from burnish.merge import merge, plan
from burnish.merge.open_files import OpenFiles
from burnish.merge.output import worker_count
from burnish.merge.output_folder import owned

from .checkpoints import plain, tensors_of


@pytest.fixture
def models(tmp_path: Path) -> list[Path]:
    return [plain(tmp_path / f"m{n}", {"w": torch.full((4, 4), float(n))}) for n in range(2)]


def average(models: list[Path], **more) -> dict:
    return {"merge_method": "linear", "models": [{"model": str(path)} for path in models]} | {
        "parameters": {"weight": 1.0},
        **more,
    }


def run(config: dict, out: Path, **more) -> Path:
    return merge(config, out, progress=False, **more)


class TestOwner:
    def test_a_second_process_is_refused_before_anything_is_removed(self, models: list[Path], tmp_path: Path) -> None:
        """`--fresh` beside a running merge used to delete what that one had written."""
        work = tmp_path / ".out.merging"
        work.mkdir()
        (work / "model.safetensors").write_text("half of it")
        hold = "import sys, os; from pathlib import Path; from burnish.merge.output_folder import owned\n"
        hold += "with owned(Path(sys.argv[1])): print(os.getpid(), flush=True); sys.stdin.read()"
        process = subprocess.Popen(
            [sys.executable, "-c", hold, tmp_path / "out"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout
        owner = process.stdout.readline().strip()
        for fresh in (True, False):
            with pytest.raises(UserError, match=rf"out: another process \({owner}\) is merging there"):
                run(average(models), tmp_path / "out", fresh=fresh)
        assert (work / "model.safetensors").read_text() == "half of it"
        process.kill()
        process.communicate()
        run(average(models), tmp_path / "out", fresh=True)
        assert sorted(path.name for path in tmp_path.glob(".out*")) == []

    def test_a_lock_on_a_removed_file_is_no_lock(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The owner before removes the file between our opening it and our locking it."""
        lock, flock = tmp_path / ".out.lock", fcntl.flock
        calls: list[int] = []

        def late(file, operation) -> None:
            if not calls:
                lock.unlink()
            calls.append(operation)
            flock(file, operation)

        monkeypatch.setattr(fcntl, "flock", late)
        with owned(tmp_path / "out"):
            assert (tmp_path / ".out.owner").read_text() == str(os.getpid())
        assert calls.count(fcntl.LOCK_EX | fcntl.LOCK_NB) > 1  # the first, on the removed file, did not count


class TestAlreadyDone:
    @pytest.mark.parametrize("damage", ["missing", "truncated", "flipped", "config", "side file"])
    def test_damage_is_seen(self, damage: str, models: list[Path], tmp_path: Path) -> None:
        (models[0] / "generation_config.json").write_text("{}")
        out = run(average(models), tmp_path / "out")
        weights = out / "model.safetensors"
        content = weights.read_bytes()
        if damage == "missing":
            weights.unlink()
        elif damage == "truncated":
            weights.write_bytes(content[:-1])
        elif damage == "flipped":
            weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        elif damage == "config":
            (out / "config.json").write_text("{}")
        else:
            (out / "generation_config.json").unlink()
        with pytest.raises(UserError, match=r"(went missing|changed).* since it was merged; start afresh"):
            run(average(models), out)
        run(average(models), out, fresh=True)
        assert weights.read_bytes() == content
        assert run(average(models), out) == out

    @pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "generation_config.json", "chat_template.jinja"])
    def test_a_changed_small_file_makes_another_merge(self, name: str, models: list[Path], tmp_path: Path) -> None:
        file = models[1] / name
        before = json.loads(file.read_text()) if file.exists() else {}
        file.write_text(json.dumps(before))
        out = run(average(models), tmp_path / "out")
        file.write_text(json.dumps(before | {"use_cache": False}))
        with pytest.raises(UserError, match="another finished merge"):
            run(average(models), out)

    def test_changed_adapter_and_statistics(self, tmp_path: Path) -> None:
        model = plain(tmp_path / "m", {"layers.0.q.weight": torch.ones(4, 3)})
        adapter, statistics = tmp_path / "adapter", tmp_path / "s.safetensors"
        adapter.mkdir()
        (adapter / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 4}))

        def halves(value: float) -> None:
            tensors = {"lora_A.weight": torch.full((2, 3), value), "lora_B.weight": torch.ones(4, 2)}
            save_file(
                {f"base_model.model.layers.0.q.{key}": tensor for key, tensor in tensors.items()},
                adapter / "adapter_model.safetensors",
            )

        def fisher(value: float) -> None:
            save_file({"layers.0.q.weight": torch.full((4, 3), value)}, statistics, metadata={"kind": "fisher"})

        halves(1.0)
        fisher(1.0)
        adapted = average([Path(f"{model}+{adapter}"), model])
        weighed = {
            "merge_method": "fisher",
            "models": [{"model": f"{model}+{adapter}"} | {"statistics": str(statistics)}] * 2,
        }
        outs = [run(config, tmp_path / f"out{index}") for index, config in enumerate((adapted, weighed))]
        halves(2.0)
        with pytest.raises(UserError, match="another finished merge"):
            run(adapted, outs[0])
        halves(1.0)
        fresh = run(weighed, outs[1], fresh=True)
        fisher(2.0)
        with pytest.raises(UserError, match="another finished merge"):
            run(weighed, fresh)

    def test_fingerprint_knows_device_and_version(self, models: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
        from burnish.merge import steps

        prints = {plan(average(models), device=device).fingerprint for device in ("cpu", "cuda")}
        monkeypatch.setattr(steps, "version", lambda name: "0.0.0")
        prints.add(plan(average(models)).fingerprint)
        assert len(prints) == 3


class TestPublish:
    def test_everything_is_fsynced_before_the_rename(
        self, models: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        events: list[str] = []
        fsync, rename = os.fsync, os.rename

        def synced(handle: int) -> None:
            events.append(Path(os.readlink(f"/proc/self/fd/{handle}")).name)
            fsync(handle)

        def renamed(source: Path, target: Path) -> None:
            events.append("rename") if Path(target).name == "out" else None
            rename(source, target)

        monkeypatch.setattr(os, "fsync", synced)
        monkeypatch.setattr(os, "rename", renamed)
        out = run(average(models), tmp_path / "out")
        before = events[: events.index("rename")]
        assert {path.name for path in out.iterdir()} | {".out.merging"} <= set(before)
        assert tmp_path.name in events[events.index("rename") :]

    def test_a_failed_rename_loses_nothing(
        self, models: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The journal goes after the rename: without it the next try would start from nothing."""
        rename = os.rename

        def failing(source: Path, target: Path) -> None:
            if Path(target).name == "out":
                raise OSError(5, "Input/output error")
            rename(source, target)

        monkeypatch.setattr(os, "rename", failing)
        with pytest.raises(Exception, match="Input/output error"):
            run(average(models), tmp_path / "out")
        assert (tmp_path / ".out.merging" / "journal.jsonl").is_file()
        monkeypatch.undo()
        stamp = (tmp_path / ".out.merging" / "model.safetensors").stat().st_mtime_ns
        out = run(average(models), tmp_path / "out")
        assert (out / "model.safetensors").stat().st_mtime_ns == stamp
        assert not (out / "journal.jsonl").exists()

    def test_killed_between_the_renames_of_a_replacement(self, models: list[Path], tmp_path: Path) -> None:
        out, old = run(average(models), tmp_path / "out"), tmp_path / ".out.replaced"
        os.rename(out, old)
        assert run(average(models), out) == out
        assert out.is_dir()
        assert not old.exists()
        shutil.copytree(out, old)
        run(average(models), out)
        assert not old.exists()

    def test_a_link_is_followed(self, models: list[Path], tmp_path: Path) -> None:
        (tmp_path / "disk").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "disk" / "merged")
        run(average(models), tmp_path / "link")
        run(average(models[::-1]), tmp_path / "link", fresh=True)
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "disk" / "merged" / "model.safetensors").is_file()

    def test_a_mount_point_is_refused(self, models: list[Path]) -> None:
        with pytest.raises(UserError, match="is a mount point"):
            run(average(models), Path("/proc"))


class TestOpenFiles:
    def test_more_shards_than_open_files(self, tmp_path: Path) -> None:
        """111 shards a model, 60 files a process."""
        paths = []
        for number in range(2):
            path = tmp_path / f"m{number}"
            path.mkdir()
            names = {f"h.{n}.a.w": f"model-{n:05d}-of-00111.safetensors" for n in range(111)}
            for name, file in names.items():
                save_file({name: torch.full((2,), float(number))}, path / file)
            (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
            (path / "config.json").write_text(json.dumps({"model_type": "x", "num_hidden_layers": 111}))
            paths.append(path)
        code = "import resource, sys, json; from burnish.merge import merge\n"
        code += "merge(json.loads(sys.argv[1]), sys.argv[2], threads=2, progress=False)"
        subprocess.run(
            [sys.executable, "-c", code, json.dumps(average(paths)), tmp_path / "out"],
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60)),
            check=True,
        )
        assert {float(tensor.mean()) for tensor in tensors_of(tmp_path / "out").values()} == {0.5}

    def test_a_file_in_use_stays_open(self, tmp_path: Path) -> None:
        for name in "abc":
            (tmp_path / name).write_text(name)
        handles = OpenFiles(most=1)
        with handles.borrow(tmp_path / "a") as first, handles.borrow(tmp_path / "b"), handles.borrow(tmp_path / "c"):
            assert os.pread(first, 1, 0) == b"a"
        handles.close()
        with handles.borrow(tmp_path / "b") as again:
            assert os.pread(again, 1, 0) == b"b"


def test_a_system_without_linux_calls(models: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """macOS has neither posix_fadvise nor sched_getaffinity."""
    monkeypatch.delattr(os, "posix_fadvise")
    monkeypatch.delattr(os, "sched_getaffinity")
    assert worker_count(None) >= 1
    assert run(average(models), tmp_path / "out").is_dir()


def test_full_device_memory_is_one_line(tmp_path: Path, models: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from burnish.merge import tensors

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(tensors, "load", full)
    config = {"merge_method": "karcher", "models": [{"model": str(path)} for path in models]}
    with pytest.raises(UserError, match=r"tensor 'w': the memory of cpu is full; use device cpu, or fewer threads"):
        run(config, tmp_path / "out")


class TestCard:
    def test_a_local_folder_is_no_hub_id(self, models: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(models[0].parent.parent)
        relative = [Path(models[0].parent.name) / path.name for path in models]
        out = run(average(relative), models[0].parent / "out")
        assert "base_model: []" in (out / "README.md").read_text()

    def test_a_fence_in_the_yaml_stays_inside(self, models: list[Path], tmp_path: Path) -> None:
        recipe = tmp_path / "r.yaml"
        recipe.write_text(f"# ```\n# # not a title\n{json.dumps(average(models))}\n")
        lines = (merge(recipe, tmp_path / "out", progress=False) / "README.md").read_text().splitlines()
        start = lines.index("````yaml")
        assert lines.index("# # not a title") < lines.index("````", start)
