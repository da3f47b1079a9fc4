"""A bearer token is sent to the endpoint, and shown nowhere else."""

from collections.abc import Callable

import pytest

from burnish.core.errors import BurnishError, UserError
from tests.prove.suspects.endpoint_server import Reply, Server, good, oracle
from tests.prove.suspects.makers import pictures


def test_a_token_is_sent_and_shown_nowhere(serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(lambda number, images, asked: good(images, asked))
    with pytest.raises(UserError, match="MY_TOKEN is not set"):
        oracle(server.url, token_env="MY_TOKEN")
    monkeypatch.setenv("MY_TOKEN", "s3cret")
    with oracle(server.url, token_env="MY_TOKEN") as suspect:
        suspect.ask(pictures(2))
        assert "s3cret" not in suspect.identity
    assert server.headers[0]["Authorization"] == "Bearer s3cret"
    monkeypatch.setenv("MY_TOKEN", " s3cret\r\n")  # as a file or a shell leaves it
    with oracle(server.url, token_env="MY_TOKEN") as suspect:
        suspect.ask(pictures(2))
    assert server.headers[-1]["Authorization"] == "Bearer s3cret"
    with pytest.raises(UserError, match="leave the password out"):
        oracle("http://me:pass@127.0.0.1/")
    with pytest.raises(UserError, match="names no host"):
        oracle("http:///v1")


@pytest.mark.parametrize("token", ["s3c\nret", "s3cret\x01", "s3crét", "s3c ret", "s3cret\x7f"])
def test_a_token_that_is_none_is_not_shown(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", token)
    with pytest.raises(UserError) as caught:
        oracle("http://127.0.0.1:1/", token_env="MY_TOKEN")
    assert str(caught.value) == "token_env: what MY_TOKEN holds is no token; wanted printable ASCII without blanks"


def test_a_blank_token_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", " \n")
    with pytest.raises(UserError, match="MY_TOKEN is not set"):
        oracle("http://127.0.0.1:1/", token_env="MY_TOKEN")


def test_a_request_that_cannot_be_sent_is_not_quoted_nor_retried(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(lambda number, images, asked: good(images, asked))
    waits: list[float] = []
    monkeypatch.setattr("burnish.prove.suspects.endpoint._token", lambda variable: "s3cret\n")
    with oracle(server.url, waits=waits, token_env="MY_TOKEN") as suspect, pytest.raises(BurnishError) as caught:
        suspect.ask(pictures(2))
    assert "breaks the rules of HTTP and was not sent" in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__suppress_context__
    assert (waits, server.requests) == ([], 0)


@pytest.mark.parametrize(
    "reply",
    [
        (401, {}, b"x" * 157 + b"s3cret"),
        (503, {}, b"unknown token s3cret"),
        (302, {"Location": "http://evil.example/?s3cret"}, b""),
        (200, {}, b'{"s3cret": 1}'),
    ],
)
def test_a_token_that_comes_back_is_not_shown(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch, reply: Reply
) -> None:
    server = serve(lambda number, images, asked: reply)
    monkeypatch.setenv("MY_TOKEN", "s3cret")
    with oracle(server.url, token_env="MY_TOKEN") as suspect, pytest.raises(BurnishError) as caught:
        suspect.ask(pictures(2))
    assert "s3c" not in str(caught.value)
