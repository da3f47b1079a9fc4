"""Client and server over a real connection: what is answered, what is refused, what is survived."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest

from burnish.core.errors import BurnishError, UserError
from burnish.private.bundle import load_client, load_heads, save_bundle
from burnish.private.heads import answers
from burnish.private.service import wire
from burnish.private.service.client import ServiceClient
from burnish.private.service.keys import Keys, load_keys, make_keys
from burnish.private.service.offer import Offer
from burnish.private.service.running import new_keys
from burnish.private.service.sessions import Limits
from burnish.private.service.workers import Workers
from tests.private.service.conftest import CLEAR, running, texts


@pytest.fixture
def keys(server: str, tmp_path: Path) -> Keys:
    return new_keys(server, tmp_path / "keys", unencrypted=True)


def agree(bundle: Path, given: Any, labels: Any) -> None:
    heads = load_heads(bundle)[0]
    assert sum(not label.ambiguous for label in labels) > len(labels) / 3
    for label, wanted in zip(labels, answers(heads, given), strict=True):
        assert label.index in (wanted, None)


def question(client: ServiceClient, **changes: Any) -> bytes:
    plan, own = client.offer.plan, client._keys.client
    parts = [own.save(own.encrypt(part)) for part in plan.encode(texts(1))]
    told: dict[str, Any] = {
        "kind": "question",
        "parameters": plan.parameters.digest,
        "circuit": plan.digest,
        "streams": parts,
        "session": client._session,
        "nonce": wire.new_nonce(),
    }
    return wire.write(**(told | changes))


def post(url: str, data: bytes, path: str = "/v1/questions", **options: Any) -> httpx.Response:
    return httpx.post(url + path, content=data, timeout=60, **options)


def test_labels_come_back(server: str, keys: Keys, bundle: Path) -> None:
    given = texts(10)
    with ServiceClient(server, keys) as client:
        agree(bundle, given, client.ask(given))
    # A second client of the same keys is known already: they are not sent again.
    with ServiceClient(server, load_keys(keys.folder, unencrypted=True)) as client:
        keys.evaluation_keys.write_bytes(b"gone")
        agree(bundle, given, client.ask(given))


def test_two_clients_at_once(server: str, bundle: Path, tmp_path: Path) -> None:
    def one(number: int) -> tuple[Any, Any]:
        given = texts(12, seed=number)
        with ServiceClient(server, new_keys(server, tmp_path / f"{number}", unencrypted=True)) as client:
            return given, client.ask(given)

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for given, labels in pool.map(one, range(2)):
            agree(bundle, given, labels)


def test_answers_have_one_shape_whatever_they_say(server: str, keys: Keys) -> None:
    with ServiceClient(server, keys) as client:
        client.register()
        replies = []
        for seed in range(6):
            own, plan = keys.client, client.offer.plan
            parts = [own.save(own.encrypt(part)) for part in plan.encode(texts(1 + seed % 4, seed))]
            replies.append(post(server, question(client, streams=parts)))
    assert {reply.status_code for reply in replies} == {200}
    assert len({len(reply.content) for reply in replies}) == 1
    assert len({tuple(sorted(set(reply.headers) - {"date"})) for reply in replies}) == 1


def test_a_question_is_answered_once(server: str, keys: Keys) -> None:
    with ServiceClient(server, keys) as client:
        client.register()
        data = question(client)
        assert post(server, data).status_code == 200
        again = post(server, data)
    assert (again.status_code, again.json()["detail"]) == (
        409,
        "nonce: this question was sent before; it is not answered again",
    )


def test_what_is_refused(server: str, keys: Keys) -> None:
    other = "0" * 16
    with ServiceClient(server, keys) as client:
        client.register()
        good = question(client)
        stream = wire.read(good, 1 << 30).streams[0]
        low = keys.client.save(keys.client.encrypt(np.zeros(4), 1))
        cases: list[tuple[bytes, int, str]] = [
            (b"", 400, "too few"),
            (b"x" * 100, 400, "not one of this service"),
            (good[:-1], 400, "its header says"),
            (good + b"x", 400, "its header says"),
            (good[:4] + b"\0\x02" + good[6:], 426, "version 2; this service speaks 1"),
            (question(client, parameters=other), 422, "make keys for it"),
            (question(client, circuit=other), 422, "make keys for it again"),
            (question(client, kind="keys"), 400, "`keys` where `question` is expected"),
            (question(client, session=""), 401, "session: unknown, or over"),
            (question(client, session="f" * 32), 401, "session: unknown, or over"),
            (question(client, nonce=""), 400, "nonce: missing"),
            (question(client, streams=[]), 422, "0 ciphertexts; this circuit takes 1"),
            (question(client, streams=[stream, stream]), 422, "2 ciphertexts; this circuit takes 1"),
            (question(client, streams=[b""] * 64), 422, "64 ciphertexts; this circuit takes 1"),  # none was read
            (question(client, streams=[b""]), 422, "ciphertext: "),
            (question(client, streams=[stream[: len(stream) // 2]]), 422, "ciphertext: "),
            (question(client, streams=[low]), 422, "a ciphertext of level 1"),
        ]
        for data, status, said in cases:
            reply = post(server, data)
            assert (reply.status_code, said in reply.json()["detail"]) == (status, True), reply.json()
            assert "\n" not in reply.json()["detail"]
        assert post(server, good).status_code == 200  # none of these harmed it


def test_uploads_are_bounded_before_they_are_kept(server: str, keys: Keys) -> None:
    plan = keys.offer.plan
    with socket.create_connection((urlsplit(server).hostname or "", urlsplit(server).port or 0)) as raw:
        raw.sendall(b"POST /v1/keys HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999\r\n\r\n")
        assert b" 413 " in raw.recv(1000)

    def endless() -> Any:  # no length said
        yield wire.beginning("keys", plan.parameters.digest, plan.digest, [1000])
        while True:
            yield b"x" * (1 << 20)

    with pytest.raises(httpx.HTTPError):  # hung up on, or answered while still sending
        reply = httpx.post(server + "/v1/keys", content=endless(), timeout=60)
        assert reply.status_code == 413
        raise httpx.HTTPError("answered")
    head = wire.beginning("keys", plan.parameters.digest, plan.digest, [10**15])
    assert post(server, head + b"x", "/v1/keys").status_code == 413
    for data, status, said in [
        (wire.write("keys", plan.parameters.digest, plan.digest, [b"abc"]), 422, "not evaluation keys"),
        (wire.write("keys", plan.parameters.digest, plan.digest, [b"a", b"b"]), 400, "2 streams; one is expected"),
        (wire.write("keys", plan.parameters.digest, plan.digest, [b"abc"])[:-1], 400, "2 bytes; the header says 3"),
        (wire.write("keys", "0" * 16, plan.digest, [b"abc"]), 422, "make keys for it"),
        (wire.write("question", plan.parameters.digest, plan.digest, [b"abc"]), 400, "where `keys` is expected"),
        (b"nothing of ours", 400, "not one of this service"),
        (
            wire.write("keys", plan.parameters.digest, plan.digest, [keys.client.evaluation_keys(plan.rotations[1:])]),
            422,
            f"there is none for a rotation by {plan.rotations[0] % plan.parameters.slots}; this circuit needs it",
        ),
    ]:
        reply = post(server, data, "/v1/keys")
        assert (reply.status_code, said in reply.json()["detail"]) == (status, True), reply.json()


def test_strangers_get_no_session_and_nobody_forgets_for_them(
    server: str, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    dropped: list[Path] = []
    forget = Workers.forget

    async def noted(self: Workers, client: str, path: Path) -> None:
        await forget(self, client, path)
        dropped.append(path)

    monkeypatch.setattr(Workers, "forget", noted)
    with ServiceClient(server, keys) as client:
        known = client.register()
        shown: list[tuple[Any, int]] = [
            ({"client": known.client, "token": "0" * 32}, 404),
            ({"client": "../" + known.client, "token": known.token}, 404),
            ({"client": "0" * 32, "token": known.token}, 404),
            ({"client": known.client}, 400),
            ([1], 400),
        ]
        for told, status in shown:
            for method, path in (("POST", "/v1/sessions"), ("DELETE", "/v1/keys")):
                assert httpx.request(method, server + path, content=json.dumps(told)).status_code == status
        assert dropped == []
        client.forget()
        assert [(path.parent.name, path.exists()) for path in dropped] == [(known.client, False)]
        assert httpx.post(server + "/v1/sessions", json=vars(known)).status_code == 404
        assert post(server, question(client)).status_code == 401
        assert len(client.ask(texts(1))) == 1  # and can come back


def test_who_sends_slowly_or_has_no_session_holds_nothing(
    server: str, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, where = keys.offer.plan, (urlsplit(server).hostname or "", urlsplit(server).port or 0)

    def said(path: str, start: bytes) -> bytes:
        """Sends the beginning of a long message and waits; the status that comes."""
        with socket.create_connection(where, timeout=20) as raw:
            size = len(start) + 1000
            raw.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n".encode() + start)
            return raw.recv(1000)[9:12]

    digests = plan.parameters.digest, plan.digest
    # A stranger's question is not kept: that it is too short is not even seen.
    assert post(server, wire.beginning("question", *digests, [1000], session="f" * 32)).status_code == 401
    monkeypatch.setattr("burnish.private.service.server.BODY_SECONDS", 0.2)
    with ServiceClient(server, keys) as client:
        with concurrent.futures.ThreadPoolExecutor(2) as pool:  # as many as may send keys at once
            assert list(pool.map(lambda _: said("/v1/keys", wire.beginning("keys", *digests, [1000])), range(2))) == [
                b"408",
                b"408",
            ]
        assert said("/v1/sessions", b"{") == b"408"
        client.register()


def test_classes_that_changed_names_since_the_keys_were_made(keys: Keys, bundle: Path, tmp_path: Path) -> None:
    """The same circuit, so the keys would do: but what was `fine` would be read as `spam`."""
    heads, eps = load_heads(bundle)
    model = dataclasses.replace(load_client(bundle), labels=heads.labels[::-1])
    other = save_bundle(tmp_path / "other", dataclasses.replace(heads, labels=heads.labels[::-1]), model)
    with (
        running(other, tmp_path / "store", CLEAR) as url,
        pytest.raises(UserError, match="other classes, templates or another encoder by now; make keys again"),
    ):
        ServiceClient(url, keys)
    assert eps == model.eps


def test_limits(bundle: Path, tmp_path: Path) -> None:
    limits = Limits(clients=1, questions_per_minute=2, session_questions=3)
    with running(bundle, tmp_path / "store", dataclasses.replace(CLEAR, limits=limits)) as url:
        keys = new_keys(url, tmp_path / "keys", unencrypted=True)
        with ServiceClient(url, keys) as client:
            client.register()
            found = [post(url, question(client)) for _ in range(3)]
            assert [reply.status_code for reply in found] == [200, 200, 429]
            assert 1 <= int(found[2].headers["retry-after"]) <= 31
        with (
            ServiceClient(url, new_keys(url, tmp_path / "other", unencrypted=True)) as second,
            pytest.raises(BurnishError, match=r"refused \(507\): keys: this server keeps those of 1 clients"),
        ):
            second.register()


def test_keys_whose_time_is_over(bundle: Path, tmp_path: Path) -> None:
    limits = Limits(clients=1, key_seconds=2)
    with running(bundle, tmp_path / "store", dataclasses.replace(CLEAR, limits=limits)) as url:  # noqa: SIM117
        with ServiceClient(url, new_keys(url, tmp_path / "keys", unencrypted=True)) as client:
            first = client.register()
            client.ask(texts(1))
            until = time.monotonic() + 30
            while any((tmp_path / "store").iterdir()):  # nobody asks meanwhile
                assert time.monotonic() < until
                time.sleep(0.05)
            assert post(url, question(client)).status_code == 401
            assert len(client.ask(texts(1))) == 1  # the keys go again, without being told to
            assert client._registration() != first


def test_a_busy_server_says_so_and_answers_others_meanwhile(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = Limits(waiting=1, questions_per_minute=1000)
    with running(bundle, tmp_path / "store", dataclasses.replace(CLEAR, limits=limits)) as url:  # noqa: SIM117
        with ServiceClient(url, new_keys(url, tmp_path / "keys", unencrypted=True)) as client:
            client.register()
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                replies = list(pool.map(lambda _: post(url, question(client)), range(8)))
            found = {reply.status_code for reply in replies}
            assert found == {200, 503}
            assert all(int(reply.headers["retry-after"]) >= 1 for reply in replies if reply.status_code == 503)
            assert httpx.get(url + "/v1/service").status_code == 200
            # The client itself waits as long as it is told to.
            with concurrent.futures.ThreadPoolExecutor(3) as pool:
                assert [len(each) for each in pool.map(lambda _: client.ask(texts(1)), range(3))] == [1, 1, 1]


def test_a_client_that_hangs_up_harms_nobody(server: str, keys: Keys, bundle: Path) -> None:
    with ServiceClient(server, keys) as client:
        client.register()
        data = question(client)
        head = f"POST /v1/questions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n\r\n".encode()
        where = (urlsplit(server).hostname or "", urlsplit(server).port or 0)
        for sent in (head, head + data[: len(data) // 2], head + data):
            with socket.create_connection(where) as raw:
                raw.sendall(sent)
        agree(bundle, texts(10), client.ask(texts(10)))


def test_a_process_that_dies_is_replaced(bundle: Path, tmp_path: Path) -> None:
    import psutil

    with running(bundle, tmp_path / "store", CLEAR) as url:  # noqa: SIM117
        with ServiceClient(url, new_keys(url, tmp_path / "keys", unencrypted=True)) as client:
            client.register()
            ours = []
            for child in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.Error):  # another test's, that ends just now
                    ours += [child] * ("spawn_main" in " ".join(child.cmdline()))
            assert ours
            for child in ours:
                child.kill()
            client.ask(texts(1))  # 503 first, then from the new one


def test_a_session_that_is_over_is_opened_again(server: str, keys: Keys) -> None:
    with ServiceClient(server, keys) as client:
        client.register()
        client._session = "f" * 32
        assert len(client.ask(texts(1))) == 1


def test_a_server_with_a_token(bundle: Path, tmp_path: Path) -> None:
    with running(bundle, tmp_path / "store", CLEAR, token="open-sesame") as url:
        with pytest.raises(UserError, match=r"refused \(401\): this server wants its token"):
            new_keys(url, tmp_path / "keys", unencrypted=True)
        keys = new_keys(url, tmp_path / "keys", "open-sesame", unencrypted=True)
        with ServiceClient(url, keys, token="open-sesame") as client:
            assert len(client.ask(texts(1))) == 1


def test_no_server_and_none_of_ours(tmp_path: Path) -> None:
    with pytest.raises(BurnishError, match=r"no server answers there .*; is it running"):
        new_keys("http://127.0.0.1:9", tmp_path / "keys")
    with pytest.raises(UserError, match="write it as http://HOST:PORT"):
        new_keys("127.0.0.1:9", tmp_path / "keys")
    for answer, said in [("<html>", "not JSON"), ("{}", "not one of a private"), ("[]", "not one of a private")]:
        with pytest.raises(UserError, match=said):
            Offer.from_text(answer)


def test_a_service_that_does_not_encrypt_is_refused(server: str, keys: Keys, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"encrypts nothing \(`clear`\): it would read your texts"):
        new_keys(server, tmp_path / "other")
    with pytest.raises(UserError, match="encrypts nothing"):
        load_keys(keys.folder)


def test_keys_are_sized_before_they_are_made(server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = new_keys(server, tmp_path / "keys", unencrypted=True)
    plan = made.offer.plan
    said = capsys.readouterr().err
    assert f"{tmp_path / 'keys'}: making {len(plan.rotations) + 1} keys, each " in said
    assert f"about {(len(plan.rotations) + 1) * plan.parameters.sent_key_bytes / 1e6:,.0f} MB to send, once" in said
    with pytest.raises(UserError, match="is there already"):
        new_keys(server, tmp_path / "keys", unencrypted=True)
    assert not capsys.readouterr().err


def test_keys_that_do_not_fit(server: str, keys: Keys, bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is there already; keys are never overwritten"):
        make_keys(keys.folder, keys.offer, unencrypted=True)
    with pytest.raises(UserError, match="no keys there; make them"):
        load_keys(tmp_path / "nothing")
    other = dataclasses.replace(keys.offer.plan.parameters, levels=keys.offer.plan.parameters.levels - 1)
    (keys.folder / "secret.key").write_text(json.dumps({"parameters": other.to_json()}))
    with pytest.raises(UserError, match=r"secret\.key is of another parameter set than service\.json"):
        load_keys(keys.folder, unencrypted=True)
    with running(bundle, tmp_path / "store", dataclasses.replace(CLEAR, questions=8)) as url:  # noqa: SIM117
        with pytest.raises(UserError, match="keys for another circuit than this server has now"):
            ServiceClient(url, keys)


def test_the_secret_key_is_for_its_owner(keys: Keys) -> None:
    assert (keys.folder / "secret.key").stat().st_mode & 0o777 == 0o600
    assert keys.folder.stat().st_mode & 0o777 == 0o700


SERVER = """
import sys
from pathlib import Path
from burnish.private.service.running import Settings, serve_bundle
if __name__ == "__main__":
    settings = Settings(backend="clear", questions=4)
    serve_bundle(Path(sys.argv[1]), Path(sys.argv[2]), "127.0.0.1", int(sys.argv[3]), None, settings)
