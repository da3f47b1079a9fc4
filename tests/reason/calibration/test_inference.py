from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from burnish.core.errors import UserError
from burnish.dialogue.models import ChatModel
from burnish.dialogue.rows import Question
from burnish.reason.calibration import gamma_search, text_bias
from burnish.reason.calibration.answering import PLAIN, Answer, answer_questions
from burnish.reason.calibration.contrasts import noised
from burnish.reason.calibration.gamma_search import choose, choose_gamma
from burnish.reason.calibration.probe import TextBiasProbe
from burnish.reason.calibration.settings import Calibration, Decoding
from burnish.reason.calibration.text_bias import exactly, measure_text_bias, partners
from tests.dialogue.tiny import build, picture, text_model

SHORT = Decoding(max_new_tokens=6)
QUESTIONS = [Question(f"what is {index}", str(index % 2), images=(picture(16, 16, index),)) for index in range(6)]


@pytest.fixture(scope="module")
def chat() -> ChatModel:
    return build("llava")


def test_batch_size_does_not_change_a_greedy_answer(chat: ChatModel) -> None:
    one = answer_questions(chat, QUESTIONS, Calibration(), Decoding(max_new_tokens=6, batch=1))
    assert one == answer_questions(chat, QUESTIONS, Calibration(), Decoding(max_new_tokens=6, batch=4))
    assert one != answer_questions(chat, QUESTIONS, PLAIN, SHORT)
    assert all(answer.tokens == 6 and not answer.finished for answer in one)


def test_a_sampled_answer_depends_on_its_seed_only(chat: ChatModel) -> None:
    def sample(seed: int) -> list[Answer]:
        torch.manual_seed(int(torch.randint(1000, ())))
        return answer_questions(chat, QUESTIONS, Calibration(), Decoding(max_new_tokens=6, temperature=1, seed=seed))

    state = torch.random.get_rng_state()
    assert sample(1) == sample(1)
    assert sample(1) != sample(2)
    torch.random.set_rng_state(state)
    answer_questions(chat, QUESTIONS[:1], PLAIN, Decoding(max_new_tokens=2, temperature=1))
    assert torch.equal(torch.random.get_rng_state(), state)  # the caller's stream is left alone


def test_an_answer_ends_at_the_end_mark(chat: ChatModel) -> None:
    texts = answer_questions(chat, QUESTIONS[:1], PLAIN, SHORT)[0].text
    end = chat.tokenizer.convert_tokens_to_ids(texts[2])
    old = chat.model.generation_config.eos_token_id
    chat.model.generation_config.eos_token_id = [end, 1]
    try:
        answer = answer_questions(chat, QUESTIONS[:1], PLAIN, SHORT)[0]
    finally:
        chat.model.generation_config.eos_token_id = old
    place = texts.index(texts[2])
    assert answer == Answer(texts[: place + 1].strip(), place + 1, True)


def test_text_questions_stay_as_they_are_under_calibration(chat: ChatModel) -> None:
    words = [Question("no image here", "1"), Question("nor here", "1")]
    assert answer_questions(chat, words, Calibration(gamma=5), SHORT) == answer_questions(chat, words, PLAIN, SHORT)
    with pytest.raises(UserError, match="takes none"):
        answer_questions(text_model(), QUESTIONS, PLAIN, SHORT)


def test_noise_instead_of_no_image(chat: ChatModel) -> None:
    found = answer_questions(chat, QUESTIONS, Calibration(gamma=3), SHORT, contrast=noised(0.1))
    assert found == answer_questions(chat, QUESTIONS, Calibration(gamma=3), SHORT, contrast=noised(0.1))
    clean = answer_questions(chat, QUESTIONS, Calibration(gamma=3), SHORT, contrast=noised(1.0))
    assert clean == answer_questions(chat, QUESTIONS, PLAIN, SHORT)  # nothing differs, nothing is calibrated


@given(st.lists(st.sampled_from("abc"), min_size=2, max_size=12), st.integers(0, 5))
def test_partners_are_others_with_other_answers(answers: list[str], seed: int) -> None:
    found = partners(answers, seed)
    for index, other in enumerate(found):
        assert other != index
        assert (
            answers[other] != answers[index] or len(set(answers)) == 1 or answers.count(answers[index]) == len(answers)
        )


