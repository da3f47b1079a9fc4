"""Encoders of both kinds: what a vector is, and texts that are long, empty, or of another alphabet."""

from pathlib import Path

import numpy as np
import pytest
import torch

from burnish.core.errors import BurnishError, UserError
from burnish.core.models import load_model, load_tokenizer
from burnish.private.encoders import Encoder, load_encoder
from burnish.private.prompts import Prompt
from burnish.testbeds.models import cached_model
from burnish.testbeds.small_bert import write_encoder
from tests.private.tiny import write_causal

PROMPTS = [Prompt("{text}", ("bad", "good")), Prompt("we say: {text} or not?", ("bad", "good"))]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("models") / "bert")


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_causal(tmp_path_factory.mktemp("models") / "llama")


def test_the_mean_over_tokens_and_not_over_padding(bert: Path) -> None:
    encoder = load_encoder(bert, max_tokens=24)
    model, tokenizer = load_model(bert, "base"), load_tokenizer(bert)
    texts = ["a waste of money", "it works"]
    found = encoder.represent(texts, PROMPTS)
    assert found.vectors.shape == (2, 2, 16)
    for row, text in enumerate(texts):
        for column, prompt in enumerate(PROMPTS):
            with torch.no_grad():
                states = model(**tokenizer(prompt.filled(text), return_tensors="pt")).last_hidden_state[0]
            mean = states.mean(0).numpy()
            assert np.allclose(found.vectors[row, column], mean / np.linalg.norm(mean), atol=1e-5)
    assert not found.cut.any()


def test_the_last_token_of_a_language_model(llama: Path) -> None:
    encoder = load_encoder(llama, max_tokens=64)
    assert encoder.causal
    model, tokenizer = load_model(llama), load_tokenizer(llama)
    found = encoder.represent(["it works", "a"], PROMPTS[:1]).vectors
    with torch.no_grad():
        output = model(**tokenizer("it works", return_tensors="pt"), output_hidden_states=True)
    state = output.hidden_states[-1][0, -1].numpy()
    assert np.allclose(found[0, 0], state / np.linalg.norm(state), atol=1e-5)
    # a word's direction times the state is what the model thinks of saying it, up to lengths
    words = encoder.word_vectors(["b", "g"])
    places = [tokenizer(f" {word}", add_special_tokens=False)["input_ids"][0] for word in ("b", "g")]
    rows = model.get_output_embeddings().weight[places].detach().numpy()
    assert np.allclose(words, rows / np.linalg.norm(rows, axis=1, keepdims=True), atol=1e-6)


def test_a_text_that_is_too_long_loses_its_end_and_the_template_nothing(bert: Path) -> None:
    encoder = load_encoder(bert, max_tokens=16)
    long = "it works " * 4000
    found = encoder.represent([long, "it works"], PROMPTS)
    assert found.cut.tolist() == [True, False]
    tokenizer = load_tokenizer(bert)
    room = 16 - len(tokenizer(PROMPTS[1].filled(""))["input_ids"])
    words = "it works " * (room // 2) + ("it" if room % 2 else "")
    assert np.allclose(found.vectors[0, 1], encoder.represent([words.strip()], PROMPTS).vectors[0, 1], atol=1e-6)
    with pytest.raises(UserError, match=r"leaves 0 of 16 tokens for the text"):
        encoder.represent(["it"], [Prompt("it works " * 10 + "{text}", ())])


@pytest.mark.parametrize(
    "text", ["", " ", "\u0438\u043d\u043e\u0439 \u0442\u0435\u043a\u0441\u0442", "\U0001f600", "\x00", "{text}"]
)
def test_any_text_has_a_vector(bert: Path, llama: Path, text: str) -> None:
    for folder in (bert, llama):
        vectors = load_encoder(folder, max_tokens=32).represent([text], PROMPTS).vectors
        assert np.allclose(np.linalg.norm(vectors, axis=2), 1, atol=1e-5)


def test_the_same_texts_give_the_same_bits(bert: Path) -> None:
    encoder = load_encoder(bert)
    texts = ["it works", "a waste of money and far flimsier than in the pictures", ""]
    first, second = (encoder.represent(texts, PROMPTS).vectors for _ in range(2))
    assert (first == second).all()
    assert encoder.represent([], PROMPTS).vectors.shape == (0, 2, 16)


def test_refused(bert: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        load_encoder(tmp_path / "nothing")
    model = load_model(bert, "base")
    with torch.no_grad():
        model.embeddings.LayerNorm.weight.fill_(float("nan"))
    with pytest.raises(BurnishError, match="text 0: its vector is not finite"):
        Encoder(model, load_tokenizer(bert)).represent(["a"], PROMPTS)


def test_a_preflight_reads_no_weights(bert: Path) -> None:
    encoder = load_encoder(bert, weights=False)
    assert next(encoder.model.parameters()).device.type == "meta"
    assert encoder.width == 16
    # by hand: a layer of 16 units (4 maps, 2 of the middle, norms) and the pooler
    assert encoder.flops_weights > 16 * 16 * 4


@pytest.mark.slow
def test_minilm_knows_a_cat() -> None:
    folder = cached_model("minilm")
    if folder is None:
        pytest.skip("MiniLM is not in the cache: burnish model minilm")
    cat, kitten, stocks = (
        load_encoder(folder).represent(["a cat", "a kitten", "stock markets fell"], PROMPTS[:1]).vectors
    )
    assert cat[0] @ kitten[0] > 0.5 > 0.2 > cat[0] @ stocks[0]
