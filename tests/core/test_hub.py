"""A model goes to the hub when its run is finished, once: against a server of the test's own."""

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants

from burnish.core.errors import BurnishError, UserError
from burnish.core.hub import push_model


class Hub(ThreadingHTTPServer):
    """As much of the hub as an upload asks for; keeps what it got."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.made: list[dict] = []
        self.files: dict[str, bytes] = {}
        self.tokens: set[str] = set()
        self.refuses = 0
        self.url = f"http://127.0.0.1:{self.server_port}"


class Answers(BaseHTTPRequestHandler):
    server: Hub

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.server.tokens.add(self.headers.get("Authorization", ""))
        if self.server.refuses:
            self.answer({"error": "no"}, self.server.refuses)
        elif self.path == "/api/repos/create":
            self.server.made.append(json.loads(body))
            self.answer({"url": f"{self.server.url}/org/name"})
        elif self.path == "/api/validate-yaml":
            self.answer({"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            names = [each["path"] for each in json.loads(body)["files"]]
            self.answer({"files": [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]})
        else:
            assert self.path.startswith("/api/models/org/name/commit/main")
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.server.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            self.answer({"commitUrl": f"{self.server.url}/org/name/commit/abc", "commitOid": "abc", "hookOutput": ""})

    def answer(self, data: dict, code: int = 200) -> None:
        text = json.dumps(data).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "run" / "artifacts" / "model"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "README.md").write_text("A model.")
    return folder


def test_a_model_is_sent_once(hub: Hub, model: Path, tmp_path: Path) -> None:
    mark = push_model(model, "org/name", tmp_path / "run")
    assert json.loads(mark.read_text()) == {"repository": "org/name", "commit": "abc"}
    assert hub.files == {"config.json": b"{}", "README.md": b"A model."}
    assert (hub.made[0]["name"], hub.made[0]["organization"], hub.made[0]["visibility"]) == ("name", "org", "private")
    assert hub.tokens == {"Bearer hf_test"}
    hub.files.clear()
    push_model(model, "org/name", tmp_path / "run")
    assert (hub.files, len(hub.made)) == ({}, 1)


def test_what_goes_wrong_is_said_and_tried_again(
    hub: Hub, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    with pytest.raises(UserError, match="left no model to send"):
        push_model(0.5, "org/name", run)
    hub.refuses = 403
    with pytest.raises(UserError, match=r"the hub refuses it \(403\); log in .* the same command sends it"):
        push_model(model, "org/name", run)
    with monkeypatch.context() as patch:
        patch.setattr(constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(UserError, match="HF_HUB_OFFLINE is set"):
            push_model(model, "org/name", run)
    with monkeypatch.context() as patch:
        patch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
        with pytest.raises(BurnishError, match="cannot be reached"):
            push_model(model, "org/name", run)
    assert not (run / "artifacts" / "pushed.json").exists()
    hub.refuses = 0
    assert push_model(model, "org/name", run).exists()
