"""The chains of arithmetic: their truth by hand, their tokenizer, and a model that learns to be sloppy."""

import numpy as np
import torch

from burnish.dialogue.readers import QuestionSettings, read_questions
from burnish.testbeds.arithmetic import (
    LONGEST,
    RIGHT,
    asked,
    draw_questions,
    make_tokenizer,
    sloppy_states,
    states,
    train_base,
    written,
)


def test_states_by_hand() -> None:
    assert states([2, 5, 0, 9]) == [2, 1, 3, 8]  # 2; 3*2+5; 3*1+0; 3*3+9 mod 10
    assert asked([2, 5]) == "2 5 . . . . . ."


def test_questions_are_true_and_seeded() -> None:
    drawn = draw_questions(40, (2, 8), seed=3)
    for number, each in enumerate(drawn):
        digits = [int(word) for word in each.question.split() if word != "."]
        assert len(digits) == (2, 8)[number % 2]
        assert each.steps == tuple(map(str, states(digits)))
        assert each.answer == each.steps[-1]
        assert each.rationale == " ".join(each.steps)
    assert drawn == draw_questions(40, (2, 8), seed=3)
    assert drawn != draw_questions(40, (2, 8), seed=4)


def test_recipes_can_name_them() -> None:
    rows = list(read_questions(QuestionSettings(source="burnish.testbeds.arithmetic:training", limit=3)))
    assert [len(row.steps or ()) for row in rows] == [6, 7, 8]
    others = list(read_questions(QuestionSettings(source="burnish.testbeds.arithmetic:test", limit=100)))
    assert not {row.question for row in rows} & {row.question for row in others}


def test_sloppy_steps_build_on_what_was_written() -> None:
    rng = np.random.default_rng(0)
    digits = rng.integers(10, size=LONGEST).tolist()
    right = total = 0
    for _ in range(500):
        before = 0
        for digit, state in zip(digits, sloppy_states(digits, rng), strict=True):
            right += state == (3 * before + digit) % 10
            total += 1
            before = state
    expected = RIGHT + (1 - RIGHT) / 10  # a random digit is right by chance
    assert abs(right / total - expected) < 0.03
    assert sloppy_states(digits, rng, right=1.0) == states(digits)


def test_the_tokenizer_reads_what_it_writes() -> None:
    tokenizer = make_tokenizer()
    text = written([2, 5], [2, 1])
    assert text == "2 5 . . . . . . = <think>2 1</think><answer>1</answer><eos>"
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids, skip_special_tokens=True).split()[-3:] == ["<answer>", "1", "</answer>"]
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": asked([2, 5])}], add_generation_prompt=True, tokenize=False
    )
    assert ids[: len(tokenizer(prompt)["input_ids"])] == tokenizer(prompt)["input_ids"]


def test_training_is_seeded_leaves_the_random_state_and_learns() -> None:
    state = torch.get_rng_state()
    first, second = train_base(steps=5, width=16), train_base(steps=5, width=16)
    assert torch.equal(torch.get_rng_state(), state)
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)
    tokenizer = make_tokenizer()
    batch = tokenizer([written([2, 5, 7], states([2, 5, 7]))] * 4, return_tensors="pt", return_token_type_ids=False)

    labels = batch["input_ids"].clone()
    labels[:, : LONGEST + 1] = -100  # the question and its `=` are not learnt

    def surprise(steps: int) -> float:
        model = train_base(steps=steps, width=32)
        return float(model(**batch, labels=labels).loss.detach())

    assert surprise(120) < surprise(0) - 0.5
