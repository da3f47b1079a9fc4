"""A checkpoint's network without its weights: which class each of its parts is. Knows transformers; reads no weight."""

from __future__ import annotations

from typing import Any

from burnish.core.errors import UserError
from burnish.merge.sources import Checkpoint


def skeleton(checkpoint: Checkpoint) -> Any:
    """The network that `config.json` describes: weights of a shape and nowhere in memory, computed tables in place.

    Raises:
        UserError: a class that transformers does not have (code of the model's own is never run), or a config that it
            refuses.
    """
    import transformers
    from accelerate import init_empty_weights

    folder, config = checkpoint.folder, checkpoint.config
    name = str((config.get("architectures") or [None])[0])
    cls = getattr(transformers, name, None)
    if cls is None:
        raise UserError(f"{folder}/config.json: `architectures` names {name}, unknown to transformers")
    try:
        settings = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
        with init_empty_weights(include_buffers=False):
            return cls(settings)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise UserError(f"{folder}: the network cannot be built ({' '.join(str(error).split())[:200]})") from None
