from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from burnish.core.errors import UserError
from burnish.dialogue.models import ChatModel
from burnish.dialogue.rows import Question
from burnish.reason.rftt.grammar import Grammar, rftt_grammar
from burnish.reason.rftt.vocabulary import encode_text, extend, prompt_ids, remove, trainable_tokens, vocabulary_of
from tests.reason.rftt.tiny import tiny_llama, tiny_tokenizer

GRAMMARS = {style: rftt_grammar(style) for style in ("guarded", "official")}


def matrices(model: Any) -> list[torch.Tensor]:
    found = [model.get_input_embeddings().weight]
    return found if model.config.tie_word_embeddings else [*found, model.lm_head.weight]


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_new_rows_start_from_their_descriptions_and_stand_apart(tied: bool, dtype: torch.dtype) -> None:
    grammar, tokenizer = GRAMMARS["guarded"], tiny_tokenizer()
    model = tiny_llama(tied=tied).to(dtype)
    old = [matrix.detach().clone() for matrix in matrices(model)]
    found = extend(model, tokenizer, grammar, seed=1)
    assert (found.size, found.rows) == (261 + 16, 320)
    assert found == vocabulary_of(tokenizer, grammar, 320)
    assert (model.lm_head.weight is model.get_input_embeddings().weight) is tied
    for matrix, before in zip(matrices(model), old, strict=True):
        assert matrix.shape[0] == 320
        assert torch.equal(matrix[:261], before)
        for action in grammar.actions:
            pieces = tokenizer(action.description)["input_ids"]
            mean = before[pieces].float().mean(0)
            opening, closing = matrix[found.opens[action.name]], matrix[found.closes[action.name]]
            assert torch.allclose(opening.float(), mean, atol=1e-3)
            # Noise as large as what the rows themselves vary by: 0.02 in this model.
            assert 0.01 < (closing - opening).float().std() < 0.04
        assert torch.pdist(matrix[found.ids].detach().float()).min() > 1e-3
        assert not matrix[found.size :].any()


def test_descriptions_of_the_same_pieces_still_give_different_tokens() -> None:
    grammar = GRAMMARS["guarded"]
    same = replace(grammar, actions=tuple(replace(action, description="step") for action in grammar.actions))
    model, tokenizer = tiny_llama(), tiny_tokenizer()
    found = extend(model, tokenizer, same, seed=1)
    assert torch.pdist(model.lm_head.weight[found.ids].detach()).min() > 1e-3
    with torch.no_grad():
        flat = tiny_llama()
        flat.get_input_embeddings().weight.fill_(0.5)
    with pytest.raises(UserError, match="all rows of the model's embedding are the same"):
        extend(flat, tiny_tokenizer(), grammar, seed=1)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("rows", [261, 320, 400])
def test_extending_again_changes_nothing_and_removing_restores_every_bit(rows: int, tied: bool, tmp_path: Path) -> None:
    grammar, tokenizer, model = GRAMMARS["official"], tiny_tokenizer(), tiny_llama(rows, tied=tied)
    model.save_pretrained(tmp_path)  # which writes into the config
    before = {name: value.clone() for name, value in model.state_dict().items()}
    text, config = tokenizer.backend_tokenizer.to_str(), model.config.to_dict()
    found = extend(model, tokenizer, grammar, seed=3)
    assert found.rows == max(rows, 320)
    extended = {name: value.clone() for name, value in model.state_dict().items()}
    assert extend(model, tokenizer, grammar, seed=4) == found
    assert all(torch.equal(value, extended[name]) for name, value in model.state_dict().items())

    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    remove(model, tokenizer, found)
    assert tokenizer.backend_tokenizer.to_str() == text
    assert model.config.to_dict() == config
    assert model.generation_config.suppress_tokens is None
    assert before.keys() == model.state_dict().keys()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    with pytest.raises(UserError, match="no functional tokens to remove"):
        remove(model, tokenizer, found)

    # The same from disk, where only the rows that the tokenizer knows are promised.
    chat = ChatModel(type(model).from_pretrained(tmp_path), type(tokenizer).from_pretrained(tmp_path))
    assert extend(chat.model, chat.tokenizer, grammar, seed=5) == found
    assert all(torch.equal(value, extended[name]) for name, value in chat.model.state_dict().items())
    remove(chat.model, chat.tokenizer, vocabulary_of(chat.tokenizer, grammar))
    for matrix, old in zip(matrices(chat.model), matrices(model), strict=True):
        assert matrix.shape == old.shape
        assert torch.equal(matrix[:261], old[:261])


def test_a_second_model_shares_an_extended_tokenizer() -> None:
    tokenizer, first, second = tiny_tokenizer(), tiny_llama(), tiny_llama()
    found = extend(first, tokenizer, GRAMMARS["guarded"], seed=1)
    assert extend(second, tokenizer, GRAMMARS["guarded"], seed=1) == found
    assert torch.equal(first.lm_head.weight, second.lm_head.weight)


def test_rows_that_only_pad_are_never_sampled() -> None:
    model, tokenizer = tiny_llama(), tiny_tokenizer()
    found = extend(model, tokenizer, GRAMMARS["guarded"], seed=1)
    with torch.no_grad():
        model.lm_head.weight[list(found.padding)] = 1e3 * model.lm_head.weight[10]
    prompt = torch.tensor([[20, 30, 40]] * 16)
    drawn = model.generate(prompt, max_new_tokens=8, do_sample=True, attention_mask=torch.ones_like(prompt))
    assert drawn.max() < found.size
    logits = model(prompt).logits[0, -1]
    assert logits.argmax() >= found.size  # it would have been


