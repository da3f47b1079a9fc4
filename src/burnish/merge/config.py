"""mergekit's YAML as a frozen, typed :class:`MergeConfig`. Knows the format and its lines; opens no model.

Every key of mergekit 0.1.5's format is read. What mergekit accepts and then ignores (an unknown key, `residual_weight`)
is refused by name here, with the file and the line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PrivateAttr, ValidationError, model_validator

from burnish.core.errors import UserError
from burnish.core.recipe import Overrides, Settings, apply_override, explain, overridden_first, override_pairs
from burnish.core.recipe_source import plain
from burnish.core.yaml_marks import KeyPath, load_yaml
from burnish.merge.reference import NO_OVERRIDE, Model, Reference, reference
from burnish.merge.setting import Parameters, Setting

Dtype = Literal["bfloat16", "float16", "float32"]

_UNSUPPORTED = {
    "residual_weight": "mergekit reads it and does nothing with it; remove it",
    "override_architecture": NO_OVERRIDE,
    "input_model_parameters": "put `parameters` under the model it belongs to",
}


class InputModel(Settings):
    """A whole model that takes part."""

    model: Model
    """The model, perhaps with an adapter."""
    parameters: Parameters = Field(default_factory=dict)
    """Parameters of the method for this model."""
    statistics: Path | None = None
    """Burnish only: what `burnish merge stats` wrote for this model (fisher, regmean)."""


class InputSlice(InputModel):
    """Some layers of a model: from `layer_range[0]` up to, not including, `layer_range[1]`."""

    layer_range: tuple[int, int]
    """First layer, and the one after the last."""

    @model_validator(mode="after")
    def _ordered(self) -> InputSlice:
        start, stop = self.layer_range
        if not 0 <= start <= stop:
            raise ValueError(f"layer_range [{start}, {stop}] must run upwards from 0 or more")
        return self


class OutputSlice(Settings):
    """A run of layers of the result, merged from layers of the sources."""

    sources: list[InputSlice] = Field(min_length=1)
    """Layers of the models, of one number each."""
    base_model: Model | None = None
    """The base of these layers, where it is not the merge's."""
    parameters: Parameters = Field(default_factory=dict)
    """Parameters of the method for these layers."""

    @model_validator(mode="after")
    def _same_length(self) -> OutputSlice:
        lengths = {source.layer_range[1] - source.layer_range[0] for source in self.sources}
        if len(lengths) > 1:
            raise ValueError(f"the sources of a slice must have the same number of layers, not {sorted(lengths)}")
        return self


class OutputModule(Settings):
    """One stack of a model with several (a vision tower, a decoder)."""

    models: list[InputModel] | None = Field(default=None, min_length=1)
    """Whole models."""
    slices: list[OutputSlice] | None = Field(default=None, min_length=1)
    """Layers of models, in the order of the result."""
    parameters: Parameters = Field(default_factory=dict)
    """Parameters of the method for all models."""

    @model_validator(mode="after")
    def _one_of(self) -> OutputModule:
        if (self.models is None) == (self.slices is None):
            raise ValueError("give either `models` or `slices`")
        return self


class ModelToken(Settings):
    """Another token's row of a model's embedding."""

    kind: Literal["model_token"]
    """Another token's row."""
    model: Model
    """The model that has the row."""
    token_id: int | None = Field(default=None, ge=0)
    """The token by its number there."""
    token: str | None = None
    """The token by its text there."""

    @model_validator(mode="after")
    def _one_of(self) -> ModelToken:
        if (self.token is None) == (self.token_id is None):
            raise ValueError("give either `token` or `token_id`")
        return self


class ZeroToken(Settings):
    """A row of zeros."""

    kind: Literal["zero"]
    """A row of zeros."""


def _token_source(value: Any, info: Any) -> Any:
    if isinstance(value, dict) and "kind" in value:
        kinds: dict[str, type[Settings]] = {"model_token": ModelToken, "zero": ZeroToken}
        if value["kind"] not in list(kinds):
            raise ValueError("`kind` is `model_token` or `zero`")
        return kinds[value["kind"]].model_validate(value, context=info.context)
    return value if value is None or isinstance(value, Settings) else Reference.model_validate(reference(value, info))


class TokenRule(Settings):
    """Where one token's embedding comes from."""

    source: Annotated[ModelToken | ZeroToken | Reference | None, BeforeValidator(_token_source)] = None
    """Whose row the token takes; none: the mean of those that have it."""
    force: bool = False
    """Take it even where the token has a row of its own."""


def _tokenizer_source(value: Any, info: Any) -> Any:
    kept = value in ("union", "base") or value is None or isinstance(value, Settings)
    return value if kept else reference(value, info)


TokenizerSource = Annotated[Literal["union", "base"] | Reference, BeforeValidator(_tokenizer_source)]


class TokenizerConfig(Settings):
    """Which vocabulary the result has, and where its rows come from."""

    source: TokenizerSource = "union"
    """The vocabulary: of all models, of the base, or of one model."""
    tokens: dict[str, TokenRule] = Field(default_factory=dict)
    """Rules for single tokens."""
    pad_to_multiple_of: int | None = Field(default=None, ge=1)
    """Round the number of rows up to a multiple of this."""


