"""Who may ask, how often, and nothing twice: sessions that expire, a rate for each client, nonces that are used once.

In memory only: when a server starts again all sessions are over, so that no old message can be played to it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from burnish.core.errors import UserError


class Refused(UserError):
    """A request that is not served, with the HTTP status, and the seconds after which it may be.

    Args:
        message: one line.
        status: 401 no session, 404 not there, 409 replayed, 413 too large, 429 too often, 503 too busy, 507 too full.
        after: seconds to wait, for 429 and 503.
    """

    def __init__(self, message: str, status: int, after: int = 0) -> None:
        super().__init__(message)
        self.status, self.after = status, after


@dataclass(frozen=True)
class Limits:
    """What a server allows.

    Attributes:
        clients: whose keys are kept.
        key_seconds: after which they are removed, and have to be sent again.
        session_seconds: after which a session is over.
        session_questions: after which it is over as well; the noise that floods an answer counts with as many.
        questions_per_minute: of a client; as many may come at once after a pause.
        waiting: questions in the queue; beyond that the server is busy.
    """

    clients: int = 100
    key_seconds: int = 86_400
    session_seconds: int = 3600
    session_questions: int = 1000
    questions_per_minute: int = 60
    waiting: int = 16

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise UserError(f"{name}: {value}; at least 1")


@dataclass
class _Session:
    client: str
    end: float
    nonces: set[str] = field(default_factory=set)


@dataclass
class _Bucket:
    left: float
    at: float


class Sessions:
    """Open sessions. Not for several threads: the server's event loop is one.

    Args:
        limits: see :class:`Limits`.
        clock: seconds that never go back.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._clock = limits, clock
        self._open: dict[str, _Session] = {}
        self._buckets: dict[str, _Bucket] = {}

    def open(self, client: str) -> str:
        """A new session; the client's earlier one is over."""
        now = self._clock()
        self._open = {
            name: session for name, session in self._open.items() if session.end > now and session.client != client
        }
        name = secrets.token_hex(16)
        self._open[name] = _Session(client, now + self._limits.session_seconds)
        return name

    def close(self, client: str) -> None:
        """End a client's session."""
        self._open = {name: session for name, session in self._open.items() if session.client != client}

    def check(self, name: str) -> None:
        """Refuse who has no session, before more is read of what comes.

        Raises:
            Refused: no such session, or over.
        """
        self._found(name)

    def _found(self, name: str) -> _Session:
        session = self._open.get(name)
        if session is None or session.end <= self._clock() or len(session.nonces) >= self._limits.session_questions:
            raise Refused("session: unknown, or over; open another one", 401)
        return session

    def question(self, name: str, nonce: str) -> str:
        """Let a question in; its client.

        Raises:
            Refused: no such session, or over; a nonce that was used or is missing; too many questions.
        """
        session = self._found(name)
        if not nonce:
            raise Refused("nonce: missing; a question needs one of its own", 400)
        if nonce in session.nonces:
            raise Refused("nonce: this question was sent before; it is not answered again", 409)
        self._take(session.client, self._clock())
        session.nonces.add(nonce)
        return session.client

    def _take(self, client: str, now: float) -> None:
        most = self._limits.questions_per_minute
        bucket = self._buckets.setdefault(client, _Bucket(most, now))
        bucket.left = min(most, bucket.left + (now - bucket.at) * most / 60)
        bucket.at = now
        if bucket.left < 1:
            seconds = (1 - bucket.left) * 60 / most
            raise Refused(f"rate: at most {most} questions a minute; wait", 429, int(seconds) + 1)
        bucket.left -= 1
        if len(self._buckets) > 10 * self._limits.clients:
            # Full again means: like one that was never seen.
            self._buckets = {
                name: each
                for name, each in self._buckets.items()
                if each.left + (now - each.at) * most / 60 < most or name == client
            }
