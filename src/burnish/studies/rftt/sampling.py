"""How completions are drawn in the study: freely, by branches at functional tokens, or by branches where nothing is
tagged. Every token is counted alike, whoever chose it.

Branches at functional tokens are the product's own search. The two controls branch without tags: at the first token,
and at the token of which a greedy pass is least certain, as tree methods without tags do (TreeRL). Both are given the
greedy pass as their first completion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import torch

from burnish.dialogue.generation import reading
from burnish.reason.rftt.generators.protocol import Prompt, Sampling
from burnish.reason.rftt.generators.transformers_reuse import PrefixReuse
from burnish.reason.rftt.rollouts import Rollout, RolloutGroup, Searching, plain_group
from burnish.reason.rftt.search import Judge
from burnish.reason.rftt.walk import SearchRules
from burnish.studies.rftt.world import GRAMMAR, LONGEST, STRAIGHT, Warm
from burnish.testbeds.ways import WAYS

Where = Literal["first", "least certain"]
BRANCHES = len(WAYS)
ROWS_AT_ONCE = 512


class Drawn(NamedTuple):
    """Completions, and of a greedy pass what stood to choose from.

    Attributes:
        ids: of each row, its end-of-sequence token included where it came.
        entropies: of the distribution at each of these tokens.
        choices: the likeliest tokens there, best first.
    """

    ids: list[list[int]]
    entropies: list[list[float]]
    choices: list[list[list[int]]]


def draw_rows(warm: Warm, begun: Sequence[Sequence[int]], temperature: float, seed: int, look: bool = False) -> Drawn:
    """Go on from prompts and begun completions, to the end of the sequence or :data:`LONGEST` tokens more.

    Args:
        warm: the model.
        begun: tokens of each row so far.
        temperature: 0 takes the likeliest.
        seed: of the draws.
        look: whether entropies and choices are wanted.
    """
    found = Drawn([], [], [])
    with torch.random.fork_rng(devices=[]), reading(warm.chat.model):
        torch.manual_seed(seed)
        for start in range(0, len(begun), ROWS_AT_ONCE):
            _draw_batch(warm, begun[start : start + ROWS_AT_ONCE], temperature, look, found)
    return found


def _draw_batch(warm: Warm, begun: Sequence[Sequence[int]], temperature: float, look: bool, found: Drawn) -> None:
    from transformers import GenerationConfig

    model, end = warm.chat.model, int(warm.chat.tokenizer.eos_token_id)
    width = max(map(len, begun))
    ids, mask = torch.full((len(begun), width), end), torch.zeros(len(begun), width, dtype=torch.long)
    for row, own in enumerate(begun):
        ids[row, width - len(own) :] = torch.tensor(own)
        mask[row, width - len(own) :] = 1
    config = GenerationConfig(
        max_new_tokens=LONGEST,
        **({"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0} if temperature else {}),
        pad_token_id=end,
        eos_token_id=end,
        suppress_tokens=model.generation_config.suppress_tokens,
        output_logits=look,
        return_dict_in_generate=True,
    )
    drawn = model.generate(ids, attention_mask=mask, generation_config=config)
    rows = drawn.sequences[:, width:].tolist()
    lengths = [row.index(end) + 1 if end in row else len(row) for row in rows]
    found.ids.extend(row[:length] for row, length in zip(rows, lengths, strict=True))
    if look:
        logits = torch.stack(drawn.logits, dim=1)[..., : warm.vocabulary.size]
        log_probs = logits.log_softmax(-1)
        entropies = (-log_probs.exp() * log_probs).sum(-1).tolist()
        choices = logits.topk(BRANCHES, dim=-1).indices.tolist()
        found.entropies.extend(row[:length] for row, length in zip(entropies, lengths, strict=True))
        found.choices.extend(row[:length] for row, length in zip(choices, lengths, strict=True))


def free_groups(
    warm: Warm, prompts: Sequence[Prompt], samples: int, temperature: float, seed: int
) -> list[RolloutGroup]:
    """So many independent completions of each question."""
    rows = [prompt.ids for prompt in prompts for _ in range(samples)]
    ids = draw_rows(warm, rows, temperature, seed).ids
    return [
        plain_group(
            prompt, ids[place * samples : (place + 1) * samples], None, warm.chat.tokenizer, warm.vocabulary, GRAMMAR
        )
        for place, prompt in enumerate(prompts)
    ]


class TagBranching:
    """Every way's functional token, each followed by as many texts as there are rounds: the product's search.

    Args:
        warm: the model, with functional tokens.
        rounds: texts of each way.
        temperature: inside steps.
    """

    def __init__(self, warm: Warm, rounds: int, temperature: float) -> None:
        engine = PrefixReuse(warm.chat.model, warm.chat.tokenizer, warm.vocabulary, STRAIGHT, batch=ROWS_AT_ONCE)
        rules = SearchRules(
            rollouts=BRANCHES * rounds,
            eager=True,  # all ways at once: each is wanted, and nothing else may follow
            samples=dict.fromkeys(WAYS, rounds),
            sampling=Sampling(temperature, 0, 1.0),
        )
        end = int(warm.chat.tokenizer.eos_token_id)
        self._searching = Searching(engine, STRAIGHT, end, rules, width=ROWS_AT_ONCE)
        self.samples = rules.rollouts

    def __call__(self, prompts: Sequence[Prompt], judge: Judge, seed: int) -> list[RolloutGroup]:
        """See :class:`burnish.reason.rftt.rollouts.Layout`; imposed tags and the end of a trace are counted too."""
        groups = self._searching(prompts, judge, seed)
        return [replace(group, generated=costs(group)[-1]) for group in groups]


class TokenBranching:
    """A greedy pass, then the likeliest tokens at one place of it, each followed by as many texts as there are rounds.

    Args:
        warm: the model.
        where: at the first token, or where the greedy pass is least certain.
        rounds: texts of each token; the first of the likeliest token is the greedy pass.
        temperature: of the first round; later ones are drawn at 1.
    """

    def __init__(self, warm: Warm, where: Where, rounds: int, temperature: float) -> None:
        self._warm, self._where, self._rounds, self._temperature = warm, where, rounds, temperature
        self.samples = BRANCHES * rounds

    def __call__(self, prompts: Sequence[Prompt], judge: Judge, seed: int) -> list[RolloutGroup]:
        """See :class:`burnish.reason.rftt.rollouts.Layout`."""
        del judge  # no search: nothing is guided
        greedy = draw_rows(self._warm, [prompt.ids for prompt in prompts], 0.0, seed, look=True)
        places = [
            0 if self._where == "first" else max(range(len(row)), key=row.__getitem__) for row in greedy.entropies
        ]
        texts: list[list[list[int]]] = [[ids] for ids in greedy.ids]
        for number in range(self._rounds):
            wanted = [
                (row, choice)
                for row, place in enumerate(places)
                for choice in greedy.choices[row][place][0 if number else 1 :]
            ]
            begun = [[*prompts[row].ids, *greedy.ids[row][: places[row]], choice] for row, choice in wanted]
            temperature = 1.0 if number else self._temperature
            more = _continued(self._warm, begun, temperature, seed + number)
            for (row, choice), ids in zip(wanted, more, strict=True):
                texts[row].append([*greedy.ids[row][: places[row]], choice, *ids])
        return [self._group(prompt, own, place) for prompt, own, place in zip(prompts, texts, places, strict=True)]

    def _group(self, prompt: Prompt, texts: Sequence[Sequence[int]], place: int) -> RolloutGroup:
        """Nodes: 1 what all share, 2 to 4 the branches' tokens, then the text of each completion."""
        warm = self._warm
        plain = plain_group(prompt, texts, None, warm.chat.tokenizer, warm.vocabulary, GRAMMAR).rollouts
        parents = [-1, 0, *[1 if place else 0] * BRANCHES, *(2 + number % BRANCHES for number in range(len(texts)))]
        seen: set[tuple[int, ...]] = set()
        found: list[Rollout] = []
        for number, each in enumerate(plain):
            rest = len(each.completion_ids) - place - 1
            nodes = (*[1] * place, 2 + number % BRANCHES, *[2 + BRANCHES + number] * rest)
            forced = (*[False] * place, True, *[False] * rest)
            found.append(replace(each, nodes=nodes, forced=forced, repeats=each.completion_ids in seen))
            seen.add(each.completion_ids)
        group = RolloutGroup(prompt, tuple(found), tuple(parents), 0)
        return replace(group, generated=costs(group)[-1])


def _continued(warm: Warm, begun: Sequence[Sequence[int]], temperature: float, seed: int) -> list[list[int]]:
    """What follows each row; nothing where it has ended."""
    end = int(warm.chat.tokenizer.eos_token_id)
    open_rows = [row for row, ids in enumerate(begun) if ids[-1] != end]
    found: list[list[int]] = [[] for _ in begun]
    drawn = draw_rows(warm, [begun[row] for row in open_rows], temperature, seed).ids
    for row, ids in zip(open_rows, drawn, strict=True):
        found[row] = ids
    return found


def costs(group: RolloutGroup) -> list[int]:
    """Tokens paid for a question once each completion is there; what several completions share is paid once.

    Imposed tokens and the end of a sequence are paid like any other.
    """
    paid: set[tuple[int, int]] = set()
    found = []
    for each in group.rollouts:
        paid.update(zip(each.nodes, range(len(each.nodes)), strict=True))
        found.append(len(paid))
    return found


def any_judge(paths: Sequence[Any]) -> list[float]:
    """For a search that nothing guides: no path is worth more than another."""
    return [0.0] * len(paths)
