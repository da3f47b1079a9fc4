"""Engines that run a model here: they write what reading every path anew, token by token, would write."""

import copy
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path as Folder
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers import LogitsProcessorList

from burnish.core.errors import UserError
from burnish.dialogue.prefixes import why_not_reusable
from burnish.reason.rftt.generators.continuous import Continuous
from burnish.reason.rftt.generators.local import LocalEngine
from burnish.reason.rftt.generators.protocol import Path, PathNode, Prompt, Sampling, TokenCounts
from burnish.reason.rftt.generators.reencoding import Reencoding
from burnish.reason.rftt.generators.transformers_reuse import PrefixReuse
from burnish.reason.rftt.generators.vllm import Vllm
from burnish.reason.rftt.grammar import Grammar, rftt_grammar
from burnish.reason.rftt.masks import GrammarProcessor
from burnish.reason.rftt.search import Saving, SearchRules, search
from burnish.reason.rftt.tree import Tree
from burnish.reason.rftt.vocabulary import Vocabulary, extend
from burnish.testbeds.models import character_tokenizer
from tests.reason.rftt.scripted import judged

GREEDY = Sampling(0.0, 0, 1.0)
BASE = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "eos_token_id": 2,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 400, "bos_token_id": 1, "pad_token_id": 0,
    "initializer_range": 0.3,
}  # fmt: skip
KINDS: dict[str, Any] = {
    "llama": lambda size: transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=size, **BASE)),
    "qwen3": lambda size: transformers.Qwen3ForCausalLM(transformers.Qwen3Config(vocab_size=size, **BASE)),
    "tied": lambda size: transformers.LlamaForCausalLM(
        transformers.LlamaConfig(vocab_size=size, tie_word_embeddings=True, **BASE)
    ),
    "gemma3": lambda size: transformers.Gemma3ForCausalLM(
        transformers.Gemma3TextConfig(
            vocab_size=size, sliding_window=8, layer_types=["sliding_attention", "full_attention"], **BASE
        )
    ),
}

LINEAR: dict[str, Any] = {
    "linear_num_value_heads": 4, "linear_num_key_heads": 2, "linear_key_head_dim": 8, "linear_value_head_dim": 8,
    "num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 16, "shared_expert_intermediate_size": 16,
}  # fmt: skip
REENCODED: dict[str, Any] = {
    "gemma3": KINDS["gemma3"],
    "qwen3_next": lambda size: transformers.Qwen3NextForCausalLM(
        transformers.Qwen3NextConfig(
            vocab_size=size, layer_types=["linear_attention", "full_attention"], **LINEAR, **BASE
        )
    ),
}
"""Models whose layers do not keep every token: a sliding window, linear attention."""


@cache
def world(kind: str) -> tuple[Any, Any, Vocabulary, Grammar]:
    """A random model with functional tokens, whose steps are of 7 tokens at most."""
    torch.manual_seed(3)
    grammar = rftt_grammar(max_depth=6)
    grammar = replace(grammar, actions=tuple(replace(action, tokens=7) for action in grammar.actions))
    tokenizer = character_tokenizer()
    model = (KINDS | REENCODED)[kind](len(tokenizer)).requires_grad_(False)
    vocabulary = extend(model, tokenizer, grammar, seed=0)
    model.generation_config.repetition_penalty = 1.7  # of plain chatting: no business of a search
    return model, tokenizer, vocabulary, grammar


def engine_of(kind: str, **settings: Any) -> LocalEngine:
    model, tokenizer, vocabulary, grammar = world(kind)
    if kind in REENCODED:
        return Reencoding(model, tokenizer, vocabulary, grammar, **settings)
    return PrefixReuse(model, tokenizer, vocabulary, grammar, **settings)


