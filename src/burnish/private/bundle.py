"""A private classifier on disk: what the server holds and what the client may know, in two folders.

``server/`` has the heads: they are the secret, never send them. ``client/`` has which encoder, how it is read, the
templates and the names of the classes: whoever asks needs it. Words of the verbalisers stay with the server.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from burnish.core.errors import UserError
from burnish.core.files import damage, folder_atomic, read_json, write_manifest
from burnish.private.encoders import Encoder, Pooling, Represented, load_encoder
from burnish.private.heads import Heads
from burnish.private.prompts import Prompt

FORMAT = 1


@dataclass(frozen=True)
class ClientModel:
    """What a client needs to turn a text into what it encrypts.

    Attributes:
        encoder: folder or hub id of the frozen model.
        pooling: how its tokens become a vector.
        max_tokens: of a prompt with its text.
        templates: of the prompts, in the order of the heads.
        labels: names of the classes.
        eps: the smallest difference, in shares of the public bound, that the service tells apart.
    """

    encoder: str
    pooling: Pooling
    max_tokens: int
    templates: tuple[str, ...]
    labels: tuple[str, ...]
    eps: float

    def load(self) -> Encoder:
        """The frozen model.

        Raises:
            UserError: it is not there.
        """
        return load_encoder(self.encoder, self.pooling, self.max_tokens)

    def represent(self, encoder: Encoder, texts: list[str]) -> Represented:
        """Texts in every template.

        Raises:
            UserError: see :meth:`burnish.private.encoders.Encoder.represent`.
        """
        return encoder.represent(texts, [Prompt(template, ()) for template in self.templates])


def save_bundle(folder: Path, heads: Heads, client: ClientModel) -> Path:
    """Write both halves, whole or not at all.

    Raises:
        BurnishError: the disk is full.
    """
    from safetensors.numpy import save_file

    with folder_atomic(folder) as work:
        server, other = work / "server", work / "client"
        server.mkdir()
        other.mkdir()
        arrays = {name: np.ascontiguousarray(getattr(heads, name), np.float64) for name in ARRAYS}
        save_file(arrays, server / "heads.safetensors")
        told = {"format": FORMAT, "labels": heads.labels, "bound": heads.bound, "aggregate": heads.aggregate}
        (server / "heads.json").write_text(json.dumps(told | {"eps": client.eps}, indent=1), encoding="utf-8")
        (other / "client.json").write_text(json.dumps({"format": FORMAT, **vars(client)}, indent=1), encoding="utf-8")
        for half in (server, other):
            write_manifest(half)
    return folder


ARRAYS = ("weights", "biases", "weights_of_prompts")


def load_heads(folder: Path) -> tuple[Heads, float]:
    """The server's half: heads, and the eps that they are served with.

    Args:
        folder: a bundle, or its ``server`` folder alone.

    Raises:
        UserError: not there, or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    half, told = _half(folder, "server", "heads.json")
    try:
        arrays = load_file(half / "heads.safetensors")
        heads = Heads(
            **{name: arrays[name] for name in ARRAYS},
            labels=tuple(told["labels"]),
            bound=float(told["bound"]),
            aggregate=told["aggregate"],
        )
        return heads, float(told["eps"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{half}: not heads that can be read ({type(error).__name__}: {error}); make them again"
        ) from None


def load_client(folder: Path) -> ClientModel:
    """The client's half.

    Args:
        folder: a bundle, or its ``client`` folder alone.

    Raises:
        UserError: not there, or damaged.
    """
    half, told = _half(folder, "client", "client.json")
    try:
        given = {name: told[name] for name in ClientModel.__annotations__}
        made = ClientModel(**given)
        return replace(made, templates=tuple(given["templates"]), labels=tuple(given["labels"]))
    except (KeyError, TypeError) as error:
        raise UserError(f"{half}: not a client's half that can be read ({error}); get it again") from None


def _half(folder: Path, name: str, file: str) -> tuple[Path, dict[str, Any]]:
    half = folder / name if (folder / name).is_dir() else folder
    told = read_json(half / file)
    if not isinstance(told, dict):
        raise UserError(f"{half}: no {file} that can be read; give the folder `service` that `burnish run` made")
    wrong = damage(half)
    if wrong is not None:
        raise UserError(f"{half}: damaged: {wrong}; get it again")
    if told.get("format") != FORMAT:
        raise UserError(f"{half}: of format {told.get('format')}; this Burnish reads format {FORMAT}")
    return half, told
