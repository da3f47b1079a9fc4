"""The engine: worked examples through whole folders, threads, memory, resume after SIGKILL, what it refuses."""

import json
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from burnish.core.errors import UserError
from burnish.merge import merge

from .checkpoints import family, plain, tensors_of, word_tokenizer


def two(tmp_path: Path, base: list, *models: list, dtype=torch.float32) -> list[str]:
    rows = [base, *models]
    return [str(plain(tmp_path / f"m{n}", {"w": torch.tensor(row, dtype=dtype)})) for n, row in enumerate(rows)]


def merged(tmp_path: Path, config: dict, **options) -> torch.Tensor:
    return tensors_of(merge(config, tmp_path / "out", progress=False, **options))["w"]


def entries(paths: list[str], **parameters) -> list[dict]:
    return [{"model": path, "parameters": dict(parameters)} for path in paths]


class TestWorkedExamples:
    def test_task_arithmetic(self, tmp_path: Path) -> None:
        base, *models = two(tmp_path, [1.0, 2.0], [2.0, 2.0], [1.0, 4.0])
        config = {"merge_method": "task_arithmetic", "base_model": base, "models": entries(models, weight=0.5)}
        assert merged(tmp_path, config).tolist() == [1.5, 3.0]

    def test_ties(self, tmp_path: Path) -> None:
        base, *models = two(tmp_path, [0.0] * 4, [4.0, -1.0, 2.0, 0.0], [-3.0, 5.0, 1.0, -1.0])
        config = {"merge_method": "ties", "base_model": base, "models": entries(models, weight=1.0, density=0.5)}
        assert merged(tmp_path, config).tolist() == [4.0, 5.0, 2.0, 0.0]

    def test_dare_linear(self, tmp_path: Path) -> None:
        base, model = two(tmp_path, [0.0] * 4000, [1.0] * 4000)
        config = {
            "merge_method": "dare_linear",
            "base_model": base,
            "models": entries([model], weight=1.0, density=0.5),
        }
        out = merged(tmp_path, config)
        assert set(out.tolist()) == {0.0, 2.0}
        assert abs(out.mean() - 1) < 0.06

    def test_slerp(self, tmp_path: Path) -> None:
        base, model = two(tmp_path, [1.0, 0.0], [0.0, 1.0])
        config = {"merge_method": "slerp", "base_model": base, "models": entries([model]), "parameters": {"t": 0.5}}
        torch.testing.assert_close(merged(tmp_path, config), torch.tensor([0.70710678, 0.70710678]))

    def test_model_stock(self, tmp_path: Path) -> None:
        base, *models = two(tmp_path, [0.0, 0.0], [1.0, 0.0], [1.0, 1.0])
        cosine = 2**-0.5
        t = 2 * cosine / (1 + cosine)
        config = {"merge_method": "model_stock", "base_model": base, "models": entries(models)}
        torch.testing.assert_close(merged(tmp_path, config), t * torch.tensor([1.0, 0.5]))

    def test_breadcrumbs(self, tmp_path: Path) -> None:
        base, model = two(tmp_path, [0.0] * 4, [8.0, -4.0, 2.0, 1.0])
        models = entries([model], weight=1.0, density=0.5, gamma=0.25)
        config = {"merge_method": "breadcrumbs", "base_model": base, "models": models}
        assert merged(tmp_path, config).tolist() == [0.0, -4.0, 2.0, 0.0]


@pytest.fixture(scope="module")
def llamas(tmp_path_factory) -> list[Path]:
    return family(tmp_path_factory.mktemp("llamas"), "llama", 3, torch.bfloat16)


def ties(paths: list[Path], method: str = "ties") -> dict:
    base, *models = map(str, paths)
    return {"merge_method": method, "base_model": base, "models": entries(models, weight=0.5, density=0.5)}


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != "README.md"}