def slowly(kind: str, path: Path, action: str) -> tuple[list[int], list[float]]:
    """A step token by token: the whole path read anew, alone, without any cache."""
    model, tokenizer, vocabulary, grammar = world(kind)
    compiled = Reencoding(model, tokenizer, vocabulary, grammar).compiled
    ids = [*path.ids, vocabulary.opens[action]]
    start = len(ids)
    log_probs: list[float] = []
    state, count = torch.tensor([compiled.state((*path.actions, action), inside=True)]), torch.tensor([0])
    while not log_probs or ids[-1] not in vocabulary.closed:
        logits = model.eval()(torch.tensor([ids]), use_cache=False).logits[:, -1]
        scores = compiled.restrict(logits, state, count)
        token = scores.argmax(-1)
        log_probs.append(float(scores.log_softmax(-1)[0, token]))
        state, count = compiled.advance(state, count, token)
        ids.append(int(token))
    return ids[start:], log_probs


def paths_of(kind: str, number: int, seed: int = 0) -> tuple[list[Path], list[str]]:
    """Ragged paths of random text, some with shared beginnings, and a legal action for each."""
    _, tokenizer, vocabulary, grammar = world(kind)
    rng = np.random.default_rng(seed)
    paths: list[Path] = []
    actions = []
    for row in range(number):
        prompt = Prompt(f"q{row % 5}", "", tuple(range(10, 13 + 4 * (row % 5))))
        nodes: list[PathNode] = []
        for _ in range(int(rng.integers(0, 5))):
            legal = [a for a in grammar.legal([node.action for node in nodes]) if not grammar.action(a).ends]
            action = legal[int(rng.integers(len(legal)))]
            text = tuple(int(token) for token in rng.integers(4, 90, int(rng.integers(0, 6))))
            nodes.append(
                PathNode(action, (vocabulary.opens[action], *text, vocabulary.closes[action]), tokenizer.decode(text))
            )
        legal = list(grammar.legal([node.action for node in nodes]))
        paths.append(Path(prompt, tuple(nodes)))
        actions.append(legal[int(rng.integers(len(legal)))])
    return paths, actions


@pytest.mark.parametrize("number", [1, 64])
@pytest.mark.parametrize("kind", KINDS)
def test_greedy_text_equals_reading_everything_anew_token_by_token(kind: str, number: int) -> None:
    engine = engine_of(kind)
    paths, actions = paths_of(kind, number)
    written = engine.complete(paths, actions, GREEDY, [0] * number)
    # Most rows lie in the cache now; a step further, and each row's last token has been read already.
    further = [
        Path(path.prompt, (*path.nodes, PathNode(action, (*engine.opening(action), *step.ids), step.text)))
        for path, action, step in zip(paths, actions, written, strict=True)
    ]
    going = [row for row, action in enumerate(actions) if not engine.compiled.grammar.action(action).ends]
    proposals = engine.propose([further[row] for row in going]) if going else []
    nexts = [proposal.actions[0] for proposal in proposals]
    second = engine.complete([further[row] for row in going], nexts, GREEDY, [0] * len(going)) if going else []
    some = range(0, number, 5)
    for row in some:
        ids, log_probs = slowly(kind, paths[row], actions[row])
        assert list(written[row].ids) == ids
        assert written[row].log_probs == pytest.approx(log_probs, abs=1e-4)
        assert written[row].closed
    for place, row in enumerate(going):
        if row in some:
            assert list(second[place].ids) == slowly(kind, further[row], nexts[place])[0]


@pytest.mark.parametrize("kind", ["llama", "gemma3"])
def test_what_a_row_draws_depends_on_its_seed_and_not_on_its_neighbours(kind: str) -> None:
    paths, actions = paths_of(kind, 12, seed=1)
    sampling = Sampling(1.0, 0, 0.9)
    seeds = list(range(12))
    together = engine_of(kind).complete(paths, actions, sampling, seeds)
    alone = [
        engine_of(kind).complete([path], [action], sampling, [seed])[0]
        for path, action, seed in zip(paths, actions, seeds, strict=True)
    ]
    assert [step.ids for step in together] == [step.ids for step in alone]
    again = engine_of(kind).complete(paths, actions, sampling, seeds[::-1])
    assert [step.ids for step in again] != [step.ids for step in together]


def searched(engine: LocalEngine, number: int = 4, rollouts: int = 4, temperature: float = 0.8) -> list[Tree]:
    prompts = [Prompt(f"q{row}", "", tuple(range(8, 12 + 3 * row))) for row in range(number)]
    rules = SearchRules(rollouts=rollouts, sampling=Sampling(temperature, 0, 0.95))
    return search(prompts, engine, engine.compiled.grammar, judged, rules)


