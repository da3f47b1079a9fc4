"""mergekit-moe's YAML as a frozen, typed :class:`MoEConfig`. Knows the format and its lines; opens no model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PrivateAttr, ValidationError, model_validator

from burnish.core.errors import UserError
from burnish.core.recipe import Settings, explain
from burnish.core.yaml_marks import KeyPath, dump_yaml, load_yaml
from burnish.merge.config import Dtype
from burnish.merge.reference import Model


class Expert(Settings):
    """A model whose feed-forward layers become one expert a layer."""

    source_model: Model
    """The model, perhaps with an adapter."""
    positive_prompts: list[str] = Field(default_factory=list)
    """Texts that should be routed to it."""
    negative_prompts: list[str] = Field(default_factory=list)
    """Texts that should not."""
    noise_scale: float | None = Field(default=None, ge=0)
    """Standard deviation of noise added to its weights; none: none."""
    residual_scale: float | None = None
    """Factor of its output projections (`down_proj`); none: 1."""


class MoEConfig(Settings):
    """A mixture as the user wrote it. Build it with :meth:`load`, which knows the lines."""

    base_model: Model
    """Gives everything but the experts, and its hidden states for the gates."""
    experts: list[Expert] = Field(min_length=1)
    """The experts, in the order of the gate's rows."""
    shared_experts: list[Expert] = Field(default_factory=list, max_length=1)
    """An expert that every token passes (Qwen2 mixtures only)."""
    gate_mode: Literal["hidden", "hidden_last", "hidden_avg", "cheap_embed", "random", "uniform_random"] = "hidden"
    """`hidden` (or `hidden_last`): the base's hidden state at a prompt's last token, before each layer; `hidden_avg`:
    its mean over the tokens; `cheap_embed`: the sum of the tokens' embeddings, the same for each layer; `random`:
    normal; `uniform_random`: as a linear layer is initialised."""
    experts_per_token: int = Field(default=2, ge=1)
    """Experts that a token passes."""
    dtype: Dtype | None = None
    """Of the result; none: the base's own."""
    architecture: Literal["mixtral", "qwen", "qwen3"] | None = None
    """Of the result; none: what fits the models."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Burnish only: of random gates and noise."""

    _locate: Any = PrivateAttr(default=None)
    _text: str = PrivateAttr(default="")

    @model_validator(mode="after")
    def _can_be_routed(self) -> MoEConfig:
        if len(self.experts) < self.experts_per_token:
            raise ValueError(f"{len(self.experts)} experts are fewer than `experts_per_token` {self.experts_per_token}")
        if self.gate_mode in ("random", "uniform_random"):
            return self
        for number, expert in enumerate([*self.experts, *self.shared_experts]):
            if not expert.positive_prompts:
                raise ValueError(
                    f"expert {number} has no `positive_prompts`, which `{self.gate_mode}` gates are made of"
                )
        prompts = [(expert.positive_prompts, expert.negative_prompts) for expert in self.experts]
        if len(prompts) > 1 and all(pair == prompts[0] for pair in prompts):
            raise ValueError("all experts have the same prompts, so nothing would tell them apart")
        return self

    @classmethod
    def load(cls, source: MoEConfig | Mapping[str, Any] | str | Path) -> MoEConfig:
        """Read a mixture from a file, YAML text, a mapping, or hand back a config.

        Raises:
            UserError: one line with file, line, key, the nearest valid key and what was expected.
        """
        if isinstance(source, MoEConfig):
            return source
        where: Callable[[KeyPath], str] = lambda _path: "config"  # noqa: E731
        if isinstance(source, Mapping):
            data: Any = dict(source)
            text = dump_yaml(data)
        else:
            if isinstance(source, str) and "\n" not in source:
                source = Path(source)
            data, locate = load_yaml(source)
            name = str(source) if isinstance(source, Path) else "<text>"
            where = lambda path: f"{name}:{locate(path)}"  # noqa: E731
            text = source.read_text(encoding="utf-8") if isinstance(source, Path) else source
        if not isinstance(data, dict):
            raise UserError(f"{where(())}: a mixture is a mapping with `base_model` and `experts`")
        try:
            config = cls.model_validate(data, context={"folder": None})
        except ValidationError as error:
            raise UserError(explain(error, cls, where)) from None
        config._locate, config._text = where, text
        return config

    def where(self, *path: str | int) -> str:
        """`file:line` of a key, to begin an error with."""
        return str(self._locate(path)) if self._locate else "config"

    @property
    def yaml(self) -> str:
        """The YAML as it was written."""
        return self._text
