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
        batch: questions at a time, on each process.
        tokens: longest completion.
        temperature: of sampling; 0 is greedy.
        top_p: nucleus of sampling.
        top_k: most likely tokens of sampling; 0 is all.
        min_p: tokens less likely than this share of the likeliest are not sampled.
        repetition_penalty: divides the logits of what was written; 1 is none.
        seed: of the draws.
    """

    samples: int = 1
    batch: int = 64
    tokens: int = 768
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float | None = None
    repetition_penalty: float = 1.0
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

    In a distributed job every process calls it with the same questions, takes its share of the batches and returns the
    figure of all. Each batch has a seed of its own: that figure does not depend on the number of processes. The global
    random state of torch is left as it was.

    Raises:
        UserError: no chat template, images for a text-only model, a picture that cannot be read.
    """
    import torch
    from accelerate import PartialState
    from accelerate.utils import gather_object
    from transformers import GenerationConfig

    greedy = sampling.temperature == 0
    names = ("temperature", "top_p", "top_k", "min_p")
    how = {} if greedy else {name: getattr(sampling, name) for name in names}
    config = GenerationConfig(
        max_new_tokens=sampling.tokens,
        do_sample=not greedy,
        num_return_sequences=1 if greedy else sampling.samples,
        # As in training: what is left out here is taken from the model's own config.
        repetition_penalty=sampling.repetition_penalty,
        pad_token_id=chat.tokenizer.pad_token_id,
        eos_token_id=chat.model.generation_config.eos_token_id or chat.tokenizer.eos_token_id,
        **how,
    )
    was_training = chat.model.training
    chat.model.eval()
    right, asked = 0.0, 0
    state = PartialState()
    starts = range(0, len(questions), sampling.batch)[state.process_index :: state.num_processes]
    on_gpu = chat.model.device.type == "cuda"
    with torch.random.fork_rng(devices=[chat.model.device] if on_gpu else []), torch.no_grad():
        for start in starts:
            torch.manual_seed(sampling.seed + start)
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
    counts: list[tuple[float, int]] = gather_object([(right, asked)])
    return sum(each for each, _ in counts) / sum(each for _, each in counts)
