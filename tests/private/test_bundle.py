"""Both halves of a classifier on disk: what is in which, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from burnish.core.errors import UserError
from burnish.core.files import write_manifest
from burnish.private.bundle import ClientModel, load_client, load_heads, save_bundle
from burnish.private.heads import heads_of

CLIENT = ClientModel("encoder", "mean", 24, ("{text}", "A: {text}"), ("no", "yes"), 0.125)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    return save_bundle(
        tmp_path / "service", heads_of(rng.normal(size=(2, 2, 3)), np.zeros((2, 2)), ("no", "yes")), CLIENT
    )


def test_there_and_back(bundle: Path) -> None:
    rng = np.random.default_rng(0)
    heads, eps = load_heads(bundle)
    again = heads_of(rng.normal(size=(2, 2, 3)), np.zeros((2, 2)), ("no", "yes"))
    assert (heads.weights == again.weights).all()
    assert (heads.labels, heads.bound, heads.aggregate, eps) == (again.labels, again.bound, "logits", 0.125)
    assert load_client(bundle) == CLIENT
    assert load_client(bundle / "client") == CLIENT  # that folder is all that a client is given
    assert load_heads(bundle / "server")[1] == 0.125


def test_the_client_is_told_no_weight(bundle: Path) -> None:
    heads, _ = load_heads(bundle)
    told = b"".join(path.read_bytes() for path in (bundle / "client").iterdir())
    for number in heads.weights.ravel():
        assert number.tobytes() not in told
        assert repr(float(number))[:10].encode() not in told


def test_refused(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no client.json that can be read"):
        load_client(tmp_path)
    file = bundle / "server" / "heads.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-8] + bytes(8))
    with pytest.raises(UserError, match=r"damaged: heads.safetensors does not match its SHA-256"):
        load_heads(bundle)
    file.write_bytes(whole[:40])
    write_manifest(bundle / "server")  # who makes it anew is no match for the reader either
    with pytest.raises(UserError, match="not heads that can be read"):
        load_heads(bundle)
    shapes = {"weights": np.ones((2, 2, 3)), "biases": np.zeros((1, 2)), "weights_of_prompts": np.array([0.5, 0.5])}
    save_file(shapes, file)
    write_manifest(bundle / "server")
    with pytest.raises(UserError, match=r"not heads that can be read|do not fit together"):
        load_heads(bundle)
    told = json.loads((bundle / "client" / "client.json").read_text())
    (bundle / "client" / "client.json").write_text(json.dumps(told | {"format": 99}))
    write_manifest(bundle / "client")
    with pytest.raises(UserError, match="of format 99; this Burnish reads format 1"):
        load_client(bundle)
