"""A commitment: what an owner fixes before an audit, without showing it to anyone.

The small file holds one salted hash over pictures, recipe and seed: publish it, or have it time-stamped. The secret
file beside it holds the salt; without it, the hash tells nothing about any picture, not even to someone who has the
picture. Every group of leaves has a salt of its own, made from the secret one: the recipe can be opened afterwards and
pictures not.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import inspect
import json
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

import burnish
from burnish.core.errors import UserError
from burnish.core.files import read_json, sha256, write_atomic
from burnish.core.method import import_object
from burnish.core.recipe import Recipe, flatten
from burnish.prove.evidence.merkle import root
from burnish.prove.images import ImageSettings, digests, load_images

FORMAT = "burnish commitment 1"
ALGORITHM = (
    "SHA-256 Merkle trees (RFC 9162), one a group under one root; leaves start with the group's secret salt of 32 bytes"
)
# Where the suspect is may be known later than the pictures are fixed, and how fast it may be asked changes no number;
# but how many images it is asked about, and what is taken as its embedding, are nothing to choose after seeing answers.
OF_SUSPECT = ("queries", "pooling")
# These change where a run happens, not what it finds.
LEFT_OUT = {"suspect", "commitment", "checkpoint_every", "keep", "workers", "executor", "ray_address", "tracking"}
# Settings that name pictures or models; where they name something on this machine, its files are part of the
# commitment.
NAMING = {"source", "pictures", "validation", "pipeline", "model", "function"}


def write_commitment(recipe: Recipe, out: Path) -> Path:
    """Commit to a recipe, its seed, and the pictures and local models that it names.

    Args:
        recipe: of the audit to come; of the suspect, only the options that change numbers are covered.
        out: the small file; the secret one is written beside it (``NAME.secret.json``, readable by its owner only).

    Returns:
        ``out``.

    Raises:
        UserError: a commitment is there already, or something that the recipe names cannot be read.
    """
    secret = secret_of(out)
    for path in (out, secret):
        if path.exists():
            raise UserError(f"{path}: exists; a commitment is written once, choose another name")
    groups = contents(recipe)
    salt = secrets.token_bytes(32)
    roots = _group_roots(salt, groups)
    stored = {
        "format": FORMAT,
        "keep": "secret: whoever has this and a picture can tell whether it is among those committed to",
        "salt": salt.hex(),
        "recipe": plain(recipe),
        "groups": roots,
    }
    write_atomic(secret, json.dumps(stored, indent=1), mode=0o600)
    public = {
        "format": FORMAT,
        "root": root_of(roots),
        "algorithm": ALGORITHM,
        "method": recipe.method,
        "counts": {name: len(items) for name, items in groups.items() if name not in ("recipe", "seed")},
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "burnish": burnish.__version__,
    }
    return write_atomic(out, json.dumps(public, indent=1))


def check_commitment(path: Path | str, recipe: Recipe) -> dict[str, Any]:
    """Check, before an audit, that it is the one committed to.

    Returns:
        The commitment.

    Raises:
        UserError: no commitment or no secret beside it, another recipe or seed (the setting is named), other pictures
            or models (the setting that holds them is named).
    """
    path = Path(path)
    public, secret = read_commitment(path), read_json(secret_of(path))
    if not isinstance(secret, dict) or not {"salt", "recipe", "groups"} <= secret.keys():
        raise UserError(f"{secret_of(path)}: missing or damaged; without the secret a commitment cannot be checked")
    mine, theirs = flatten(plain(recipe)), flatten(secret["recipe"])
    differing = sorted(key for key in {**mine, **theirs} if mine.get(key) != theirs.get(key))
    if differing:
        raise UserError(f"{path}: commits to another recipe (differs in {', '.join(differing)})")
    try:
        salt = bytes.fromhex(secret["salt"])
    except (ValueError, TypeError):
        raise UserError(f"{secret_of(path)}: damaged at `salt`") from None
    found = _group_roots(salt, contents(recipe))
    for name, each in found.items():
        if secret["groups"].get(name) != each:
            raise UserError(f"{path}: what `{name}` names has changed since it was committed to")
    if root_of(found) != public["root"]:
        raise UserError(f"{path}: its root is not that of {secret_of(path).name}; one of the two was changed")
    return public


def opening(path: Path) -> dict[str, Any]:
    """What opens the recipe of a commitment, and nothing else, to whoever checks the evidence.

    Args:
        path: the small file; the secret one lies beside it.

    Returns:
        ``recipe``, the ``salt`` of its group, and the root of every group.

    Raises:
        UserError: the secret file is missing or damaged.
    """
    secret = read_json(secret_of(path))
    try:
        salt = group_salt(bytes.fromhex(secret["salt"]), "recipe")
        return {"recipe": secret["recipe"], "salt": salt.hex(), "groups": dict(secret["groups"])}
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{secret_of(path)}: missing or damaged; evidence cannot show what was committed to") from None


def opens(opened: Any, published: str) -> bool:
    """Whether an opening is that of the commitment with this root."""
    try:
        recipe = root(_leaves(bytes.fromhex(opened["salt"]), "recipe", [_recipe_text(opened["recipe"])])).hex()
        groups = {str(name): str(each) for name, each in opened["groups"].items()}
        return groups.get("recipe") == recipe and root_of(groups) == published
    except (KeyError, TypeError, ValueError, AttributeError):
        return False


def read_commitment(path: Path) -> dict[str, Any]:
    """The small file.

    Raises:
        UserError: missing, or no commitment.
    """
    found = read_json(path)
    text = isinstance(found, dict) and all(isinstance(found.get(key), str) for key in ("root", "method", "time"))
    if not text or found.get("format") != FORMAT:
        raise UserError(f"{path}: no commitment that can be read; `burnish prove commit` writes one")
    return dict(found)


def secret_of(path: Path) -> Path:
    """Where the secret of a commitment lies."""
    return path.with_name(f"{path.stem}.secret.json")


def plain(recipe: Recipe) -> dict[str, Any]:
    """The part of a recipe that a commitment covers; of the suspect, the options that change numbers."""
    data = recipe.model_dump(mode="json")
    covered = {key: value for key, value in data.items() if key not in LEFT_OUT}
    if "suspect" in data:
        covered["suspect"] = {key: data["suspect"][key] for key in OF_SUSPECT}
    return covered


def contents(recipe: Recipe) -> dict[str, list[bytes]]:
    """All that is committed to: by setting, what it holds.

    A folder counts file by file (hidden ones left out), a function that returns an ImageSet picture by picture, any
    other by its source file. What is not on this machine (a hub id) is committed to by its name alone.

    Raises:
        UserError: pictures or functions that cannot be read.
    """
    groups = {"recipe": [_recipe_text(plain(recipe))], "seed": [str(recipe.seed).encode()]}
    for key, holder, value in _named(recipe, ()):
        local = Path(value).expanduser()
        if isinstance(holder, ImageSettings) and not local.is_dir():
            groups[key] = digests(load_images(holder).pixels)
        elif local.is_dir():
            inside = sorted((path.relative_to(local), path) for path in local.rglob("*") if path.is_file())
            # What file managers leave behind (.DS_Store) is nobody's picture.
            shown = [(name, path) for name, path in inside if not any(part.startswith(".") for part in name.parts)]
            groups[key] = [f"{name}\n{sha256(path)}".encode() for name, path in shown]
        elif local.is_file():
            groups[key] = [sha256(local).encode()]
        elif ":" in value and "/" not in value:
            groups[key] = [sha256(_source(value, key)).encode()]
    return groups


def _named(value: Any, path: tuple[str, ...]) -> list[tuple[str, BaseModel, str]]:
    """Settings that may name something on this machine: dotted key, the group it is in, its value."""
    found: list[tuple[str, BaseModel, str]] = []
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            child = getattr(value, name)
            if not path and name in LEFT_OUT:
                continue
            if name in NAMING and isinstance(child, str):
                key = path if name == "source" else (*path, name)
                found.append((".".join(key), value, child))
            else:
                found += _named(child, (*path, name))
    elif isinstance(value, list | tuple):
        for place, child in enumerate(value):
            found += _named(child, (*path, str(place)))
    return found


def _source(reference: str, key: str) -> Path:
    """The file of the function that ``module:function`` names."""
    function = import_object(reference, key)
    try:
        file = inspect.getsourcefile(inspect.unwrap(function))
    except TypeError:
        file = None
    if file is None or not Path(file).is_file():
        raise UserError(f"{key}: {reference} has no source file that could be committed to")
    return Path(file)


def _recipe_text(recipe: Any) -> bytes:
    return json.dumps(recipe, sort_keys=True).encode()


def group_salt(salt: bytes, name: str) -> bytes:
    """The salt of one group: whoever is shown it learns nothing of another's."""
    return hmac.digest(salt, name.encode(), "sha256")


def _group_roots(salt: bytes, groups: Mapping[str, Sequence[bytes]]) -> dict[str, str]:
    return {name: root(_leaves(group_salt(salt, name), name, items)).hex() for name, items in groups.items()}


def _leaves(salt: bytes, name: str, items: Sequence[bytes]) -> list[bytes]:
    # The group's name is hashed, so that its length is fixed and no two (name, item) pairs share a leaf.
    return [salt + hashlib.sha256(name.encode()).digest() + item for item in items]


def root_of(groups: Mapping[str, str]) -> str:
    """The published root, over the roots of all groups in order."""
    return root([hashlib.sha256(name.encode()).digest() + bytes.fromhex(each) for name, each in groups.items()]).hex()
