"""What a server tells everybody: how a text becomes a question, which encryption, which bounds. No secret in it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from burnish.core.errors import UserError
from burnish.private.bundle import ClientModel
from burnish.private.encryption.choose import Backend
from burnish.private.ensemble.plan import CircuitPlan

HEADER_ROOM = 8192
"""Bytes that a message may have beyond its streams."""


@dataclass(frozen=True)
class Offer:
    """See the module.

    Attributes:
        model: encoder, templates and labels.
        plan: parameters, packing and rotations.
        backend: the encryption's library.
        flood_bits: of statistical security of the noise on answers.
        session_seconds: of a session.
        session_questions: of a session.
    """

    model: ClientModel
    plan: CircuitPlan
    backend: Backend
    flood_bits: float
    session_seconds: int
    session_questions: int

    @property
    def keys_bytes(self) -> int:
        """What evaluation keys may be, at most, as a message."""
        return (len(self.plan.rotations) + 1) * (self.plan.parameters.key_bytes + HEADER_ROOM) + HEADER_ROOM

    @property
    def question_bytes(self) -> int:
        """What a question may be, at most, as a message."""
        parameters, parts = self.plan.parameters, self.plan.packing.parts
        return parts * (parameters.ciphertext_bytes(parameters.levels) + HEADER_ROOM) + HEADER_ROOM

    @property
    def answer_bytes(self) -> int:
        """What every answer's stream is padded to."""
        return self.plan.parameters.ciphertext_bytes(0) + HEADER_ROOM

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "model": asdict(self.model),
            "plan": self.plan.to_json(),
            "backend": self.backend,
            "flood_bits": self.flood_bits,
            "session_seconds": self.session_seconds,
            "session_questions": self.session_questions,
        }

    @classmethod
    def from_json(cls, told: Any) -> Offer:
        """From a server, or from a key's folder; checked.

        Raises:
            UserError: something else, or parameters that are refused.
        """
        try:
            model = ClientModel(**told["model"])
            model = ClientModel(
                **{**asdict(model), "templates": tuple(model.templates), "labels": tuple(map(str, model.labels))}
            )
            if told["backend"] not in ("seal", "openfhe", "clear"):
                raise UserError(f"offer: back end {told['backend']!r} is unknown here; update this side")
            return cls(
                model,
                CircuitPlan.from_json(told["plan"]),
                told["backend"],
                float(told["flood_bits"]),
                int(told["session_seconds"]),
                int(told["session_questions"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"offer: not one of a private service ({type(error).__name__}: {error})") from None

    @classmethod
    def from_text(cls, text: str) -> Offer:
        """From JSON.

        Raises:
            UserError: see :meth:`from_json`.
        """
        try:
            told = json.loads(text)
        except (json.JSONDecodeError, RecursionError):
            raise UserError("offer: not JSON; is this the address of a private service?") from None
        return cls.from_json(told)
