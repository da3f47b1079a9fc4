"""A client or an evaluator by the name of its back end."""

from __future__ import annotations

from typing import Literal

from burnish.private.encryption.clear import ClearClient, ClearEvaluator
from burnish.private.encryption.interface import Client, Evaluator
from burnish.private.encryption.openfhe_sides import OpenfheClient, OpenfheEvaluator
from burnish.private.encryption.parameters import Parameters
from burnish.private.encryption.seal import SealClient, SealEvaluator

Backend = Literal["seal", "openfhe", "clear"]
"""`seal` and `openfhe` encrypt; `clear` encrypts nothing and is for tests and plans."""

_CLIENTS: dict[Backend, type[SealClient] | type[OpenfheClient]] = {"seal": SealClient, "openfhe": OpenfheClient}
_EVALUATORS: dict[Backend, type[SealEvaluator] | type[OpenfheEvaluator] | type[ClearEvaluator]] = {
    "seal": SealEvaluator,
    "openfhe": OpenfheEvaluator,
    "clear": ClearEvaluator,
}


def make_client(parameters: Parameters, backend: Backend = "seal") -> Client:
    """With a new secret key.

    Raises:
        UserError: the back end's package is not installed, or does not load here.
    """
    return ClearClient(parameters) if backend == "clear" else _CLIENTS[backend].make(parameters)


def client_from_secret(secret: bytes, backend: Backend = "seal") -> Client:
    """With the secret key that a client saved.

    Raises:
        UserError: not a secret key of this back end.
    """
    return ClearClient.from_secret(secret) if backend == "clear" else _CLIENTS[backend].from_secret(secret)


def make_evaluator(parameters: Parameters, keys: bytes, backend: Backend = "seal") -> Evaluator:
    """For one client's keys.

    Raises:
        UserError: keys of other parameters or of another back end.
    """
    return _EVALUATORS[backend](parameters, keys)
