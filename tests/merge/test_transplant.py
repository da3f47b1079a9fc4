"""A transplanted tokenizer, against loops over single tokens and mergekit's own mathematics."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from burnish.core.errors import UserError
from burnish.merge import tokensurgeon
from burnish.merge.tokenizer import read_tokenizer
from burnish.merge.transplant.approximation import interpolation, pursuit
from burnish.merge.transplant.build import Approximation
from burnish.merge.transplant.tokens import meanings

from .checkpoints import SIZES, plain, tensors_of, word_tokenizer


def vectors(rows: int, width: int, seed: int) -> torch.Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))


def slow_pursuit(target: np.ndarray, points: np.ndarray, count: int) -> tuple[list[int], np.ndarray]:
    chosen: list[int] = []
    left, weights = target, np.zeros(0)
    for _ in range(count):
        scores = np.abs(points @ left)
        scores[chosen] = -1
        chosen.append(int(scores.argmax()))
        weights, *_ = np.linalg.lstsq(points[chosen].T, target, rcond=None)
        left = target - points[chosen].T @ weights
    return chosen, weights


@pytest.mark.parametrize("count", [1, 4, 10])
def test_pursuit_is_least_squares_one_point_at_a_time(count: int) -> None:
    targets, points = vectors(6, 10, 0), vectors(40, 10, 1) * torch.rand(40, 1) * 3
    chosen, weights = pursuit(targets, points, count)
    for row, target in enumerate(targets.double().numpy()):
        expected, coefficients = slow_pursuit(target, points.double().numpy(), count)
        assert chosen[row].tolist() == expected
        np.testing.assert_allclose(weights[row], coefficients, rtol=2e-3, atol=2e-4)


def test_pursuit_of_points_in_one_plane() -> None:
    """After two points nothing is left, and a third adds nothing."""
    points = vectors(2, 6, 0)
    points = torch.cat([points, points.sum(dim=0, keepdim=True), -points])
    targets = 2 * points[:1] - 3 * points[1:2]
    chosen, weights = pursuit(targets, points, 4)
    assert torch.isfinite(weights).all()
    torch.testing.assert_close((weights.unsqueeze(2) * points[chosen]).sum(dim=1), targets, rtol=1e-4, atol=1e-4)


def test_interpolation_weighs_the_nearest_by_inverse_distance() -> None:
    targets, points = vectors(5, 8, 0), vectors(30, 8, 1)
    chosen, weights = interpolation(targets, points, 3)
    for row, target in enumerate(targets):
        distances = (points - target).norm(dim=1)
        order = distances.argsort()[:3]
        assert chosen[row].tolist() == order.tolist()
        inverse = 1 / distances[order]
        torch.testing.assert_close(weights[row], inverse / inverse.sum())
    chosen, weights = interpolation(points[7:8], points, 3)
    assert chosen[0, 0] == 7
    assert weights[0, 0] > 0.999


def test_as_mergekit() -> None:
    pytest.importorskip("mergekit")
    from mergekit.tokensurgeon import batch_omp, common_interp_approximate

    targets, points = vectors(6, 16, 2), vectors(50, 16, 3)
    for ours, theirs in (
        (pursuit(targets, points, 5), batch_omp(targets, points, 5)),
        (interpolation(targets, points, 5), common_interp_approximate(targets, points, k=5)),
    ):
        assert torch.equal(ours[0], theirs[0])
        torch.testing.assert_close(ours[1], theirs[1], rtol=1e-3, atol=1e-4)


def tokenizer_file(folder: Path, vocabulary: list[str], style: str, special: dict[str, str]) -> Path:
    folder.mkdir()
    decoder = {"type": "ByteLevel"} if style == "bytes" else {"type": "Metaspace", "replacement": "\u2581"}
    added = [{"content": token, "id": vocabulary.index(token), "special": True} for token in special.values()]
    model = {"type": "BPE", "vocab": {token: index for index, token in enumerate(vocabulary)}, "merges": []}
    (folder / "tokenizer.json").write_text(json.dumps({"model": model, "decoder": decoder, "added_tokens": added}))
    (folder / "tokenizer_config.json").write_text(json.dumps(special))
    return folder


def test_tokens_mean_their_bytes_and_roles(tmp_path: Path) -> None:
    words = ["<|start|>", "\u0120cat", "\u00c3\u00a9", "A", "\u010a", "<|im|>"]
    gpt = tokenizer_file(tmp_path / "gpt", words, "bytes", {"bos_token": "<|start|>", "extra": "<|im|>"})
    words = ["<s>", "\u2581cat", "\u00e9", "<0x41>", "<0x0A>", "A", "<|im|>"]
    llama = tokenizer_file(tmp_path / "llama", words, "sentencepiece", {"bos_token": "<s>", "extra": "<|im|>"})
    read = [read_tokenizer(folder) for folder in (gpt, llama)]
    first, second = (meanings(tokenizer) for tokenizer in read if tokenizer)
    assert first == {
        ("role", b"bos_token"): 0,
        ("text", b" cat"): 1,
        ("text", "\u00e9".encode()): 2,
        ("text", b"A"): 3,
        ("text", b"\n"): 4,
        ("special", b"<|im|>"): 5,
    }
    assert {meaning: second[meaning] for meaning in first} == dict(zip(first, (0, 1, 2, 5, 4, 6), strict=True))


OURS = ["<unk>", "the", "cat", "sat", "on", "a", "mat", "dog"]
THEIRS = ["<unk>", "cat", "ran", "the", "mat", "far", "dog", "sat", "off"]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An untied Llama, and a wider tied donor whose embedding has a row more than it has tokens."""
    folder = tmp_path_factory.mktemp("pair")
    for name, words, more in (
        ("model", OURS, {"vocab_size": len(OURS) + 2}),
        ("donor", THEIRS, {"vocab_size": len(THEIRS) + 1, "hidden_size": 48, "tie_word_embeddings": True}),
    ):
        torch.manual_seed(len(name))
        config = transformers.LlamaConfig(**SIZES | {"num_hidden_layers": 1, "num_key_value_heads": 2} | more)
        transformers.LlamaForCausalLM(config).save_pretrained(folder / name)
        word_tokenizer(folder / name, words)
    return folder / "model", folder / "donor"