class MergeConfig(OutputModule):
    """A merge as the user wrote it. Build it with :meth:`load`, which knows the lines."""

    merge_method: str
    """A built-in method, one of an installed package, or `module:function`."""
    base_model: Model | None = None
    """What deltas are taken from, for methods that need it."""
    modules: dict[str, OutputModule] | None = Field(default=None, min_length=1)
    """Stacks of a model with several, by name."""
    dtype: Dtype | None = None
    """What the merge is computed for, and written in unless `out_dtype` says otherwise."""
    out_dtype: Dtype | None = None
    """What the result is written in; none: `dtype`, else the models' own."""
    tokenizer_source: TokenizerSource | None = None
    """The older, shorter form of `tokenizer`."""
    tokenizer: TokenizerConfig | None = None
    """Which vocabulary the result has."""
    chat_template: str | None = None
    """`auto`, a name or a Jinja text; none: the tokenizer's own."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Burnish only (mergekit takes it on the command line): seed of the random methods."""
    relative_to: Literal["working_directory", "file"] = "working_directory"
    """Burnish only: what relative paths of models are relative to; mergekit knows the working directory alone."""

    _locate: Any = PrivateAttr(default=None)
    _text: str | None = PrivateAttr(default=None)
    _folder: Path | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _one_of(self) -> MergeConfig:
        given = [name for name in ("models", "slices", "modules") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of `models`, `slices` and `modules`")
        if self.tokenizer and self.tokenizer_source:
            raise ValueError("give `tokenizer` or the older `tokenizer_source`, not both")
        return self

    @classmethod
    def load(cls, source: MergeConfig | Mapping[str, Any] | str | Path, overrides: Overrides = ()) -> MergeConfig:
        """Read a merge from a file, YAML text, a mapping, or hand back a config.

        Args:
            source: a path; text with a newline in it is taken as YAML.
            overrides: dotted keys, ``["parameters.weight=0.5"]`` or ``{"models.0.parameters.weight": 0.5}``.

        Raises:
            UserError: one line with file, line, key, the nearest valid key and what was expected.
        """
        if isinstance(source, MergeConfig):
            if overrides:
                raise UserError("overrides: for a file or a mapping; this merge has been read already")
            return source
        where: Callable[[KeyPath], str] = lambda _path: "config"  # noqa: E731
        text = None
        if isinstance(source, Mapping):
            data: Any = plain(source)
        else:
            if isinstance(source, str) and "\n" not in source:
                source = Path(source)
            data, locate = load_yaml(source)
            name = str(source) if isinstance(source, Path) else "<text>"
            where = lambda path: f"{name}:{locate(path)}"  # noqa: E731
            text = source.read_text(encoding="utf-8") if isinstance(source, Path) else source
        if not isinstance(data, dict):
            raise UserError(f"{where(())}: a merge is a mapping with `merge_method` and `models`")
        overridden = [apply_override(data, *pair) for pair in override_pairs(overrides)]
        if overridden:
            where, text = overridden_first(overridden, where), None
        for path, key in _keys(data, ()):
            if key in _UNSUPPORTED and path[:1] != ("tokenizer",) and "parameters" not in path:
                raise UserError(f"{where((*path, key))}: `{key}` is not supported: {_UNSUPPORTED[key]}")
        try:
            config = cls.model_validate(data, context={"folder": _folder_of(data, source, where)})
        except ValidationError as error:
            raise UserError(explain(error, cls, where)) from None
        config._locate, config._text = where, text
        config._folder = source.parent if isinstance(source, Path) else None
        return config

    def where(self, *path: str | int) -> str:
        """`file:line` of a key, to begin an error with."""
        return str(self._locate(path)) if self._locate else "config"

    @property
    def folder(self) -> Path | None:
        """The folder of the file that the merge was read from."""
        return self._folder

    @property
    def yaml(self) -> str:
        """The YAML as it was written; written anew, with absolute paths, where it would mean something else
        elsewhere."""
        if self._text is not None and self.relative_to != "file":
            return self._text
        import yaml

        plain = {key: value for key, value in _plain(self).items() if key != "relative_to"}
        return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)

    def references(self) -> list[Reference]:
        """Every model that takes part, in the order of the file, the base model first."""
        return list(self.places())

    def places(self) -> dict[Reference, KeyPath]:
        """The same models, and the key under which each is named first."""
        found: list[tuple[Reference, KeyPath]] = [(self.base_model, ("base_model",))] if self.base_model else []
        parts: list[tuple[KeyPath, OutputModule]] = [((), self)]
        parts += [(("modules", name), module) for name, module in (self.modules or {}).items()]
        for path, part in parts:
            found += [(entry.model, (*path, "models", at, "model")) for at, entry in enumerate(part.models or [])]
            for at, piece in enumerate(part.slices or []):
                within = (*path, "slices", at)
                found += [(piece.base_model, (*within, "base_model"))] if piece.base_model else []
                found += [
                    (one.model, (*within, "sources", number, "model")) for number, one in enumerate(piece.sources)
                ]
        first: dict[Reference, KeyPath] = {}
        for model, place in found:
            first.setdefault(model, place)
        return first


def _folder_of(data: Mapping[str, Any], source: object, where: Callable[[KeyPath], str]) -> Path | None:
    """The folder that relative paths start from, if it is the file's.

    Raises:
        UserError: the merge says so and comes from no file.
    """
    if data.get("relative_to") != "file":
        return None
    if not isinstance(source, Path):
        raise UserError(f"{where(('relative_to',))}: `relative_to: file` needs a file; this merge is none")
    return source.parent.resolve()


def _keys(data: Any, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        if isinstance(key, str):
            yield path, key
        yield from _keys(value, (*path, key))


def _plain(value: Any) -> Any:
    """Settings as the YAML a user would have written."""
    if isinstance(value, Reference):
        return str(value)
    if isinstance(value, Setting):
        if len(value.conditions) == 1 and value.conditions[0].filter is None:
            return value.conditions[0].value
        return [_plain(condition) for condition in value.conditions]
    if isinstance(value, Settings):
        given = {key: getattr(value, key) for key in type(value).model_fields if key in value.model_fields_set}
        return {key: _plain(part) for key, part in given.items() if part is not None}
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return str(value) if isinstance(value, Path) else value