@pytest.mark.parametrize("method", ["ties", "dare_ties", "della"])
def test_same_bytes_at_any_number_of_threads(method: str, llamas: list[Path], tmp_path: Path) -> None:
    outs = [
        merge(ties(llamas, method), tmp_path / str(n), threads=n, progress=False, shard_size="20KB") for n in (1, 2, 3)
    ]
    first = bytes_of(outs[0])
    assert sum(name.endswith(".safetensors") for name in first) > 3
    assert all(bytes_of(out) == first for out in outs[1:])


@pytest.mark.parametrize("method", ["linear", "ties", "slerp", "model_stock"])
def test_a_model_merged_with_itself_is_the_model(method: str, llamas: list[Path], tmp_path: Path) -> None:
    model = str(llamas[1])
    models = entries(
        [model] * (1 if method == "slerp" else 2), **({"weight": 0.5} if method in ("linear", "ties") else {})
    )
    config: dict[str, Any] = {"merge_method": method}
    config |= {"models": [*entries([model]), *models] if method != "linear" else models}
    if method != "linear":
        config["base_model"] = model
    if method == "ties":
        config["models"] = [{"model": model, "parameters": {"weight": 0.5}}] * 3
    if method == "slerp":
        config["parameters"] = {"t": 0.5}
    found, expected = tensors_of(merge(config, tmp_path / "out", progress=False)), tensors_of(llamas[1])
    assert set(found) == set(expected)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_loads_with_transformers(llamas: list[Path], tmp_path: Path) -> None:
    word_tokenizer(llamas[0], ["<unk>", *(f"w{n}" for n in range(63))])
    (llamas[0] / "generation_config.json").write_text('{"max_new_tokens": 7}')
    base, one, two_ = map(str, llamas)
    slices = [
        {"sources": [{"model": one, "layer_range": [0, 2]}]},
        {"sources": [{"model": two_, "layer_range": [0, 3]}]},
    ]
    out = merge({"merge_method": "passthrough", "base_model": base, "slices": slices}, tmp_path / "out", progress=False)
    model = transformers.AutoModelForCausalLM.from_pretrained(out)
    assert model.config.num_hidden_layers == 5
    assert model.dtype == torch.bfloat16
    tokenizer = transformers.AutoTokenizer.from_pretrained(out)
    ids = tokenizer("w1 w5", return_tensors="pt")["input_ids"]
    assert ids.tolist() == [[2, 6]]
    assert model(ids).logits.isfinite().all()
    assert json.loads((out / "generation_config.json").read_text()) == {"max_new_tokens": 7}
    card = (out / "README.md").read_text()
    assert "passthrough" in card
    assert json.loads((out / "burnish_merge.json").read_text())["inputs"][1]["xxh3_128"] in card
    assert "layer_range" in (out / "mergekit_config.yml").read_text()


RESUME = """
import sys, time
from pathlib import Path
from typing import Any
from burnish.merge import engine, merge
finish = engine.Engine._finish
def slow(self, step, digest, inputs):
    finish(self, step, digest, inputs)
    print(step.name, flush=True)
    time.sleep(0.03)
engine.Engine._finish = slow
merge(Path(sys.argv[1]), sys.argv[2], threads=1, shard_size="20KB", progress=False)
"""


def test_goes_on_after_sigkill(llamas: list[Path], tmp_path: Path) -> None:
    """Killed at six places; finished shards are kept, a damaged one is made again, and the bytes are the same."""
    from burnish.merge.config import MergeConfig

    recipe = tmp_path / "ties.yaml"
    recipe.write_text(MergeConfig.load(ties(llamas)).yaml)
    whole = bytes_of(merge(recipe, tmp_path / "whole", threads=1, shard_size="20KB", progress=False))
    work, out = tmp_path / ".out.merging", tmp_path / "out"
    rng = random.Random(0)
    kept: set[str] = set()
    for _ in range(6):
        process = subprocess.Popen([sys.executable, "-c", RESUME, recipe, out], stdout=subprocess.PIPE, text=True)
        assert process.stdout
        for _ in range(rng.randint(3, 9)):
            process.stdout.readline()
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert not out.exists()
        finished = {path.name for path in work.glob("*.safetensors")}
        assert kept <= finished
        kept = finished
    assert kept
    times = {name: (work / name).stat().st_mtime_ns for name in kept}
    damaged = sorted(kept)[0]
    content = bytearray((work / damaged).read_bytes())
    content[-1] ^= 1
    (work / damaged).write_bytes(content)
    merge(recipe, out, threads=2, shard_size="20KB", progress=False)
    assert bytes_of(out) == whole
    assert all((out / name).stat().st_mtime_ns == times[name] for name in kept - {damaged})
    assert not work.exists()


