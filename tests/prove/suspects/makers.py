"""Small suspects of every kind, made in the test's own folder."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np


def pictures(count: int = 6, side: int = 8, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, channels), np.uint8)


def vit(folder: Path, *, head: bool = True, processor: bool = False, labels: int = 4, **more: Any) -> Path:
    import torch
    import transformers

    torch.manual_seed(3)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.ViTConfig(**{**sizes, "image_size": 8, "patch_size": 4, "num_labels": labels, **more})
    cls = transformers.ViTForImageClassification if head else transformers.ViTModel
    cls(config).save_pretrained(folder)
    if processor:
        transformers.ViTImageProcessor(size={"height": 8, "width": 8}).save_pretrained(folder)
    return folder


def graph(
    path: Path,
    shape: list[Any],
    *,
    outputs: dict[str, list[Any]] | None = None,
    kind: int | None = None,
    domain: str = "",
) -> Path:
    """A graph that averages over space: one number a channel and picture."""
    import onnx
    from onnx import TensorProto, helper

    kind = TensorProto.FLOAT if kind is None else kind
    space = [2, 3] if shape[1] in (1, 3) else [1, 2]
    nodes = [helper.make_node("Cast", ["pixels"], ["cast"], to=TensorProto.FLOAT)]
    outputs = outputs or {"logits": ["batch", 3]}
    for name in outputs:
        op = "ReduceMean" if not domain else "Mine"
        nodes.append(helper.make_node(op, ["cast", "axes"], [name], keepdims=0, domain=domain))
    axes = helper.make_tensor("axes", TensorProto.INT64, [2], space)
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("pixels", kind, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, size) for name, size in outputs.items()],
        [axes],
    )
    opsets = [helper.make_opsetid("", 18), *([helper.make_opsetid(domain, 1)] if domain else [])]
    model = helper.make_model(made, opset_imports=opsets, ir_version=10)
    path.write_bytes(model.SerializeToString())
    assert onnx.load_model_from_string(path.read_bytes()).graph.node
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def serving(app: Any) -> Iterator[str]:
    """The application on 127.0.0.1, in a thread; its address."""
    import uvicorn

    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    end = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < end, "the server does not start"
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)
