"""Accuracy without hints: what a trained model is worth to those who have no solutions. Knows models and rewards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from burnish.dialogue.models import ChatModel, opened
from burnish.dialogue.rewards import Accuracy
from burnish.dialogue.rows import MOST_PIXELS, Question


@dataclass(frozen=True)
class Sampling:
    """How completions are drawn for a test.

    Attributes:
        samples: completions a question.
        batch: questions at a time.
        tokens: longest completion.
        temperature: of sampling; 0 is greedy.
        top_p: nucleus of sampling.
        seed: of the draws.
    """

    samples: int = 1
    batch: int = 64
    tokens: int = 768
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int = 0


def hint_free_accuracy(
    chat: ChatModel,
    questions: Sequence[Question],
    accuracy: Accuracy,
    sampling: Sampling,
    *,
    system: str | None = None,
    prefill: str = "<think>",
    most_pixels: int = MOST_PIXELS,
) -> float:
    """Share of sampled completions that are right, with the prompt of training and no hint.

    The global random state of torch is left as it was.

    Raises:
        UserError: no chat template, images for a model without eyes, a picture that cannot be read.
    """
    import torch
    from transformers import GenerationConfig

    greedy = sampling.temperature == 0
    how = {} if greedy else {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
    config = GenerationConfig(
        max_new_tokens=sampling.tokens,
        do_sample=not greedy,
        num_return_sequences=1 if greedy else sampling.samples,
        repetition_penalty=1.0,  # as in training: what is left out here is taken from the model's own config
        pad_token_id=chat.tokenizer.pad_token_id,
        eos_token_id=chat.model.generation_config.eos_token_id or chat.tokenizer.eos_token_id,
        **how,
    )
    was_training = chat.model.training
    chat.model.eval()
    right, asked = 0.0, 0
    on_gpu = chat.model.device.type == "cuda"
    with torch.random.fork_rng(devices=[chat.model.device] if on_gpu else []), torch.no_grad():
        torch.manual_seed(sampling.seed)
        for start in range(0, len(questions), sampling.batch):
            part = questions[start : start + sampling.batch]
            texts = chat.render(part, system)
            texts = [text if prefill and text.rstrip().endswith(prefill) else text + prefill for text in texts]
            inputs = chat.encode(texts, opened(part, most_pixels))
            found = chat.model.generate(**inputs, generation_config=config)[:, inputs["input_ids"].shape[1] :]
            written = chat.tokenizer.batch_decode(found, skip_special_tokens=True)
            answers = [each.answer for each in part for _ in range(config.num_return_sequences)]
            right += sum(accuracy.judge(written, answers))
            asked += len(written)
    chat.model.train(was_training)
    return right / asked
