"""Models in the Hugging Face layout: a local folder, a hub id or the hub's cache. safetensors only, never remote code.

Knows transformers, PEFT and huggingface_hub. Knows no method. Heavy imports stay inside the functions.
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

from burnish.core.embedded import located
from burnish.core.errors import UserError
from burnish.core.files import explained, folder_atomic, read_json

PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
WANTED = ("*.safetensors", "*.json", "*.jinja", "*.txt", "*.model", "*.md")


def resolve(name: str | Path) -> Path:
    """The local folder of a model: a path, the name of an embedded model, or a hub id (``org/name@revision``).

    An embedded model is prepared, one of the hub fetched, once, into the cache. A folder goes first, then an embedded
    model (:func:`burnish.core.embedded.located`). ``HF_HUB_OFFLINE=1`` looks in the cache only.

    Raises:
        UserError: no such folder, no such model, not in the cache while offline, or only pickled weights.
    """
    text, folder = str(name), _on_disk(name)
    if folder is not None:
        _refuse_pickle(folder)
        return folder
    if text.startswith(("/", ".", "~")) or text.count("/") != 1:
        raise UserError(
            f"{text}: no such folder; give a model folder or a hub id (org/name), or the name of an "
            "embedded one (`burnish model list` shows those)"
        )
    repo, _, revision = text.partition("@")
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        fetched = Path(huggingface_hub.snapshot_download(repo, revision=revision or None, allow_patterns=list(WANTED)))
    except HFValidationError:
        raise UserError(f"{text}: neither a folder nor a valid hub id (org/name)") from None
    except (LocalEntryNotFoundError, OSError) as error:
        if isinstance(error, HfHubHTTPError):
            raise UserError(
                f"{text}: the hub refused it ({type(error).__name__}); check the id and your login"
            ) from None
        if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
            cure = "this is the hub's cache: set HF_HOME to a folder that you may write to"
            raise UserError(f"{error.filename}: {error.strerror}; {cure}") from None
        why = offline() or "the hub cannot be reached"
        raise UserError(f"{text}: no such folder here, not in the hub's cache, and {why}") from None
    except HfHubHTTPError as error:
        raise UserError(f"{text}: the hub refused it ({type(error).__name__}); check the id and your login") from None
    _refuse_pickle(fetched)
    return fetched


def _on_disk(name: str | Path) -> Path | None:
    try:
        path = Path(name).expanduser()
        there = path.exists()
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"{str(name)[:80]}: not a path or hub id ({error})") from None
    path = path if there else located(path)
    if path.is_dir():
        return path
    if path.exists():
        raise UserError(f"{name}: is a file; a model is a folder in the Hugging Face layout")
    return None


def offline() -> str:
    """That the hub is not asked, and by whose wish, in words; empty where it is."""
    from huggingface_hub import constants

    is_set = constants.HF_HUB_OFFLINE
    return "HF_HUB_OFFLINE is set, so that the hub is not asked (unset it, or give a folder)" if is_set else ""


def _refuse_pickle(folder: Path) -> None:
    if any(folder.glob("*.safetensors")) or not any(match for pattern in PICKLES for match in folder.glob(pattern)):
        return
    raise UserError(
        f"{folder}: only pickled weights, which can run code when read; convert them to safetensors with "
        "save_pretrained on a machine that you trust them on"
    )


def split_reference(name: str | Path) -> tuple[str, str | None]:
    """``model+adapter`` as its two parts; a folder whose own name holds a ``+`` is one part."""
    text = str(name)
    if "+" not in text or Path(text).expanduser().is_dir():
        return text, None
    model, _, adapter = text.partition("+")
    return model, adapter


def read_config(folder: Path) -> dict[str, Any]:
    """The ``config.json`` of a model folder.

    Raises:
        UserError: missing, or not JSON.
    """
    path = folder / "config.json"
    if not path.exists():
        raise UserError(f"{folder}: no config.json; a model is a folder in the Hugging Face layout")
    config = read_json(path)
    if not isinstance(config, dict):
        raise UserError(f"{path}: not a JSON object; the file is damaged")
    return config


def load_model(name: str | Path, task: str = "auto", *, dtype: str = "auto", device: str | None = None) -> Any:
    """Load ``model`` or ``model+adapter`` with transformers (and PEFT), in evaluation mode.

    Args:
        name: a folder or hub id; ``base+adapter`` merges a LoRA adapter into its base.
        task: ``auto`` takes the class that the config names; otherwise the suffix of an Auto class, for example
            ``CausalLM``, ``ImageClassification`` or ``ImageTextToText``.
        dtype: ``auto`` keeps the checkpoint's.
        device: where to put it; none leaves it where transformers does.

    Raises:
        UserError: the folder, its config or its weights cannot be read, or it wants code of its own.
    """
    return load_reported(name, task, dtype=dtype, device=device)[0]


def load_reported(
    name: str | Path, task: str = "auto", *, dtype: str = "auto", device: str | None = None
) -> tuple[Any, list[str]]:
    """:func:`load_model`, and the names of weights that the checkpoint lacks: transformers makes them up at random.

    ``task="base"`` loads the network without a head (``AutoModel``).
    """
    import transformers
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    transformers.utils.logging.disable_progress_bar()
    base, adapter = split_reference(name)
    folder = resolve(base)
    config = read_config(folder)
    if "auto_map" in config and config.get("model_type") not in transformers.CONFIG_MAPPING:
        raise UserError(f"{folder}: wants Python code of its own (auto_map), which is never run")
    if task == "auto":
        architecture = (config.get("architectures") or [None])[0]
        cls = getattr(transformers, str(architecture), None)
        if cls is None:
            raise UserError(f"{folder}/config.json: `architectures` names {architecture}, unknown to transformers")
    else:
        cls = transformers.AutoModel if task == "base" else getattr(transformers, f"AutoModelFor{task}")
    try:
        model, report = cls.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, trust_remote_code=False, output_loading_info=True
        )
        if adapter:
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, resolve(adapter), use_safetensors=True).merge_and_unload()
    except (OSError, ValueError, SafetensorError, RuntimeError, StrictDataclassError) as error:
        raise UserError(f"{name}: cannot be loaded ({' '.join(str(error).split())[:300]})") from error
    if device:
        model = model.to(device)
    return model.eval(), sorted(map(str, report["missing_keys"]))


def load_tokenizer(name: str | Path) -> Any:
    """The tokenizer of a model folder or hub id.

    Raises:
        UserError: it has none that can be read.
    """
    import transformers

    folder = resolve(split_reference(name)[0])
    try:
        return transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{folder}: no tokenizer that can be read ({' '.join(str(error).split())[:200]})") from error


def save_model(model: Any, path: Path, tokenizer: Any = None, card: str = "") -> Path:
    """Write a model folder (sharded safetensors, config, tokenizer or processor, card) that is whole or absent.

    Raises:
        BurnishError: the disk is full.
    """
    import transformers
    from safetensors import SafetensorError

    transformers.utils.logging.disable_progress_bar()
    with folder_atomic(path) as work, explained(path):
        try:
            model.save_pretrained(work)
            if tokenizer is not None:
                tokenizer.save_pretrained(work)
        except SafetensorError as error:
            raise OSError(errno.ENOSPC if "os error 28" in str(error) else errno.EIO, str(error)) from error
        if card:
            (work / "README.md").write_text(card, encoding="utf-8")
    return path
