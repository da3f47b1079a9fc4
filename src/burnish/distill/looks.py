"""What a classifier looks at: frames, size, channels, mean and deviation; and the file that says so beside its weights.

Read from its configuration and its image processor's file; no processor is run. Knows transformers' configurations.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from burnish.core.errors import UserError
from burnish.core.files import read_json

PROCESSORS = ("preprocessor_config.json", "video_preprocessor_config.json")


@dataclass(frozen=True)
class Look:
    """How pixels become what a model takes.

    Attributes:
        video: whether they have a time axis.
        argument: what the model calls them.
        frames: that it is built for; none: any.
        size: height and width that it is built for; none: any.
        channels: 3, or 1 (the mean of the colours).
        mean: taken off pixels in [0, 1], a channel.
        std: what they are then divided by.
    """

    video: bool = True
    argument: str = "pixel_values"
    frames: int | None = None
    size: tuple[int, int] | None = None
    channels: int = 3
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)


@dataclass(frozen=True)
class Processor:
    """The image processor's file of a model, for its saved copy: the model's own, or one that says what it looks at.

    Attributes:
        look: what the model takes.
        kind: its type in transformers, or nothing.
        folder: where it was read from, if it was.
    """

    look: Look
    kind: str
    folder: Path | None

    def save_pretrained(self, folder: Path) -> None:
        """Write it into a folder."""
        files = [] if self.folder is None else [self.folder / name for name in PROCESSORS]
        found = {file.name: text for file in files if (text := read_json(file)) is not None}
        for name, content in (found or {PROCESSORS[0]: _described(self.look, self.kind)}).items():
            (Path(folder) / name).write_text(json.dumps(content, indent=1))


def look_of(model: nn.Module, folder: Path | None = None) -> Look:
    """What one of transformers' classifiers takes, from its configuration and its image processor's file.

    Without such a file pixels go in as they are, in [0, 1].
    """
    config: Any = model.config
    video = type(config) in classifiers("VIDEO")
    first = "num_frames" if hasattr(config, "num_frames") else "frames_per_clip"
    size = getattr(config, "image_size", None) or getattr(config, "crop_size", None)
    given = [] if folder is None else [read_json(folder / name) for name in PROCESSORS]
    processor: Mapping[str, Any] = next((each for each in given if isinstance(each, dict)), {})
    normalises = bool(processor) and processor.get("do_normalize", True) and "image_mean" in processor
    return Look(
        video=video,
        argument=str(getattr(model, "main_input_name", "pixel_values")),
        frames=int(getattr(config, first)) if video and hasattr(config, first) else None if video else 1,
        size=None
        if size is None
        else (int(size), int(size))
        if isinstance(size, int)
        else (int(size[0]), int(size[1])),
        channels=int(getattr(config, "num_channels", getattr(config, "in_chans", 3))),
        mean=tuple(map(float, processor["image_mean"])) if normalises else (0.0,),
        std=tuple(map(float, processor["image_std"])) if normalises else (1.0,),
    )


def refuse_misfit(look: Look, frames: int, size: tuple[int, int], model: str, clip: str) -> None:
    """Refuse clips that a model was not built for.

    Args:
        look: what it takes.
        frames: of the clips.
        size: of the clips.
        model: name of its setting.
        clip: name of the setting of the clips.

    Raises:
        UserError: says both numbers and the setting to change.
    """
    if look.frames is not None and frames != look.frames:
        kind = "clips of" if look.video else "pictures,"
        raise UserError(f"{model}: takes {kind} {look.frames} frames, not {frames}; set {clip}.frames: {look.frames}")
    if look.size is not None and tuple(size) != look.size:
        high, wide = look.size
        raise UserError(
            f"{model}: takes {high} x {wide} px, not {size[0]} x {size[1]}; set {clip}.size: [{high}, {wide}]"
        )


def classifiers(kind: str) -> Any:
    """Transformers' classifiers of `VIDEO` or `IMAGE`, by configuration."""
    import transformers

    return getattr(transformers, f"MODEL_FOR_{kind}_CLASSIFICATION_MAPPING")


def _described(look: Look, kind: str) -> dict[str, Any]:
    from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES

    known = IMAGE_PROCESSOR_MAPPING_NAMES.get(kind, {})
    name = known.get("torchvision") if isinstance(known, Mapping) else None
    size = look.size or (224, 224)
    plain = look.mean == (0.0,) and look.std == (1.0,)
    side = {"height": size[0], "width": size[1]}
    return {
        "image_processor_type": name or ("VideoMAEImageProcessor" if look.video else "ViTImageProcessor"),
        "do_resize": True,
        "size": {"shortest_edge": min(size)} if look.video else side,
        "do_center_crop": look.video,
        "crop_size": side,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": not plain,
        "image_mean": [0.0] * 3 if plain else list(look.mean),
        "image_std": [1.0] * 3 if plain else list(look.std),
    }
