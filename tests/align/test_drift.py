"""Entropy and KL against plain logits, whatever the batch; the stop rule at its margin."""

from pathlib import Path

import pytest
import torch

from burnish.align.drift import Scores, divergence, score_answers, stop_reason
from burnish.align.pair_table import answer_ids
from burnish.align.recipe import DriftSettings
from burnish.dialogue.models import ChatModel, opened
from burnish.dialogue.rows import Question
from tests.align.pairs import llava, triplets
from tests.dialogue import tiny

pytest.importorskip("trl")


def asked(folder: Path) -> tuple[list[Question], list[str]]:
    rows = triplets(folder)
    return [Question(each.question, "", images=(each.image,)) for each in rows], [each.chosen for each in rows]


def slow(chat: ChatModel, questions: list[Question], answers: list[str]) -> Scores:
    """One answer at a time, all logits, by the formulas."""
    log_probs, entropies = [], []
    for question, answer in zip(questions, answers, strict=True):
        encoded = chat.encode(chat.render([question]), opened([question]))
        (ids,) = answer_ids(chat, [question], [answer])
        length = encoded["input_ids"].shape[1]
        encoded["input_ids"] = torch.cat([encoded["input_ids"], torch.tensor([ids])], dim=1)
        encoded["attention_mask"] = torch.ones_like(encoded["input_ids"])
        for name in ("mm_token_type_ids",):
            if name in encoded:
                encoded[name] = torch.cat([encoded[name], torch.zeros(1, len(ids), dtype=torch.long)], dim=1)
        with torch.no_grad():
            logits = chat.model(**encoded).logits[0, length - 1 : -1].log_softmax(-1)
        log_probs.append(logits[torch.arange(len(ids)), ids])
        entropies.append(-(logits.exp() * logits).sum(-1))
    return Scores(torch.cat(log_probs), torch.cat(entropies))


@pytest.mark.parametrize("kind", ["llava", "qwen2_vl"])
def test_scores_are_those_of_plain_logits_in_any_batch(tmp_path: Path, kind: str) -> None:
    chat = tiny.build(kind)
    questions, answers = asked(tmp_path)
    right = slow(chat, questions, answers)
    for batch in (1, 4, 64):
        found = score_answers(chat, questions, answers, batch=batch)
        assert torch.allclose(found.log_probs, right.log_probs, atol=1e-5)
        assert torch.allclose(found.entropies, right.entropies, atol=1e-5)
    assert found.entropy == pytest.approx(float(right.entropies.mean()), abs=1e-6)
    assert "forward" not in chat.model.__dict__


def test_divergence_is_the_mean_log_ratio_a_token(tmp_path: Path) -> None:
    questions, answers = asked(tmp_path)
    one, other = (score_answers(llava(seed), questions, answers) for seed in (0, 1))
    assert divergence(one, one) == 0
    assert divergence(one, other) == pytest.approx(float((one.log_probs - other.log_probs).mean()), abs=1e-6)
    by_hand = Scores(torch.tensor([-1.0, -2.0, -0.5]), torch.zeros(3))
    assert divergence(by_hand, Scores(torch.tensor([-1.5, -1.0, -3.0]), torch.zeros(3))) == pytest.approx(2 / 3)


def test_on_its_own_samples_a_model_diverges_from_another_by_their_kl() -> None:
    """Over three tokens: 4,000 draws of pi come to KL(pi, start) within four standard errors."""
    pi, start = torch.tensor([0.6, 0.3, 0.1]), torch.tensor([0.2, 0.3, 0.5])
    draws = torch.multinomial(pi, 4000, replacement=True, generator=torch.Generator().manual_seed(0))
    ratios = (pi / start).log()
    exact = float((pi * ratios).sum())
    error = float((pi * (ratios - exact) ** 2).sum() / 4000) ** 0.5
    none = torch.zeros(4000)
    found = divergence(Scores(pi.log()[draws], none), Scores(start.log()[draws], none))
    assert found == pytest.approx(exact, abs=4 * error)


def test_rounds_stop_once_precision_falls_by_more_than_the_margin() -> None:
    start, margin = {"precision": 0.9, "recall": 0.5}, DriftSettings(most_precision_lost=0.02)
    assert stop_reason(start, {"precision": 0.885, "recall": 0.1}, margin) is None
    why = stop_reason(start, {"precision": 0.87, "recall": 0.9}, margin)
    assert why is not None
    assert "from 0.900 to 0.870, by more than 0.02" in why
    assert stop_reason(start, {"precision": 0.1}, DriftSettings(most_precision_lost=None)) is None
    assert stop_reason({}, {}, margin) is None  # nothing annotated: nothing to judge by
