"""A method's parameters for one tensor: filters, gradients and defaults, nearest scope first, as in mergekit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from burnish.core.errors import UserError, nearest
from burnish.core.yaml_marks import KeyPath
from burnish.merge.config import MergeConfig
from burnish.merge.methods.method import MergeMethod
from burnish.merge.methods.parameter import Parameter
from burnish.merge.selection import Group, Member
from burnish.merge.setting import Setting


def check_names(config: MergeConfig, method: MergeMethod) -> None:
    """Refuse a parameter that the method does not have, and a value of the wrong type.

    Raises:
        UserError: file, line, the parameter, the nearest valid one.
    """
    known: dict[str, Parameter] = {**method.model_parameters, **method.parameters}
    for path, settings in _scopes(config):
        for name, setting in settings.items():
            where = config.where(*path, name)
            if name not in known:
                raise UserError(f"{where}: `{name}` is no parameter of {method.name}; {nearest(name, known)}")
            if name in method.parameters and path and path[-3:-2] in (("models",), ("sources",)):
                raise UserError(f"{where}: `{name}` of {method.name} is one for all models; set it under `parameters`")
            # mergekit reads such a setting nowhere: every condition is tried on a value of its own kind here.
            for condition in setting.conditions:
                for value in condition.value if isinstance(condition.value, list) else [condition.value]:
                    known[name].parse(f"{where}: {name}", value)


def _scopes(config: MergeConfig) -> Iterator[tuple[KeyPath, Mapping[str, Setting]]]:
    parts: list[tuple[KeyPath, Any]] = [((), config)]
    parts += [(("modules", name), module) for name, module in (config.modules or {}).items()]
    for path, part in parts:
        yield (*path, "parameters"), part.parameters
        for index, model in enumerate(part.models or []):
            yield (*path, "models", index, "parameters"), model.parameters
        for index, piece in enumerate(part.slices or []):
            yield (*path, "slices", index, "parameters"), piece.parameters
            for number, source in enumerate(piece.sources):
                yield (*path, "slices", index, "sources", number, "parameters"), source.parameters


def resolve_parameters(
    config: MergeConfig, method: MergeMethod, group: Group, members: Sequence[Member]
) -> tuple[dict[str, Any], dict[str, tuple[Any, ...]]]:
    """The method's parameters for a tensor, and per model ones in the order of `members` (the base not among them).

    Raises:
        UserError: a parameter without a default is set nowhere; the model and tensor are named.
    """

    def value(name: str, parameter: Parameter, tensor: str, scopes: Sequence[Mapping[str, Setting]], who: str) -> Any:
        for scope in scopes:
            if name in scope:
                found = scope[name].at(tensor, group.t, lambda raw: parameter.parse(name, raw))
                if found is not None:
                    return found
        if parameter.required:
            raise UserError(f"{group.where}: `{name}` is not set for {who} (tensor {group.name}): {parameter.doc}")
        return parameter.default

    models = config.references()
    shared = {
        name: value(name, parameter, group.name, group.settings, method.name)
        for name, parameter in method.parameters.items()
    }
    per_model = {
        name: tuple(
            value(name, parameter, member.name, member.settings, str(models[member.model])) for member in members
        )
        for name, parameter in method.model_parameters.items()
    }
    return shared, per_model