MEMORY = """
import re, sys
from pathlib import Path
from typing import Any
from burnish.merge import merge, plan
def kept(what):  # not getrusage: it hands on the peak of the process that started this one
    return 1024 * int(re.search(what + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
made = plan(sys.argv[1], threads=2)
before = kept("RssAnon")  # its own memory: pages of llvmlite's 180-MB library are the system's to keep or drop
merge(sys.argv[1], sys.argv[2], threads=2, progress=False)
print(before, kept("VmHWM"), made.peak_memory, "torch" in sys.modules, "transformers" in sys.modules)
"""


def test_memory_is_bounded_and_torch_is_not_imported(tmp_path: Path) -> None:
    """32 tensors of 8 MB in three models: 768 MB read, with buffers for two tensors of each."""
    from burnish.merge.config import MergeConfig

    paths = []
    for number in range(3):
        tensors = {f"h.{n}.mlp.w": torch.randn(2048, 2048).bfloat16() for n in range(8)}
        paths.append(plain(tmp_path / str(number), tensors, {"model_type": "x", "num_hidden_layers": 8}))
    for method in ("linear", "ties", "slerp", "dare_ties"):
        config = ties(paths, method)
        if method in ("linear", "slerp"):
            del config["base_model"]
            config["models"] = entries([str(path) for path in paths], weight=0.5)
        if method == "slerp":
            config = {"merge_method": "slerp", "base_model": str(paths[0]), "models": entries([str(paths[1])])}
            config["parameters"] = {"t": 0.5}
        recipe = tmp_path / f"{method}.yaml"
        recipe.write_text(MergeConfig.load(config).yaml)
        command = [sys.executable, "-c", MEMORY, str(recipe), str(tmp_path / method)]
        before, after, predicted, *imported = subprocess.run(
            command, capture_output=True, text=True, check=True
        ).stdout.split()
        # Two steps of (3 inputs + 1 output) x 8 MB, and the process: on a fresh machine it compiles the kernels.
        assert float(after) < 2 * 4 * 8.4e6 + 300e6
        assert float(before) < 50e6
        assert float(predicted) < 2 * 4 * 8.4e6 + 300e6
        assert imported == ["False", "False"]


