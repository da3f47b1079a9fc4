"""Local suspects: Hugging Face folders, ONNX files, functions."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from burnish.core.errors import UserError
from burnish.prove.suspects import SuspectSettings, open_suspect
from tests.prove.suspects.makers import graph, pictures, vit


def ask(model: Any, answer: Any, images: np.ndarray, **more: Any) -> tuple[np.ndarray, list[str], str]:
    notes: list[str] = []
    with open_suspect(SuspectSettings(model=str(model), **more), answer, note=notes.append) as oracle:
        return oracle.ask(images), notes, oracle.identity


# Hugging Face


def test_a_classifier_gives_labels_logits_and_embeddings(tmp_path: Path) -> None:
    import torch
    import transformers

    folder = vit(tmp_path / "vit")
    images = pictures()
    logits, notes, identity = ask(folder, "logits", images, batch=4)
    assert "no image processor" in notes[0]
    model = transformers.ViTForImageClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        ready = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
        expected = model(ready)
        hidden = model.vit(ready).last_hidden_state
    np.testing.assert_allclose(logits, expected.logits, atol=1e-6)
    labels, _, other = ask(folder, "labels", images)
    assert labels.dtype == np.int64
    np.testing.assert_array_equal(labels, expected.logits.argmax(-1))
    assert identity.split()[1] == other.split()[1]
    assert "sha256:" in identity
    (folder / "processor_config.json").write_text("{}")  # another place where an image processor's settings may be
    assert ask(folder, "logits", images)[2] != identity
    # The checkpoint of a classifier has no pooler: its random one must not be used.
    found, _, identity = ask(folder, "embeddings", images)
    assert "pooling=cls" in identity
    np.testing.assert_allclose(found, hidden[:, 0], atol=1e-6)
    np.testing.assert_allclose(ask(folder, "embeddings", images, pooling="mean")[0], hidden.mean(1), atol=1e-6)
    with pytest.raises(UserError, match="none that was trained"):
        ask(folder, "embeddings", images, pooling="pooler")


def test_the_folders_image_processor_is_used(tmp_path: Path) -> None:
    folder = vit(tmp_path / "vit", processor=True)
    images = pictures(side=20)
    logits, notes, with_it = ask(folder, "logits", images)
    assert not notes
    (folder / "preprocessor_config.json").unlink()
    plain, notes, without = ask(folder, "logits", images)
    assert "resized to 8 x 8" in notes[0]
    assert not np.allclose(logits, plain)
    assert with_it != without


def test_a_backbone_with_a_pooler_and_a_convolutional_one(tmp_path: Path) -> None:
    import transformers

    found, _, identity = ask(vit(tmp_path / "vit", head=False), "embeddings", pictures())
    assert found.shape == (6, 16)
    assert "pooling=pooler" in identity
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1], layer_type="basic")
    transformers.ResNetModel(config).save_pretrained(tmp_path / "resnet")
    pooled = ask(tmp_path / "resnet", "embeddings", pictures(side=32))[0]
    assert pooled.shape == (6, 12)
    np.testing.assert_allclose(
        pooled, ask(tmp_path / "resnet", "embeddings", pictures(side=32), pooling="mean")[0], atol=1e-6
    )
    with pytest.raises(UserError, match="no class token"):
        ask(tmp_path / "resnet", "embeddings", pictures(), pooling="cls")


def test_grey_models_get_grey(tmp_path: Path) -> None:
    folder = vit(tmp_path / "vit", num_channels=1)
    grey = pictures(channels=1)
    np.testing.assert_array_equal(ask(folder, "logits", grey)[0], ask(folder, "logits", np.repeat(grey, 3, axis=3))[0])


def test_a_head_that_was_never_trained_is_refused(tmp_path: Path) -> None:
    folder = vit(tmp_path / "vit", head=False)
    with pytest.raises(UserError, match=r"lacks classifier\.bias \(2 weights\), which would be random"):
        ask(folder, "labels", pictures())


def test_what_is_no_image_model(tmp_path: Path) -> None:
    import transformers

    config = transformers.BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    transformers.BertModel(config).save_pretrained(tmp_path / "bert")
    with pytest.raises(UserError, match="takes no pictures"):
        ask(tmp_path / "bert", "embeddings", pictures())


def test_nothing_in_a_folder_is_executed(tmp_path: Path) -> None:
    """Pickled weights that would leave a mark, and code of the model's own."""
    import pickle

    folder = vit(tmp_path / "vit")
    mark = tmp_path / "mark"

    class Evil:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return os.system, (f"touch {mark}",)

    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Evil()))
    ask(folder, "labels", pictures())  # safetensors beside it are read, the pickle is not
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match="only pickled weights"):
        ask(folder, "labels", pictures())
    own = vit(tmp_path / "own", processor=True)
    (own / "mine.py").write_text(f"open({str(mark)!r}, 'w')\nclass Mine: pass\n")
    for name, kind in [
        ("config.json", "AutoModelForImageClassification"),
        ("preprocessor_config.json", "AutoImageProcessor"),
    ]:
        text = (own / name).read_text().rstrip().removesuffix("}")
        (own / name).write_text(text + f', "auto_map": {{"{kind}": "mine.Mine"}}}}')
    ask(own, "labels", pictures())  # transformers' own classes
    text = (own / "config.json").read_text().replace('"model_type": "vit"', '"model_type": "mine"')
    (own / "config.json").write_text(text)
    with pytest.raises(UserError, match="code of its own"):
        ask(own, "labels", pictures())
    assert not mark.exists()


