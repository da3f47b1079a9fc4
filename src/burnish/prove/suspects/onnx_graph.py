"""A suspect that is an ONNX file, run by onnxruntime. The file is read once, as bytes; it reaches nothing else."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import UInt8

from burnish.core.errors import BurnishError, UserError, one_line
from burnish.core.packages import not_installed
from burnish.prove.images import resized, with_channels
from burnish.prove.suspects.settings import ONNX, Answer, SuspectSettings

# Operators that come with onnxruntime; any other domain would need a library that the file's author wrote.
DOMAINS = {"", "ai.onnx", "ai.onnx.ml", "com.microsoft"}
INPUTS = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}
FLOATS = ("tensor(float)", "tensor(float16)", "tensor(double)")
# What exporters call their outputs.
EMBEDDING = ("embedding", "pooler", "feature")
PROBABILITY = ("prob", "softmax")


@dataclass(frozen=True)
class Form:
    """What the graph's input wants: where channels lie, how many, which size and batch (none: any), which numbers."""

    layout: Literal["NCHW", "NHWC"]
    channels: int
    height: int | None
    width: int | None
    batch: int | None
    dtype: Any


class OnnxGraph:
    """An ONNX graph with one picture input. Float inputs get pixels / 255, uint8 inputs the bytes.

    Args:
        settings: the file and the device.
        answer: what it will be asked.
        note: told the layout and size found.

    Raises:
        UserError: no such file, not ONNX, weights outside the file, operators that onnxruntime lacks, an input that is
            no batch of pictures, or no output that could be the answer.
    """

    def __init__(
        self, settings: SuspectSettings, answer: Answer, note: Callable[[str], None] = lambda _message: None
    ) -> None:
        try:
            import onnxruntime
        except ModuleNotFoundError:
            raise not_installed("model: an ONNX suspect", ONNX) from None
        path = Path(settings.model).expanduser()
        if not path.is_file():
            raise UserError(f"{settings.model}: no such file")
        data = path.read_bytes()
        _refuse(path, data)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # its errors come back as exceptions too
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(data, options, providers=_providers(settings.device))
        except Exception as error:  # noqa: BLE001 - onnxruntime's own classes share no base
            raise UserError(f"{path}: onnxruntime cannot load it ({_short(error)})") from None
        self._path, self._answer, self._timeout = path, answer, settings.timeout
        self._input = self._session.get_inputs()
        self._form = _form(path, self._input)
        self._output = _output(path, answer, self._session.get_outputs())
        form = self._form
        size = "any size" if form.height is None else f"{form.width} x {form.height}"
        scaled = "" if form.dtype == np.uint8 else ", scaled to 0..1"
        output = one_line(self._output[0])
        note(f"{path}: input {form.layout}, {form.channels} channels, {size}{scaled}; answers from `{output}`")
        self.sent_bytes = 0
        self.retried = 0
        self.identity = f"onnx sha256:{hashlib.sha256(data).hexdigest()} output={output}"

    def answer(self, images: UInt8[np.ndarray, "n height width channels"]) -> Any:
        """Runs the graph; in its own batch size where that is fixed, the last batch filled up."""
        form = self._form
        images = with_channels(images, form.channels)
        images = resized(images, form.height or images.shape[1], form.width or images.shape[2])
        ready = images if form.layout == "NHWC" else images.transpose(0, 3, 1, 2)
        ready = np.ascontiguousarray(ready) if form.dtype == np.uint8 else (ready / np.float32(255)).astype(form.dtype)
        step = form.batch or len(ready)
        parts = []
        for start in range(0, len(ready), step):
            part = ready[start : start + step]
            filled = part if len(part) == step else np.concatenate([part, np.repeat(part[-1:], step - len(part), 0)])
            parts.append(self._run(filled)[: len(part)])
        return np.concatenate(parts)

    def refusal(self, problem: str) -> BurnishError:
        """The graph is at fault; the user picks another or wraps it."""
        return UserError(f"{self._path}: output `{self._output[0]}` gave {problem}")

    def close(self) -> None:
        """Let the weights go."""
        del self._session

    def _run(self, batch: np.ndarray) -> np.ndarray:
        import onnxruntime

        name, argmax = self._output
        # a stranger's graph may loop for ever; onnxruntime looks at the flag before each operator
        options = onnxruntime.RunOptions()
        alarm = threading.Timer(self._timeout, setattr, (options, "terminate", True))
        alarm.daemon = True
        alarm.start()
        try:
            found = np.asarray(self._session.run([name], {self._input[0].name: batch}, options)[0])
        except Exception as error:  # noqa: BLE001 - onnxruntime's own classes share no base
            if options.terminate:
                raise UserError(
                    f"{self._path}: no answer within {self._timeout:g} s; smaller `batch`, longer `timeout`, or "
                    "another model"
                ) from None
            raise UserError(f"{self._path}: onnxruntime cannot run it ({_short(error)})") from None
        finally:
            alarm.cancel()
        if found.ndim < 1 or len(found) != len(batch):
            raise UserError(f"{self._path}: output `{name}` of shape {found.shape} for {len(batch)} images")
        if argmax and found.ndim == 2:
            return np.asarray(found.argmax(1), np.int64)
        # Convolutional embeddings end in 1 x 1 maps.
        return found.reshape(found.shape[:2]) if found.ndim > 2 and found[0].size == found.shape[1] else found


