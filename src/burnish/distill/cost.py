"""What a distillation costs: FLOPs of models, counted and not estimated, and a record of FLOPs and seconds by purpose.

A multiplication and an addition are two FLOPs; only matrix products and convolutions count. Models are counted on a
copy without storage (the meta device), so nothing is computed and a large model costs no memory. Attention is taken
apart into its products first: the fused kernels are not counted everywhere, on CPU they count as nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from burnish.core.errors import UserError

Logits = Callable[[nn.Module, Tensor], Tensor]
"""What a model says of a batch of clips, as it takes them."""


@dataclass(frozen=True)
class ModelFlops:
    """FLOPs of one sample; n samples in a batch cost n times as many.

    Attributes:
        forward: without gradients.
        training: forward and backward, gradients of the trained parameters alone; a step of an optimizer is not in it.
            Of a model without trained parameters: the same as forward.
    """

    forward: float
    training: float


def model_flops(model: nn.Module, logits: Logits, shape: tuple[int, ...]) -> ModelFlops:
    """Count a model's FLOPs for one sample: once for a model and a shape, then keep the record.

    The model itself is left as it is. One that cannot run without storage (it looks at values on its way) is copied
    and runs on its own device.

    Args:
        model: whose copy runs, in eval mode.
        logits: how a copy is called.
        shape: of one sample, without the batch: [time channels height width], or [channels height width].

    Raises:
        UserError: the model does not run on such a sample.
    """
    trained = any(parameter.requires_grad for parameter in model.parameters())
    with _in_products():
        try:
            return _count(_without_storage(model), logits, shape, trained)
        except (RuntimeError, NotImplementedError, TypeError, ValueError):
            pass  # some operations have no meta kernel; a true fault shows again
        try:
            with torch.random.fork_rng():
                return _count(copy.deepcopy(model), logits, shape, trained)
        except (RuntimeError, TypeError, ValueError) as error:
            raise UserError(
                f"FLOPs: {type(model).__name__} does not run on a sample of shape {list(shape)} "
                f"({' '.join(str(error).split())[:200]})"
            ) from None


def _count(model: nn.Module, logits: Logits, shape: tuple[int, ...], trained: bool) -> ModelFlops:
    from torch.utils.flop_counter import FlopCounterMode

    like = next(model.parameters())
    sample = torch.zeros(1, *shape, dtype=like.dtype, device=like.device)
    model.eval()
    with FlopCounterMode(display=False) as counter, torch.enable_grad():
        said = logits(model, sample)
        forward = counter.get_total_flops()
        if trained:
            said.float().sum().backward()  # type: ignore[no-untyped-call]
        return ModelFlops(float(forward), float(counter.get_total_flops()))


def _without_storage(model: nn.Module) -> nn.Module:
    """A copy on the meta device, made without copying a value."""
    known: dict[int, object] = {}
    for parameter in model.parameters():
        empty = torch.empty_like(parameter, device="meta")
        known[id(parameter)] = nn.Parameter(empty, requires_grad=parameter.requires_grad)
    for buffer in model.buffers():
        known[id(buffer)] = torch.empty_like(buffer, device="meta")
    return copy.deepcopy(model, known)


@contextmanager
def _in_products() -> Iterator[None]:
    """Attention as matrix products, whatever kernel the model asks for."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


@dataclass(frozen=True)
class Cost:
    """Of one purpose.

    Attributes:
        flops: of models; what is spent on anything else has seconds alone.
        seconds: on the wall.
    """

    flops: float = 0.0
    seconds: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.flops + other.flops, self.seconds + other.seconds)


@dataclass(frozen=True)
class Costs:
    """Of a whole distillation, by purpose; they add up.

    Attributes:
        decoding: files to clips.
        teacher: its answers on the views that are trained on.
        student: training steps.
        frozen: both models, without gradients, where difficulty is measured.
        selection: choosing.
    """

    decoding: Cost = Cost()
    teacher: Cost = Cost()
    student: Cost = Cost()
    frozen: Cost = Cost()
    selection: Cost = Cost()

    def __add__(self, other: Costs) -> Costs:
        return Costs(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(Costs)))

    @property
    def total(self) -> Cost:
        """Of all purposes."""
        return sum((getattr(self, each.name) for each in fields(Costs)), Cost())

    def numbers(self) -> dict[str, float]:
        """For metrics and checkpoints: `teacher_flops`, `teacher_seconds` and so on, and `total_...`."""
        found: dict[str, float] = {}
        for name, cost in [*((each.name, getattr(self, each.name)) for each in fields(Costs)), ("total", self.total)]:
            found[f"{name}_flops"], found[f"{name}_seconds"] = cost.flops, cost.seconds
        return found

    @classmethod
    def from_numbers(cls, numbers: Mapping[str, float]) -> Costs:
        """Of :meth:`numbers`, the totals left aside."""
        return cls(*(Cost(numbers[f"{each.name}_flops"], numbers[f"{each.name}_seconds"]) for each in fields(Costs)))