def shape(trees: Sequence[Tree]) -> list[list[Any]]:
    return [[(node.action, node.ids, node.visits, node.value) for node in tree.nodes] for tree in trees]


def test_a_search_is_the_same_with_and_without_reuse_and_every_token_is_counted() -> None:
    model, tokenizer, vocabulary, grammar = world("llama")
    engines = [cls(model, tokenizer, vocabulary, grammar) for cls in (PrefixReuse, Reencoding)]
    reuse, anew = (searched(engine) for engine in engines)
    assert shape(reuse) == shape(anew)
    for engine in engines:
        # Of every node written: its path and its opening token; of every node expanded: its path.
        trees = reuse
        asked = sum(
            tree.path(node.parent).length + 1
            for tree in trees
            for node in tree.nodes
            if node.text is not None and node.parent is not None
        ) + sum(tree.path(node.number).length for tree in trees for node in tree.nodes if node.children is not None)
        assert engine.counts.encoded + engine.counts.reused == asked
        drawn = sum(len(node.log_probs or ()) for tree in trees for node in tree.nodes)
        assert engine.counts.generated == drawn
        assert sum(tree.generated for tree in trees) == drawn + sum(
            node.text is not None for tree in trees for node in tree.nodes[1:]
        )
    once = sum(len(tree.prompt.ids) for tree in reuse) + sum(
        node.text is not None for tree in reuse for node in tree.nodes[1:]
    )
    assert engines[0].counts.encoded == once  # the prompt of each tree and the opening token of each step, no more
    assert engines[1].counts.encoded > 4 * once


@pytest.mark.parametrize("share", [0.0, 0.1, 0.2])
def test_a_small_budget_reads_again_and_finds_the_same(share: float) -> None:
    model, tokenizer, vocabulary, grammar = world("llama")
    rich = PrefixReuse(model, tokenizer, vocabulary, grammar)
    whole = searched(rich)
    said: list[str] = []
    budget = int(share * rich.cache.peak)
    poor = PrefixReuse(model, tokenizer, vocabulary, grammar, budget=budget, note=said.append)
    assert shape(searched(poor)) == shape(whole)
    assert poor.cache.peak <= budget
    assert poor.cache.dropped > 0
    assert poor.counts.encoded > rich.counts.encoded
    assert poor.counts.encoded + poor.counts.reused == rich.counts.encoded + rich.counts.reused
    assert len(said) == (share == 0.0)


def test_forgetting_changes_what_is_read_and_nothing_else() -> None:
    engine = engine_of("llama")
    paths, actions = paths_of("llama", 9, seed=2)
    first = engine.complete(paths, actions, GREEDY, [0] * 9)
    before = engine.counts
    assert engine.complete(paths, actions, GREEDY, [0] * 9) == first
    warm = engine.counts - before
    assert warm.encoded == 9
    engine.forget()
    before = engine.counts
    assert [step.ids for step in engine.complete(paths, actions, GREEDY, [0] * 9)] == [step.ids for step in first]
    assert (engine.counts - before).encoded > 9


def test_parts_of_a_batch_give_what_the_whole_gives() -> None:
    paths, actions = paths_of("llama", 11, seed=4)
    whole = engine_of("llama").complete(paths, actions, GREEDY, [0] * 11)
    parts = engine_of("llama", batch=3).complete(paths, actions, GREEDY, [0] * 11)
    assert [step.ids for step in parts] == [step.ids for step in whole]
    with pytest.raises(UserError, match="at least 1"):
        engine_of("llama", batch=0)


@pytest.mark.parametrize("kind", ["llama", "gemma3"])
def test_no_token_beyond_the_tokenizer_and_no_tag_inside_a_step(kind: str) -> None:
    model, tokenizer, vocabulary, _ = world(kind)
    head = model.get_output_embeddings()
    banned = [*vocabulary.ids, *vocabulary.padding, *tokenizer.all_special_ids]
    assert len(vocabulary.padding) > 0
    biased = torch.nn.Linear(head.in_features, head.out_features)
    with torch.no_grad():
        biased.weight.copy_(head.weight)
        biased.bias.zero_()
        biased.bias[banned] = 50.0
    model.lm_head = biased
    try:
        paths, actions = paths_of(kind, 20, seed=5)
        written = engine_of(kind).complete(paths, actions, Sampling(2.0, 0, 1.0), list(range(20)))
    finally:
        model.lm_head = head
    assert all(step.closed for step in written)
    assert {step.ids[-1] for step in written} <= set(vocabulary.closes.values())
    assert not {token for step in written for token in step.ids[:-1]} & set(banned)