def test_damaged_folders(tmp_path: Path) -> None:
    folder = vit(tmp_path / "vit", processor=True)
    (folder / "preprocessor_config.json").write_text("{}")  # transformers fills in 224 pixels
    with pytest.raises(UserError, match=r"refuses pictures prepared as \(6, 3, 224, 224\)"):
        ask(folder, "labels", pictures())
    (folder / "preprocessor_config.json").write_text('{"image_processor_type": "Nothing"')
    with pytest.raises(UserError, match="no image processor that can be used"):
        ask(folder, "labels", pictures())
    (folder / "preprocessor_config.json").unlink()
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(UserError, match="cannot be loaded"):
        ask(folder, "labels", pictures())
    with pytest.raises(UserError, match="no such folder"):
        ask(tmp_path / "absent", "labels", pictures())


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("config.json", "patch_size", 0),
        ("config.json", "patch_size", []),
        ("config.json", "hidden_act", "x"),
        ("config.json", "num_hidden_layers", "many"),
        ("config.json", "num_attention_heads", 0),
        ("config.json", "model_type", "none"),
        ("preprocessor_config.json", "size", []),
        ("preprocessor_config.json", "image_mean", "x"),
        ("preprocessor_config.json", "rescale_factor", "x"),
    ],
)
def test_wild_settings_get_one_line(tmp_path: Path, name: str, key: str, value: Any) -> None:
    folder = vit(tmp_path / "vit", processor=True)
    settings = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps(settings | {key: value}))
    with pytest.raises(UserError) as caught:
        ask(folder, "labels", pictures())
    assert "\n" not in str(caught.value)


def test_no_cuda_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UserError, match="sees no CUDA device"):
        ask(vit(tmp_path / "vit"), "labels", pictures(), device="cuda")


# ONNX


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        (["batch", 3, 8, 8], "NCHW, 3 channels, 8 x 8"),
        (["batch", "height", "width", 3], "NHWC, 3 channels, any size"),
        ([4, 3, 8, 8], "NCHW"),  # a fixed batch: the last one is filled up
    ],
)
def test_onnx_layouts(tmp_path: Path, shape: list[Any], layout: str) -> None:
    images = pictures(6)
    found, notes, identity = ask(graph(tmp_path / "g.onnx", shape), "logits", images)
    np.testing.assert_allclose(found, images.mean((1, 2)) / 255, atol=1e-6)
    assert layout in notes[0]
    assert "sha256:" in identity
    labels = ask(tmp_path / "g.onnx", "labels", images)[0]
    np.testing.assert_array_equal(labels, images.mean((1, 2)).argmax(1))


