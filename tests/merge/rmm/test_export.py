"""What a search leaves behind: the user's own kind of folder, and a YAML that ``burnish merge`` rebuilds it from."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from burnish.core.run import Run
from burnish.merge import merge as burnish_merge
from burnish.merge.rmm.architecture import Scales
from burnish.merge.rmm.export import build, merge_yaml
from burnish.merge.rmm.loop import search
from burnish.merge.rmm.problem import Problem
from tests.merge.rmm.conftest import bart, bert, drifted, gpt2, llama, save_run, t5, task_for, vit


def bare(folder, prefix):
    """The same checkpoint, spelled as the hub's old ones are: without the base model's prefix."""
    file = folder / "model.safetensors"
    save_file({name.removeprefix(prefix): tensor for name, tensor in load_file(file).items()}, file, {"format": "pt"})


@pytest.mark.parametrize(
    ("make", "prefix"),
    [(gpt2, "transformer."), (gpt2, ""), (llama, ""), (llama, "model."), (bert, ""), (t5, ""), (bart, ""), (vit, "")],
    ids=lambda each: getattr(each, "__name__", each),
)
def test_scales_are_rebuilt_from_names_as_written(tmp_path, make, prefix):
    base = make()
    models = [base, drifted(base, 1), drifted(base, 2)]
    folders = [tmp_path / name for name in ("base", "one", "two")]
    for model, folder in zip(models, folders, strict=True):
        model.save_pretrained(folder)
        if prefix:
            bare(folder, prefix)
    task = task_for(base)
    problem = Problem.from_models(base, models[1:], [task], [task])
    rows = sum(problem.layout.lengths)
    scales = Scales(tuple((0.9 - 0.2 * row, 0.1 + 0.3 * row) for row in range(rows)))
    pool = problem.pool([], 0)
    written = merge_yaml(problem, pool, scales, str(folders[0]), [str(each) for each in folders[1:]], str)
    assert written is not None
    (tmp_path / "architecture.yaml").write_text(json.dumps(written))
    rebuilt = type(base).from_pretrained(
        burnish_merge(tmp_path / "architecture.yaml", tmp_path / "out", progress=False)
    )
    own = dict(build(problem, pool.weights(scales)).named_parameters())
    for name, parameter in rebuilt.named_parameters():
        if name.split(".")[0] not in problem.layout.heads:
            torch.testing.assert_close(parameter, own[name], rtol=0, atol=1e-6, msg=name)


@pytest.mark.parametrize("actions", ["scales", "blocks"])
def test_the_exported_folder_is_the_users_kind_of_model(tmp_path, actions):
    from transformers import ViTImageProcessor

    settings = save_run(tmp_path, budget=12, search="random", actions=actions)
    for name in (settings.base, *settings.experts):
        type(vit()).from_pretrained(name).to(torch.bfloat16).save_pretrained(name)
    ViTImageProcessor(size={"height": 8, "width": 8}).save_pretrained(settings.base)
    (tmp_path / "base" / "generation_config.json").write_text('{"max_length": 7}')
    with Run(settings, tmp_path / "run", quiet=True) as run:
        folder = search(settings, run)
    held = load_file(folder / "model.safetensors")
    assert {tensor.dtype for tensor in held.values()} == {torch.bfloat16}
    assert json.loads((folder / "config.json").read_text())["dtype"] == "bfloat16"
    for name in ("preprocessor_config.json", "generation_config.json"):
        assert (folder / name).read_bytes() == (tmp_path / "base" / name).read_bytes()
    rebuilt = burnish_merge(tmp_path / "run/artifacts/architecture.yaml", tmp_path / "rebuilt", progress=False)
    again = load_file(rebuilt / "model.safetensors")
    for name, tensor in again.items():
        assert tensor.dtype == torch.bfloat16
        if not name.startswith("classifier"):
            torch.testing.assert_close(tensor.float(), held[name].float(), rtol=2**-7, atol=1e-5, msg=name)
