"""A user's own merge method: one decorated function, whose signature says what the YAML may set.

    @merge_method(reference="arXiv:2311.03099")
    def blend(base, models, *, weight: Sequence[float], strength: float = 1.0):
        return base + strength * sum(w * (model - base) for w, model in zip(weight, models))

Positional arguments: `models` (float32 tensors of one shape), or `base` and `models`; a `base: Tensor | None` is
optional. Keyword-only arguments are the YAML's parameters: `float`, `int`, `bool`, `str` or a `Literal` of texts, for
all models; a `Sequence` of one of them has one value a model; `| None` allows none; pydantic's `Field` in an
`Annotated` gives bounds (gt, ge, lt, le) and a description. `seed: int` is no parameter: it is the tensor's own seed.
Brings no torch.
"""

from __future__ import annotations

import importlib.metadata
import inspect
import sys
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, overload

from burnish.core.errors import UserError
from burnish.merge.methods.method import MergeMethod, SourceFile, plain_name
from burnish.merge.methods.parameter import REQUIRED, Parameter

GROUP = "burnish.merge_methods"
_MARK = "__burnish_merge_method__"
# The bounds of pydantic's Field (and of annotated_types), and the same ones of a parameter.
_BOUNDS = {"gt": "above", "ge": "least", "lt": "below", "le": "most"}
Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class _Mark:
    """What the decorator was told, and the file it stands in."""

    reference: str
    min_models: int
    max_models: int | None
    source: SourceFile | None


@overload
def merge_method(function: Function, /) -> Function: ...


@overload
def merge_method(
    *, reference: str = "", min_models: int = 1, max_models: int | None = None
) -> Callable[[Function], Function]: ...


def merge_method(
    function: Function | None = None, /, *, reference: str = "", min_models: int = 1, max_models: int | None = None
) -> Function | Callable[[Function], Function]:
    """Mark a function as a merge method that a YAML may name as `merge_method: module:function`.

    Examples:
        >>> @merge_method
        ... def add(base, models, *, strength: float = 1.0):
        ...     return base + strength * sum(model - base for model in models)
        >>> add(1.0, [2.0, 3.0], strength=0.5)
        2.5

    The function stays what it is and can be called as before. See the module's text for its arguments; it returns a
    float32 tensor of its inputs' shape. In a merge its tensors are copies of its own, even of a model that is listed
    twice, so it may work in place: a copy costs about what one addition does, and a change of the inputs
    cannot always be detected.

    Args:
        function: the function, where the decorator stands without arguments.
        reference: a paper or another source, for tables and model cards; none: the name of the file.
        min_models: fewest models, the base not counted.
        max_models: most models, the base not counted; none: any number.

    Raises:
        ValueError: limits that no merge can meet.
    """
    if min_models < 1:
        raise ValueError(f"min_models is {min_models}; a merge method takes at least 1 model besides the base")
    if max_models is not None and max_models < min_models:
        raise ValueError(f"max_models is {max_models}, less than min_models, {min_models}")

    def register(marked: Function) -> Function:
        setattr(marked, _MARK, _Mark(reference, min_models, max_models, SourceFile.of(marked)))
        return marked

    return register if function is None else register(function)


def load(name: str, folder: Path | None = None) -> MergeMethod:
    """The merge method that `module:function` names.

    Args:
        name: as in the YAML.
        folder: where the module may lie besides the working directory.

    Raises:
        UserError: no such module or function, or it cannot be a merge method.
    """
    from burnish.core.method import import_object

    places = [Path.cwd()] if folder is None else [Path.cwd(), folder.resolve()]
    _make_importable(places)
    try:
        function = import_object(name, "merge_method")
    except UserError as error:
        if folder is not None and isinstance(error.__context__, ModuleNotFoundError):
            raise UserError(f"{error}; nor is it in the YAML's folder, {folder.resolve()}") from None
        raise
    _refuse_namesake(name.partition(":")[0], places)
    return described(name, function)


def installed(name: str) -> Sequence[importlib.metadata.EntryPoint]:
    """The installed packages' merge methods of that name."""
    return tuple(importlib.metadata.entry_points(group=GROUP, name=name))


def installed_names() -> list[str]:
    """Names of the merge methods that installed packages bring."""
    return sorted({point.name for point in importlib.metadata.entry_points(group=GROUP)})