def answering(rule: Any) -> Any:
    """A model that answers by a rule of question and image."""

    def answer(chat: Any, questions: Sequence[Question], *_: Any, **__: Any) -> list[Answer]:
        return [Answer(rule(question), 1, True) for question in questions]

    return answer


TRUTH = {id(question.images[0]): question.answer for question in QUESTIONS}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (lambda question: TRUTH[id(question.images[0])] if question.images else "-", (1.0, 0.0, 0.0, 0.0)),  # looks
        (lambda question: str(int(question.question[-1]) % 2), (1.0, 1.0, 1.0, 1.0)),  # reads
        (lambda question: "0", (0.5, 0.5, 0.5, 1.0)),  # guesses
    ],
)
def test_the_meter_tells_looking_from_reading(
    rule: Any, expected: tuple[float, ...], chat: ChatModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_bias, "answer_questions", answering(rule))
    found = measure_text_bias(chat, [*QUESTIONS, Question("no image", "1")])
    assert (found.with_image, found.without_image, found.wrong_image, found.unchanged) == expected
    assert found.metrics()["text_bias/unchanged"] == expected[3]
    assert found.questions == 6


def test_the_meter_hears_the_same_answer_in_other_words(chat: ChatModel, monkeypatch: pytest.MonkeyPatch) -> None:
    said = iter(range(1000))
    monkeypatch.setattr(
        text_bias, "answer_questions", answering(lambda question: f"thought {next(said)} <answer>4</answer>")
    )
    ends = measure_text_bias(
        chat,
        QUESTIONS,
        judge=lambda texts, answers: [float(a[-10:] == b[-10:]) for a, b in zip(texts, answers, strict=True)],
    )
    assert ends.unchanged == 1
    assert measure_text_bias(chat, QUESTIONS).unchanged == 0


def test_the_meter_on_a_real_model_and_too_few_questions(chat: ChatModel) -> None:
    found = measure_text_bias(chat, QUESTIONS, decoding=SHORT)
    assert found.with_image == 0
    assert 0 <= found.unchanged <= 1
    with pytest.raises(UserError, match="at least two questions with images to swap, not 1"):
        measure_text_bias(chat, [QUESTIONS[0], Question("?", "1")])


def test_the_probe_measures_when_due_and_leaves_the_model_in_training(chat: ChatModel) -> None:
    logged: list[tuple[int, dict[str, float]]] = []
    probe = TextBiasProbe(chat, QUESTIONS[:2], lambda step, metrics: logged.append((step, metrics)), 5, decoding=SHORT)
    chat.model.train()
    for step in range(1, 11):
        probe.on_step_end(None, type("State", (), {"global_step": step}), None)
    assert [step for step, _ in logged] == [5, 10]
    assert chat.model.training
    chat.model.eval()


def test_the_strength_is_chosen_by_a_standard_error() -> None:
    scores = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]], dtype=torch.float64)
    found = choose(scores, [0.0, 0.4, 0.8])
    assert (found.gamma, found.accuracy, found.gain) == (0.4, {0.0: 0.5, 0.4: 1.0, 0.8: 1.0}, 0.5)
    assert found.error == pytest.approx((1 / 3) ** 0.5 / 2)
    noise = torch.tensor([[1, 0, 1, 0], [1, 1, 0, 1]], dtype=torch.float64)
    assert choose(noise, [0.0, 0.8]).gamma == 0.0  # one question of four is no reason
    assert choose(noise, [0.0, 0.8]).gain == 0.25


def test_choosing_tries_plain_decoding_too(chat: ChatModel, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[Calibration] = []

    def answer(chat: Any, questions: Sequence[Question], calibration: Calibration, *_: Any, **__: Any) -> list[Answer]:
        tried.append(calibration)
        right = calibration.gamma == 0.8
        return [Answer(question.answer if right else "-", 1, True) for question in questions]

    monkeypatch.setattr(gamma_search, "answer_questions", answer)
    found = choose_gamma(chat, QUESTIONS, gammas=[1.6, 0.8], calibration=Calibration(plausibility=0.1))
    assert found.gamma == 0.8
    assert [(calibration.gamma, calibration.plausibility) for calibration in tried] == [
        (0.0, 0.1),
        (0.8, 0.1),
        (1.6, 0.1),
    ]
    with pytest.raises(UserError, match="at least two held-out questions, not 1"):
        choose_gamma(chat, QUESTIONS[:1])


def test_exactly() -> None:
    assert exactly([" Red ", "blue"], ["red", "red"]) == [1.0, 0.0]