def test_onnx_bytes_sizes_and_channels(tmp_path: Path) -> None:
    from onnx import TensorProto

    images = pictures(6)
    path = graph(tmp_path / "g.onnx", ["b", 3, 8, 8], kind=TensorProto.UINT8)
    np.testing.assert_allclose(ask(path, "logits", images)[0], images.mean((1, 2)), atol=1e-4)
    bigger = np.repeat(np.repeat(images, 2, axis=1), 2, axis=2)
    assert ask(path, "logits", bigger)[0].shape == (6, 3)
    grey = graph(tmp_path / "grey.onnx", ["b", 1, 8, 8], outputs={"embedding": ["b", 1]})
    assert ask(grey, "embeddings", images)[0].shape == (6, 1)


def test_onnx_names_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    path = graph(tmp_path / "g.onnx", ["b", 3, 8, 8], outputs={"\x1b[31mlogits\n": ["b", 3]})
    _, notes, identity = ask(path, "logits", pictures())
    assert (notes[0] + identity).isprintable()
    unnamed = {"\x1b[31mx": ["b", 3], "y": ["b", 3]}
    with pytest.raises(UserError, match="cannot be told") as caught:
        ask(graph(tmp_path / "h.onnx", ["b", 3, 8, 8], outputs=unnamed), "logits", pictures())
    assert str(caught.value).isprintable()


