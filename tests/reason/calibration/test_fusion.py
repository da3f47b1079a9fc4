"""Fused decoding, compared with decoding from scratch: each row alone, unpadded, no cache, one pass of each model."""

from typing import Any

import pytest
import torch
import transformers

from burnish.core.errors import UserError
from burnish.dialogue.input_check import image_token_id
from burnish.dialogue.models import ChatModel, opened
from burnish.dialogue.rows import Question
from burnish.reason.calibration.answering import PLAIN, answer_questions
from burnish.reason.calibration.branches import Branch
from burnish.reason.calibration.fusion import Fused, Partner, pair_up
from burnish.reason.calibration.logits import fuse
from burnish.reason.calibration.settings import Calibration, Decoding, Fusion
from burnish.testbeds.models import character_tokenizer
from tests.dialogue.tiny import TEXT, build, picture, special, text_model

QUESTIONS = [
    Question("hi there", "1", images=(picture(40, 24),)),
    Question("and these two", "1", images=(picture(20, 20, 1), picture(30, 16, 2))),
    Question("x", "1", images=(picture(10, 16, 3),)),
]
WORDS = [Question("how many are there", "1"), Question("x", "1")]
NEW = 12
SHORT = Decoding(max_new_tokens=NEW, batch=4)


@pytest.fixture(scope="module")
def eyes() -> ChatModel:
    return _quiet(build("llava"))


@pytest.fixture(scope="module")
def other_eyes() -> ChatModel:
    return _quiet(build("llava", seed=1))


@pytest.fixture(scope="module")
def words() -> ChatModel:
    return build("text", seed=2)


def _quiet(chat: ChatModel) -> ChatModel:
    # a written image mark would have no features when the text is run from scratch
    chat.model.generation_config.suppress_tokens = [image_token_id(chat)]
    return chat


def from_scratch(base: ChatModel, other: ChatModel, question: Question, weight: float) -> tuple[int, ...]:
    """Mixed greedy decoding as slowly and as plainly as it can be written."""
    prompts = []
    for chat in (base, other):
        sees = chat.takes_images and bool(question.images)
        text = chat.render([question], images=chat.takes_images)
        prompts.append(chat.encode(text, opened([question]) if sees else None))
    base_names, other_names = (
        {number: token for token, number in c.tokenizer.get_vocab().items()} for c in (base, other)
    )
    found: list[int] = []
    while len(found) < NEW:
        last = []
        for chat, prompt in zip((base, other), prompts, strict=True):
            rows = dict(prompt)
            rows["input_ids"] = torch.cat([rows["input_ids"], torch.tensor([found], dtype=torch.long)], 1)
            rows["attention_mask"] = torch.ones_like(rows["input_ids"])
            with torch.no_grad():
                last.append(chat.model(**rows, use_cache=False).logits[0, -1])
        scores = {
            number: (1 - weight) * float(last[0][number]) + weight * float(last[1][number])
            for number, token in base_names.items()
            if other_names.get(number) == token and token != "<image>"
        }
        found.append(max(scores, key=scores.__getitem__))
        if found[-1] == base.tokenizer.eos_token_id:
            break
    return tuple(found)


def written(base: ChatModel, other: ChatModel, questions: list[Question], weight: float) -> list[tuple[int, ...]]:
    found = answer_questions(base, questions, decoding=SHORT, partner=pair_up(base, other, weight))
    return [answer.ids for answer in found]


def test_hand_example_of_the_spec() -> None:
    base, small = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 3.0])
    torch.testing.assert_close(fuse(base, small, 0.3), torch.tensor([1.4, 0.9]))
    torch.testing.assert_close(fuse(base, small, 0.5), torch.tensor([1.0, 1.5]))
    assert [int(fuse(base, small, weight).argmax()) for weight in (0.3, 0.5)] == [0, 1]
    assert torch.equal(fuse(base, small, 0.0), base)
    assert torch.equal(fuse(base, small, 1.0), small)
    assert Fusion().weight == 0.3


def test_what_one_model_rules_out_stays_out() -> None:
    gone = -torch.inf
    found = fuse(torch.tensor([gone, 1.0, 1.0]), torch.tensor([1.0, gone, 1.0]), 0.3)
    assert found.tolist() == [gone, gone, pytest.approx(1.0)]
    assert fuse(torch.tensor([gone, 1.0]), torch.tensor([5.0, 1.0]), 1.0).tolist() == [5.0, 1.0]


@pytest.mark.parametrize("weight", [0.3, 0.7, 1.0])
def test_ragged_prompts_are_decoded_as_from_scratch(eyes: ChatModel, other_eyes: ChatModel, weight: float) -> None:
    found = written(eyes, other_eyes, QUESTIONS, weight)
    assert found == [from_scratch(eyes, other_eyes, question, weight) for question in QUESTIONS]
    plain = answer_questions(eyes, QUESTIONS, PLAIN, SHORT)
    assert found != [answer.ids for answer in plain]


