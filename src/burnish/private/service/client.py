"""The client keeps the secret key, encrypts, asks, reads. Evaluation keys, ciphertexts and tokens leave it: no more."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from burnish.core.errors import BurnishError, UserError
from burnish.core.files import read_json, write_atomic
from burnish.private.argmax.records import Label
from burnish.private.heads import Representations
from burnish.private.service import wire
from burnish.private.service.keys import Keys
from burnish.private.service.offer import Offer
from burnish.private.service.store import Registration

if TYPE_CHECKING:
    import httpx

PIECE = 1 << 20
PATIENCE = 120.0
"""Seconds that a busy server is waited for."""


class ServiceClient:
    """One server, one set of keys.

    Args:
        url: of the server.
        keys: made for it; see :func:`burnish.private.service.keys.make_keys`.
        token: of the server's guard, where it has one.
        transport: of httpx, in the place of the network.

    Raises:
        UserError: keys for another circuit than the server's, or for other classes, templates or another encoder.
        BurnishError: no server answers.
    """

    def __init__(
        self, url: str, keys: Keys, *, token: str | None = None, transport: httpx.BaseTransport | None = None
    ) -> None:
        self._http = connect(url, token, transport)
        self._url, self._keys, self._session = url.rstrip("/"), keys, ""
        self._patience = PATIENCE
        offer = read_offer(self._http)
        if offer.plan.digest != keys.offer.plan.digest or offer.backend != keys.offer.backend:
            raise UserError(f"{keys.folder}: keys for another circuit than this server has now; make keys again")
        if offer.model != keys.offer.model:  # else a label would be read under another class's name
            raise UserError(
                f"{keys.folder}: this server has other classes, templates or another encoder by now; make keys again"
            )
        self.offer = offer

    def close(self) -> None:
        """End the connection; the registration stays."""
        self._http.close()

    def __enter__(self) -> ServiceClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def register(self) -> Registration:
        """Send the evaluation keys, if this server does not have them; remembered in the keys' folder.

        Raises:
            BurnishError: the server refuses them, or is gone.
        """
        known = self._registration()
        if known is not None and self._open(known):
            return known
        path = self._keys.evaluation_keys
        size = path.stat().st_size
        plan = self.offer.plan
        head = wire.beginning("keys", plan.parameters.digest, plan.digest, [size])

        def body() -> Iterator[bytes]:
            yield head
            with path.open("rb") as file:
                while piece := file.read(PIECE):
                    yield piece

        headers = {"content-length": str(len(head) + size), "content-type": wire.MEDIA_TYPE}
        told = self._send("POST", "/v1/keys", content=body, headers=headers).json()
        registration = Registration(str(told["client"]), str(told["token"]))
        write_atomic(self._registration_path(), json.dumps(vars(registration)), 0o600)
        if not self._open(registration):
            raise BurnishError(f"{self._url}: took the keys and does not know them")
        return registration

    def forget(self) -> None:
        """Have the server remove the evaluation keys."""
        known = self._registration()
        if known is not None:
            self._send("DELETE", "/v1/keys", content=json.dumps(vars(known)).encode())
            self._registration_path().unlink(missing_ok=True)

    def ask(self, representations: Representations) -> list[Label]:
        """The label of each text; many texts go as several questions, each with as many as it has lanes.

        Raises:
            UserError: representations that this circuit does not take.
            BurnishError: the server refuses, is gone, or its answer is none.
        """
        lanes = self.offer.plan.packing.questions
        found: list[Label] = []
        for start in range(0, len(representations), lanes):
            found += self._ask(representations[start : start + lanes])
        return found

    def _ask(self, representations: Representations) -> list[Label]:
        plan, client = self.offer.plan, self._keys.client
        parts = [client.save(client.encrypt(part)) for part in plan.encode(representations)]
        if not self._session:
            self.register()
        nonce = ""

        def message() -> bytes:
            nonlocal nonce
            nonce = wire.new_nonce()  # each time that it is sent: a server answers none twice, nor one that it lost
            return wire.write(
                "question", plan.parameters.digest, plan.digest, parts, session=self._session, nonce=nonce
            )

        reply = self._send("POST", "/v1/questions", content=message, accept=(401,))
        if reply.status_code == 401:
            self.register()
            reply = self._send("POST", "/v1/questions", content=message)
        answer = wire.read(reply.content, self.offer.answer_bytes)
        wire.expect(answer.header, "answer", plan.parameters.digest, plan.digest)
        if answer.header.nonce != nonce or len(answer.streams) != 1:
            raise BurnishError(f"{self._url}: an answer to another question came back")
        return plan.read(client.decrypt(client.load(wire.unpadded(answer.streams[0]))), len(representations))

    def _open(self, registration: Registration) -> bool:
        reply = self._send("POST", "/v1/sessions", content=json.dumps(vars(registration)).encode(), accept=(404,))
        self._session = "" if reply.status_code == 404 else str(reply.json()["session"])
        return bool(self._session)

    def _registration_path(self) -> Path:
        name = hashlib.sha256(self._url.encode()).hexdigest()[:16]
        return self._keys.folder / f"registered-{name}.json"

    def _registration(self) -> Registration | None:
        told = read_json(self._registration_path())
        if not isinstance(told, dict) or set(told) != {"client", "token"}:
            return None
        return Registration(str(told["client"]), str(told["token"]))

    def _send(
        self,
        method: str,
        path: str,
        *,
        content: Any,
        headers: dict[str, str] | None = None,
        accept: tuple[int, ...] = (),
    ) -> httpx.Response:
        """A request; a busy server is waited for.

        Raises:
            BurnishError: no answer, or a refusal; its own line is passed on.
        """
        end = time.monotonic() + self._patience
        while True:
            body = content() if callable(content) else content
            reply = exchange(self._http, method, path, content=body, headers=headers)
            told = reply.headers.get("retry-after", "1")
            wait = float(told) if told.isdecimal() else 1.0
            if reply.status_code not in (429, 503) or time.monotonic() + wait > end:
                break
            time.sleep(wait)
        if reply.is_success or reply.status_code in accept:
            return reply
        raise refusal(self._url, reply)


def connect(url: str, token: str | None, transport: httpx.BaseTransport | None = None) -> httpx.Client:
    """A connection to a server."""
    import httpx

    headers = {"authorization": f"Bearer {token}"} if token else {}
    try:
        return httpx.Client(base_url=url, headers=headers, timeout=httpx.Timeout(600, connect=10), transport=transport)
    except (httpx.InvalidURL, ValueError) as error:
        raise UserError(f"{url}: no address of a server ({error})") from None


def read_offer(http: httpx.Client) -> Offer:
    """What a server tells everybody.

    Raises:
        UserError: it is no private service.
        BurnishError: no server answers.
    """
    reply = exchange(http, "GET", "/v1/service")
    if not reply.is_success:
        raise refusal(str(http.base_url), reply)
    return Offer.from_text(reply.text)


def exchange(http: httpx.Client, method: str, path: str, **options: Any) -> httpx.Response:
    """One request.

    Raises:
        BurnishError: no server answers, or it was gone before it had answered.
    """
    import httpx

    try:
        return http.request(method, path, **options)
    except httpx.ConnectError as error:
        raise BurnishError(f"{http.base_url}: no server answers there ({error}); is it running?") from None
    except httpx.UnsupportedProtocol:
        raise UserError(f"{http.base_url}: no address of a server; write it as http://HOST:PORT") from None
    except httpx.HTTPError as error:
        raise BurnishError(
            f"{http.base_url}: the server was gone before it had answered ({type(error).__name__}); ask again"
        ) from None


def refusal(url: str, reply: httpx.Response) -> BurnishError:
    """A server's refusal in its own words."""
    try:
        told = str(reply.json()["detail"])
    except (ValueError, KeyError, TypeError):
        told = reply.text[:200]
    kind = UserError if reply.status_code < 500 else BurnishError
    return kind(f"{url.rstrip('/')}: refused ({reply.status_code}): {told[:500]}")