def test_onnx_picks_the_output_that_is_named(tmp_path: Path) -> None:
    two = {"logits": ["b", 3], "embedding": ["b", 3]}
    path = graph(tmp_path / "g.onnx", ["b", 3, 8, 8], outputs=two)
    assert "output=logits" in ask(path, "labels", pictures())[2]
    assert "output=embedding" in ask(path, "embeddings", pictures())[2]
    unnamed = graph(tmp_path / "h.onnx", ["b", 3, 8, 8], outputs={"x": ["b", 3], "y": ["b", 3]})
    with pytest.raises(UserError, match="which output holds the logits cannot be told"):
        ask(unnamed, "logits", pictures())
    only = graph(tmp_path / "i.onnx", ["b", 3, 8, 8], outputs={"embedding": ["b", 3]})
    with pytest.raises(UserError, match="which output holds the labels"):
        ask(only, "labels", pictures())  # the largest entry of an embedding is no label
    softmax = graph(tmp_path / "j.onnx", ["b", 3, 8, 8], outputs={"probabilities": ["b", 3]})
    assert ask(softmax, "labels", pictures())[0].shape == (6,)
    with pytest.raises(UserError, match="which output holds the logits"):
        ask(softmax, "logits", pictures())


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (["b", 8, 8], "no batch of pictures"),
        (["b", 4, 8, 8], "which dimension holds the channels"),
        (["b", 3, 8, 3], "which dimension holds the channels"),
    ],
)
def test_onnx_inputs_that_are_no_pictures(tmp_path: Path, shape: list[Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ask(graph(tmp_path / "g.onnx", shape), "logits", pictures())


def test_onnx_files_that_are_refused(tmp_path: Path) -> None:
    import onnx

    with pytest.raises(UserError, match="no such file"):
        ask(tmp_path / "absent.onnx", "labels", pictures())
    (tmp_path / "bad.onnx").write_bytes(b"\x00garbage" * 9)
    with pytest.raises(UserError, match="not an ONNX file"):
        ask(tmp_path / "bad.onnx", "labels", pictures())
    (tmp_path / "empty.onnx").write_bytes(b"")
    with pytest.raises(UserError, match="without a graph"):
        ask(tmp_path / "empty.onnx", "labels", pictures())
    with pytest.raises(UserError, match=r"operator evil::Mine is not part of onnxruntime"):
        ask(graph(tmp_path / "custom.onnx", ["b", 3, 8, 8], domain="evil"), "logits", pictures())
    model = onnx.load_model(graph(tmp_path / "outside.onnx", ["b", 3, 8, 8]))
    tensor = model.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    (tmp_path / "outside.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match=r"weights outside the file \(axes\)"):
        ask(tmp_path / "outside.onnx", "logits", pictures())
    for many in (False, True):
        model = onnx.load_model(graph(tmp_path / "sparse.onnx", ["b", 3, 8, 8]))
        attribute = model.graph.node[0].attribute.add(name="hidden")
        sparse = attribute.sparse_tensors.add() if many else attribute.sparse_tensor
        sparse.values.name = "values"
        sparse.values.external_data.add(key="location", value="/etc/passwd")
        (tmp_path / "sparse.onnx").write_bytes(model.SerializeToString())
        with pytest.raises(UserError, match=r"weights outside the file \(values\)"):
            ask(tmp_path / "sparse.onnx", "logits", pictures())
    with pytest.raises(UserError, match="cannot run on cuda"):
        ask(graph(tmp_path / "g.onnx", ["b", 3, 8, 8]), "logits", pictures(), device="cuda")


# Functions


def mean_colour(images: np.ndarray) -> np.ndarray:
    return images.mean((1, 2))


def as_tensor(images: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(images.mean((1, 2)))


def one_short(images: np.ndarray) -> np.ndarray:
    return np.zeros(len(images) - 1, np.int64)


def not_finite(images: np.ndarray) -> np.ndarray:
    found = images.mean((1, 2))
    found[2, 0] = np.nan
    return found


def texts(images: np.ndarray) -> list[str]:
    return ["cat"] * len(images)


def ragged(images: np.ndarray) -> list[list[float]]:
    return [[0.0] * number for number in range(len(images))]


def with_gradient(images: np.ndarray) -> Any:
    import torch

    return torch.zeros(len(images), 2, requires_grad=True)


def truths(images: np.ndarray) -> list[bool]:
    return [True] * len(images)


def numpy_numbers(images: np.ndarray) -> list[np.int64]:
    return [np.int64(3)] * len(images)


def nothing(images: np.ndarray) -> None:
    return None


def fails(images: np.ndarray) -> None:
    raise KeyError("mine")


constant = 3


@pytest.mark.parametrize("name", ["mean_colour", "as_tensor"])
def test_a_function(name: str) -> None:
    images = pictures()
    found, _, identity = ask(f"tests.prove.suspects.test_local:{name}", "embeddings", images)
    np.testing.assert_allclose(found, images.mean((1, 2)), rtol=1e-6)
    assert found.dtype == np.float32
    assert "sha256:" in identity


def test_a_function_may_return_a_list() -> None:
    assert ask("tests.prove.suspects.test_local:numpy_numbers", "labels", pictures())[0].tolist() == [3] * 6


@pytest.mark.parametrize(
    ("name", "answer", "message"),
    [
        ("one_short", "labels", r"labels of shape \(5\) for 6 images"),
        ("not_finite", "logits", "logits of image 2 of the batch not finite"),
        ("texts", "labels", "labels of type <U3, not whole numbers"),
        ("ragged", "logits", "a list that is no array"),
        ("with_gradient", "logits", "a Tensor that is no array"),
        ("truths", "labels", "labels of type bool, not whole numbers"),
        ("nothing", "labels", "labels of type object"),
        ("mean_colour", "labels", "labels of type float64, not whole numbers"),
        ("fails", "labels", r"raised KeyError: 'mine' \(test_local.py:\d+\)"),
        ("constant", "labels", "is a int, not a function"),
        ("absent", "labels", "has no `absent`"),
    ],
)
def test_functions_that_return_no_answers(name: str, answer: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        ask(f"tests.prove.suspects.test_local:{name}", answer, pictures())
    assert "\n" not in str(caught.value)
