"""Merges that use data: what statistics must be, what they are, and how much memory a merge with them takes."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from burnish.core.errors import UserError
from burnish.merge import collect_statistics, merge, plan
from burnish.merge import statistics as module
from burnish.merge.safetensors_file import read_metadata

from .checkpoints import family, plain, tensors_of, word_tokenizer


@pytest.fixture
def models(tmp_path: Path) -> list[Path]:
    return [plain(tmp_path / f"m{n}", {"w": torch.full((2, 3), float(n))}) for n in range(2)]


def recipe(models: list[Path], files: Sequence[Path | None], method: str = "regmean") -> dict:
    entries = [
        {"model": str(model)} | ({"statistics": str(file)} if file else {})
        for model, file in zip(models, files, strict=True)
    ]
    return {"merge_method": method, "models": entries}


def write(path: Path, shape: tuple[int, ...], name: str = "w", dtype=torch.float32, **metadata: str) -> Path:
    save_file({name: torch.eye(*shape).to(dtype)}, path, metadata={"kind": "gram"} | metadata)
    return path


class TestWhatIsRefused:
    def test_none_at_all(self, models: list[Path], tmp_path: Path) -> None:
        """It used to be a plain average under another name."""
        for method, kind in (("regmean", "gram"), ("fisher", "fisher")):
            with pytest.raises(UserError, match=rf"{method} needs `statistics` for .*merge stats`, kind {kind}"):
                plan(recipe(models, [None, None], method))
        file = write(tmp_path / "g.safetensors", (3, 3))
        with pytest.raises(UserError, match=r"needs `statistics` for .*m1;"):
            plan(recipe(models, [file, None]))

    def test_under_a_method_without(self, models: list[Path], tmp_path: Path) -> None:
        file = write(tmp_path / "g.safetensors", (3, 3))
        config = recipe(models, [file, None], "linear") | {"parameters": {"weight": 1.0}}
        with pytest.raises(UserError, match=r"linear does not use the `statistics` of .*m0; remove"):
            plan(config)

    @pytest.mark.parametrize(
        ("shape", "more", "message"),
        [
            ((2, 3), {}, r"tensor 'w' is \[2, 3\]; a Gram matrix of a weight of \[2, 3\] is \[3, 3\]"),
            ((2, 2), {}, r"is \[2, 2\]; a Gram matrix"),
            ((3, 3), {"kind": "fisher"}, "holds fisher statistics; regmean needs gram"),
            ((3, 3), {"name": "other"}, "no tensor has statistics from every model"),
            ((3, 3), {"dtype": torch.float64}, "is F64"),
        ],
    )
    def test_what_does_not_fit(
        self, shape: tuple[int, ...], more: dict, message: str, models: list[Path], tmp_path: Path
    ) -> None:
        file = write(tmp_path / "g.safetensors", shape, **more)
        with pytest.raises(UserError, match=message):
            plan(recipe(models, [file, file]))

    def test_of_another_model(self, models: list[Path], tmp_path: Path) -> None:
        files = [write(tmp_path / f"{n}.safetensors", (3, 3), model=str(model)) for n, model in enumerate(models)]
        plan(recipe(models, files))
        with pytest.raises(UserError, match=r"was gathered from .*m1, not from .*m0"):
            plan(recipe(models, files[::-1]))
        moved = write(tmp_path / "moved.safetensors", (3, 3), model="/no/longer/there")
        plan(recipe(models, [moved, moved]))

    def test_a_place_that_cannot_be_written(self, tmp_path: Path) -> None:
        """Said before the model is run."""
        with pytest.raises(UserError, match=r"/proc/x.safetensors: cannot be written"):
            collect_statistics(tmp_path, tmp_path / "text.txt", "/proc/x.safetensors")


def test_conv1d_is_known_by_the_file(tmp_path: Path) -> None:
    """GPT-2 stores (in, out): c_proj is square enough to hide a wrong axis, c_attn is not."""
    paths = family(tmp_path, "gpt2", 2)
    (tmp_path / "text.txt").write_text("w1 w2 w3\nw4 w5 w1\n")
    files: list[Path | None] = []
    for path in paths:
        word_tokenizer(path, ["<unk>", *(f"w{n}" for n in range(63))])
        files.append(collect_statistics(path, tmp_path / "text.txt", tmp_path / f"{path.name}.safetensors"))
    assert files[0]
    transposed = json.loads(read_metadata(files[0])["transposed"])
    assert "transformer.h.0.attn.c_attn.weight" in transposed
    config = recipe(paths, files)
    steps = {step.name: step for step in plan(config).steps}
    assert steps["transformer.h.0.attn.c_proj.weight"].parameters["input_axis"] == 0
    out = tensors_of(merge(config, tmp_path / "out", progress=False))
    name = "transformer.h.0.mlp.c_proj.weight"
    grams = [load_file(file)[name].double() for file in files if file]
    grams = [0.9 * gram + 0.1 * torch.diag(gram.diagonal()) for gram in grams]
    weights = [tensors_of(path)[name].double() for path in paths]
    average = sum(weights) / 2
    total = sum(grams)
    total = total + 1e-6 * total.diagonal().mean() * torch.eye(len(total), dtype=torch.float64)
    moment = sum(gram @ (weight - average) for gram, weight in zip(grams, weights, strict=True))
    expected = average + torch.linalg.solve(total, moment)
    torch.testing.assert_close(out[name].double(), expected, rtol=1e-4, atol=1e-5)


def test_gram_by_hand() -> None:
    """X^T X over all rows of all batches, divided by the number of rows."""
    torch.manual_seed(0)
    batches = [torch.randn(1, 5, 3), torch.randn(2, 4, 3)]
    network = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    network.forward = lambda x: network[1](network[0](x))  # type: ignore[method-assign]
    found = module._gram(network, ({"x": batch} for batch in batches))
    rows = torch.cat([batch.reshape(-1, 3) for batch in batches])
    torch.testing.assert_close(found["0.weight"], rows.T @ rows / 13)
    hidden = network[0](rows).detach()
    torch.testing.assert_close(found["1.weight"], hidden.T @ hidden / 13)


def test_gram_that_does_not_fit_in_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    class Small:
        available = 2 * 4 * (3 * 3 + 2 * 2) - 1

    monkeypatch.setattr(psutil, "virtual_memory", Small)
    with pytest.raises(UserError, match=r"Gram matrices of 2 layers \(up to 3 inputs\) take about .* GB are free"):
        module._check_memory(nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2)))
    Small.available += 1
    module._check_memory(nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2)))


def test_statistics_count_in_the_memory_of_a_step(tmp_path: Path) -> None:
    """A Gram matrix much larger than its weight: the merge used to wait for memory for ever."""
    models = [plain(tmp_path / f"m{n}", {"w": torch.full((2, 600), float(n))}) for n in range(2)]
    file = write(tmp_path / "g.safetensors", (600, 600))
    config = recipe(models, [file, file])
    step = plan(config).steps[0]
    assert step.working_bytes > 4 * 600 * 600 + 8 * 600 * 600
    code = "import sys, json; from burnish.merge import merge; merge(json.loads(sys.argv[1]), sys.argv[2], threads=1)"
    subprocess.run([sys.executable, "-c", code, json.dumps(config), tmp_path / "out"], timeout=60, check=True)
