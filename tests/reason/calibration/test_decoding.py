"""Every number here is compared with decoding from scratch: each row alone, unpadded, no cache, two passes a token."""

from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from burnish.core.errors import UserError
from burnish.dialogue.input_check import image_token_id
from burnish.dialogue.models import ChatModel, opened
from burnish.dialogue.rows import Question
from burnish.reason.calibration import branches
from burnish.reason.calibration.answering import answer_questions
from burnish.reason.calibration.decoding import Calibrated
from burnish.reason.calibration.logits import calibrate
from burnish.reason.calibration.settings import Calibration, Decoding
from tests.dialogue.tiny import KINDS, TEXT, build, picture, special, tokenizer_with

QUESTIONS = [
    Question("hi there", "1", images=(picture(40, 24),)),
    Question("and these two", "1", images=(picture(20, 20, 1), picture(30, 16, 2))),
    Question("x", "1", images=(picture(10, 16, 3),)),
]
NEW = 12


@pytest.fixture(scope="module", params=KINDS)
def chat(request: pytest.FixtureRequest) -> ChatModel:
    return build(request.param)


def inputs_of(chat: ChatModel, questions: list[Question]) -> tuple[dict[str, Any], dict[str, Any]]:
    return chat.encode(chat.render(questions), opened(questions)), chat.encode(chat.render(questions, images=False))


def generate(chat: ChatModel, inputs: dict[str, Any], custom: Any = None, seed: int = 0, **options: Any) -> Any:
    torch.manual_seed(seed)
    # A written image mark would have no features when the text is run from scratch.
    options = {"max_new_tokens": NEW, "do_sample": False, "suppress_tokens": [image_token_id(chat)], **options}
    return chat.model.generate(**inputs, **options, **({} if custom is None else {"custom_generate": custom}))


def answers(inputs: dict[str, Any], sequences: Tensor) -> Tensor:
    return sequences[:, inputs["input_ids"].shape[1] :]


def from_scratch(chat: ChatModel, question: Question, gamma: float, plausibility: float | None = None) -> list[int]:
    seeing, blind = inputs_of(chat, [question])
    found: list[int] = []
    for _ in range(NEW):
        last = []
        for inputs in (seeing, blind):
            rows = dict(inputs)
            new = torch.tensor([found], dtype=torch.long)
            rows["input_ids"] = torch.cat([rows["input_ids"], new], 1)
            rows["attention_mask"] = torch.ones_like(rows["input_ids"])
            if "mm_token_type_ids" in rows:
                rows["mm_token_type_ids"] = torch.cat([rows["mm_token_type_ids"], torch.zeros_like(new)], 1)
            with torch.no_grad():
                last.append(chat.model(**rows, use_cache=False).logits[0, -1])
        logits = calibrate(last[0], last[1], gamma, plausibility)
        logits[image_token_id(chat)] = -torch.inf
        found.append(int(logits.argmax()))
        if found[-1] == chat.tokenizer.eos_token_id:
            break
    return found


