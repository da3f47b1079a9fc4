"""A client or an evaluator by the name of its back end."""

from __future__ import annotations

from typing import Literal

from burnish.private.encryption.clear import ClearClient, ClearEvaluator
from burnish.private.encryption.interface import Client, Evaluator
from burnish.private.encryption.parameters import Parameters
from burnish.private.encryption.seal import SealClient, SealEvaluator

Backend = Literal["seal", "clear"]
"""`seal` encrypts; `clear` encrypts nothing and is for tests and plans."""


def make_client(parameters: Parameters, backend: Backend = "seal") -> Client:
    """With a new secret key.

    Raises:
        UserError: the back end's package is not installed.
    """
    return SealClient.make(parameters) if backend == "seal" else ClearClient(parameters)


def client_from_secret(secret: bytes, backend: Backend = "seal") -> Client:
    """With the secret key that a client saved.

    Raises:
        UserError: not a secret key of this back end.
    """
    return SealClient.from_secret(secret) if backend == "seal" else ClearClient.from_secret(secret)


def make_evaluator(parameters: Parameters, keys: bytes, backend: Backend = "seal") -> Evaluator:
    """For one client's keys.

    Raises:
        UserError: keys of other parameters or of another back end.
    """
    return SealEvaluator(parameters, keys) if backend == "seal" else ClearEvaluator(parameters, keys)