def test_the_context_cuts_a_step_and_ends_the_path() -> None:
    model, tokenizer, vocabulary, grammar = world("llama")
    prompt = Prompt("q", "", tuple(10 + number % 70 for number in range(390)))
    (tree,) = search(
        [prompt], PrefixReuse(model, tokenizer, vocabulary, grammar), grammar, judged, SearchRules(rollouts=3)
    )
    assert {tree.nodes[rollout.leaf].ending for rollout in tree.rollouts} == {"context"}
    assert all(tree.path(rollout.leaf).length <= 400 for rollout in tree.rollouts)


def test_one_rollout_without_noise_is_constrained_greedy_decoding() -> None:
    model, tokenizer, vocabulary, grammar = world("qwen3")
    engine = PrefixReuse(model, tokenizer, vocabulary, grammar)
    for tree in searched(engine, rollouts=1, temperature=0.0):
        prompt = torch.tensor([tree.prompt.ids])
        greedy = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            logits_processor=LogitsProcessorList([GrammarProcessor(engine.compiled, prompt.shape[1])]),
            generation_config=transformers.GenerationConfig(
                max_new_tokens=80, do_sample=False, eos_token_id=2, pad_token_id=0, repetition_penalty=1.0
            ),
        )[0].tolist()
        path = tree.path(tree.rollouts[0].leaf)
        assert [*path.ids, 2] == greedy


def test_a_search_that_was_stopped_goes_on_to_the_last_bit_of_a_log_probability(tmp_path: Folder) -> None:
    model, tokenizer, vocabulary, grammar = world("llama")
    prompts = [Prompt(f"q{row}", "", tuple(range(8, 12 + 3 * row))) for row in range(2)]
    rules = SearchRules(rollouts=3, sampling=Sampling(0.9, 0, 0.95))

    def searched(folder: Folder, saves: int) -> bytes:
        left = [saves]

        def stop(_trees: Sequence[Tree]) -> None:
            left[0] -= 1
            if not left[0]:
                raise KeyboardInterrupt

        saving = Saving(folder, every=3, then=stop)
        search(prompts, PrefixReuse(model, tokenizer, vocabulary, grammar), grammar, judged, rules, saving=saving)
        return (folder / "trees-00000.jsonl").read_bytes()

    whole = searched(tmp_path / "whole", 0)
    assert whole.count(b"log_probs") > 3
    for saves in range(1, 4):
        with pytest.raises(KeyboardInterrupt):
            searched(tmp_path / str(saves), saves)
        assert (tmp_path / str(saves) / "trees-00000.jsonl").read_bytes() != whole
        assert searched(tmp_path / str(saves), 0) == whole


@pytest.mark.parametrize("kind", ["llama", "gemma3"])
def test_a_model_that_never_names_a_legal_action_has_all_of_them_open(kind: str) -> None:
    engine = engine_of(kind)
    openings = sorted(engine.vocabulary.opens.values())
    paths, _ = paths_of(kind, 6, seed=8)
    unlikely = engine.model.get_output_embeddings().register_forward_hook(
        lambda _module, _inputs, logits: logits.index_fill(-1, torch.tensor(openings), -30.0)
    )
    try:
        proposals = engine.propose(paths)
    finally:
        unlikely.remove()
    for path, proposal in zip(paths, proposals, strict=True):
        legal = engine.compiled.grammar.legal(path.actions)
        assert sorted(proposal.actions) == sorted(legal)
        assert proposal.log_probs == pytest.approx([-np.log(len(legal))] * len(legal), abs=1e-5)


