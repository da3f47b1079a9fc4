"""vLLM in this process, where it is installed: it batches, and its prefix cache shares what prompts begin with.

Knows vLLM's ``LLM.chat``. Each answer has a seed of its own, as far as vLLM honours it; it does not promise the same
answer in any batch.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from burnish.align.generators.conversations import conversation
from burnish.align.generators.counts import TokenCounts
from burnish.align.records import Answer, Ask, Sampling
from burnish.core.errors import UserError

NO_VLLM = (
    "generator: vLLM is not installed; install it on a machine with a GPU, or set generator.engine to transformers"
)


class VllmGenerator:
    """See the module.

    Args:
        model: a folder or hub id.
        system: system turn of every conversation; none leaves it out.
        batch: the most sequences under way at a time.
        options: of ``vllm.LLM`` (``gpu_memory_utilization``, ``tensor_parallel_size``).

    Attributes:
        counts: tokens since it was made.

    Raises:
        UserError: vLLM is not installed.
    """

    def __init__(self, model: str | Path, *, system: str | None = None, batch: int = 32, **options: Any) -> None:
        try:
            vllm = importlib.import_module("vllm")
        except ModuleNotFoundError:
            raise UserError(NO_VLLM) from None
        self._parameters = vllm.SamplingParams
        self._llm = vllm.LLM(
            model=str(model),
            enable_prefix_caching=True,
            limit_mm_per_prompt={"image": 1},
            max_num_seqs=batch,
            **options,
        )
        self._system = system
        self.counts = TokenCounts()

    def answer(self, asks: Sequence[Ask], sampling: Sampling) -> list[Answer]:
        """See the protocol."""
        if not asks:
            return []
        parameters = [
            self._parameters(
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                max_tokens=sampling.tokens,
                seed=ask.seed % (1 << 31),
            )
            for ask in asks
        ]
        turns = [conversation(ask, self._system) for ask in asks]
        outputs = self._llm.chat(turns, sampling_params=parameters, use_tqdm=False)
        written = [output.outputs[0] for output in outputs]
        read = sum(len(output.prompt_token_ids) for output in outputs)
        reused = sum(output.num_cached_tokens or 0 for output in outputs)
        self.counts += TokenCounts(
            generated=sum(len(each.token_ids) for each in written),
            encoded=read - reused,
            reused=reused,
            pictures=sum(ask.image is not None for ask in asks),
        )
        return [Answer(each.text.strip(), len(each.token_ids), cut=each.finish_reason == "length") for each in written]
