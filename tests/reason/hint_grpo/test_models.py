"""Training steps of real architectures: vision-language models with hints, and an adapter."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig
from PIL import Image

from burnish.core.errors import UserError
from burnish.dialogue.models import ChatModel
from burnish.dialogue.rows import Question
from burnish.reason.hint_grpo.hint_sampler import Hints
from burnish.reason.hint_grpo.questions import make_input_check
from burnish.reason.hint_grpo.rows import opened, read_table, write_table
from burnish.reason.hint_grpo.schedule import Exhaustive
from tests.dialogue.tiny import build, picture, save
from tests.reason.hint_grpo.trainers import batch, chain, make_trainer, ruled


def on_disk(kind: str, folder: Path) -> ChatModel:
    chat = build(kind)
    save(chat, folder)
    chat.model.config._name_or_path = str(folder)
    return chat


def seen_questions(folder: Path) -> list[Question]:
    """Two questions with images, one of them a file, one without, and one with two; rationales of three steps."""
    file = folder / "picture.png"
    picture(24, 16, seed=1).save(file)
    steps = ("see it", "count it", "say it")
    return [
        Question("How many?", "2", steps=steps, images=(file,), row="first"),
        Question("Which one?", "3", steps=steps, images=(picture(16, 16, 2),), row="second"),
        Question("Without?", "4", steps=steps, row="third"),
        Question("Both?", "5", steps=steps, images=(picture(16, 16, 3), picture(16, 24, 4)), row="fourth"),
    ]


def by_length(completions: Any, **columns: Any) -> list[float]:
    """Differs between samples of an untrained model; never a success below the threshold used here."""
    return [float(len(str(completion[0]["content"])) % 7) for completion in completions]


@pytest.mark.parametrize("kind", ["llava", "idefics3", "qwen2_vl"])
def test_a_vision_language_model_trains_with_hints(tmp_path: Path, kind: str) -> None:
    chat = on_disk(kind, tmp_path / "model")
    questions = seen_questions(tmp_path)
    trainer = make_trainer(
        tmp_path,
        Hints(levels=3, schedule=Exhaustive(), input_check=make_input_check(chat)),
        questions,
        chat=chat,
        rewards=[by_length],
        per_device_train_batch_size=4 * len(questions),
        max_completion_length=6,
    )
    before = copy.deepcopy(trainer.model.state_dict())
    trainer.train()
    assert trainer._inputs_checked
    assert trainer.generated["completions"] == 2 * 3 * 16
    moved = [name for name, value in trainer.model.state_dict().items() if not torch.equal(value, before[name])]
    assert any("vision" in name or "visual" in name for name in moved)
    assert any("language_model" in name or "text_model" in name for name in moved)
    assert all(torch.isfinite(value).all() for value in trainer.model.state_dict().values())


@pytest.mark.parametrize("kind", ["llava", "qwen2_vl"])
def test_the_hint_does_not_shift_the_image(tmp_path: Path, kind: str) -> None:
    """Log-probabilities of the trainer's padded, hinted batch are those of each prompt and completion alone."""
    chat = on_disk(kind, tmp_path / "model")
    questions = seen_questions(tmp_path)[:2]
    never = Hints(levels=3, success_above=6.5)  # no success: up to the last level
    trainer = make_trainer(
        tmp_path, never, questions, chat=chat, rewards=[by_length], max_completion_length=5
    )  # fmt: skip
    output = trainer._generate_and_score_completions(batch(trainer, 0, 1))
    reference = output["ref_per_token_logps"]
    for place, question in ((0, questions[0]), (4, questions[1])):
        row = opened(trainer.train_dataset[place // 4])
        written = output["completion_ids"][place][output["completion_mask"][place].bool()]
        alone = chat.encode(chat.render([question]), [row["images"]])
        alone["input_ids"] = torch.cat([alone["input_ids"], written[None]], dim=1)
        alone["attention_mask"] = torch.ones_like(alone["input_ids"])
        if "mm_token_type_ids" in alone:
            blank = alone["mm_token_type_ids"].new_zeros((1, len(written)))
            alone["mm_token_type_ids"] = torch.cat([alone["mm_token_type_ids"], blank], dim=1)
        with torch.no_grad():
            logits = trainer.ref_model(**alone).logits[0, -len(written) - 1 : -1]
        expected = (logits / trainer.temperature).log_softmax(-1).gather(1, written[:, None]).squeeze(1)
        assert torch.allclose(reference[place][: len(written)], expected, atol=1e-4)


def test_the_first_look_sees_a_swapped_image(tmp_path: Path) -> None:
    chat = on_disk("llava", tmp_path / "model")
    trainer = make_trainer(tmp_path, Hints(levels=1), seen_questions(tmp_path)[:2], chat=chat, rewards=[by_length])
    output = trainer._generate_and_score_completions(batch(trainer, 0, 1))
    rows = [opened(row) for row in batch(trainer, 0, 1)]
    make_input_check(chat)(output, rows)
    with pytest.raises(UserError, match="pixels that reach the model are not those of its images"):
        make_input_check(chat)({**output, "pixel_values": output["pixel_values"].flip(0)}, rows)
    with pytest.raises(UserError, match="image tokens among what is lost"):
        cut = {**output, "prompt_ids": output["prompt_ids"][:, 12:], "prompt_mask": output["prompt_mask"][:, 12:]}
        make_input_check(chat)(cut, rows)


def test_the_first_look_sees_marks_that_a_pad_has_shifted(tmp_path: Path) -> None:
    chat = on_disk("qwen2_vl", tmp_path / "model")
    trainer = make_trainer(tmp_path, Hints(levels=1), seen_questions(tmp_path)[:2], chat=chat, rewards=[by_length])
    output = trainer._generate_and_score_completions(batch(trainer, 0, 1))
    rows = [opened(row) for row in batch(trainer, 0, 1)]
    make_input_check(chat)(output, rows)
    with pytest.raises(UserError, match="mm_token_type_ids marks other tokens than those of the images"):
        make_input_check(chat)({**output, "mm_token_type_ids": output["mm_token_type_ids"].roll(1, dims=1)}, rows)


def test_images_for_a_model_without_eyes_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"first: has 1 image\(s\), but the model takes none; choose an image-text model"
    ):
        make_trainer(tmp_path, Hints(), seen_questions(tmp_path), chat=chain(tmp_path / "model"))


def test_an_answer_that_nothing_can_be_verified_against_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="row 7: its answer is empty"):
        write_table(tmp_path / "table.arrow", [Question("what?", " ", row="row 7")])
    assert not list(tmp_path.iterdir())  # nothing half-written is left


