"""A finished run's model goes to the hub, once, where its recipe says so (``push: org/name``). Never by itself.

Knows huggingface_hub and the folder of a run. The address is ``HF_ENDPOINT``, the login that of ``hf auth login`` or
``HF_TOKEN``; neither is stored.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from burnish.core.errors import BurnishError, UserError
from burnish.core.files import read_json, write_atomic
from burnish.core.metrics import activity

MARK = "pushed.json"
"""Among the artifacts: which repository has it, and the commit."""
CONFIGS = ("config.json", "adapter_config.json")


def push_model(value: Any, repository: str, run: Path) -> Path:
    """Send the model that a run left to a repository, unless it is there; one that does not exist is made, private.

    Args:
        value: what the method's loop returned.
        repository: ``org/name``.
        run: the run's folder.

    Returns:
        The file that says where the model is.

    Raises:
        UserError: the run left no model, the hub is not to be asked, or it refuses.
        BurnishError: the hub cannot be reached; the same command tries again.
    """
    mark = run / "artifacts" / MARK
    sent = read_json(mark)
    if isinstance(sent, dict) and sent.get("repository") == repository:
        return mark
    if not (isinstance(value, Path) and any((value / name).is_file() for name in CONFIGS)):
        raise UserError(f"push: {run} left no model to send (a folder with config.json); leave `push` out")
    with activity(f"push: {repository}"):
        commit = _upload(value, repository)
    return write_atomic(mark, json.dumps({"repository": repository, "commit": commit}, indent=1))


def _upload(folder: Path, repository: str) -> str:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    hub = HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
    again = "the run is finished, the same command sends it"
    try:
        hub.create_repo(repository, private=True, exist_ok=True)
        return str(hub.upload_folder(repo_id=repository, folder_path=folder, commit_message="From Burnish").oid)
    except OfflineModeIsEnabled:
        raise UserError(f"push: {repository}: HF_HUB_OFFLINE is set, so that nothing is sent; {again}") from None
    except HfHubHTTPError as error:
        code = error.response.status_code
        if code in (401, 403, 404):
            cure = "log in (`hf auth login`, or HF_TOKEN) as somebody who may write there"
            raise UserError(f"push: {repository}: the hub refuses it ({code}); {cure}; {again}") from None
        raise BurnishError(f"push: {repository}: the hub answered {code}; {again}") from None
    except Exception as error:  # noqa: BLE001 - of whichever HTTP client the library uses
        reason = " ".join(str(error).split())[:200]
        raise BurnishError(f"push: {repository}: the hub cannot be reached ({reason}); {again}") from None
