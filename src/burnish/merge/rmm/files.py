"""What the user's model folders hold beside weights in memory: names as written, number format, side files."""

import os
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from burnish.core.models import read_config, resolve
from burnish.merge.architecture import BUFFERS, Layout, infer_layout
from burnish.merge.safetensors_file import DTYPE_CODE, TensorInfo, read_header

Dtype = Literal["float32", "bfloat16", "float16"]
SIDE_FILES = (
    "generation_config.json", "*processor_config.json", "tokenizer*", "special_tokens_map.json", "added_tokens.json",
    "vocab.*", "merges.txt", "*.model", "chat_template.*",
)  # fmt: skip
"""Files that belong to a model whatever its weights."""


def tensors(name: str) -> dict[str, TensorInfo]:
    """The tensors of a model's files (of ``base+adapter``: the base's), headers only.

    Raises:
        UserError: no such model, or a damaged file.
    """
    folder = resolve(name.partition("+")[0])
    return {key: info for file in sorted(folder.glob("*.safetensors")) for key, info in read_header(file).items()}


def written_layout(name: str) -> Layout:
    """Stacks and loose tensors as the files spell them: not always as the loaded model does."""
    names = [key for key in tensors(name) if not BUFFERS.search(key)]
    return infer_layout(names, read_config(resolve(name.partition("+")[0])))


def number_format(name: str) -> Dtype:
    """What most numbers of a checkpoint are written in; float32 for anything exotic."""
    sizes: Counter[str] = Counter()
    for info in tensors(name).values():
        sizes[info.dtype] += info.nbytes
    formats: tuple[Dtype, ...] = ("bfloat16", "float16")
    return next((each for each in formats if sizes and DTYPE_CODE[each] == sizes.most_common(1)[0][0]), "float32")


def portable(merge: Mapping[str, Any], folder: Path, run: Path) -> dict[str, Any]:
    """A merge for a file in `folder` that still finds its models after the run was moved.

    What lies in the run's folder, and what the recipe names by a relative path, becomes relative to the file: it moves
    with it. An absolute path and a hub id stay: they mean the same from everywhere.

    Args:
        merge: as :func:`burnish.merge.rmm.export.merge_yaml` gave it.
        folder: of the file.
        run: the run's folder.
    """

    def moved(value: Any, key: str = "") -> Any:
        if isinstance(value, Mapping):
            return {name: moved(each, name) for name, each in value.items()}
        if isinstance(value, list):
            return [moved(each) for each in value]
        if key in ("model", "base_model") and isinstance(value, str):
            return "+".join(_portable(part, folder, run) for part in value.split("+"))
        return value

    return {**moved(merge), "relative_to": "file"}


def _portable(name: str, folder: Path, run: Path) -> str:
    given = Path(name).expanduser()
    if not given.is_dir() or (given.is_absolute() and not given.resolve().is_relative_to(run.resolve())):
        return name
    # `..` climbs from where a link leads to, so the start is the real folder.
    path = os.path.relpath(given.resolve() if given.is_absolute() else given.absolute(), folder.resolve())
    return path if path.startswith(".") else os.path.join(".", path)


@dataclass(frozen=True)
class SideFiles:
    """Files of a model folder that are copied along as they are; stands where a tokenizer is saved.

    Attributes:
        folder: of the base.
    """

    folder: Path

    def save_pretrained(self, target: Path) -> None:
        """Copies generation settings, tokenizer and processor."""
        for path in {path for pattern in SIDE_FILES for path in self.folder.glob(pattern) if path.is_file()}:
            shutil.copyfile(path, Path(target) / path.name)