def test_a_text_model_beside_one_that_sees_reads_the_words_alone(eyes: ChatModel, words: ChatModel) -> None:
    assert eyes.tokenizer.get_vocab() != words.tokenizer.get_vocab()  # the image mark is in one of them
    found = written(eyes, words, QUESTIONS, 0.5)
    assert found == [from_scratch(eyes, words, question, 0.5) for question in QUESTIONS]
    assert written(words, eyes, WORDS, 0.5) == [from_scratch(words, eyes, question, 0.5) for question in WORDS]


@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_weight_0_is_plain_decoding_bit_for_bit(
    eyes: ChatModel, other_eyes: ChatModel, temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoding = Decoding(max_new_tokens=NEW, temperature=temperature, top_p=0.9, seed=3)
    plain = answer_questions(eyes, QUESTIONS, PLAIN, decoding)

    def unwanted(*_: Any) -> Any:
        raise AssertionError("the second model ran")

    monkeypatch.setattr("burnish.reason.calibration.fusion.prepare", unwanted)
    found = answer_questions(eyes, QUESTIONS, PLAIN, decoding, partner=pair_up(eyes, other_eyes, 0.0))
    assert [answer.ids for answer in found] == [answer.ids for answer in plain]


def test_one_pass_of_each_model_a_token_and_what_is_written_goes_to_both(
    eyes: ChatModel, other_eyes: ChatModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[Any, int]] = []
    run = Branch._run

    def counted(self: Branch, inputs: dict[str, Any]) -> torch.Tensor:
        ran.append((self.model, inputs["input_ids"].shape[1]))
        return run(self, inputs)

    monkeypatch.setattr(Branch, "_run", counted)
    written(eyes, other_eyes, QUESTIONS, 0.3)
    for chat in (eyes, other_eyes):
        lengths = [length for model, length in ran if model is chat.model]
        assert len(lengths) == NEW
        assert lengths[0] > 1
        assert set(lengths[1:]) == {1}  # the cache holds the rest


def test_sampling_follows_the_mixed_probabilities(eyes: ChatModel, other_eyes: ChatModel) -> None:
    """The logits along a sampled answer equal those computed from scratch for that very answer."""
    partner = pair_up(eyes, other_eyes, 0.4)
    question = QUESTIONS[:1]
    inputs = eyes.encode(eyes.render(question), opened(question))
    torch.manual_seed(0)
    out = eyes.model.generate(
        **inputs,
        custom_generate=Fused(partner, partner.encode(question, opened(question), None)),
        max_new_tokens=NEW,
        do_sample=True,
        return_dict_in_generate=True,
        output_logits=True,
    )
    answer = out.sequences[:, inputs["input_ids"].shape[1] :]
    last = []
    for chat in (eyes, other_eyes):
        rows = chat.encode(chat.render(question), opened(question))
        rows["input_ids"] = torch.cat([rows["input_ids"], answer], 1)
        rows["attention_mask"] = torch.ones_like(rows["input_ids"])
        with torch.no_grad():
            last.append(chat.model(**rows, use_cache=False).logits[0, -answer.shape[1] - 1 : -1])
    shared = partner.shared
    expected = 0.6 * last[0][:, shared] + 0.4 * last[1][:, shared]
    torch.testing.assert_close(torch.cat(out.logits)[:, shared], expected, atol=1e-3, rtol=1e-3)
    greedy = Decoding(max_new_tokens=NEW, temperature=1e-4)
    cold = answer_questions(eyes, QUESTIONS, decoding=greedy, partner=partner)
    assert [found.ids for found in cold] == written(eyes, other_eyes, QUESTIONS, 0.4)


def test_several_answers_a_prompt(eyes: ChatModel, other_eyes: ChatModel) -> None:
    partner = pair_up(eyes, other_eyes, 0.3)
    inputs = eyes.encode(eyes.render(QUESTIONS), opened(QUESTIONS))
    theirs = partner.encode(QUESTIONS, opened(QUESTIONS), None)
    found = [
        eyes.model.generate(**inputs, custom_generate=Fused(partner, theirs), max_new_tokens=4, **options)
        for options in ({"do_sample": True, "num_return_sequences": 2}, {"do_sample": False})
    ]
    assert len(found[0]) == 2 * len(found[1]) == 2 * len(QUESTIONS)


def renamed(old: str, new: str) -> ChatModel:
    """A text model with one token under another name."""
    tokenizer = character_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    state = tokenizer.backend_tokenizer.to_str()
    assert f'"{old}":' in state
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=type(tokenizer.backend_tokenizer).from_str(state.replace(f'"{old}":', f'"{new}":')),
        pad_token=tokenizer.pad_token,
        bos_token=tokenizer.bos_token,
        eos_token=tokenizer.eos_token,
        chat_template=tokenizer.chat_template,
    )
    return ChatModel(
        transformers.LlamaForCausalLM(transformers.LlamaConfig(**TEXT, **special(tokenizer))), tokenizer, "odd"
    )


