"""A stranger's ONNX graph may loop for ever; the auditor does not wait for it."""

from pathlib import Path
from typing import Any

import pytest

from burnish.core.errors import UserError
from burnish.prove.suspects import SuspectSettings, open_suspect
from tests.prove.suspects.makers import pictures


def test_onnx_graph_that_never_ends(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    def value(name: str, kind: int, shape: list[Any] | None) -> Any:
        return helper.make_tensor_value_info(name, kind, shape)

    nodes = [helper.make_node("Identity", ["go_on"], ["go_on_"]), helper.make_node("Add", ["x", "x"], ["x_"])]
    inputs = [
        value("i", TensorProto.INT64, []),
        value("go_on", TensorProto.BOOL, []),
        value("x", TensorProto.FLOAT, None),
    ]
    outputs = [value("go_on_", TensorProto.BOOL, []), value("x_", TensorProto.FLOAT, None)]
    body = helper.make_graph(nodes, "body", inputs, outputs)
    mean = helper.make_node("ReduceMean", ["pixels"], ["start"], axes=[2, 3], keepdims=0)
    loop = helper.make_node("Loop", ["", "always", "start"], ["embedding"], body=body)
    whole = helper.make_graph(
        [mean, loop],
        "endless",
        [value("pixels", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [value("embedding", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor("always", TensorProto.BOOL, [], [True])],
    )
    model = helper.make_model(whole, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, tmp_path / "g.onnx")
    settings = SuspectSettings(model=str(tmp_path / "g.onnx"), timeout=0.2)
    with open_suspect(settings, "embeddings") as oracle, pytest.raises(UserError, match=r"no answer within 0\.2 s"):
        oracle.ask(pictures())