def _refuse(path: Path, data: bytes) -> None:
    """What must not reach onnxruntime: weights in other files (a path of the author's choice), foreign operators."""
    try:
        import onnx
    except ModuleNotFoundError:
        raise not_installed("model: an ONNX suspect", ONNX) from None
    try:
        model = onnx.load_model_from_string(data)
    except Exception:  # noqa: BLE001 - the protobuf library's own class
        raise UserError(f"{path}: not an ONNX file, or a damaged one") from None
    if not model.graph.node:
        raise UserError(f"{path}: not an ONNX file, or one without a graph")
    local = {(function.domain, function.name) for function in model.functions}
    bodies = [model.graph.node, *(function.node for function in model.functions)]
    tensors = [*_initializers(model.graph)]
    for node in (node for body in bodies for node in _nodes(body)):
        if node.domain not in DOMAINS and (node.domain, node.op_type) not in local:
            raise UserError(
                f"{path}: operator {node.domain}::{node.op_type} is not part of onnxruntime, and no library is loaded; "
                "put the model behind an HTTP endpoint"
            )
        tensors += _attribute_tensors(node)
    for tensor in tensors:
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            raise UserError(f"{path}: weights outside the file ({tensor.name}); save it as one file")


def _attribute_tensors(node: Any) -> list[Any]:
    """Every tensor among a node's attributes, those of its inner graphs too."""
    tensors = []
    for attribute in node.attribute:
        tensors += [attribute.t, *attribute.tensors]
        for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
            tensors += [sparse.values, sparse.indices]
        for graph in (attribute.g, *attribute.graphs):
            tensors += _initializers(graph)
    return tensors


def _nodes(body: Any) -> Iterator[Any]:
    """Every node, those of the graphs inside If, Loop and Scan included."""
    waiting = list(body)
    while waiting:
        node = waiting.pop()
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                waiting += graph.node


def _initializers(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)


def _providers(device: str) -> list[Any]:
    import onnxruntime

    if device == "cpu":
        return ["CPUExecutionProvider"]
    name, _, number = device.partition(":")
    if name != "cuda" or "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise UserError(f"device: this onnxruntime cannot run on {device}; use cpu (or install onnxruntime-gpu)")
    return [("CUDAExecutionProvider", {"device_id": number or "0"}), "CPUExecutionProvider"]


def _form(path: Path, inputs: list[Any]) -> Form:
    if len(inputs) != 1:
        names = ", ".join(one.name for one in inputs) or "none"
        raise UserError(f"{path}: {len(inputs)} inputs ({names}); a suspect has one, a batch of pictures")
    shape, kind = inputs[0].shape, inputs[0].type
    shown = f"input `{inputs[0].name}` of shape {shape}"
    if kind not in INPUTS:
        raise UserError(f"{path}: {shown} takes {kind}; wanted float, float16 or uint8")
    if len(shape) != 4:
        raise UserError(
            f"{path}: {shown} is no batch of pictures; wanted [batch, channels, height, width] or channels last"
        )
    first, last = shape[1] in (1, 3), shape[3] in (1, 3)
    if first == last:
        raise UserError(
            f"{path}: {shown}: which dimension holds the channels cannot be told; export it with 1 or 3 channels fixed"
        )
    batch, *rest = (one if isinstance(one, int) and one > 0 else None for one in shape)
    height, width = rest[1:] if first else rest[:2]
    return Form("NCHW" if first else "NHWC", shape[1] if first else shape[3], height, width, batch, INPUTS[kind])


def _output(path: Path, answer: Answer, outputs: list[Any]) -> tuple[str, bool]:
    """The output to read, and whether its largest entry is the answer."""
    other = {"labels": EMBEDDING, "logits": (*EMBEDDING, *PROBABILITY), "embeddings": ("logit", *PROBABILITY)}[answer]
    tables = [one for one in outputs if one.type in FLOATS and len(one.shape) in (0, 2, 4) and not _says(one, other)]
    if answer == "labels":
        for one in outputs:
            if one.type in ("tensor(int64)", "tensor(int32)") and len(one.shape) in (0, 1):
                return one.name, False
    wanted = EMBEDDING if answer == "embeddings" else ("logit",)
    named = [one for one in tables if _says(one, wanted)]
    chosen = named[0] if named else tables[0] if len(tables) == 1 else None
    if chosen is None:
        shown = ", ".join(f"{one.name} {one.type} {one.shape}" for one in outputs) or "none"
        raise UserError(
            f"{path}: which output holds the {answer} cannot be told ({shown[:200]}); name it `{wanted[0]}s` or keep "
            "only it"
        )
    return chosen.name, answer == "labels"


def _says(output: Any, words: tuple[str, ...]) -> bool:
    return any(word in output.name.lower() for word in words)


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