def test_vocabularies_are_compared_token_by_token_not_by_size(words: ChatModel) -> None:
    odd = renamed("q", "Q!")
    number = words.tokenizer.get_vocab()["q"]
    assert len(odd.tokenizer) == len(words.tokenizer)
    with pytest.raises(UserError, match=f"token {number} is 'q' in text and 'Q!' in odd; .* one vocabulary"):
        pair_up(words, odd, 0.3)


def test_a_word_that_only_one_model_knows_is_a_difference(words: ChatModel) -> None:
    more = text_model()
    more.tokenizer.add_tokens(["hello"])
    with pytest.raises(UserError, match=f"token {len(words.tokenizer)} is none in text and 'hello' in text"):
        pair_up(words, more, 0.3)


def test_models_that_do_not_fit_otherwise(eyes: ChatModel, words: ChatModel) -> None:
    far = text_model()
    far.model.to("meta")
    with pytest.raises(UserError, match="text is on cpu and text on meta; load both on one device"):
        pair_up(words, far, 0.3)
    seq2seq = type("Model", (), {"config": type("Config", (), {"is_encoder_decoder": True})})
    with pytest.raises(UserError, match="pair is an encoder-decoder"):
        pair_up(words, ChatModel(seq2seq(), words.tokenizer, "pair"), 0.3)
    ender = _quiet(build("llava"))
    ender.model.generation_config.eos_token_id = image_token_id(ender)
    with pytest.raises(UserError, match="llava ends an answer with '<image>', which text does not know"):
        pair_up(ender, words, 0.3)


def test_prompts_that_cannot_be_rendered(words: ChatModel) -> None:
    mute = text_model(template=False)
    with pytest.raises(UserError, match="has no chat template"):
        answer_questions(words, WORDS, decoding=SHORT, partner=pair_up(words, mute, 0.3))


def test_other_rows_beams_and_calibration_are_refused(eyes: ChatModel, other_eyes: ChatModel) -> None:
    partner = pair_up(eyes, other_eyes, 0.3)
    inputs = eyes.encode(eyes.render(QUESTIONS), opened(QUESTIONS))
    fused = Fused(partner, partner.encode(QUESTIONS[:1], opened(QUESTIONS[:1]), None))
    with pytest.raises(UserError, match="3 prompts for one model and 1 for the other"):
        eyes.model.generate(**inputs, custom_generate=fused, max_new_tokens=2)
    with pytest.raises(UserError, match="fusion: works with greedy decoding and sampling, not with beams"):
        eyes.model.generate(**inputs, custom_generate=fused, max_new_tokens=2, num_beams=2)
    with pytest.raises(UserError, match="one at a time"):
        answer_questions(eyes, QUESTIONS, Calibration(), SHORT, partner=partner)


@pytest.mark.parametrize("wide", [False, True])
def test_tokens_that_only_one_model_has_are_never_written(wide: bool) -> None:
    loud, words = build("llava"), build("text", seed=2)
    mark = image_token_id(loud)
    with torch.no_grad():  # the image mark is the likeliest token of all
        loud.model.lm_head.weight[mark] = 100 * loud.model.lm_head.weight.abs().max()
        loud.model.lm_head.weight[mark] *= torch.sign(torch.randn(loud.model.lm_head.weight.shape[1]))
    if wide:  # rows that only pad the matrix are no tokens
        words.model.resize_token_embeddings(len(loud.tokenizer))
    partner: Partner = pair_up(loud, words, 0.01)
    assert mark not in partner.shared.tolist()
    found = answer_questions(loud, QUESTIONS, decoding=SHORT, partner=partner)
    assert all(mark not in answer.ids for answer in found)


def test_a_token_without_a_row_in_a_model_is_never_written() -> None:
    first, second = build("text"), build("text", seed=1)
    for chat in (first, second):
        chat.tokenizer.add_special_tokens({"additional_special_tokens": ["<more>"]})
    shared = pair_up(first, second, 0.3).shared.tolist()
    assert shared == list(range(len(first.tokenizer) - 1))


def test_special_tokens_at_other_places_are_a_difference() -> None:
    first, second = text_model(), text_model()
    number = len(first.tokenizer)
    first.tokenizer.add_special_tokens({"additional_special_tokens": ["<a>", "<b>"]})
    second.tokenizer.add_special_tokens({"additional_special_tokens": ["<b>", "<a>"]})
    with pytest.raises(UserError, match=f"token {number} is '<a>' in text and '<b>' in text"):
        pair_up(first, second, 0.3)