def test_a_model_with_an_adapter_reuses_too() -> None:
    from peft import LoraConfig, get_peft_model

    _, tokenizer, vocabulary, grammar = world("llama")
    torch.manual_seed(5)
    model = get_peft_model(
        copy.deepcopy(world("llama")[0]), LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    )
    engines = [cls(model, tokenizer, vocabulary, grammar) for cls in (PrefixReuse, Reencoding)]
    adapted, anew, plain = (shape(searched(engine, 2, 2)) for engine in (*engines, engine_of("llama")))
    assert adapted == anew
    assert adapted != plain


def test_linear_attention_is_read_anew_to_the_same_text() -> None:
    engine = engine_of("qwen3_next")
    paths, actions = paths_of("qwen3_next", 4, seed=9)
    for path, action, step in zip(paths, actions, engine.complete(paths, actions, GREEDY, [0] * 4), strict=True):
        assert list(step.ids) == slowly("qwen3_next", path, action)[0]


def test_models_that_cannot_reuse_say_why() -> None:
    model, tokenizer, vocabulary, grammar = world("gemma3")
    assert "DynamicSlidingWindowLayer" in why_not_reusable(model)
    assert "LinearAttentionLayer" in why_not_reusable(world("qwen3_next")[0])
    with pytest.raises(UserError, match="do not keep every token"):
        PrefixReuse(model, tokenizer, vocabulary, grammar)
    assert not any(why_not_reusable(world(kind)[0]) for kind in ("llama", "qwen3", "tied"))


def test_a_prompt_without_tokens_is_refused() -> None:
    with pytest.raises(UserError, match="`q` has no tokens"):
        engine_of("llama").propose([Path(Prompt("q", "how many?"))])


def test_a_model_in_training_searches_without_dropout_and_goes_on_training() -> None:
    model, *_ = world("llama")
    paths, actions = paths_of("llama", 3)
    model.train()
    model.config.attention_dropout = 0.5
    try:
        first, second = (engine_of("llama").complete(paths, actions, GREEDY, [0] * 3) for _ in range(2))
        assert model.training
    finally:
        model.config.attention_dropout = 0.0
        model.eval()
    assert first == second == engine_of("llama").complete(paths, actions, GREEDY, [0] * 3)


def test_counts_add_up() -> None:
    assert TokenCounts(1, 2, 3) + TokenCounts(10, 20, 30) - TokenCounts(1, 1, 1) == TokenCounts(10, 21, 32)