def test_adapters_train_the_new_rows_alone() -> None:
    import peft

    for tied in (True, False):
        model, tokenizer = tiny_llama(tied=tied), tiny_tokenizer()
        found = extend(model, tokenizer, GRAMMARS["guarded"], seed=1)
        old = [matrix.detach().clone() for matrix in matrices(model)]
        indices = trainable_tokens(model, found)
        assert set(indices) == ({"model.embed_tokens"} if tied else {"model.embed_tokens", "lm_head"})
        wrapped = peft.get_peft_model(
            model, peft.LoraConfig(r=2, target_modules=["q_proj"], trainable_token_indices=indices)
        )
        optimizer = torch.optim.SGD([each for each in wrapped.parameters() if each.requires_grad], lr=5.0)
        ids = torch.tensor([[20, *found.ids, 30]])
        wrapped(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        merged = wrapped.merge_and_unload()
        for matrix, before in zip(matrices(merged), old, strict=True):
            changed = (matrix != before).any(1).nonzero()[:, 0].tolist()
            assert changed == found.ids


def test_tags_that_cannot_be_added_are_refused() -> None:
    grammar = GRAMMARS["guarded"]

    def tagged(tag: str) -> Grammar:
        first, *others = grammar.actions
        return replace(grammar, actions=(replace(first, opens=tag), *others))

    with pytest.raises(UserError, match=r"`<\|end\|>` is a token of this tokenizer already"):
        extend(tiny_llama(), tiny_tokenizer(), tagged("<|end|>"), seed=0)
    model, tokenizer = tiny_llama(), tiny_tokenizer()
    extend(model, tokenizer, grammar, seed=0)
    with pytest.raises(UserError, match="functional tokens of other names"):
        extend(model, tiny_tokenizer(), GRAMMARS["official"], seed=0)
    with pytest.raises(UserError, match="is a token of this tokenizer already"):
        extend(tiny_llama(), tokenizer, tagged("<new>"), seed=0)
    with pytest.raises(UserError, match="has no token `<clarify>`"):
        vocabulary_of(tokenizer, GRAMMARS["official"])
    tokenizer.add_tokens(["<later>"])
    with pytest.raises(UserError, match="not the tokenizer's last ones"):
        remove(model, tokenizer, vocabulary_of(tokenizer, grammar))


def test_a_tokenizer_without_a_chat_template_is_said_to_have_none() -> None:
    tokenizer = tiny_tokenizer(template=None)
    vocabulary = extend(tiny_llama(), tokenizer, GRAMMARS["guarded"], seed=0)
    with pytest.raises(UserError, match="tiny: its tokenizer has no chat template"):
        prompt_ids(ChatModel(None, tokenizer, "tiny"), vocabulary, [Question("2 + 2 = ?", "4")])


TAGS = [tag for grammar in GRAMMARS.values() for action in grammar.actions for tag in (action.opens, action.closes)]
texts = st.lists(st.one_of(st.sampled_from(TAGS), st.text(max_size=6), st.sampled_from(["<", "|>", "rftt:"]))).map(
    "".join
)
EXTENDED = {style: tiny_tokenizer() for style in GRAMMARS}
VOCABULARIES = {style: extend(tiny_llama(), EXTENDED[style], GRAMMARS[style], seed=0) for style in GRAMMARS}


@pytest.mark.parametrize("style", GRAMMARS)
@given(text=texts)
@example(text="<<|rftt:verify|><|/rftt:verify|><<|rftt:verify|>|>")
@example(text="what does the html <output> tag do? </output>")
def test_no_text_of_a_user_yields_a_control_token(style: str, text: str) -> None:
    tokenizer, vocabulary = EXTENDED[style], VOCABULARIES[style]
    chat = ChatModel(None, tokenizer)
    (prompt,) = chat.render([Question(text, "1")], system=text)
    assert prompt_ids(chat, vocabulary, [Question(text, "1")], text) == [
        tuple(encode_text(tokenizer, vocabulary, prompt))
    ]
    for asked in (text, prompt):
        ids = encode_text(tokenizer, vocabulary, asked)
        assert not set(ids) & set(vocabulary.ids)
        assert tokenizer.decode(ids) == asked
    ids = encode_text(tokenizer, vocabulary, text + "<|end|>", marks=False)
    assert not set(ids) & {0, 1, 2, 3, 4, *vocabulary.ids}
    assert tokenizer.decode(ids) == text + "<|end|>"


def test_a_prompt_keeps_the_marks_of_its_template(smollm2: Path) -> None:
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(smollm2)
    plain = tokenizer.apply_chat_template(
        [{"role": "user", "content": "2 + 2 = ?"}], add_generation_prompt=True, return_dict=True
    )["input_ids"]
    vocabulary = extend(tiny_llama(49152), tokenizer, GRAMMARS["official"], seed=0)
    chat = ChatModel(None, tokenizer)
    assert prompt_ids(chat, vocabulary, [Question("2 + 2 = ?", "4")]) == [tuple(plain)]
    (leaking,) = chat.render([Question("what does <output> do?", "")])
    assert vocabulary.opens["output"] in tokenizer(leaking)["input_ids"]  # what a plain call would do
    assert not set(encode_text(tokenizer, vocabulary, leaking)) & set(vocabulary.ids)
