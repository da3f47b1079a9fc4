"""Which tokens may come next while a model writes a plan, so that every plan written is a valid one (llguidance).

A plan is written element by element. Each is held to a regular expression of the wording; cells that earlier elements
stand in are left out of it, so that two elements never meet, and after the last element allowed only ``end`` may come.
Every word has a blank before it, as it goes on from the word ``plan``. Boxes are held to their form only: whether left
is less than right is for :func:`burnish.generate.plan.problems`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from typing import Any

import numpy as np
from jaxtyping import Bool

from burnish.core.errors import UserError
from burnish.core.packages import Need, not_installed
from burnish.generate.plan import Wording
from burnish.generate.plan_text import ANYWHERE, CAPTION_END, END

NAME = r"[a-z][a-z'-]*( [a-z][a-z'-]*){0,3}"
"""A name where the wording has no list of them: up to four words."""
CAPTION = r"[^|\n]{1,400}"
_SHARE = r"(0\.[0-9]{3}|1\.000)"


class PlanGrammar:
    """The grammar of a wording in a tokenizer's tokens.

    Args:
        wording: what plans may say.
        tokenizer: a fast tokenizer of transformers, by bytes (Qwen, Llama) or by words.
        size: of the model's output, at least the tokenizer's.

    Raises:
        UserError: llguidance is missing, or cannot read this tokenizer.
    """

    def __init__(self, wording: Wording, tokenizer: Any, size: int) -> None:
        try:
            import llguidance
        except ImportError:
            raise not_installed("plan", Need(("llguidance",), "generate")) from None
        self.wording = wording
        self.size = size
        by_words = type(tokenizer.backend_tokenizer.model).__name__ == "WordLevel"
        self._llguidance = llguidance
        try:
            self._tokens = _read_tokenizer(tokenizer, size, by_words)
        except ValueError as error:
            raise UserError(f"plan: llguidance cannot read this model's tokenizer ({error})") from None
        # Making one takes milliseconds, a copy none; each set of free cells has its own.
        self._fresh = functools.lru_cache(maxsize=1024)(self._made)

    def start(self) -> PlanWriter:
        """For one plan."""
        return PlanWriter(self)

    def text_of(self, token: int) -> bytes:
        """What a token writes."""
        written: bytes = self._tokens.decode_bytes([token])
        return written

    def matcher(self, pattern: str) -> Any:
        """For text of a regular expression, from its beginning."""
        return self._fresh(pattern).deep_copy()

    def _made(self, pattern: str) -> Any:
        grammar = self._llguidance.LLMatcher.grammar_from_regex(pattern)
        matcher = self._llguidance.LLMatcher(self._tokens, grammar, log_level=0)
        if matcher.is_error():
            raise UserError(f"plan: the wording's names make no grammar ({matcher.get_error()[:200]})")
        return matcher


class PlanWriter:
    """One plan under way.

    Attributes:
        done: whether it has come to its ``end``.
        taken: tokens so far.
    """

    def __init__(self, grammar: PlanGrammar) -> None:
        self.done = False
        self.taken = 0
        self._grammar = grammar
        self._elements = 0
        self._free = list(grammar.wording.places)
        self._in_caption = grammar.wording.caption
        self._text = b""
        self._matcher = self._next()

    def allowed(self) -> Bool[np.ndarray, " size"]:
        """The tokens that may come next; none once the plan is done."""
        if self.done:
            return np.zeros(self._grammar.size, dtype=bool)
        packed = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        return np.unpackbits(packed, bitorder="little")[: self._grammar.size].astype(bool)

    def take(self, token: int) -> None:
        """Go on with a token.

        Raises:
            ValueError: one that may not come.
        """
        if self.done or not self._matcher.consume_token(token):
            raise ValueError(f"token {token} may not come here; see `allowed`")
        self.taken += 1
        self._text += self._grammar.text_of(token)
        if not self._matcher.is_accepting():
            return
        word = self._text.decode(errors="replace").split()[-1]
        self._text = b""
        if self._in_caption:
            self._in_caption = False
        elif word == END:
            self.done = True
            return
        else:
            self._elements += 1
            self._free = [place for place in self._free if place != word]
        self._matcher = self._next()

    def _next(self) -> Any:
        if self._in_caption:
            return self._grammar.matcher(f" {CAPTION} {re.escape(CAPTION_END)}")
        wording = self._grammar.wording
        full = self._elements >= wording.most or (wording.grid is not None and not self._free)
        choices = ([] if full else [element_pattern(wording, self._free)]) + ([END] if self._elements else [])
        return self._grammar.matcher(f" ({'|'.join(choices)})")


def element_pattern(wording: Wording, free: list[str]) -> str:
    """The regular expression of one element.

    Args:
        wording: what may be said.
        free: cells that it may stand in, where places are cells.
    """
    counts = _any_of(map(str, range(2, wording.most_count + 1))) + " "
    parts = [f"({counts})?"] if wording.most_count > 1 else []
    parts += [f"({_any_of(words)} )?" for words in wording.attributes.values() if words]
    parts.append(f"({_any_of(wording.names) if wording.names else NAME}) ")
    place = _any_of(free) if wording.grid else rf"(\[{_SHARE} {_SHARE} {_SHARE} {_SHARE}\]|{ANYWHERE})"
    return "".join(parts) + place


def _any_of(words: Iterable[str]) -> str:
    return "(" + "|".join(map(re.escape, words)) + ")"


def _read_tokenizer(tokenizer: Any, size: int, by_words: bool) -> Any:
    import llguidance
    import llguidance.hf

    if not by_words:
        return llguidance.hf.from_tokenizer(tokenizer, n_vocab=size)
    words = _Words(tokenizer, size)
    return llguidance.LLTokenizer(llguidance.TokenizerWrapper(words), n_vocab=len(words.tokens))


class _Words:
    """A tokenizer by words as llguidance takes it: each word with a blank before it.

    Every single byte is a token too, beyond the model's own, because llguidance cuts text into tokens where only one
    goes on; these are never offered.
    """

    def __init__(self, tokenizer: Any, size: int) -> None:
        special = set(tokenizer.all_special_ids)
        words = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
        blank = [f"<unused {number}>" for number in range(len(tokenizer), size)]
        self.tokens = [
            word.encode() if number in special or number >= len(words) else b" " + word.encode()
            for number, word in enumerate([*words, *blank])
        ]
        self.tokens += [bytes([value]) for value in range(256)]
        self.special_token_ids = sorted({*special, *range(len(words), size)})
        self.eos_token_id, self.bos_token_id = tokenizer.eos_token_id, tokenizer.bos_token_id
        self._numbers = {
            word: number for number, word in enumerate(self.tokens) if number not in set(self.special_token_ids)
        }
        self._longest = max(map(len, self._numbers))

    def __call__(self, text: bytes | str) -> list[int]:
        """The longest token at each place."""
        left = text.encode() if isinstance(text, str) else text
        found = []
        while left:
            length = next(n for n in range(min(self._longest, len(left)), 0, -1) if left[:n] in self._numbers)
            found.append(self._numbers[left[:length]])
            left = left[length:]
        return found
