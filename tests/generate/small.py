"""Models, batches and checkpoints small enough for a test of milliseconds."""

from pathlib import Path
from typing import Any

import torch

from burnish.generate.codecs.pixel import PixelCodec
from burnish.generate.config import UnifiedConfig
from burnish.generate.experts import ROUTINGS
from burnish.generate.model import UnifiedModel
from burnish.generate.records import Batch, Kind, Layout, Segment

WORDS = 20
CODEC = PixelCodec((4, 4), 2)
"""4 patches of 12 numbers."""


def text_sizes(kind: str = "qwen3", **changes: Any) -> dict[str, Any]:
    sizes: dict[str, Any] = {
        "model_type": kind,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 48,
        "vocab_size": WORDS,
        "max_position_embeddings": 128,
    }
    if kind == "qwen3":
        sizes["head_dim"] = 8
    return sizes | changes


def small_model(routing: str | dict[Kind, int] = "mint", seed: int = 0, **changes: Any) -> UnifiedModel:
    torch.manual_seed(seed)
    table = ROUTINGS[routing] if isinstance(routing, str) else routing
    config = UnifiedConfig(
        text=text_sizes(**changes), routing=table, patch_dim=12, grid=(2, 2), codec=dict(CODEC.to_dict())
    )
    return UnifiedModel(config).eval()


def different_experts(model: UnifiedModel, seed: int = 5) -> UnifiedModel:
    """The same model with experts that differ, as after training."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.layers.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator).to(parameter.dtype))
    return model


def layout(*blocks: Any) -> Layout:
    """``("text", 2)``, ``("text", 2, document)``, ``("noisy", 4, image)``, ``("clean", 4, image, document)``."""
    segments = []
    for kind, length, *numbers in blocks:
        image = None if kind == "text" else numbers.pop(0)
        segments.append(Segment(kind, length, image, *numbers))
    return Layout(tuple(segments))


def random_batch(
    rows: Layout, count: int = 3, dtype: torch.dtype = torch.float32, seed: int = 1, **extra: Any
) -> Batch:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    noisies, cleans = len(rows.of("noisy")), len(rows.of("clean"))
    return Batch(
        layout=rows,
        tokens=torch.randint(0, WORDS, (count, rows.tokens("text")), generator=generator),
        clean=normal(count, cleans, 4, 12),
        noisy=normal(count, noisies, 4, 12),
        times=torch.rand((count, noisies), generator=generator, dtype=torch.float64).to(dtype),
        **extra,
    )


def text_checkpoint(folder: Path, kind: str, **changes: Any) -> Any:
    """A random text checkpoint of transformers in ``folder``."""
    import transformers

    torch.manual_seed(3)
    sizes = text_sizes(kind, **changes)
    config = transformers.CONFIG_MAPPING[sizes.pop("model_type")](**sizes)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name or "bias" in name:
                parameter.add_(0.2 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return model
