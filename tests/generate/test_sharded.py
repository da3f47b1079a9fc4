"""FSDP2 over two processes of which neither has every kind of token: the step of one process with both batches."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from burnish.generate.experts import copy_expert
from burnish.generate.model import UnifiedModel
from burnish.generate.records import Batch
from tests.forked import CONTEXT
from tests.generate.small import different_experts, layout, random_batch, small_model

BATCHES = (layout(("text", 3), ("noisy", 4, 0)), layout(("text", 5)))  # no clean picture, and the second nothing drawn


def step(model: UnifiedModel, batches: list[Batch], scale: float) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    for batch in batches:
        said = model(batch)
        loss = said.text_logits.square().sum() + said.estimates.square().sum() + said.heat.square().sum()
        (scale * loss).backward()
    optimizer.step()
    copy_expert(model, source=2, target=1)


def process(rank: int, folder: Path) -> None:
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import DTensor

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=2)
    mesh = init_device_mesh("cpu", (2,))
    model = different_experts(small_model("mint"))
    for layer in model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    step(model, [random_batch(BATCHES[rank], 2)], scale=2.0)  # gradients are averaged over processes
    whole = {}
    for name, parameter in model.named_parameters():
        assert isinstance(parameter, DTensor)
        if name.startswith("layers."):
            assert 2 * len(parameter.to_local()) == len(parameter)  # even, though three experts are on two processes
        whole[name] = parameter.full_tensor().clone()
    if rank == 0:
        save_file(whole, folder / "whole.safetensors")
    dist.destroy_process_group()


def test_a_process_without_a_kind_neither_waits_nor_differs(tmp_path: Path) -> None:
    workers = [CONTEXT.Process(target=process, args=(rank, tmp_path)) for rank in range(2)]
    for worker in workers:
        worker.start()
    model = different_experts(small_model("mint"))
    step(model, [random_batch(known, 2) for known in BATCHES], scale=1.0)
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
    for name, tensor in load_file(tmp_path / "whole.safetensors").items():
        torch.testing.assert_close(tensor, model.get_parameter(name), atol=1e-6, rtol=0)
