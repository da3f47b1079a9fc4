"""What a user may set about a suspect. Knows no torch: reading a recipe stays instant."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from burnish.core.packages import Need
from burnish.core.recipe import Settings

Answer = Literal["labels", "logits", "embeddings"]
ONNX = Need(("onnxruntime", "onnx"), "prove")


class SuspectSettings(Settings):
    """A suspect model and how it may be asked."""

    model: str
    """A model folder, a hub id, FILE.onnx, `module:function` (the auditor's own code), or an http(s):// address."""
    kind: Literal["auto", "huggingface", "onnx", "python", "http"] = "auto"
    """auto tells it from `model`."""
    batch: int = Field(default=64, ge=1)
    """Images a forward pass or a request. Every answered batch is stored at once."""
    queries: int | None = Field(default=None, ge=1)
    """Query budget: images that the suspect may be asked in all, stored answers of earlier sessions included."""
    rate: float | None = Field(default=None, gt=0)
    """Requests per second at most, retries included (http)."""
    retries: int = Field(default=5, ge=0)
    """Attempts after the first, on a time-out, a refused connection, 429 or 5xx (http)."""
    timeout: float = Field(default=60.0, gt=0)
    """Seconds that one request (http) or one batch (onnx) may take."""
    token_env: str | None = None
    """Environment variable that holds a bearer token to send (http); the token itself is stored nowhere."""
    pooling: Literal["auto", "pooler", "cls", "mean"] = "auto"
    """Embedding of a Hugging Face model: auto takes its trained pooler, else its class token, else the mean."""
    device: str = "cpu"
    """Where a local model runs: cpu, cuda or cuda:N."""

    @model_validator(mode="after")
    def _kind_fits(self) -> SuspectSettings:
        is_address = self.model.startswith(("http://", "https://"))
        if self.kind == "http" and not is_address:
            raise ValueError(f"kind http needs an address that starts with http:// or https://, not {self.model!r}")
        if self.kind == "python" and ":" not in self.model:
            raise ValueError(f"kind python needs module:function, not {self.model!r}")
        return self

    @property
    def resolved_kind(self) -> Literal["huggingface", "onnx", "python", "http"]:
        """The kind, told from ``model`` where it is ``auto``."""
        if self.kind != "auto":
            return self.kind
        if self.model.startswith(("http://", "https://")):
            return "http"
        if self.model.lower().endswith(".onnx"):
            return "onnx"
        return "python" if ":" in self.model and "/" not in self.model else "huggingface"

    @property
    def needed_packages(self) -> tuple[Need, ...]:
        """onnxruntime, for a suspect in its format."""
        return (ONNX,) if self.resolved_kind == "onnx" else ()
