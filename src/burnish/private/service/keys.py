"""A client's keys on its own disk: the secret one for nobody else's eyes, the evaluation keys to send, once."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from burnish.core.errors import UserError
from burnish.core.files import MANIFEST, explained, folder_atomic, read_json, write_manifest
from burnish.core.metrics import Progress, activity, bytes_shown
from burnish.private.encryption.choose import client_from_secret, make_client
from burnish.private.encryption.interface import Client
from burnish.private.service.offer import Offer

SECRET, EVALUATION, OFFER = "secret.key", "evaluation.keys", "service.json"


@dataclass(frozen=True)
class Keys:
    """A folder of keys, opened.

    Attributes:
        folder: where they lie.
        offer: of the service that they are for.
        client: with the secret key.
    """

    folder: Path
    offer: Offer
    client: Client

    @property
    def evaluation_keys(self) -> Path:
        """To send to the server."""
        return self.folder / EVALUATION


def make_keys(folder: Path, offer: Offer, *, unencrypted: bool = False) -> Keys:
    """New keys for a service, in a folder that does not exist yet.

    Args:
        folder: to make.
        offer: of the service.
        unencrypted: take a service of the back end `clear`, which encrypts nothing.

    Raises:
        UserError: the folder exists, or the service does not encrypt.
        BurnishError: the disk is full.
    """
    _refuse_clear(offer, unencrypted)
    if folder.exists():
        raise UserError(f"{folder}: is there already; keys are never overwritten; choose another folder")
    parameters, count = offer.plan.parameters, len(offer.plan.rotations) + 1
    Progress().note(
        f"{folder}: making {count} keys, each {bytes_shown(parameters.key_bytes)} in the server's memory; about "
        f"{bytes_shown(count * parameters.sent_key_bytes)} to send, once"
    )
    client = make_client(parameters, offer.backend)
    with activity(f"{folder}: {count} keys"), folder_atomic(folder) as work, explained(folder):
        work.chmod(0o700)  # before anything is in it
        (work / SECRET).write_bytes(client.save_secret())
        (work / EVALUATION).write_bytes(client.evaluation_keys(offer.plan.rotations))
        (work / OFFER).write_text(json.dumps(offer.to_json(), indent=1), encoding="utf-8")
        write_manifest(work)
    (folder / SECRET).chmod(0o600)
    return Keys(folder, offer, client)


def load_keys(folder: Path, *, unencrypted: bool = False) -> Keys:
    """Keys that :func:`make_keys` wrote.

    Raises:
        UserError: none, damaged, or of other parameters than their service's; a service that does not encrypt.
    """
    try:
        told, secret = (folder / OFFER).read_text("utf-8"), (folder / SECRET).read_bytes()
    except (OSError, UnicodeDecodeError):
        raise UserError(f"{folder}: no keys there; make them (burnish private keygen)") from None
    offer = Offer.from_text(told)
    _refuse_clear(offer, unencrypted)
    client = client_from_secret(secret, offer.backend)
    if client.parameters != offer.plan.parameters:
        raise UserError(f"{folder}: {SECRET} is of another parameter set than {OFFER}; make keys again")
    manifest = read_json(folder / MANIFEST)
    try:
        known = manifest["files"][SECRET]["sha256"]
    except (KeyError, TypeError):
        known = ""
    if hashlib.sha256(secret).hexdigest() != known:  # with a few bits changed it may still be read, and decrypts noise
        raise UserError(f"{folder}: {SECRET} is damaged, or not the one that was made here; make keys again")
    return Keys(folder, offer, client)


def _refuse_clear(offer: Offer, unencrypted: bool) -> None:
    if offer.backend == "clear" and not unencrypted:
        raise UserError(
            "backend: this service encrypts nothing (`clear`): it would read your texts; it is for tests only"
        )