def test_import_is_cheap() -> None:
    code = (
        "import sys, burnish.merge; print([m for m in ('torch', 'transformers', 'numba', 'numpy') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


class TestOutputFolder:
    def test_finished_merge_is_left_alone(self, llamas: list[Path], tmp_path: Path) -> None:
        out = merge(ties(llamas), tmp_path / "out", progress=False)
        stamp = (out / "model.safetensors").stat().st_mtime_ns
        assert merge(ties(llamas), out, progress=False) == out
        assert (out / "model.safetensors").stat().st_mtime_ns == stamp
        with pytest.raises(UserError, match="another finished merge"):
            merge(ties(llamas, "dare_ties"), out, progress=False)
        merge(ties(llamas, "dare_ties"), out, fresh=True, progress=False)
        assert "dare_ties" in (out / "README.md").read_text()

    def test_foreign_folder_is_refused(self, llamas: list[Path], tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "mine.txt").write_text("precious")
        with pytest.raises(UserError, match="no merge of ours"):
            merge(ties(llamas), tmp_path / "out", fresh=True, progress=False)
        with pytest.raises(UserError, match="one of the models"):
            merge(ties(llamas), llamas[1], progress=False)

    def test_nothing_under_the_final_name_after_an_error(self, tmp_path: Path) -> None:
        base, *models = two(tmp_path, [0.0, 1.0], [1.0, float("nan")], [1.0, 1.0])
        config = {"merge_method": "ties", "base_model": base, "models": entries(models, weight=1.0)}
        with pytest.raises(UserError, match=r"tensor 'w' has NaN.*allow_nan"):
            merge(config, tmp_path / "out", progress=False)
        assert not (tmp_path / "out").exists()
        assert merge(config, tmp_path / "out", allow_nan=True, progress=False).exists()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
@pytest.mark.parametrize("weights", [(0.5, 0.5), (1.0, 0.0)])
def test_an_average_names_the_input_that_is_no_number(tmp_path: Path, dtype: Any, value: float, weights: Any) -> None:
    paths = two(tmp_path, [0.0, 1.0, 2.0], [3.0, value, 2.0], dtype=dtype)
    models = [entries([path], weight=weight)[0] for path, weight in zip(paths, weights, strict=True)]
    with pytest.raises(UserError, match=r"m1/.*tensor 'w' has NaN or infinite numbers; correct the model"):
        merge({"merge_method": "linear", "models": models}, tmp_path / "out", progress=False)


def test_overflow_of_the_result_is_named(tmp_path: Path) -> None:
    base, *models = two(tmp_path, [0.0], [60000.0], [60000.0], dtype=torch.float16)
    config = {"merge_method": "task_arithmetic", "base_model": base, "models": entries(models, weight=1.0)}
    with pytest.raises(UserError, match=r"tensor 'w': the result has NaN or infinite"):
        merge(config, tmp_path / "out", progress=False)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_device(llamas: list[Path], tmp_path: Path) -> None:
    cpu = tensors_of(merge(ties(llamas), tmp_path / "cpu", progress=False))
    gpu = tensors_of(merge(ties(llamas), tmp_path / "gpu", device="cuda", progress=False))
    for name in cpu:
        torch.testing.assert_close(cpu[name], gpu[name])


TWICE = """
import os, signal, sys, threading, time
from burnish.merge import engine, merge
streamed = engine.Engine._streamed
started, gone, written = (threading.Event() for _ in range(3))
def slow(self, step, output, inputs):
    started.set()
    gone.wait(30)
    print(os.path.basename(os.readlink(f"/proc/self/fd/{output}")), flush=True)
    written.set()
    return streamed(self, step, output, inputs)
engine.Engine._streamed = slow
def interrupt():
    started.wait(30)
    for _ in range(2):
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt, daemon=True).start()
models = [{"model": path, "parameters": {"weight": 0.5}} for path in sys.argv[2:]]
try:
    merge({"merge_method": "linear", "models": models}, sys.argv[1], threads=1, progress=False)
except BaseException:
    other = open(sys.argv[1] + ".other", "w")  # would get the number of a file that was closed
    gone.set()
    written.wait(30)  # Python does not, once a join was interrupted
"""


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="asks Linux which file a number is")
def test_interrupted_twice_a_worker_still_writes_into_its_own_file(tmp_path: Path) -> None:
    command = [sys.executable, "-c", TWICE, str(tmp_path / "out"), *two(tmp_path, [0.0, 1.0], [3.0, 2.0])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.stdout.strip() == "model.safetensors.part", done.stderr


def test_a_model_that_changes_between_two_passes_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ties reads a tensor three times; weights that change in between would be trimmed by another's threshold."""
    from burnish.merge import reading, safetensors_file

    base, *models = two(tmp_path, [0.0] * 64, [1.0] * 64, [2.0] * 64)
    read, seen = safetensors_file.read_exactly, []

    def changing(handle: int, target: memoryview, offset: int, path: Path) -> None:
        read(handle, target, offset, path)
        seen.append(path)
        if seen.count(path) == 2 and str(path).startswith(models[1]):
            target[:4] = b"\0\0\0\0"

    monkeypatch.setattr(reading, "read_exactly", changing)
    config = {"merge_method": "ties", "base_model": base, "models": entries(models, weight=1.0, density=0.5)}
    with pytest.raises(UserError, match=r"m2.*changed while it was read"):
        merge(config, tmp_path / "out", progress=False)
