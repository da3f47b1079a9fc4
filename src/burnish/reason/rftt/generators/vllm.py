"""vLLM in this process, where it is installed: its prefix cache shares what paths have in common.

Knows vLLM's ``LLM.generate`` and its sampling parameters. Each row has its own seed, as far as vLLM honours it.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from pathlib import Path as Folder
from typing import Any

from burnish.core.errors import UserError
from burnish.reason.rftt.generators.local import stepped
from burnish.reason.rftt.generators.protocol import Path, Proposal, Sampling, TokenCounts, Written
from burnish.reason.rftt.grammar import Grammar
from burnish.reason.rftt.vocabulary import Vocabulary

CANDIDATES = 12  # of the likeliest tokens, those that are legal openings are proposed (RFTT, online search)
NEVER = -100.0  # the strongest bias that vLLM takes


class Vllm:
    """See the module.

    Args:
        model: a folder with a model that was extended by the vocabulary, and its tokenizer.
        tokenizer: its tokenizer.
        vocabulary: its functional tokens.
        grammar: which may follow which.
        options: of ``vllm.LLM`` (``gpu_memory_utilization``, ``tensor_parallel_size``).

    Raises:
        UserError: vLLM is not installed.
    """

    def __init__(
        self, model: str | Folder, tokenizer: Any, vocabulary: Vocabulary, grammar: Grammar, **options: Any
    ) -> None:
        try:
            vllm = importlib.import_module("vllm")
        except ModuleNotFoundError:
            raise UserError(
                "search: vLLM is not installed; install it on a machine with a GPU, or choose another engine"
            ) from None
        self._parameters = vllm.SamplingParams
        self._llm = vllm.LLM(
            model=str(model),
            enable_prefix_caching=True,
            logprobs_mode="processed_logprobs",
            max_logprobs=max(CANDIDATES, len(grammar.actions)),
            **options,
        )
        self.tokenizer = tokenizer
        self.vocabulary = vocabulary
        self.grammar = grammar
        self.counts = TokenCounts()
        self.context: int | None = self._llm.llm_engine.model_config.max_model_len
        self._banned = {*vocabulary.ids, *vocabulary.padding, *tokenizer.all_special_ids}

    def opening(self, action: str) -> tuple[int, ...]:
        """See the protocol."""
        return (self.vocabulary.opens[action],)

    def forget(self) -> None:
        """See the protocol."""
        self._llm.reset_prefix_cache()

    def propose(self, paths: Sequence[Path]) -> list[Proposal]:
        """See the protocol. A second request where none of the likeliest tokens is a legal opening."""
        padding = dict.fromkeys(self.vocabulary.padding, NEVER)
        found = self._openings(paths, [{"logprobs": CANDIDATES, "logit_bias": padding}] * len(paths))
        lost = [row for row, proposal in enumerate(found) if not proposal.actions]
        if lost:
            only = []
            for row in lost:
                legal = self.grammar.legal(paths[row].actions)
                only.append(
                    {"logprobs": len(legal), "allowed_token_ids": [self.vocabulary.opens[name] for name in legal]}
                )
            for row, proposal in zip(lost, self._openings([paths[row] for row in lost], only), strict=True):
                found[row] = proposal
        return found

    def complete(
        self, paths: Sequence[Path], actions: Sequence[str], sampling: Sampling, seeds: Sequence[int]
    ) -> list[Written]:
        """See the protocol."""
        parameters = []
        for path, action, seed in zip(paths, actions, seeds, strict=True):
            closing, cap = self.vocabulary.closes[action], self.grammar.action(action).tokens
            parameters.append(
                self._parameters(
                    temperature=sampling.temperature,
                    top_k=sampling.top_k,
                    top_p=sampling.top_p,
                    seed=seed % (1 << 31),
                    max_tokens=cap if self.context is None else min(cap, self.context - path.length - 1),
                    stop_token_ids=[closing],
                    logit_bias=dict.fromkeys(self._banned - {closing}, NEVER),
                    logprobs=0,
                    detokenize=False,
                )
            )
        begun = [(*path.ids, *self.opening(action)) for path, action in zip(paths, actions, strict=True)]
        written = []
        for action, output in zip(actions, self._generate(begun, parameters), strict=True):
            ids = list(output.token_ids)
            log_probs = [at[token].logprob for at, token in zip(output.logprobs, ids, strict=True)]
            written.append(stepped(self.tokenizer, self.vocabulary, self.grammar, action, ids, log_probs))
        self.counts += TokenCounts(generated=sum(len(step.ids) for step in written))
        return written

    def _openings(self, paths: Sequence[Path], settings: Sequence[dict[str, Any]]) -> list[Proposal]:
        """What vLLM finds likely after each path, of that the legal openings."""
        parameters = [self._parameters(max_tokens=1, temperature=1.0, detokenize=False, **each) for each in settings]
        outputs = self._generate([path.ids for path in paths], parameters)
        found = []
        for path, output in zip(paths, outputs, strict=True):
            likely = {token: entry.logprob for token, entry in output.logprobs[0].items()}
            scores = {
                name: likely[self.vocabulary.opens[name]]
                for name in self.grammar.legal(path.actions)
                if self.vocabulary.opens[name] in likely
            }
            order = sorted(scores, key=lambda name: -scores[name])
            total = math.log(sum(math.exp(score) for score in scores.values())) if scores else 0.0
            found.append(Proposal(tuple(order), tuple(scores[name] - total for name in order)))
        return found

    def _generate(self, begun: Sequence[Sequence[int]], parameters: Sequence[Any]) -> list[Any]:
        prompts = [{"prompt_token_ids": list(ids)} for ids in begun]
        outputs = self._llm.generate(prompts, sampling_params=list(parameters), use_tqdm=False)
        reused = sum(output.num_cached_tokens or 0 for output in outputs)
        self.counts += TokenCounts(encoded=sum(map(len, begun)) - reused, reused=reused)
        return [output.outputs[0] for output in outputs]
