"""What a merge method is: what it asks of the user, and how its function is called. Loads torch on the first call.

Knows no method by name; the catalogue makes them, the registry finds them.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import keyword
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from burnish.core.errors import BurnishError, UserError, nearest, raised
from burnish.merge.methods.parameter import REQUIRED, Parameter

if TYPE_CHECKING:
    from torch import Tensor

# By name, filled when the module of a built-in method is imported.
FUNCTIONS: dict[str, Callable[..., Any]] = {}


@dataclass(frozen=True)
class SourceFile:
    """A file of Python as it was when it was imported: the code that runs, whatever the file holds by now.

    Attributes:
        path: where it lies.
        content: its bytes at that time.
    """

    path: Path
    content: bytes = field(repr=False)

    @property
    def changed(self) -> bool:
        """Whether the file holds something else by now, or is gone."""
        try:
            return self.path.read_bytes() != self.content
        except OSError:
            return True

    @classmethod
    def of(cls, function: Callable[..., Any]) -> SourceFile | None:
        """The file of a function that is being imported, under its other decorators; none where it is in no file."""
        code = getattr(inspect.unwrap(function), "__code__", None)
        path = None if code is None else inspect.getsourcefile(code)
        # Absolute, since the working directory may change.
        return cls(Path(path).resolve(), Path(path).read_bytes()) if path and Path(path).is_file() else None


@dataclass(frozen=True)
class MergeMethod:
    """A merge method: what it asks for, and (called) the method itself.

    Attributes:
        name: mergekit's name where mergekit has the method.
        reference: the paper, as an arXiv id, or another source.
        module: the module under `burnish.merge.methods` that holds the function; empty for a user's own.
        base: whether `base_model` must, may or does not play a part.
        min_models: fewest models, the base not counted.
        max_models: most models, the base not counted; `None`: any number.
        model_parameters: what is set per model.
        parameters: what is set once.
        statistics: the kind of statistics file a model may bring ("fisher", "gram"), or `None`.
        random: whether the result depends on `seed`.
        own: a user's own function.
        source: the file that the function came from, where there is one: what it does may change with it.
    """

    name: str
    reference: str
    module: str
    base: Literal["required", "optional", "unused"]
    min_models: int = 1
    max_models: int | None = None
    model_parameters: Mapping[str, Parameter] = field(default_factory=dict)
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    statistics: str | None = None
    random: bool = False
    own: Callable[..., Any] | None = None
    source: SourceFile | None = None

    def __call__(
        self,
        base: Tensor | None,
        models: Sequence[Tensor],
        *,
        model_parameters: Mapping[str, Sequence[Any]],
        parameters: Mapping[str, Any],
        seed: int = 0,
        statistics: Sequence[Tensor | None] | None = None,
    ) -> Tensor:
        """Merge one tensor: float32 arithmetic on the inputs' device, a float32 result of the inputs' shape.

        The inputs stay as they are: a user's own function works on copies.

        Args:
            base: the base model's tensor; ignored where the method has no use for one.
            models: the other models' tensors, of one shape, any float dtype.
            model_parameters: per parameter one value a model; what is left out takes its default.
            parameters: the method's own parameters; what is left out takes its default.
            seed: of this tensor, for random methods.
            statistics: one a model (`None` where a model brings none); without any the method averages.

        Raises:
            UserError: a wrong number of models, an unknown or missing parameter, shapes that differ; or a user's own
                function raised something, or returned no such tensor.
        """
        self.check_inputs(base, models)
        arguments = self.arguments(len(models), model_parameters, parameters)
        if not models[0].numel():
            return models[0].float()
        if self.random:
            arguments["seed"] = seed
        if self.statistics:
            arguments["statistics"] = [None] * len(models) if statistics is None else list(statistics)
        # A user's function may work in place; the inputs are others' buffers, and two of them may be one.
        wide = functools.partial(_float32, copy=self.own is not None)
        tensors = [wide(model) for model in models]
        inputs = (tensors,) if self.base == "unused" else (None if base is None else wide(base), tensors)
        if self.own is not None:
            return _call_own(self.name, self.own, inputs, arguments)
        result: Tensor = _function(self.name, self.module)(*inputs, **arguments)
        return result

    def arguments(
        self, count: int, model_parameters: Mapping[str, Sequence[Any]], parameters: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the function's keyword arguments: defaults filled in, values checked, inert ones left out.

        Raises:
            UserError: an unknown or missing parameter, a wrong type, a wrong number of per-model values.
        """
        known = {**self.model_parameters, **self.parameters}
        for name in (*model_parameters, *parameters):
            if name not in known:
                raise UserError(f"{self.name}: unknown parameter {name!r}; {nearest(name, known)}")
        arguments: dict[str, Any] = {}
        for name, parameter in known.items():
            if parameter.inert:
                continue
            per_model = name in self.model_parameters
            # A per-model parameter set once holds for every model, as in mergekit's files.
            shared = parameters.get(name, parameter.default)
            values = model_parameters.get(name, [shared] * count) if per_model else [shared]
            if per_model and len(values) != count:
                raise UserError(f"{self.name}: {name} has {len(values)} values for {count} models; give one a model")
            if any(value is REQUIRED for value in values):
                raise UserError(f"{self.name}: {name} is not set: {parameter.doc}")
            parsed = [parameter.parse(f"{self.name}: {name}", value) for value in values]
            arguments[spelling(name)] = parsed if per_model else parsed[0]
        return arguments

    def check_inputs(self, base: Any, models: Sequence[Any]) -> None:
        """Raise a `UserError` unless the number of models and the shapes (of tensors or arrays) suit the method."""
        if self.base == "required" and base is None:
            raise UserError(f"{self.name}: needs a base model; set base_model")
        if len(models) < self.min_models or (self.max_models is not None and len(models) > self.max_models):
            besides = "" if self.base == "unused" else " besides the base"
            raise UserError(f"{self.name}: needs {self.wants} {besides}; got {len(models)}".replace("  ", " "))
        shapes = {
            tuple(tensor.shape) for tensor in (*models, *(() if base is None or self.base == "unused" else (base,)))
        }
        if len(shapes) > 1:
            raise UserError(f"{self.name}: tensors of different shapes: {', '.join(map(str, sorted(shapes)))}")

    @property
    def wants(self) -> str:
        """How many models, in words, for messages: "at least 2 models"."""
        if self.max_models is None:
            return f"at least {self.min_models} model{'s' if self.min_models > 1 else ''}"
        if self.max_models == self.min_models:
            return f"exactly {self.min_models} model{'s' if self.min_models > 1 else ''}"
        return f"{self.min_models} to {self.max_models} models"