def test_a_picture_in_memory_is_kept_as_it_will_be_seen(tmp_path: Path) -> None:
    print_colours = Image.new("CMYK", (6, 4), (0, 255, 255, 0))  # PNG holds no CMYK
    asked = [Question("?", "1", images=(print_colours,))]
    row = read_table(write_table(tmp_path / "a.arrow", asked, takes_images=True))[0]
    assert opened(row)["images"][0].tobytes() == print_colours.convert("RGB").tobytes()


def test_a_picture_that_went_missing_is_named(tmp_path: Path) -> None:
    table = read_table(write_table(tmp_path / "table.arrow", seen_questions(tmp_path), takes_images=True))
    (tmp_path / "picture.png").unlink()
    with pytest.raises(UserError, match=r"picture\.png: no such picture"):
        opened(table[0])


def test_an_adapter_is_held_to_the_model_without_it(tmp_path: Path) -> None:
    chat = chain(tmp_path / "model")
    plain = copy.deepcopy(chat.model)
    adapter = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    trainer = make_trainer(tmp_path, Hints(levels=2), chat=chat, options={"peft_config": adapter})
    assert trainer.ref_model is None
    ruled(trainer, lambda question, given, place: given > 0 and place == 0)
    trainer.train()  # two steps, so that the adapter does something
    output = trainer._generate_and_score_completions(batch(trainer, 0, 1))
    ids = torch.cat([output["prompt_ids"], output["completion_ids"]], dim=1)
    mask = torch.cat([output["prompt_mask"], output["completion_mask"]], dim=1)
    with torch.no_grad():
        # The trainer gives no positions either: a left pad shifts both alike.
        logits = plain(input_ids=ids, attention_mask=mask).logits[:, :-1]
    expected = logits.log_softmax(-1).gather(2, ids[:, 1:, None]).squeeze(2)[:, -output["completion_ids"].size(1) :]
    kept = output["completion_mask"].bool()
    assert torch.allclose(output["ref_per_token_logps"][kept], expected[kept], atol=1e-4)
    trainer._compute_loss(trainer.model, output)
    assert trainer._metrics["train"]["kl"][-1] > 0
