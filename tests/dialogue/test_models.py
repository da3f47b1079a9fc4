import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from burnish.core.errors import UserError
from burnish.dialogue.input_check import check_inputs
from burnish.dialogue.models import ChatModel, load_chat_model, opened
from burnish.dialogue.rows import Question

from .tiny import KINDS, build, picture, save, text_model

QUESTIONS = [
    Question("hi there", "1", images=(picture(40, 24),), row="a:1"),
    Question("and these", "1", images=(picture(20, 20, 1), picture(30, 16, 2)), row="a:2"),
    Question("no image", "1", row="a:3"),
]


@pytest.fixture(scope="module", params=KINDS)
def chat(request: pytest.FixtureRequest) -> ChatModel:
    return build(request.param)


def encoded(chat: ChatModel, questions: list[Question], **options: Any) -> tuple[dict[str, Any], tuple[Any, ...]]:
    texts = chat.render(questions, **options)
    return chat.encode(texts, opened(questions)), (texts, opened(questions), [question.row for question in questions])


def test_a_batch_of_ragged_prompts_is_seen_as_asked(chat: ChatModel) -> None:
    inputs, asked = encoded(chat, [QUESTIONS[1], QUESTIONS[0], QUESTIONS[2]])
    check_inputs(chat, inputs, *asked)
    inputs, asked = encoded(chat, QUESTIONS, system="look", start="<think>")
    check_inputs(chat, inputs, *asked)
    lengths = inputs["attention_mask"].sum(1).tolist()
    assert lengths == chat.prompt_lengths(QUESTIONS, "look", "<think>")
    assert inputs["attention_mask"][:, -1].all()  # padded on the left
    text = chat.tokenizer.decode(inputs["input_ids"][2])
    assert text.endswith("no image\nassistant: <think>")


def test_without_images_no_placeholder_is_left(chat: ChatModel) -> None:
    texts = chat.render(QUESTIONS, images=False)
    assert texts == ["user: hi there\nassistant: ", "user: and these\nassistant: ", "user: no image\nassistant: "]
    assert set(chat.encode(texts)) == {"input_ids", "attention_mask"}


def test_what_a_trainer_may_do_wrong(chat: ChatModel) -> None:
    inputs, asked = encoded(chat, QUESTIONS)
    short = {key: inputs[key][:, -20:] for key in ("input_ids", "attention_mask")}
    with pytest.raises(
        UserError, match=r"a:1: the prompt has \d+ tokens and the model gets 20 \(\d+ image tokens among"
    ):
        check_inputs(chat, {**inputs, **short}, *asked)
    with pytest.raises(
        UserError, match=r"a:3: the prompt has \d+ tokens and the model gets 20; raise the length limit"
    ):
        alone = {key: value[2:] for key, value in short.items()}
        check_inputs(chat, alone, *(part[2:] for part in asked))
    other = inputs["input_ids"].clone()
    other[2, -1] += 1
    with pytest.raises(UserError, match="a:3: the model gets other tokens"):
        check_inputs(chat, {**inputs, "input_ids": other}, *asked)
    blank = {key: value for key, value in inputs.items() if key != "pixel_values"}
    with pytest.raises(UserError, match="a:1: its images do not reach the model"):
        check_inputs(chat, blank, *asked)
    altered = inputs["pixel_values"].clone()
    altered[1, 0] = 1
    with pytest.raises(UserError, match=r"a:[12]: the pixels that reach the model are not those of its images"):
        check_inputs(chat, {**inputs, "pixel_values": altered}, *asked)
    with pytest.raises(UserError, match=r"a:[12]: the pixels that reach the model"):
        check_inputs(chat, {**inputs, "pixel_values": inputs["pixel_values"][:1]}, *asked)


def test_a_processor_of_another_model_is_found_out() -> None:
    chat = build("llava")
    chat.processor.num_additional_image_tokens = 0  # forgets that the tower has a class token
    inputs, asked = encoded(chat, QUESTIONS[:1])
    with pytest.raises(UserError, match="a:1: the images fill 16 tokens, but the prompts hold 15"):
        check_inputs(chat, inputs, *asked)


def test_a_grey_picture_that_idefics_takes_for_padding_is_found_out() -> None:
    """Idefics3 drops tiles whose every value is 0: the middle of its range, so a plain grey picture."""
    chat = build("idefics3")
    chat.processor.image_processor.image_mean = [128 / 255] * 3
    question = Question("what?", "1", images=(Image.new("RGB", (16, 16), (128, 128, 128)),), row="a:1")
    inputs, asked = encoded(chat, [question])
    with pytest.raises(UserError, match="a:1: the vision part refuses the images"):
        check_inputs(chat, inputs, *asked)