def spelling(name: str) -> str:
    """Return the Python spelling of a user's parameter: `lambda` and the other keywords get an underscore."""
    return f"{name}_" if keyword.iskeyword(name) else name


def plain_name(argument: str) -> str:
    """Return the user's spelling of a Python argument: the reverse of :func:`spelling`."""
    return argument[:-1] if argument.endswith("_") and keyword.iskeyword(argument[:-1]) else argument


def _float32(tensor: Tensor, copy: bool) -> Tensor:
    import torch

    return tensor.to(torch.float32, copy=copy)


def _function(name: str, module: str) -> Callable[..., Any]:
    if name not in FUNCTIONS:
        importlib.import_module(f"burnish.merge.methods.{module}")
    return FUNCTIONS[name]


def _call_own(name: str, function: Callable[..., Any], inputs: tuple[Any, ...], arguments: dict[str, Any]) -> Tensor:
    """Call a user's function; what it does wrong is said as theirs."""
    import torch

    # Before the call, since the function may change the list and its tensors in place.
    shape, device = inputs[-1][0].shape, inputs[-1][0].device
    try:
        result = function(*inputs, **arguments)
    except (BurnishError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise UserError(f"{name} raised {raised(error)}") from error
    wanted = f"a float32 tensor of shape {tuple(shape)}"
    if not isinstance(result, torch.Tensor):
        raise UserError(f"{name} returned a {type(result).__name__}; expected {wanted}")
    if result.shape != shape or result.dtype != torch.float32 or result.device != device:
        found = f"a {str(result.dtype).removeprefix('torch.')} tensor of shape {tuple(result.shape)}"
        raise UserError(f"{name} returned {found} on {result.device}; expected {wanted} on {device}")
    return result.detach()
