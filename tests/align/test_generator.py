"""A model asked in batches: the same answers in any, each picture and each shared beginning read once."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from burnish.align.generators.prompts import beginnings
from burnish.align.generators.transformers import TransformersGenerator
from burnish.align.records import Answer, Ask, Sampling
from burnish.core.errors import UserError
from burnish.dialogue.generation import end_tokens
from burnish.dialogue.rows import Question
from tests.align.models import deepseek, llava, picture
from tests.dialogue import tiny

GREEDY = Sampling(12)
DRAWN = Sampling(12, temperature=0.9, top_p=0.95)


def asks() -> list[Ask]:
    """Views of five pictures with three questions, some asked twice, and prompts in words alone of many lengths."""
    seeing = [Ask(f"What is {number % 3}?", picture(number % 5), number) for number in range(21)]
    blind = [Ask("Sum up: " + "so " * number, None, 100 + number) for number in range(6)]
    return [each for pair in zip(seeing[:6], blind, strict=True) for each in pair] + seeing[6:]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("sampling", [GREEDY, DRAWN])
def test_an_answer_is_the_same_in_any_batch_and_order(seed: int, sampling: Sampling) -> None:
    chat, asked = llava(seed), asks()
    one, three, many = (TransformersGenerator(chat, batch=size).answer(asked, sampling) for size in (1, 3, 64))
    assert one == three == many
    assert TransformersGenerator(chat).answer(asked[::-1], sampling)[::-1] == many
    assert len({answer.text for answer in many}) > len(asked) // 2
    assert TransformersGenerator(chat).why_not_shared == ""


@pytest.mark.parametrize("seed", range(3))
def test_greedy_answers_are_those_of_generate(seed: int) -> None:
    chat, asked = llava(seed), asks()
    ends, mark = end_tokens(chat.model, chat.tokenizer), chat.model.config.image_token_id
    beyond = list(range(len(chat.tokenizer), chat.model.config.text_config.vocab_size))
    answers = TransformersGenerator(chat).answer(asked, GREEDY)
    for ask, answer in zip(asked, answers, strict=True):
        images = () if ask.image is None else (ask.image,)
        inputs = chat.encode(chat.render([Question(ask.question, "", images=images)]), [images] if images else None)
        ids = chat.model.generate(
            **inputs, max_new_tokens=12, do_sample=False, eos_token_id=ends, suppress_tokens=[mark, *beyond]
        )[0, inputs["input_ids"].shape[1] :].tolist()
        wanted = chat.tokenizer.decode(ids, skip_special_tokens=True).strip()
        assert answer == Answer(wanted, len(ids), cut=ids[-1] not in ends)


def test_sampled_answers_follow_their_seeds_and_the_distribution() -> None:
    chat = llava()
    generator = TransformersGenerator(chat, batch=512)
    sampling = Sampling(1, temperature=0.7)
    drawn = generator.answer([Ask("What?", picture(0), seed) for seed in range(3000)], sampling)
    again = generator.answer([Ask("What?", picture(0), seed) for seed in range(100)], sampling)
    assert again == drawn[:100]
    inputs = chat.encode(chat.render([Question("What?", "", images=(picture(0),))]), [[picture(0)]])
    with torch.no_grad():
        logits = chat.model(**inputs).logits[0, -1, : len(chat.tokenizer)]
    logits[chat.model.config.image_token_id] = -torch.inf
    wanted = (logits / 0.7).softmax(-1)
    likely = int(wanted.argmax())
    share = np.mean([answer.text == chat.tokenizer.decode([likely]).strip() for answer in drawn])
    spread = float((wanted[likely] * (1 - wanted[likely]) / 3000) ** 0.5)
    assert abs(share - float(wanted[likely])) < 4 * spread


def test_tokens_read_and_reused_sum_to_the_prompts_and_a_picture_is_read_once() -> None:
    chat = llava()
    asked = [ask for ask in asks() if ask.image is not None]
    alone, together = (TransformersGenerator(chat, batch=size) for size in (1, 64))
    pictures: list[int] = []
    tokens: list[int] = []
    chat.model.model.vision_tower.register_forward_pre_hook(lambda _module, given: pictures.append(len(given[0])))
    chat.model.model.language_model.register_forward_pre_hook(
        lambda _module, _given, named: tokens.append(named["inputs_embeds"][..., 0].numel()), with_kwargs=True
    )
    length = len(chat.tokenizer(chat.render([Question(asked[0].question, "")], images=False))["input_ids"][0]) + 16
    for generator, seen in ((alone, 21), (together, 5)):
        pictures.clear()
        tokens.clear()
        generator.answer(asked, Sampling(1))  # nothing is read after the prompts, which are all of one length
        assert sum(pictures) == generator.counts.pictures == seen
        assert sum(tokens) == generator.counts.encoded
        assert generator.counts.encoded + generator.counts.reused == 21 * length
        assert generator.counts.generated == 21
    assert alone.counts.reused == 0
    # "user: " once, each picture with "What is " once, and 15 times what differs with what follows it
    differs = len("0?\nassistant: ")
    assert together.counts.encoded == 6 + 5 * (16 + 8) + 15 * differs


@pytest.mark.parametrize("kind", ["llava_next", "idefics3", "qwen2_vl"])
def test_what_cannot_be_read_in_pieces_is_read_whole_and_that_is_said_once(kind: str) -> None:
    chat = tiny.build(kind)
    told: list[str] = []
    generator = TransformersGenerator(chat, batch=64, note=told.append)
    asked = [Ask(f"What is {number % 3}?", picture(number % 2), number) for number in range(7)] + [Ask("Why?", None)]
    answers = generator.answer(asked, DRAWN)
    assert TransformersGenerator(chat, batch=1, note=told.append).answer(asked, DRAWN) == answers
    assert len(told) == 2
    assert told[0].startswith("generator: each prompt is read in whole, shared beginnings too: ")
    assert generator.counts.reused == 0
    assert generator.counts.pictures == 7
    assert any(answer.text for answer in answers)


def test_the_other_family_of_the_paper_is_read_in_pieces_too() -> None:
    chat, asked = deepseek(), asks()
    generator = TransformersGenerator(chat)
    assert generator.why_not_shared == ""
    assert generator.answer(asked, DRAWN) == TransformersGenerator(chat, batch=1).answer(asked, DRAWN)
    assert generator.counts.pictures == 5


def test_both_ways_to_read_write_the_same() -> None:
    chat, asked = llava(), asks()
    generator = TransformersGenerator(chat)
    shared = generator.answer(asked, DRAWN)
    generator.why_not_shared = "for this test"
    assert generator.answer(asked, DRAWN) == shared


def test_a_model_that_masks_pictures_its_own_way_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    chat = llava()
    forward = chat.model.model.language_model.forward

    def looking_back(*arguments: Any, inputs_embeds: torch.Tensor, **more: Any) -> Any:
        # of a prompt read whole every token sees the mean of all
        return forward(*arguments, inputs_embeds=inputs_embeds + inputs_embeds.mean(1, keepdim=True), **more)

    monkeypatch.setattr(chat.model.model.language_model, "forward", looking_back)
    generator = TransformersGenerator(chat, note=lambda _line: None)
    assert generator.why_not_shared == "LlavaForConditionalGeneration reads a prompt in pieces otherwise than whole"


def test_no_answer_names_a_picture_or_a_row_that_only_pads() -> None:
    chat = llava()
    with torch.no_grad():
        chat.model.lm_head.weight[[chat.model.config.image_token_id, -1]] *= 100
    for answer in TransformersGenerator(chat).answer(asks(), GREEDY):
        assert "<image>" not in answer.text
        assert answer.tokens


def test_a_prompt_beyond_the_context_gets_no_answer_and_its_neighbours_do() -> None:
    chat = llava(context=96)
    long = Ask("why " * 60, None)
    asked = [Ask("why?", None), long, replace(long, image=picture(1)), Ask("why?", picture(1))]
    short, cut, cut_too, seeing = TransformersGenerator(chat).answer(asked, GREEDY)
    assert cut == cut_too == Answer("", cut=True)
    assert short.text
    assert seeing.text
    whole = TransformersGenerator(chat)
    whole.why_not_shared = "for this test"
    assert whole.answer(asked, GREEDY) == [short, cut, cut_too, seeing]
    # at the brink the context ends the answer
    (answer,) = TransformersGenerator(chat).answer([Ask("y" * 70, None)], Sampling(500))
    assert answer.tokens <= 96


def test_a_mark_in_a_text_asks_for_no_picture() -> None:
    generator = TransformersGenerator(llava())
    marked, plain = generator.answer([Ask("What <image>is it?", picture(0)), Ask("What  is it?", picture(0))], GREEDY)
    assert marked == plain


def test_a_mark_that_a_model_spells_is_no_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    chat = llava()
    monkeypatch.setattr(
        type(chat.tokenizer), "batch_decode", lambda _self, rows, **_: ["a <image> of a dog" for _ in rows]
    )
    (answer,) = TransformersGenerator(chat).answer([Ask("What is it?", picture(0))], GREEDY)
    assert answer.text == "a   of a dog"


def test_a_text_model_answers_and_refuses_pictures() -> None:
    generator = TransformersGenerator(tiny.build("text"))
    assert generator.why_not_shared == ""
    assert generator.answer([Ask("Why?", None, 1)], DRAWN)[0].tokens
    with pytest.raises(UserError, match="takes none"):
        generator.answer([Ask("Why?", picture(0))], GREEDY)
    assert generator.answer([], GREEDY) == []
    with pytest.raises(UserError, match="batch of 0 rows"):
        TransformersGenerator(tiny.build("text"), batch=0)


def test_adapters_and_training_change_the_next_answer_and_the_mode_stays() -> None:
    import peft

    chat = llava()
    generator = TransformersGenerator(chat)
    before = generator.answer(asks(), GREEDY)
    chat.model.train()
    with torch.no_grad():
        chat.model.lm_head.weight.mul_(torch.linspace(0.5, 1.5, 32))
    after = generator.answer(asks(), GREEDY)
    assert after != before
    assert chat.model.training
    torch.manual_seed(0)
    config = peft.LoraConfig(target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    adapted = replace(chat, model=peft.get_peft_model(chat.model, config))
    own = TransformersGenerator(adapted)
    assert own.why_not_shared == ""
    assert own.answer(asks(), GREEDY) != after
    with adapted.model.disable_adapter():
        assert own.answer(asks(), GREEDY) == after


def test_beginnings_by_hand() -> None:
    keys = [np.array(each) for each in ([1, 2, -1, -2, 5, 6, 7], [1, 2, -1, -2, 5, 8], [1, 2, -3, -4, 5, 6, 7])]
    (common,) = beginnings(keys, ["", "", ""], [0, 0, 0], least=0)
    assert (common.members, common.end) == ((0, 1, 2), 2)
    (first,) = beginnings(keys, ["a", "a", "b"], [2, 2, 2], least=0)
    assert (first.members, first.end) == ((0, 1), 5)
    assert beginnings(keys, ["", "", ""], [0, 0, 0], least=5) == []  # 2 tokens spared twice are 4
    # never the last token: what follows is read off there
    (same,) = beginnings([np.array([1, 2]), np.array([1, 2, 3])], ["", ""], [0, 0], least=0)
    assert same.end == 1


def test_a_processor_and_a_model_that_do_not_fit_are_named() -> None:
    chat = llava()
    generator = TransformersGenerator(chat)
    chat.processor.num_additional_image_tokens = 0
    with pytest.raises(UserError, match="fills 16 tokens, and its prompt holds 15"):
        generator.answer([Ask("Why?", Image.new("RGB", (32, 32)))], GREEDY)