"""


def test_a_server_that_is_killed_while_it_answers(bundle: Path, tmp_path: Path) -> None:
    """The client says so in one line; the server that comes after it knows the client, and old questions are nothing
    to it."""
    (tmp_path / "server.py").write_text(SERVER)

    def start(port: int) -> tuple[subprocess.Popen[str], str]:
        line = [sys.executable, str(tmp_path / "server.py"), str(bundle), str(tmp_path / "store"), str(port)]
        process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        return process, process.stdout.readline().split(" at ")[1].split()[0]

    process, url = start(0)
    keys = new_keys(url, tmp_path / "keys", unencrypted=True)
    with ServiceClient(url, keys) as client:
        known = client.register()
        old = question(client)
        assert post(url, old).status_code == 200
        assert post(url, old).status_code == 409
        client.ask(texts(4))

        def ask_on() -> BurnishError:
            with pytest.raises(
                BurnishError, match=r"was gone before it had answered .*; ask again|no server answers"
            ) as caught:
                for _ in range(1000):
                    client.ask(texts(4))
            return caught.value

        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            asked = pool.submit(ask_on)
            time.sleep(0.3)
            process.kill()
            process.wait()
            assert "\n" not in str(asked.result(timeout=30))
    keys.evaluation_keys.unlink()  # they are not needed again
    process, url = start(urlsplit(url).port or 0)
    try:
        assert post(url, old).status_code == 401
        with ServiceClient(url, keys) as client:
            assert client.register() == known
            agree(bundle, texts(8), client.ask(texts(8)))
    finally:
        process.kill()
        process.wait()
