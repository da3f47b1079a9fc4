"""The grammar compiled once to tensors: states, where a token leads from each, and which tokens each allows.

Sampling, a transformers ``LogitsProcessor`` and the proposals of a search use the same compiled grammar, so what one of
them may do, all may. Knows torch; :class:`GrammarProcessor` is called by transformers and imports nothing of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from burnish.core.errors import BurnishError, UserError
from burnish.reason.rftt.grammar import Grammar
from burnish.reason.rftt.vocabulary import Vocabulary

TEXT, END, NEVER = 0, 1, 2  # kinds of token; those of opening and closing tags follow
QUESTION, DONE = 0, 1  # states; those of actions at their depths follow


@dataclass(frozen=True)
class CompiledGrammar:
    """A grammar over the tokens of one vocabulary.

    A state is: the question; after the end; or, of an action at a depth, inside its text, inside it with no token left,
    or after it.

    Attributes:
        grammar: what was compiled.
        vocabulary: for which tokens.
        kinds: what each token is to the grammar: text, an end of sequence, never allowed, or a tag [rows].
        transitions: the state that a kind of token leads to; total, so that what a model wrote freely can be followed
            too [states, kinds].
        masks: the distinct rows of what is allowed [masks, rows].
        penalties: the same to add to logits: 0 or minus infinity, five times faster than a choice [masks, rows].
        mask: which of the masks a state has [states].
        caps: how many tokens of text may stand in a state; huge where none is counted [states].
        full: the state that it becomes when they are there [states].
        openings: the token that opens each action, in the grammar's order [actions].
    """

    grammar: Grammar
    vocabulary: Vocabulary
    kinds: Int[Tensor, " rows"]
    transitions: Int[Tensor, "states kinds"]
    masks: Bool[Tensor, "masks rows"]
    penalties: Float[Tensor, "masks rows"]
    mask: Int[Tensor, " states"]
    caps: Int[Tensor, " states"]
    full: Int[Tensor, " states"]
    openings: Int[Tensor, " actions"]

    def to(self, device: Any) -> CompiledGrammar:
        """The same on another device."""
        tensors = {each.name: getattr(self, each.name) for each in fields(self)}
        moved: dict[str, Any] = {name: value.to(device) for name, value in tensors.items() if isinstance(value, Tensor)}
        return replace(self, **moved)

    def state(self, actions: Sequence[str], *, inside: bool = False) -> int:
        """The state after these actions, or inside the text of the last of them with nothing written yet."""
        if not actions:
            return QUESTION
        depth = min(len(actions), self.grammar.max_depth)
        return _place(self.grammar, actions[-1], depth, 0 if inside else 2)

    def allowed(self, states: Int[Tensor, " batch"], counts: Int[Tensor, " batch"]) -> Bool[Tensor, "batch rows"]:
        """Which tokens may come next; a step whose text is as long as it may be can only be closed.

        Args:
            states: of each row.
            counts: tokens of text so far in its step.
        """
        return self.masks[self._mask(states, counts)]

    def _mask(self, states: Tensor, counts: Tensor) -> Tensor:
        return self.mask[torch.where(counts >= self.caps[states], self.full[states], states)]

    def advance(
        self, states: Int[Tensor, " batch"], counts: Int[Tensor, " batch"], tokens: Int[Tensor, " batch"]
    ) -> tuple[Int[Tensor, " batch"], Int[Tensor, " batch"]]:
        """States and counts after one token more in each row."""
        kinds = self.kinds[tokens]
        return self.transitions[states, kinds], torch.where(kinds == TEXT, counts + 1, 0)

    def restrict(
        self, logits: Float[Tensor, "batch width"], states: Int[Tensor, " batch"], counts: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch width"]:
        """Logits with everything that may not come next at minus infinity, rows beyond the vocabulary among it."""
        penalties = self.penalties[self._mask(states, counts)].to(logits.dtype)
        beyond = logits.shape[-1] - penalties.shape[-1]
        return logits + torch.nn.functional.pad(penalties, (0, beyond), value=-math.inf)

    def proposals(
        self, logits: Float[Tensor, "batch width"], states: Int[Tensor, " batch"], candidates: int = 12
    ) -> Float[Tensor, "batch actions"]:
        """Log-probabilities of the actions that may come next, renormalised over them; minus infinity for the others.

        An action counts where its opening token is among the likeliest of the whole vocabulary; where no legal one is,
        all legal ones count.

        Args:
            logits: of the token after each path.
            states: of each path; a path that has ended has no action to propose, and its row is all minus infinity.
            candidates: how many of the likeliest tokens are looked at; 0 looks at all.

        Raises:
            BurnishError: logits that are not numbers.

        Source: RFTT, online search: of the 12 likeliest tokens those that are legal, and if none is, all legal ones.
        """
        if torch.isnan(logits).any():
            raise BurnishError("the model gives logits that are no numbers (NaN); its weights are damaged, or overflow")
        scores = logits[:, self.openings].float()
        legal = self.masks[self.mask[states]][:, self.openings]
        named = legal
        if candidates:
            known = logits[:, : self.vocabulary.size]
            last = known.topk(min(candidates, known.shape[-1]), dim=-1).values[:, -1:]
            named = legal & (logits[:, self.openings] >= last)
        named = torch.where(named.any(-1, keepdim=True), named, legal)
        scores = scores.masked_fill(~named, -math.inf)
        # All legal ones may stand at minus infinity: then none is likelier than another.
        lost = named & torch.isinf(scores).all(-1, keepdim=True)
        scores = scores.masked_fill(lost, 0.0)
        return torch.where(named, scores.log_softmax(-1), -math.inf)

    def ranked(self, log_probs: Float[Tensor, "batch actions"]) -> list[tuple[tuple[str, ...], tuple[float, ...]]]:
        """For each row its actions, likeliest first (of equals in the grammar's order), and their log-probabilities."""
        names = [action.name for action in self.grammar.actions]
        order = log_probs.sort(dim=-1, descending=True, stable=True)
        found = []
        for values, places in zip(order.values.tolist(), order.indices.tolist(), strict=True):
            count = sum(value > -math.inf for value in values)
            found.append((tuple(names[place] for place in places[:count]), tuple(values[:count])))
        return found


def compile_grammar(
    grammar: Grammar, vocabulary: Vocabulary, ends: Sequence[int], specials: Sequence[int] = ()
) -> CompiledGrammar:
    """Compile a grammar for a vocabulary.

    Args:
        grammar: of whose tags the vocabulary has tokens.
        vocabulary: the tokens.
        ends: the model's end-of-sequence tokens: the only ones after the end of a trace, and allowed nowhere else.
        specials: other tokens that no text may hold (the tokenizer's special ones).

    Raises:
        UserError: no end-of-sequence token.
    """
    if not ends:
        raise UserError(
            "the model has no end-of-sequence token, so no trace could end; set `eos_token_id` in its config"
        )
    names = [action.name for action in grammar.actions]
    kinds = torch.full((vocabulary.rows,), TEXT)
    kinds[[*specials, *vocabulary.padding]] = NEVER
    kinds[list(ends)] = END
    opens = {name: 3 + place for place, name in enumerate(names)}
    closes = {name: 3 + len(names) + place for place, name in enumerate(names)}
    for name in names:
        kinds[vocabulary.opens[name]], kinds[vocabulary.closes[name]] = opens[name], closes[name]

    depths = range(1, grammar.max_depth + 1)
    states = 2 + 3 * len(names) * len(depths)
    transitions = torch.arange(states)[:, None].repeat(1, 3 + 2 * len(names))  # what leads nowhere stays
    allowed = torch.zeros_like(transitions, dtype=torch.bool)
    caps, full = torch.full((states,), torch.iinfo(torch.long).max), torch.arange(states)
    transitions[:, END], allowed[DONE, END] = DONE, True

    def lead_on(state: int, last: str | None, depth: int) -> None:
        """From between two steps: to a legal one, or to the end where none is; followed to an illegal one too."""
        legal = grammar.legal_at(last, depth + 1)
        allowed[state, [opens[name] for name in legal] or [END]] = True
        for name in names:
            transitions[state, opens[name]] = _place(grammar, name, min(depth + 1, grammar.max_depth), 0)

    lead_on(QUESTION, None, 0)
    for action in grammar.actions:
        for depth in depths:
            inside, closing, after = (_place(grammar, action.name, depth, part) for part in range(3))
            for state in (inside, closing, after):
                lead_on(state, action.name, depth)
            allowed[[inside, closing]] = False
            allowed[inside, [TEXT, closes[action.name]]] = True
            allowed[closing, closes[action.name]] = True
            transitions[inside : closing + 1, 3 + len(names) :] = after  # of any tag: a wrong one ends the step as well
            caps[inside], full[inside] = action.tokens, closing
    distinct, mask = torch.unique(allowed, dim=0, return_inverse=True)
    openings = torch.tensor([vocabulary.opens[name] for name in names])
    masks = distinct[:, kinds]
    penalties = torch.zeros(masks.shape).masked_fill(~masks, -math.inf)
    return CompiledGrammar(grammar, vocabulary, kinds, transitions, masks, penalties, mask, caps, full, openings)


class GrammarProcessor:
    """For ``generate(logits_processor=[...])``: only what the grammar allows, whatever a row has written so far.

    Args:
        compiled: the grammar.
        prompt: how many tokens of ``input_ids`` are prompt, padding included.
        states: where each row's trace stands after the prompt; none is at the question.
    """

    def __init__(self, compiled: CompiledGrammar, prompt: int, states: Int[Tensor, " batch"] | None = None) -> None:
        self._compiled = compiled
        self._prompt = prompt
        self._start = states
        self._seen: Tensor | None = None  # the ids that the states are of: beams are swapped between two calls
        self._states = self._counts = torch.empty(0, dtype=torch.long)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores with what may not come next at minus infinity."""
        if self._compiled.kinds.device != scores.device:
            self._compiled = self._compiled.to(scores.device)
        ids = input_ids.to(scores.device)
        seen = self._seen
        if seen is None or seen.shape[1] > ids.shape[1] or not torch.equal(seen, ids[:, : seen.shape[1]]):
            self._counts = torch.zeros(len(ids), dtype=torch.long, device=scores.device)
            self._states = self._counts if self._start is None else self._start.to(scores.device)
            seen = ids[:, : self._prompt]
        for tokens in ids[:, seen.shape[1] :].unbind(1):
            self._states, self._counts = self._compiled.advance(self._states, self._counts, tokens)
        self._seen = ids
        return self._compiled.restrict(scores, self._states, self._counts)


def _place(grammar: Grammar, name: str, depth: int, part: int) -> int:
    """The state of an action at a depth: inside (0), inside and full (1), after (2)."""
    number = next(place for place, action in enumerate(grammar.actions) if action.name == name)
    return 2 + 3 * (number * grammar.max_depth + depth - 1) + part