def test_a_real_model_reuses_as_it_reads(smollm2: Folder) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(smollm2, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(smollm2)
    grammar = rftt_grammar(max_depth=3)
    grammar = replace(grammar, actions=tuple(replace(action, tokens=2) for action in grammar.actions))
    vocabulary = extend(model, tokenizer, grammar, seed=0)
    paths = [Path(Prompt(text, text, tuple(tokenizer(text)["input_ids"]))) for text in ("2 + 2 =", "How much is 9?")]
    engines = [cls(model, tokenizer, vocabulary, grammar) for cls in (PrefixReuse, Reencoding)]
    firsts = [engine.complete(paths, ["analysis"] * 2, GREEDY, [0, 0]) for engine in engines]
    assert [step.ids for step in firsts[0]] == [step.ids for step in firsts[1]]
    longer = [
        Path(path.prompt, (PathNode("analysis", (vocabulary.opens["analysis"], *step.ids), step.text),))
        for path, step in zip(paths, firsts[0], strict=True)
    ]
    assert [proposal.actions for proposal in engines[0].propose(longer)] == [
        proposal.actions for proposal in engines[1].propose(longer)
    ]
    seconds = [engine.complete(longer, ["next_step"] * 2, GREEDY, [0, 0]) for engine in engines]
    assert [step.ids for step in seconds[0]] == [step.ids for step in seconds[1]]
    assert engines[0].counts.encoded == sum(path.length for path in paths) + 4


def test_continuous_batching_writes_what_the_others_write() -> None:
    model, tokenizer, vocabulary, grammar = world("llama")
    engine = Continuous(model, tokenizer, vocabulary, grammar, page=32)
    paths, actions = paths_of("llama", 3, seed=6)
    actions = ["next_step"] * 3
    mine = engine_of("llama").complete(paths, actions, GREEDY, [0] * 3)
    theirs = engine.complete(paths, actions, GREEDY, [0] * 3)
    assert [step.ids for step in theirs] == [step.ids for step in mine]
    for ours, others in zip(mine, theirs, strict=True):
        assert ours.log_probs == pytest.approx(others.log_probs, abs=1e-4)
    assert engine.counts.generated == sum(len(step.ids) for step in mine)
    seeds = [4, 5, 6]
    drawn = [engine.complete(paths, actions, Sampling(1.0, 0, 0.9), seeds) for _ in range(2)]
    assert drawn[0] == drawn[1]


class Llm:
    """Stands in for ``vllm.LLM``: the same model, asked slowly, by the parameters that vLLM documents."""

    def __init__(self, model: str, **options: Any) -> None:
        assert options.pop("enable_prefix_caching")
        assert options.pop("logprobs_mode") == "processed_logprobs"
        self.most = options.pop("max_logprobs")
        assert options == {"seed": 3}
        self.model = world(model)[0].eval()
        self.llm_engine = SimpleNamespace(model_config=SimpleNamespace(max_model_len=400))
        self.resets = 0

    def reset_prefix_cache(self) -> None:
        self.resets += 1

    def generate(self, prompts: list[dict[str, Any]], sampling_params: list[Any], use_tqdm: bool) -> list[Any]:
        assert not use_tqdm
        return [
            SimpleNamespace(outputs=[self._one(prompt["prompt_token_ids"], asked)], num_cached_tokens=None)
            for prompt, asked in zip(prompts, sampling_params, strict=True)
        ]

    def _one(self, ids: list[int], asked: Any) -> Any:
        ids, start, entries = list(ids), len(ids), []
        assert asked.logprobs <= self.most
        while len(ids) - start < asked.max_tokens and not (ids[start:] and ids[-1] in asked.stop_token_ids):
            logits = self.model(torch.tensor([ids])).logits[0, -1]
            for token, bias in (asked.logit_bias or {}).items():
                logits[token] += bias
            if asked.allowed_token_ids is not None:
                allowed = torch.full_like(logits, -torch.inf)
                allowed[asked.allowed_token_ids] = 0
                logits = logits + allowed
            log_probs = logits.log_softmax(-1)
            token = int(logits.argmax())
            listed = {*log_probs.topk(asked.logprobs).indices.tolist(), token}
            entries.append({each: SimpleNamespace(logprob=float(log_probs[each])) for each in listed})
            ids.append(token)
        return SimpleNamespace(token_ids=ids[start:], logprobs=entries)


class Parameters(SimpleNamespace):
    """Stands in for ``vllm.SamplingParams``."""

    def __init__(self, **given: Any) -> None:
        known = {"max_tokens", "temperature", "top_k", "top_p", "seed", "detokenize"}
        assert given.keys() <= known | {"logprobs", "logit_bias", "allowed_token_ids", "stop_token_ids"}
        super().__init__(**{"logit_bias": None, "allowed_token_ids": None, "stop_token_ids": (), **given})


def test_vllm_is_asked_for_what_the_others_write(monkeypatch: pytest.MonkeyPatch) -> None:
    _, tokenizer, vocabulary, grammar = world("llama")
    with pytest.raises(UserError, match="vLLM is not installed"):
        Vllm("llama", tokenizer, vocabulary, grammar)
    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace(LLM=Llm, SamplingParams=Parameters))
    engine = Vllm("llama", tokenizer, vocabulary, grammar, seed=3)
    paths, actions = paths_of("llama", 12, seed=7)
    ours = engine_of("llama")
    mine, theirs = (each.complete(paths, actions, GREEDY, [0] * 12) for each in (ours, engine))
    assert [step.ids for step in theirs] == [step.ids for step in mine]
    for one, other in zip(mine, theirs, strict=True):
        assert one.log_probs == pytest.approx(other.log_probs, abs=1e-4)
        assert (one.text, one.closed) == (other.text, other.closed)
    assert engine.counts.encoded == sum(path.length + 1 for path in paths)
    for one_p, other_p in zip(ours.propose(paths), engine.propose(paths), strict=True):
        assert one_p.actions == other_p.actions
        assert one_p.log_probs == pytest.approx(other_p.log_probs, abs=1e-4)
    engine.forget()
    assert engine._llm.resets == 1
