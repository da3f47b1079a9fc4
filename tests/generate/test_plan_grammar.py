"""Whatever a model would like to write, what it may write is a valid plan: by words and by bytes."""

from typing import Any

import numpy as np
import pytest

from burnish.core.errors import UserError
from burnish.generate.plan import Wording
from burnish.generate.plan_grammar import PlanGrammar
from burnish.generate.plan_text import parse
from burnish.testbeds.easel.sources import make_tokenizer
from burnish.testbeds.easel.world import SHAPE_WORLD

CELLS = Wording(**SHAPE_WORLD.wording())


def _by_bytes() -> Any:
    """A byte-level tokenizer like Qwen's, of a few merges."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=alphabet, special_tokens=["<eos>"], show_progress=False
    )
    backend.train_from_iterator(["plan red circle r1c1 blue square r2c3 anywhere end 0.125 0.500"] * 50, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<eos>")


def _written(grammar: PlanGrammar, tokenizer: Any, rng: np.random.Generator) -> str:
    writer, ids = grammar.start(), list[int]()
    while not writer.done:
        allowed = np.flatnonzero(writer.allowed())
        assert len(allowed), tokenizer.decode(ids)
        ids.append(int(rng.choice(allowed)))
        writer.take(ids[-1])
    assert not writer.allowed().any()
    return str(tokenizer.decode(ids))


def test_random_words_held_to_the_grammar_are_valid_plans() -> None:
    tokenizer, rng = make_tokenizer(), np.random.default_rng(0)
    grammar = PlanGrammar(CELLS, tokenizer, len(tokenizer) + 5)
    plans = [parse(_written(grammar, tokenizer, rng), CELLS) for _ in range(40)]
    assert {len(plan.elements) for plan in plans} >= {1, CELLS.most}


def test_random_bytes_held_to_the_grammar_are_valid_plans() -> None:
    tokenizer, rng = _by_bytes(), np.random.default_rng(0)
    grammar = PlanGrammar(CELLS, tokenizer, len(tokenizer))
    for _ in range(10):
        parse(_written(grammar, tokenizer, rng), CELLS)


def test_a_taken_cell_is_not_offered_again() -> None:
    tokenizer = make_tokenizer()
    writer = PlanGrammar(CELLS, tokenizer, len(tokenizer)).start()
    for word in ("red", "circle", "r1c1", "square"):
        writer.take(tokenizer.convert_tokens_to_ids(word))
    offered = {tokenizer.convert_ids_to_tokens(int(token)) for token in np.flatnonzero(writer.allowed())}
    assert offered == set(CELLS.places) - {"r1c1"}
    with pytest.raises(ValueError, match="may not come"):
        writer.take(tokenizer.convert_tokens_to_ids("r1c1"))


def test_boxes_captions_and_open_names_keep_to_their_form() -> None:
    tokenizer = _by_bytes()
    wording = Wording(caption=True, most_count=12)
    grammar = PlanGrammar(wording, tokenizer, len(tokenizer))
    writer = grammar.start()
    text = " a wet street | 11 red fire hydrant [0.000 0.125 0.500 1.000] cat anywhere end"
    for token in tokenizer(text)["input_ids"]:
        assert writer.allowed()[token], tokenizer.decode([token])
        writer.take(token)
    assert writer.done
    assert parse(text, wording).elements[0].count == 11


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(UserError, match="plan needs llguidance; the extra `generate` brings it"):
        PlanGrammar(CELLS, make_tokenizer(), 100)