@pytest.mark.parametrize("kind", [*KINDS, "text"])
def test_saved_and_loaded_it_says_the_same(kind: str, tmp_path: Path) -> None:
    chat = build(kind)
    loaded = load_chat_model(save(chat, tmp_path / "model"))
    assert loaded.takes_images == (kind != "text")
    questions = QUESTIONS if loaded.takes_images else QUESTIONS[2:]
    mine, theirs = encoded(chat, questions)[0], encoded(loaded, questions)[0]
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[key], theirs[key]) for key in mine)
    with torch.no_grad():
        assert torch.equal(chat.model(**mine).logits, loaded.model(**theirs).logits)


def test_a_text_model_is_told_of_no_image() -> None:
    with pytest.raises(UserError, match=r"a:1: has 1 image\(s\), but the model takes none; choose an image-text model"):
        ChatModel(text_model().model, text_model().processor).render(QUESTIONS)
    chat = text_model()
    assert chat.render(QUESTIONS, images=False)[0] == "user: hi there\nassistant: "
    assert chat.prompt_lengths(QUESTIONS[2:]) == [len("user: no image\nassistant: ")]


def test_a_tokenizer_without_a_chat_template() -> None:
    with pytest.raises(UserError, match=r"text: its tokenizer has no chat template, .* chat_template\.jinja"):
        text_model(template=False).render(QUESTIONS[2:])


def test_templates_and_questions_that_go_wrong() -> None:
    chat = build("llava")
    chat.processor.chat_template = "{{ raise_exception('no system turn here') }}"
    with pytest.raises(UserError, match=r"llava: its chat template refuses the conversation \(no system turn here"):
        chat.render(QUESTIONS[:1])
    with pytest.raises(UserError, match="a:9: its text holds <image>, the mark of an image"):
        build("llava").render([Question("what is <image>?", "1", row="a:9")])
    chat = build("llava")
    with pytest.raises(UserError, match="llava: its processor refuses the prompts"):
        chat.encode(["<image><image>"], [[picture(8, 8)]])
    with pytest.raises(UserError, match=r"absent\.png: no such picture"):
        opened([Question("?", "1", images=(Path("absent.png"),))])
    with pytest.raises(UserError, match=r"absent\.png: not a picture that can be read .*asked for by a:8"):
        chat.prompt_lengths([Question("?", "1", images=(Path("absent.png"),), row="a:8")])


@pytest.mark.parametrize("kind", ["text", "llava"])
def test_a_prompts_marks_are_those_of_transformers_own_encoding(kind: str) -> None:
    """TRL trains on what ``apply_chat_template`` encodes: what is asked and tested must be the same tokens."""
    from tokenizers import processors

    chat = text_model() if kind == "text" else build(kind)
    chat.tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", chat.tokenizer.bos_token_id)]
    )
    first = []
    for start in ("", "{{ bos_token }}"):
        chat.processor.chat_template = start + chat.processor.chat_template
        found = chat.encode(chat.render(QUESTIONS[2:]))["input_ids"]
        theirs = chat.processor.apply_chat_template(
            [chat._messages(QUESTIONS[2], None, images=True)],
            tokenize=True,
            add_generation_prompt=True,
            return_dict=True,
        )
        assert found.tolist() == [list(ids) for ids in theirs["input_ids"]]
        assert chat.prompt_lengths(QUESTIONS[2:]) == [found.shape[1]]
        first.append(found[0, :2].tolist())
    # A processor adds the mark that the template lacks, a tokenizer does not; nobody writes it twice.
    mark = chat.tokenizer.bos_token_id
    assert [ids.count(mark) for ids in first] == ([0, 1] if kind == "text" else [1, 1])


def test_a_template_gets_its_options() -> None:
    chat = text_model()
    chat.tokenizer.chat_template += "{% if thoughts %}<think>{% endif %}"
    told = dataclasses.replace(chat, template_options={"thoughts": True})
    assert told.render(QUESTIONS[2:]) == [text + "<think>" for text in chat.render(QUESTIONS[2:])]


def test_folders_that_hold_no_such_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        load_chat_model(tmp_path / "absent")
    folder = save(build("llava"), tmp_path / "model")
    (folder / "processor_config.json").write_text("{")
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(UserError, match="no processor that can be read"):
        load_chat_model(folder)
    config = json.loads((folder / "config.json").read_text())
    config["text_config"] |= {"num_hidden_layers": 3, "layer_types": ["full_attention"] * 3}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"the checkpoint lacks \d+ weights"):
        load_chat_model(folder)
