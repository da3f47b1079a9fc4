"""Texts classified under encryption in one process: what travels is made, measured and read as on the network."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from burnish.private.encryption.choose import Backend, make_client, make_evaluator
from burnish.private.ensemble.circuit import EnsembleCircuit
from burnish.private.ensemble.reading import Label
from burnish.private.heads import Representations


@dataclass(frozen=True)
class Answer:
    """What came of a question, which may hold several texts.

    Attributes:
        labels: of each text, as the client reads them.
        sent: bytes of the question.
        received: bytes of the answer.
        seconds: of the server.
    """

    labels: tuple[Label, ...]
    sent: bytes
    received: bytes
    seconds: float


class Session:
    """A client and a server with one client's keys. The server's side touches no secret: it gets bytes.

    Args:
        circuit: the server's.
        backend: that encrypts.

    Attributes:
        key_bytes: of the evaluation keys, sent once.
    """

    def __init__(self, circuit: EnsembleCircuit, backend: Backend) -> None:
        self._circuit = circuit
        plan = circuit.plan
        self._client = make_client(plan.parameters, backend)
        keys = self._client.evaluation_keys(plan.rotations)
        self.key_bytes = len(keys)
        self._server = make_evaluator(plan.parameters, keys, backend)

    def ask(self, representations: Representations) -> Answer:
        """As many texts as the circuit has lanes, or fewer.

        Raises:
            UserError: representations that do not fit the circuit.
        """
        plan = self._circuit.plan
        parts = [self._client.save(self._client.encrypt(row)) for row in plan.encode(representations)]
        seconds, received = self._serve(parts)
        slots = self._client.decrypt(self._client.load(received))
        return Answer(tuple(plan.read(slots, len(representations))), b"".join(parts), received, seconds)

    def _serve(self, parts: Sequence[bytes]) -> tuple[float, bytes]:
        started = time.perf_counter()
        ciphers = [self._server.load(part) for part in parts]
        received = self._server.save(self._circuit.run(self._server, ciphers))
        return time.perf_counter() - started, received
