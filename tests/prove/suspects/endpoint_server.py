"""A server that answers by script, and an endpoint that asks it without sleeping."""

import contextlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from burnish.prove.images import digests
from burnish.prove.suspects import SuspectSettings
from burnish.prove.suspects.cache import MemoryStore
from burnish.prove.suspects.endpoint import Endpoint
from burnish.prove.suspects.oracle import Oracle
from burnish.prove.suspects.wire import from_png

Reply = tuple[int, dict[str, str], bytes | Iterator[bytes]]


def good(images: np.ndarray, answer: str) -> Reply:
    means = images.mean((1, 2, 3))
    found: Any = means.astype(int).tolist() if answer == "labels" else [[m, -m] for m in means.tolist()]
    return 200, {}, json.dumps({answer: found}).encode()


class Server:
    """Answers with what ``script`` gives for the next request; remembers which images it saw, and when."""

    def __init__(self, script: Callable[[int, np.ndarray, str], Reply]) -> None:
        self.seen: Counter[bytes] = Counter()
        self.headers: list[dict[str, str]] = []
        self.requests = 0
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                images = np.stack([from_png(text) for text in body["images"]])
                server.seen.update(digests(images))
                server.headers.append(dict(self.headers))
                server.requests += 1
                status, headers, data = script(server.requests, images, body["answer"])
                with contextlib.suppress(OSError):
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    if isinstance(data, bytes) and "Content-Length" not in headers:
                        self.send_header("Content-Length", str(len(data)))
                    if "X-Drip" in headers:  # the pieces go on with the headers
                        self.flush_headers()
                    else:
                        self.end_headers()
                    for part in [data] if isinstance(data, bytes) else data:
                        self.wfile.write(part)

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1/answers"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def oracle(url: str, answer: Any = "labels", waits: list[float] | None = None, **more: Any) -> Oracle:
    """As ``open_suspect`` makes it, but waits are noted instead of slept."""
    asked = SuspectSettings(model=url, **more)
    waits = [] if waits is None else waits
    return Oracle(Endpoint(asked, answer, sleep=waits.append), answer, asked, MemoryStore())