@pytest.mark.parametrize("method", ["omp", "interpolation"])
def test_rows_are_kept_or_combined(method: Approximation, pair: tuple[Path, Path], tmp_path: Path) -> None:
    model, donor = pair
    found = tokensurgeon(model, donor, tmp_path / "out", method=method, neighbours=3, progress=False)
    assert (found.kept, found.rebuilt, found.empty) == (6, 3, 0)
    assert 0 < found.error < 1 or method == "interpolation"
    made, ours, theirs = (tensors_of(path) for path in (tmp_path / "out", model, donor))
    shared = [word for word in THEIRS if word in OURS]
    points = theirs["model.embed_tokens.weight"][[THEIRS.index(word) for word in shared]]
    lost = whole = 0.0
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        carried = ours[name][[OURS.index(word) for word in shared]]
        for row, word in enumerate(THEIRS):
            if word in OURS:
                assert torch.equal(made[name][row], ours[name][OURS.index(word)])
                continue
            target = theirs["model.embed_tokens.weight"][row]
            if method == "omp":
                chosen, weights = slow_pursuit(target.double().numpy(), points.double().numpy(), 3)
            else:
                distances = (points - target).norm(dim=1)
                chosen = distances.argsort()[:3].tolist()
                weights = (1 / distances[chosen] / (1 / distances[chosen]).sum()).double().numpy()
            expected = torch.as_tensor(weights) @ carried[chosen].double()
            torch.testing.assert_close(made[name][row].double(), expected, rtol=1e-3, atol=1e-5)
            lost += float((target.double() - torch.as_tensor(weights) @ points[chosen].double()).square().sum())
            whole += float(target.double().square().sum())
    assert found.error == pytest.approx((lost / whole) ** 0.5, rel=1e-3)
    for name in set(ours) - {"model.embed_tokens.weight", "lm_head.weight"}:
        assert torch.equal(made[name], ours[name])
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert loaded.config.vocab_size == loaded.get_output_embeddings().weight.shape[0] == len(THEIRS)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer.convert_ids_to_tokens(tokenizer("the dog ran far")["input_ids"]) == ["the", "dog", "ran", "far"]
    told = json.loads((tmp_path / "out/burnish_transplant.json").read_text())
    assert (told["method"], told["error"]) == (method, found.error)


def test_special_tokens_beyond_the_tokenizer_are_left_out(pair: tuple[Path, Path], tmp_path: Path) -> None:
    """The donor's table has more rows than its tokenizer has tokens; the result has as many as tokens."""
    config = json.loads((pair[1] / "config.json").read_text())
    ids = {"vocab_size": len(THEIRS) + 1, "pad_token_id": len(THEIRS), "eos_token_id": [3, len(THEIRS)]}
    donor = plain(tmp_path / "donor", tensors_of(pair[1]), config | ids)
    word_tokenizer(donor, THEIRS)
    tokensurgeon(pair[0], donor, tmp_path / "out", neighbours=3, progress=False)
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert (loaded.config.pad_token_id, loaded.config.eos_token_id) == (None, [3])


def test_batches_of_rows_change_nothing(
    pair: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tokensurgeon(*pair, tmp_path / "whole", neighbours=3, progress=False)
    monkeypatch.setattr("burnish.merge.transplant.build._BATCH_NUMBERS", 1)
    single = tokensurgeon(*pair, tmp_path / "single", neighbours=3, progress=False)
    assert single.error == pytest.approx(whole.error)
    for name, tensor in tensors_of(whole.path).items():
        torch.testing.assert_close(tensors_of(single.path)[name], tensor)


def test_what_cannot_be_transplanted(pair: tuple[Path, Path], tmp_path: Path) -> None:
    model, donor = pair
    with pytest.raises(UserError, match="method: 'svd' is none of omp, interpolation"):
        tokensurgeon(model, donor, tmp_path / "out", method="svd")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="neighbours: 0"):
        tokensurgeon(model, donor, tmp_path / "out", neighbours=0)
    bare = plain(tmp_path / "bare", tensors_of(donor), json.loads((donor / "config.json").read_text()))
    with pytest.raises(UserError, match=r"no tokenizer.json"):
        tokensurgeon(model, bare, tmp_path / "out")
    word_tokenizer(bare, ["other", "words"])
    (bare / "tokenizer_config.json").write_text("{}")  # the first word would be the unknown one in both
    with pytest.raises(UserError, match="shares no token"):
        tokensurgeon(model, bare, tmp_path / "out")
    assert not (tmp_path / "out").exists()
