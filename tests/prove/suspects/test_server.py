"""The example server: what it says is what the client reads, and bad requests get one line."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from burnish.core.errors import BurnishError, UserError
from burnish.prove.suspects import SuspectSettings, open_suspect
from burnish.prove.suspects.server import serve_answers, serve_model
from burnish.prove.suspects.wire import PATH, from_png, to_png
from tests.prove.suspects.makers import pictures, serving, vit


def post(app: Any, body: Any) -> tuple[int, Any]:
    import anyio
    import httpx

    async def go() -> tuple[int, Any]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://suspect") as client:
            reply = await client.post(PATH, json=body)
            return reply.status_code, reply.json()

    return anyio.run(go)


def test_a_model_behind_the_endpoint_answers_as_it_does_locally(tmp_path: Path) -> None:
    folder = vit(tmp_path / "vit", processor=True)
    images = pictures(10)
    with serving(serve_model(folder, batch=3)) as address:
        for answer in ("labels", "logits", "embeddings"):
            with open_suspect(SuspectSettings(model=str(folder)), answer) as local:
                expected = local.ask(images)
            with open_suspect(SuspectSettings(model=address + PATH, batch=4), answer, tmp_path / "cache") as suspect:
                found = suspect.ask(images)
                assert suspect.made == 10
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
            assert found.dtype == expected.dtype


def test_a_backbone_gives_embeddings_only(tmp_path: Path) -> None:
    app = serve_model(vit(tmp_path / "vit", head=False))
    images = [to_png(image) for image in pictures(2)]
    status, reply = post(app, {"answer": "embeddings", "images": images})
    assert status == 200
    assert list(reply) == ["embeddings"]
    status, reply = post(app, {"answer": "labels", "images": images})
    assert (status, reply["detail"]) == (422, "labels: not given here; ask for embeddings")
    with serving(app) as address, open_suspect(SuspectSettings(model=address + PATH), "labels") as suspect:  # noqa: SIM117
        with pytest.raises(UserError, match="labels: not given here"):
            suspect.ask(pictures(2))


def test_bad_requests_get_one_line() -> None:
    app = serve_answers({"labels": lambda images: images.mean((1, 2, 3)).astype(int)})
    png = to_png(pictures(1)[0])

    def encoded(image: Image.Image, kind: str = "PNG") -> str:
        buffer = io.BytesIO()
        image.save(buffer, format=kind)
        return base64.b64encode(buffer.getvalue()).decode()

    for images, message in [
        (["%%"], "images: not base64"),
        (["aGVsbG8="], "images: not a PNG"),
        ([png[: len(png) // 2 // 4 * 4]], "images: not a PNG"),
        ([encoded(Image.new("RGB", (4, 4)), "JPEG")], "images: not a PNG"),
        ([encoded(Image.new("RGBA", (4, 4)))], "images: a PNG of mode RGBA"),
        ([encoded(Image.new("1", (9000, 9000)))], "images: 9000 x 9000 pixels are too many"),
        ([png, encoded(Image.new("RGB", (4, 4)))], "images: not all of one size"),
    ]:
        status, reply = post(app, {"answer": "labels", "images": images})
        assert status == 422
        assert message in reply["detail"]
    empty: dict[str, Any] = {"answer": "labels", "images": []}
    bodies: list[Any] = [{}, empty, {"answer": "colour", "images": [png]}, [], {"images": 3}]
    for body in bodies:
        assert post(app, body)[0] == 422
    assert post(app, {"answer": "labels", "images": [png]})[0] == 200


def test_a_model_that_fails_is_a_500(tmp_path: Path) -> None:
    app = serve_answers({"logits": lambda images: np.full((len(images), 2), np.nan)})
    status, reply = post(app, {"answer": "logits", "images": [to_png(pictures(1)[0])]})
    assert status == 500
    assert "not finite" in reply["detail"]
    with serving(app) as address, open_suspect(SuspectSettings(model=address + PATH, retries=0), "logits") as suspect:  # noqa: SIM117
        with pytest.raises(BurnishError, match=r"status 500.*not finite"):
            suspect.ask(pictures(2))


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_travel_without_loss(channels: int) -> None:
    for image in pictures(3, channels=channels):
        np.testing.assert_array_equal(from_png(to_png(image)), image)