def from_entry_points(points: Sequence[importlib.metadata.EntryPoint]) -> MergeMethod:
    """The merge method behind the entry points of one name, under that name.

    Raises:
        UserError: two packages claim the name (each is named); it cannot be imported, or cannot be a merge method.
    """
    # A distribution that is found twice on the path is one package.
    packages = {_package(point): point for point in points}
    if len(packages) > 1:
        claims = " and ".join(sorted(packages))
        raise UserError(f"merge_method: `{points[0].name}` is claimed by the packages {claims}; uninstall one")
    (point,) = packages.values()
    try:
        function = point.load()
    except Exception as error:
        raise UserError(
            f"merge_method: {point.name} ({point.value}) cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    return described(point.name, function)


def _package(point: importlib.metadata.EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else point.value


def described(name: str, function: Any) -> MergeMethod:
    """The merge method that a decorated function is, by its signature.

    Raises:
        UserError: it is not decorated, its file has changed since it was imported, or its signature cannot be a YAML's
            schema; the argument at fault is named.
    """
    mark = getattr(function, _MARK, None)
    if not isinstance(mark, _Mark) or not callable(function):
        raise UserError(f"merge_method: {name} is not decorated with @merge_method of burnish.merge")
    if mark.source is not None and mark.source.changed:
        raise UserError(
            f"merge_method: {name}: {mark.source.path} has changed since it was imported; restart the process "
            "(in a notebook: the kernel) to merge with the file as it is now"
        )
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except Exception as error:
        raise UserError(
            f"merge_method: {name}: its annotations cannot be read: {type(error).__name__}: {error}"
        ) from error
    arguments = inspect.signature(function).parameters
    keywords = {key: each for key, each in arguments.items() if each.kind is each.KEYWORD_ONLY}
    model_parameters: dict[str, Parameter] = {}
    parameters: dict[str, Parameter] = {}
    for key, argument in keywords.items():
        if key == "seed":
            continue
        per_model, parameter = _parameter(f"merge_method: {name}: `{key}`", hints.get(key), argument.default)
        (model_parameters if per_model else parameters)[plain_name(key)] = parameter
    return MergeMethod(
        name,
        mark.reference or (mark.source.path.name if mark.source else ""),
        module="",
        base=_base(name, [each for key, each in arguments.items() if key not in keywords], hints),
        min_models=mark.min_models,
        max_models=mark.max_models,
        model_parameters=model_parameters,
        parameters=parameters,
        random="seed" in keywords,
        own=function,
        source=mark.source,
    )


def _base(
    name: str, positional: Sequence[inspect.Parameter], hints: dict[str, Any]
) -> Literal["required", "optional", "unused"]:
    """Whether the function takes a base model."""
    names = [each.name for each in positional]
    plain = all(each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD) for each in positional)
    if not plain or names not in (["models"], ["base", "models"]):
        raise UserError(
            f"merge_method: {name}: its positional arguments are ({', '.join(names)}); write (models) or "
            "(base, models), and every parameter behind a `*`"
        )
    if names == ["models"]:
        return "unused"
    return "optional" if type(None) in typing.get_args(hints.get("base")) else "required"


def _parameter(where: str, hint: Any, default: Any) -> tuple[bool, Parameter]:
    """Whether an argument has one value a model, and the parameter that it is."""
    if hint is None:
        raise UserError(f"{where} has no type; annotate it, for example `float` or `Sequence[float]`")
    hint, said = _unannotated(where, hint)
    per_model = typing.get_origin(hint) in (Sequence, list, tuple)
    if per_model:
        inner = [each for each in typing.get_args(hint) if each is not Ellipsis]
        hint, said_inside = _unannotated(where, inner[0]) if len(inner) == 1 else (None, {})
        said = {**said, **said_inside}
        if default is not inspect.Parameter.empty:
            if not isinstance(default, list | tuple) or len(default) != 1:
                raise UserError(f"{where} has one value a model; write its default as a tuple of one, like `(1.0,)`")
            default = default[0]
    kind, choices, optional = _kind(where, hint)
    doc = said.pop("doc", "see the function")
    if said and kind not in (float, int):
        raise UserError(f"{where} is no number, and bounds hold for numbers only; remove them")
    parameter = Parameter(kind, doc, REQUIRED, choices, optional, **said)
    if default is not inspect.Parameter.empty:
        parameter = replace(parameter, default=parameter.parse(f"{where}: default", default))
    return per_model, parameter


def _kind(where: str, hint: Any) -> tuple[type, tuple[str, ...], bool]:
    """The type of one value, its choices if it is a `Literal` of texts, and whether none is a value too."""
    options = [each for each in typing.get_args(hint) if each is not type(None)]
    optional = typing.get_origin(hint) in (typing.Union, types.UnionType) and len(options) == 1
    kind = options[0] if optional else hint
    choices = typing.get_args(kind) if typing.get_origin(kind) is Literal else ()
    if choices and all(isinstance(each, str) for each in choices):
        kind = str
    if kind not in (float, int, bool, str):
        raise UserError(
            f"{where} has a type that no YAML sets; use float, int, bool, str, a Literal of texts, one of them "
            "`| None`, or a Sequence of one of them for a value a model"
        )
    return kind, choices, optional


def _unannotated(where: str, hint: Any) -> tuple[Any, dict[str, Any]]:
    """The type inside an `Annotated`, and what pydantic's Field says there: bounds and a description.

    What is neither would not be checked, so it is refused; a text alone is a remark.
    """
    if typing.get_origin(hint) is not Annotated:
        return hint, {}
    inner, *notes = typing.get_args(hint)
    said: dict[str, Any] = {}
    for note in notes:
        if isinstance(note, str):
            continue
        if description := getattr(note, "description", None):
            said["doc"] = description
        for constraint in getattr(note, "metadata", [note]):
            bounds = {ours: getattr(constraint, theirs, None) for theirs, ours in _BOUNDS.items()}
            found = {ours: bound for ours, bound in bounds.items() if bound is not None}
            if not found or not all(isinstance(bound, int | float) for bound in found.values()):
                raise UserError(
                    f"{where}: the constraint {constraint!r} is not understood; use gt, ge, lt and le, "
                    "and check the rest in the function"
                )
            said |= found
    return inner, said


def _make_importable(places: Sequence[Path]) -> None:
    """Put folders on the path, the first one first."""
    missing = [str(place) for place in places if str(place) not in sys.path]
    sys.path[:0] = missing


def _refuse_namesake(module: str, places: Sequence[Path]) -> None:
    """Refuse a module that was imported from elsewhere before: the code that runs would not be the file here."""
    loaded = getattr(sys.modules.get(module), "__file__", None)
    stem = Path(*module.split("."))
    files = (place / each for place in places for each in (stem.with_suffix(".py"), stem / "__init__.py"))
    here = next((file for file in files if file.is_file()), None)
    if here is not None and loaded is not None and not here.samefile(loaded):
        raise UserError(f"merge_method: `{module}` was imported from {loaded}, not from {here}; rename one of the two")
