"""The merge methods by name. Knows what each asks of the user; loads a method's mathematics (and torch) on its first call.

`merge_method` is the decorator that a method's module registers its function with. The keyword-only arguments of the
function are the user's parameters; the decorator refuses a function whose arguments are not those of its catalogue entry.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from burnish.core.errors import UserError
from burnish.merge.methods.parameter import REQUIRED, Parameter

if TYPE_CHECKING:
    from torch import Tensor

_FUNCTIONS: dict[str, Callable[..., Any]] = {}
Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class MergeMethod:
    """A merge method: what it asks for, and (called) the method itself.

    Attributes:
        name: mergekit's name where mergekit has the method.
        reference: the paper, as an arXiv id, or another source.
        module: the module under `burnish.merge.methods` that holds the function.
        base: whether `base_model` must, may or does not play a part.
        min_models: fewest models, the base not counted.
        max_models: most models, the base not counted; `None`: any number.
        model_parameters: what is set per model.
        parameters: what is set once.
        statistics: the kind of statistics file a model may bring ("fisher", "gram"), or `None`.
        random: whether the result depends on `seed`.
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

        Args:
            base: the base model's tensor; ignored where the method has no use for one.
            models: the other models' tensors, of one shape, any float dtype.
            model_parameters: per parameter one value a model; what is left out takes its default.
            parameters: the method's own parameters; what is left out takes its default.
            seed: of this tensor, for random methods.
            statistics: one a model (`None` where a model brings none); without any the method averages.

        Raises:
            UserError: a wrong number of models, an unknown or missing parameter, shapes that differ.
        """
        self.check_inputs(base, models)
        arguments = self.arguments(len(models), model_parameters, parameters)
        if not models[0].numel():
            return models[0].float()
        if self.random:
            arguments["seed"] = seed
        if self.statistics:
            arguments["statistics"] = [None] * len(models) if statistics is None else list(statistics)
        tensors = [model.float() for model in models]
        function = _function(self.name, self.module)
        if self.base == "unused":
            result: Tensor = function(tensors, **arguments)
            return result
        result = function(None if base is None else base.float(), tensors, **arguments)
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
                raise UserError(f"{self.name}: unknown parameter {name!r}{_nearest(name, known)}")
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
    """Return the Python spelling of a user's parameter: `lambda` is a keyword."""
    return "lambda_" if name == "lambda" else name


def merge_method(name: str, reference: str) -> Callable[[Function], Function]:
    """Register a pure function as the merge method `name` of the catalogue, whose source is `reference`."""

    def register(function: Function) -> Function:
        entry = get(name)
        asked = {
            key
            for key, argument in inspect.signature(function).parameters.items()
            if argument.kind is argument.KEYWORD_ONLY
        }
        offered = {
            spelling(key) for key, value in {**entry.model_parameters, **entry.parameters}.items() if not value.inert
        }
        offered |= {"seed"} if entry.random else set()
        offered |= {"statistics"} if entry.statistics else set()
        if asked != offered or reference != entry.reference:
            raise TypeError(
                f"{name}: the function's parameters or reference differ from the catalogue's: {sorted(asked ^ offered)}"
            )
        _FUNCTIONS[name] = function
        return function

    return register


def get(name: str) -> MergeMethod:
    """Return the merge method of that name.

    Raises:
        UserError: there is none; the message names the nearest ones.
    """
    methods = _catalogue()
    if name not in methods:
        raise UserError(f"merge_method: unknown method {name!r}{_nearest(name, methods)}")
    return methods[name]


def names() -> tuple[str, ...]:
    """Return the names of all merge methods, in the catalogue's order."""
    return tuple(_catalogue())


@cache
def _catalogue() -> dict[str, MergeMethod]:
    # The catalogue is made of this module's MergeMethod, so it can only be imported once this module stands.
    from burnish.merge.methods.catalogue import CATALOGUE

    return {method.name: method for method in CATALOGUE}


def _function(name: str, module: str) -> Callable[..., Any]:
    if name not in _FUNCTIONS:
        importlib.import_module(f"burnish.merge.methods.{module}")
    return _FUNCTIONS[name]


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(near)}?" if near else f"; known: {', '.join(known)}"