@pytest.mark.parametrize("sampled", [False, True])
def test_gamma_0_is_plain_decoding_token_by_token(
    chat: ChatModel, sampled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs, _ = inputs_of(chat, QUESTIONS)
    options: dict[str, Any] = {"do_sample": sampled, "temperature": 0.9, "top_k": 20, "repetition_penalty": 1.2}
    plain = generate(chat, inputs, **options)

    def unwanted(*_: Any) -> Any:
        raise AssertionError("the second branch ran")

    monkeypatch.setattr("burnish.reason.calibration.decoding.prepare", unwanted)
    assert torch.equal(plain, generate(chat, inputs, Calibrated({}, Calibration(gamma=0, plausibility=0.3)), **options))
    # through answer_questions as well
    decoding = Decoding(max_new_tokens=NEW, temperature=0.9 if sampled else 0, seed=3)
    written = [answer.text for answer in answer_questions(chat, QUESTIONS, Calibration(gamma=0), decoding)]
    torch.manual_seed(3)
    again = chat.model.generate(
        **inputs, max_new_tokens=NEW, do_sample=sampled, temperature=0.9 if sampled else 1.0, top_k=0
    )
    assert written == [
        text.strip() for text in chat.tokenizer.batch_decode(answers(inputs, again), skip_special_tokens=True)
    ]


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("plausibility", [None, 0.3])
def test_a_ragged_batch_equals_each_row_from_scratch(
    chat: ChatModel, together: bool, plausibility: float | None
) -> None:
    inputs, without = inputs_of(chat, QUESTIONS)
    calibration = Calibration(gamma=1.3, plausibility=plausibility, together=together)
    found = answers(inputs, generate(chat, inputs, Calibrated(without, calibration)))
    pad = chat.tokenizer.pad_token_id
    for row, question in zip(found.tolist(), QUESTIONS, strict=True):
        expected = from_scratch(chat, question, 1.3, plausibility)
        assert row == expected + [pad] * (found.shape[1] - len(expected))
    assert not torch.equal(found, answers(inputs, generate(chat, inputs)))


def test_one_pass_is_taken_where_caches_can_be_joined(chat: ChatModel, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, without = inputs_of(chat, QUESTIONS)
    rows: list[int] = []
    step = branches.Branch.step

    def counted(self: branches.Branch, tokens: Tensor) -> Tensor:
        rows.append(len(tokens))
        return step(self, tokens)

    monkeypatch.setattr(branches.Branch, "step", counted)
    generate(chat, inputs, Calibrated(without))
    assert set(rows) == {2 * len(QUESTIONS)}
    rows.clear()
    generate(chat, inputs, Calibrated(without, Calibration(together=False)))
    assert set(rows) == {len(QUESTIONS)}


def sliding() -> ChatModel:
    """A LLaVA over a language model whose layers see the last tokens only: its caches cannot be joined."""
    chat = build("llava")
    tokenizer = tokenizer_with("<image>")
    config = chat.model.config.to_dict()
    config["text_config"] = {
        "model_type": "qwen2",
        **TEXT,
        **special(tokenizer),
        "use_sliding_window": True,
        "sliding_window": 8,
        "layer_types": ["sliding_attention", "full_attention"],
    }
    torch.manual_seed(0)
    return ChatModel(
        transformers.LlavaForConditionalGeneration(transformers.LlavaConfig(**config)).eval(), chat.processor
    )


def test_sliding_windows_run_in_two_passes_and_are_right_too() -> None:
    chat = sliding()
    inputs, without = inputs_of(chat, QUESTIONS[:1])
    found = answers(inputs, generate(chat, inputs, Calibrated(without)))
    assert found[0].tolist() == from_scratch(chat, QUESTIONS[0], 0.8)
    ready = [branches.prepare(chat.model, some, chat.model.generation_config, 4) for some in (inputs, without)]
    for branch in ready:
        branch.prefill()
    assert branches.join(*ready) is None


def test_both_branches_follow_the_sampled_token(chat: ChatModel) -> None:
    """The calibrated logits along a sampled answer equal those computed from scratch for that very answer."""
    inputs, without = inputs_of(chat, QUESTIONS[:1])
    out = generate(
        chat,
        inputs,
        Calibrated(without),
        do_sample=True,
        top_k=0,
        return_dict_in_generate=True,
        output_logits=True,
        output_scores=True,
    )
    written = answers(inputs, out.sequences)
    with torch.no_grad():
        last = []
        for some in (inputs, without):
            rows = {**some, "input_ids": torch.cat([some["input_ids"], written], 1)}
            rows["attention_mask"] = torch.ones_like(rows["input_ids"])
            if "mm_token_type_ids" in rows:
                rows["mm_token_type_ids"] = torch.cat([rows["mm_token_type_ids"], torch.zeros_like(written)], 1)
            last.append(chat.model(**rows, use_cache=False).logits[0, -written.shape[1] - 1 : -1])
    torch.testing.assert_close(torch.cat(out.logits), calibrate(last[0], last[1], 0.8), atol=1e-3, rtol=1e-3)
    assert len(out.scores) == written.shape[1]


def test_several_answers_a_prompt_and_more_of_generate(chat: ChatModel) -> None:
    inputs, without = inputs_of(chat, QUESTIONS)
    several = generate(chat, inputs, Calibrated(without), do_sample=True, num_return_sequences=2)
    assert len(several) == 2 * len(QUESTIONS)
    assert torch.equal(several, generate(chat, inputs, Calibrated(without), do_sample=True, num_return_sequences=2))
    assert not torch.equal(
        several, generate(chat, inputs, Calibrated(without), seed=1, do_sample=True, num_return_sequences=2)
    )
    greedy = generate(chat, inputs, Calibrated(without))
    cold = generate(chat, inputs, Calibrated(without), do_sample=True, temperature=1e-4)
    assert torch.equal(greedy, cold)  # temperature comes after calibration
    end = int(answers(inputs, greedy)[0, 2])
    stopped = answers(inputs, generate(chat, inputs, Calibrated(without), eos_token_id=end))
    first = stopped[0].tolist().index(end)
    assert set(stopped[0, first + 1 :].tolist()) <= {chat.tokenizer.pad_token_id}


def test_a_repetition_penalty_comes_after_calibration(chat: ChatModel) -> None:
    inputs, without = inputs_of(chat, QUESTIONS[:1])
    seen: list[Tensor] = []

    class Watch(transformers.LogitsProcessor):
        def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
            seen.append(scores.clone())
            return scores

    out = generate(
        chat,
        inputs,
        Calibrated(without),
        repetition_penalty=2.0,
        suppress_tokens=None,
        logits_processor=[Watch()],
        return_dict_in_generate=True,
        output_logits=True,
    )
    penalty = transformers.RepetitionPenaltyLogitsProcessor(2.0)
    torch.testing.assert_close(seen[0], penalty(inputs["input_ids"], out.logits[0].clone()))


class Collector:
    def __init__(self) -> None:
        self.tokens: list[list[int]] = []
        self.ended = False

    def put(self, value: Tensor) -> None:
        self.tokens.append(value.tolist())

    def end(self) -> None:
        self.ended = True


def test_tokens_are_streamed(chat: ChatModel) -> None:
    inputs, without = inputs_of(chat, QUESTIONS)
    collector = Collector()
    found = answers(inputs, generate(chat, inputs, Calibrated(without, streamer=collector)))
    assert torch.tensor(collector.tokens).T.tolist() == found.tolist()
    assert collector.ended


def test_what_cannot_be_calibrated() -> None:
    chat = build("llava")
    inputs, without = inputs_of(chat, QUESTIONS[:2])
    with pytest.raises(UserError, match="not with beams; set num_beams to 1"):
        generate(chat, inputs, Calibrated(without), num_beams=2)
    with pytest.raises(UserError, match="2 prompts with images and 1 without; give the same ones"):
        generate(chat, inputs, Calibrated({key: value[:1] for key, value in without.items()}))
    config = type("Config", (), {"is_encoder_decoder": True})
    plain = transformers.GenerationConfig(num_beams=1)
    with pytest.raises(UserError, match="Model is an encoder-decoder"):
        Calibrated(without)(type("Model", (), {"config": config})(), inputs["input_ids"], [], [], plain)
    with pytest.raises(UserError, match="sharded over processes"):
        Calibrated(without)(chat.model, inputs["input_ids"], [], [], plain, synced_gpus=True)
