"""transformers' continuous batching, for CUDA without vLLM: pages of a prefix that is long enough are shared.

Slower than the engine that reuses prefixes where prefixes are shorter than a page (256 tokens), and on a CPU. A batch
draws from one stream of noise, so that what a row becomes does depend on its neighbours; at temperature 0 it does not.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from burnish.core.errors import BurnishError
from burnish.reason.rftt.generators.local import stepped
from burnish.reason.rftt.generators.protocol import Path, Sampling, TokenCounts, Written
from burnish.reason.rftt.generators.reencoding import Reencoding


class Continuous(Reencoding):
    """See the module; arguments as of :class:`LocalEngine`. Proposals are read as :class:`Reencoding` reads them.

    Args:
        page: tokens of a page; only whole pages are shared.
    """

    def __init__(self, *arguments: Any, page: int = 256, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._page = page

    def complete(
        self, paths: Sequence[Path], actions: Sequence[str], sampling: Sampling, seeds: Sequence[int]
    ) -> list[Written]:
        """See the protocol. One call of transformers for each action and limit: a call has one closing token."""
        kinds = [
            (action, min(self.compiled.grammar.action(action).tokens, self.room(path, action)))
            for path, action in zip(paths, actions, strict=True)
        ]
        found: dict[int, Written] = {}
        for action, cap in dict.fromkeys(kinds):
            rows = [row for row, kind in enumerate(kinds) if kind == (action, cap)]
            texts = self._of(action, cap, [paths[row] for row in rows], sampling, [seeds[row] for row in rows])
            found |= dict(zip(rows, texts, strict=True))
        # What its pages spared reading is not told, and counts as read.
        self.counts += TokenCounts(
            generated=sum(len(step.ids) for step in found.values()), encoded=sum(path.length + 1 for path in paths)
        )
        return [found[row] for row in range(len(paths))]

    def _of(
        self, action: str, cap: int, paths: Sequence[Path], sampling: Sampling, seeds: Sequence[int]
    ) -> list[Written]:
        from transformers import ContinuousBatchingConfig, GenerationConfig

        begun = [[*path.ids, *self.opening(action)] for path in paths]
        drawn = {"temperature": sampling.temperature, "top_k": sampling.top_k, "top_p": sampling.top_p}
        config = GenerationConfig(
            max_new_tokens=cap,
            do_sample=sampling.temperature > 0,
            **(drawn if sampling.temperature > 0 else {}),
            eos_token_id=self.vocabulary.closes[action],
            pad_token_id=0,
            suppress_tokens=self.banned(action),
        )
        # On a GPU transformers takes what memory there is; the whole of a computer's would take it minutes to lay out.
        pages = sum(-(-(len(ids) + cap) // self._page) for ids in begun) + 8
        sizes = {} if self.model.device.type == "cuda" else {"num_blocks": pages, "max_batch_tokens": 16 * self._page}
        noise = int.from_bytes(hashlib.sha256(repr(list(seeds)).encode()).digest()[:4], "big")
        with _quietly():
            outputs = self.model.generate_batch(
                begun,
                generation_config=config,
                continuous_batching_config=ContinuousBatchingConfig(
                    page_size=self._page, return_logprobs=True, seed=noise, **sizes
                ),
                progress_bar=False,
            )
        failed = [output.error for output in outputs.values() if output.error is not None]
        if failed or len(outputs) != len(paths):
            raise BurnishError(
                f"continuous batching: {len(paths) - len(outputs) + len(failed)} of {len(paths)} rows failed "
                f"({failed[0] if failed else 'its thread ended'}); use a smaller `width`"
            )
        grammar = self.compiled.grammar
        return [
            stepped(self.tokenizer, self.vocabulary, grammar, action, output.generated_tokens, output.logprobs)
            for output in outputs.values()
        ]


@contextmanager
def _quietly() -> Iterator[None]:
    """Without its warning, at every call, that suppressing tokens might not be supported; tested that it is."""
    logger = logging.getLogger("ContinuousBatchingLogger")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
