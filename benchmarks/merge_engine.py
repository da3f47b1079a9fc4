"""The merge engine beside mergekit 0.1.5 and beside a bare copy: whole processes, in turn, medians.

    python benchmarks/merge_engine.py [--size small|full] [--repeats 3] [--json FILE] [--methods linear,ties]

Three llama-shaped bf16 checkpoints (a base, two experts = base + small noise) are merged by mergekit at its default and
at its best CPU flags, by Burnish, and "merged" by the floor, which reads and writes the same bytes, as durably, and
computes nothing. Both tools are called by their command lines, after one run of each that is not counted; the first run
of ours on a machine, which compiles the kernels, is given beside it.
Start-up is the same command on checkpoints of a few kilobytes: imports, code generation, files of the result. CPU for
the work is CPU time less that of the start-up. Peak memory is the process's own maximum.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

START_UP = {"hidden": 64, "intermediate": 128, "layers": 1, "vocabulary": 256, "kv": 64}
SIZES = {
    # 468 M weights, 0.94 GB in bf16, and a tenth of it.
    "full": {"hidden": 2048, "intermediate": 5632, "layers": 7, "vocabulary": 32000, "kv": 512},
    "small": {"hidden": 1024, "intermediate": 2816, "layers": 2, "vocabulary": 8000, "kv": 256},
}
METHODS = {
    "linear": ({"weight": 0.5}, {}),
    "slerp": ({}, {"t": 0.4}),
    "ties": ({"weight": 0.5, "density": 0.5}, {"normalize": True}),
    "dare_ties": ({"weight": 0.5, "density": 0.5}, {}),
}
FLOOR = """
import os, sys
from concurrent.futures import ThreadPoolExecutor
out, *files = sys.argv[1:]
sizes = [os.path.getsize(file) for file in files]
handles = [os.open(file, os.O_RDONLY) for file in files]
target = os.open(out, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
os.ftruncate(target, sizes[0])
def work(part):
    buffer = memoryview(bytearray(1 << 20))
    for start in range(part << 20, sizes[0], 2 << 20):
        for handle in handles:
            count = os.preadv(handle, [buffer], start)
        os.pwrite(target, buffer[:count], start)
with ThreadPoolExecutor(2) as pool:
    list(pool.map(work, range(2)))
os.fsync(target)
"""


def checkpoints(folder: Path, size: dict[str, int]) -> list[Path]:
    """A base and two experts, in shards of at most 500 MB."""
    import torch
    from safetensors.torch import save_file

    h, i, kv = size["hidden"], size["intermediate"], size["kv"]
    shapes = {"model.embed_tokens.weight": (size["vocabulary"], h), "lm_head.weight": (size["vocabulary"], h)}
    shapes["model.norm.weight"] = (h,)
    for layer in range(size["layers"]):
        parts = {
            "self_attn.q_proj": (h, h), "self_attn.k_proj": (kv, h), "self_attn.v_proj": (kv, h),
            "self_attn.o_proj": (h, h), "mlp.gate_proj": (i, h), "mlp.up_proj": (i, h), "mlp.down_proj": (h, i),
            "input_layernorm": (h,), "post_attention_layernorm": (h,),
        }  # fmt: skip
        shapes |= {f"model.layers.{layer}.{name}.weight": shape for name, shape in parts.items()}
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": h, "intermediate_size": i,
        "num_hidden_layers": size["layers"], "num_attention_heads": h // 64, "num_key_value_heads": kv // 64,
        "vocab_size": size["vocabulary"], "tie_word_embeddings": False, "torch_dtype": "bfloat16",
    }  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    base = {name: (0.02 * torch.randn(shape, generator=generator)).bfloat16() for name, shape in shapes.items()}
    paths = []
    for number in range(3):
        path = folder / f"model-{number}"
        path.mkdir()
        tensors = base
        if number:
            noise = {name: 0.002 * torch.randn(tensor.shape, generator=generator) for name, tensor in base.items()}
            tensors = {name: (tensor + noise[name]).bfloat16() for name, tensor in base.items()}
        shards: list[dict[str, torch.Tensor]] = [{}]
        for name, tensor in tensors.items():
            if sum(held.nbytes for held in shards[-1].values()) + tensor.nbytes > 500_000_000:
                shards.append({})
            shards[-1][name] = tensor
        weight_map = {}
        for index, shard in enumerate(shards, start=1):
            file = f"model-{index:05d}-of-{len(shards):05d}.safetensors"
            save_file(shard, path / file, metadata={"format": "pt"})
            weight_map |= dict.fromkeys(shard, file)
        (path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
        (path / "config.json").write_text(json.dumps(config))
        paths.append(path)
    return paths


def recipe(method: str, paths: list[Path], folder: Path) -> Path:
    per_model, shared = METHODS[method]
    base, *experts = map(str, paths)
    used = [base, *experts] if method == "linear" else experts[:1] if method == "slerp" else experts
    config = {"merge_method": method, "models": [{"model": model, "parameters": per_model} for model in used]}
    config |= {"parameters": shared, "dtype": "bfloat16"} | ({} if method == "linear" else {"base_model": base})
    path = folder / f"{method}.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def measure(command: list[str], extra: dict[str, str] | None = None) -> dict[str, float]:
    """Wall seconds, CPU seconds and peak bytes of one process."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "PASSIVE"} | (extra or {})
    # A user has it unset: byte code is then cached, for both sides.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    # A fork would hand this process's own peak to the child; a spawn through a tiny shell does not.
    start = time.perf_counter()
    child = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - start
    if status:
        raise SystemExit(f"{' '.join(command)} failed:\n{child.stderr.read().decode()[-2000:] if child.stderr else ''}")
    return {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "peak": usage.ru_maxrss * 1024.0}


def commands(method: str, paths: list[Path], folder: Path) -> dict[str, list[str]]:
    path, out = str(recipe(method, paths, folder)), str(folder / "out")
    mergekit = [str(Path(sys.executable).with_name("mergekit-yaml")), path, out]
    used = [paths[0], paths[1]] if method == "slerp" else paths
    files = sorted(str(file) for model in used for file in model.glob("*.safetensors"))
    found = {
        "mergekit": mergekit,
        "mergekit best": [*mergekit, "--async-write", "-j", "2"],
        "burnish": [sys.executable, "-m", "burnish.cli", "merge", path, out],
    }
    # The floor reads every input shard by shard and writes one file a shard of the first model.
    per_shard = [
        [file for file in files if Path(file).name == name] for name in sorted({Path(file).name for file in files})
    ]
    script = "import sys, runpy\n" + "\n".join(
        f"sys.argv = ['floor', {out + f'-{number}'!r}, *{shard!r}]\nexec({FLOOR!r})"
        for number, shard in enumerate(per_shard)
    )
    return found | {"floor": [sys.executable, "-c", script]}


def clear(folder: Path) -> None:
    for path in folder.glob("out*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--skip", default="", help="tools to leave out, for example mergekit,mergekit best")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--folder", type=Path, help="where to put the checkpoints; default: a temporary folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        # In a process of its own: the parent stays small, and so does what a fork hands on.
        make = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import merge_engine as b, pathlib; "
        make += f"sizes = (b.SIZES[{arguments.size!r}], b.START_UP); "
        make += "[b.checkpoints(pathlib.Path(f), s) for f, s in zip(sys.argv[1:], sizes)]"
        places = [folder / "full", folder / "start-up"]
        for place in places:
            place.mkdir()
        subprocess.run([sys.executable, "-c", make, *map(str, places)], check=True)
        rows = run(arguments, *places)
    report(rows)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


def run(arguments: argparse.Namespace, folder: Path, tiny: Path) -> list[dict[str, object]]:
    skipped = arguments.skip.split(",")
    rows: list[dict[str, object]] = []
    for method in arguments.methods.split(","):
        everyone, small = (commands(method, sorted(place.glob("model-*")), place) for place in (folder, tiny))
        settle = everyone["floor"]
        tools = {tool: line for tool, line in everyone.items() if tool not in skipped}
        cold = 0.0
        if "burnish" in tools:
            # What a machine's very first merge costs: an empty cache of compiled kernels.
            with tempfile.TemporaryDirectory() as cache:
                clear(folder)
                cold = measure(tools["burnish"], {"BURNISH_CACHE": cache})["wall"]
        # One run each to warm byte code, compiled kernels and page cache.
        for tool in tools:
            clear(tiny)
            measure(small[tool])
        runs: dict[str, list[dict[str, float]]] = {}
        starts: dict[str, list[dict[str, float]]] = {}
        for _ in range(arguments.repeats):
            for tool, line in tools.items():
                clear(tiny)
                starts.setdefault(tool, []).append(measure(small[tool]))
                # A bare copy first: a virtual machine hands freed memory back to its host, and whoever came after a
                # tool that freed much would pay for getting it again.
                measure(settle)
                clear(folder)
                runs.setdefault(tool, []).append(measure(line))
        for tool, measured in runs.items():
            row = {key: statistics.median(entry[key] for entry in measured) for key in ("wall", "cpu", "peak")}
            before = {key: statistics.median(entry[key] for entry in starts[tool]) for key in ("wall", "cpu")}
            work = {f"work_{key}": max(row[key] - before[key], 0.0) for key in before}
            first = {"cold_wall": cold} if tool == "burnish" else {}
            rows.append(
                {"method": method, "tool": tool, **row, **work, **first, "runs": measured, "starts": starts[tool]}
            )
            print(f"{method} {tool}: {row['wall']:.2f} s", file=sys.stderr, flush=True)
    clear(folder)
    return rows


def report(rows: list[dict[str, object]]) -> None:
    print(f"{'method':10} {'tool':14} {'wall s':>8} {'CPU s':>8} {'work CPU':>9} {'peak GB':>8}")
    for row in rows:
        print(
            f"{row['method']:10} {row['tool']:14} {row['wall']:8.2f} {row['cpu']:8.2f} {row['work_cpu']:9.2f} "
            f"{row['peak'] / 1e9:8.2f}"  # type: ignore[operator]
        )
    for method in dict.fromkeys(str(row["method"]) for row in rows):
        by_tool = {str(row["tool"]): row for row in rows if row["method"] == method}
        ours, floor = by_tool.get("burnish"), by_tool.get("floor")
        if ours is None:
            continue
        peers = [row for tool, row in by_tool.items() if tool.startswith("mergekit")]
        said = []
        if peers:
            best = {key: min(float(row[key]) for row in peers) for key in ("wall", "cpu", "work_cpu", "peak")}  # type: ignore[arg-type]
            said += [f"{best[key] / max(float(ours[key]), 1e-9):.1f}x less {key}" for key in best]  # type: ignore[arg-type]
        if floor:
            # The floor starts up too (a bare Python); beside the whole processes stands the work of both.
            shares = [100 * float(floor[key]) / max(float(ours[key]), 1e-9) for key in ("wall", "work_wall")]  # type: ignore[arg-type]
            said.append(f"{shares[0]:.0f} % of the floor's speed, {shares[1]:.0f} % without start-up")
        said.append(f"{float(ours['cold_wall']):.2f} s on a machine's first run, kernels compiled")  # type: ignore[arg-type]
        print(f"{method}: {', '.join(said)}")


if __name__ == "__main__":
    main()
