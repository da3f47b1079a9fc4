"""Slices: found by what stands before them, given up leaf first, joined into what the model computes anew."""

import pytest
import torch
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

from burnish.dialogue.prefixes import Batch, CacheShape, Room
from burnish.reason.rftt.prefix_cache import NodeSlice, PrefixCache, names_of


def piece(*ids: int) -> NodeSlice:
    """A slice of 16 bytes a token."""
    return NodeSlice(ids, torch.zeros(1, 1, len(ids), 2), torch.zeros(1, 1, len(ids), 2))


def put(cache: PrefixCache, *chain: tuple[int, ...]) -> list[int]:
    names = names_of(chain)
    cache.keep(list(zip(names, [piece(*ids) for ids in chain], strict=True)))
    return names


def test_a_node_is_found_by_its_tokens_and_all_before() -> None:
    cache = PrefixCache(1 << 20)
    names = put(cache, (1, 2), (3,), (4, 5))
    assert names_of(((1, 2), (3,), (4, 5))) == names
    assert names_of(((1, 2), (3, 4), (5,)))[1:] != names[1:]
    assert names_of(((1, 2), (9,), (4, 5)))[0] == names[0]
    assert names_of(((1, 2), (9,), (4, 5)))[2] != names[2]
    found = cache.get(names[2], (4, 5))
    assert found is not None
    assert found.ids == (4, 5)
    assert cache.get(names[2], (4, 6)) is None  # a name that two paths happen to share


def test_the_budget_holds_and_leaves_go_before_what_they_follow() -> None:
    cache = PrefixCache(budget=6 * 16)
    old = put(cache, (1, 2), (3,), (4,))
    assert cache.held == 4 * 16
    new = put(cache, (1, 2), (5,), (6, 7))
    assert cache.held == cache.peak == 6 * 16
    assert [cache.get(name, ids) is not None for name, ids in zip(old, ((1, 2), (3,), (4,)), strict=True)] == [
        True,
        True,
        False,
    ]
    assert all(cache.get(name, ids) for name, ids in zip(new, ((1, 2), (5,), (6, 7)), strict=True))
    assert cache.dropped == 1
    put(cache, (1, 2), (3,))  # used again, so that the other branch is older
    put(cache, (8, 8))
    assert cache.get(new[2], (6, 7)) is None
    assert cache.get(old[1], (3,)) is not None
    cache.clear()
    assert cache.held == 0
    assert cache.get(old[0], (1, 2)) is None


def test_what_alone_is_over_the_budget_is_not_taken_in() -> None:
    cache = PrefixCache(budget=2 * 16)
    names = put(cache, (1, 2), (3, 4, 5))
    assert cache.get(names[0], (1, 2)) is not None
    assert cache.get(names[1], (3, 4, 5)) is None
    assert (cache.held, cache.dropped) == (32, 1)


def test_gathered_slices_give_the_logits_of_the_whole_text() -> None:
    config = LlamaConfig(
        vocab_size=50, hidden_size=32, intermediate_size=32, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, initializer_range=0.3,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval().requires_grad_(False)
    texts = [torch.randint(50, (length,)).tolist() for length in (9, 4, 7)]

    def slices(text: list[int], *cuts: int) -> list[NodeSlice]:
        cache = DynamicCache(config=config)
        model(torch.tensor([text]), cache=cache)
        keys, values = (torch.stack([getattr(layer, name)[0] for layer in cache.layers]) for name in ("keys", "values"))
        ends = (*cuts, len(text))
        return [
            NodeSlice(tuple(text[start:end]), keys[:, :, start:end], values[:, :, start:end])
            for start, end in zip((0, *cuts), ends, strict=False)
        ]

    paths = [slices(texts[0], 2, 5), slices(texts[1]), slices(texts[2], 3)]
    memory = Room()
    memory.take([(3, 9, 2, 99, 8)] * 2, torch.zeros(0))[0].fill_(7.0)  # what another batch left must not shine through
    batch = Batch(paths, 5, CacheShape(3, 2, 8, 8), memory, torch.zeros(0))
    more = torch.tensor([[4, 5, 6], [0, 7, 8], [0, 0, 9]])
    logits = model(**batch.inputs(more, torch.tensor([0, 1, 2]))).logits[:, -1]
    whole = [[*texts[0], 4, 5, 6], [*texts[1], 7, 8], [*texts[2], 9]]
    for row, ids in enumerate(whole):
        assert torch.allclose(logits[row], model(torch.tensor([ids])).logits[0, -1], atol=1e-5)
    assert batch.lengths.tolist() == [12, 6, 8]

    batch.only(torch.tensor([0, 2]))
    logits = model(**batch.inputs(torch.tensor([[3], [3]]))).logits[:, -1]
    for row, ids in enumerate((whole[0], whole[2])):
        assert torch.allclose(logits[row], model(torch.tensor([[*ids, 3]])).logits[0, -1], atol=1e-5)
    made = batch.cut(0, 9, (4, 5, 6, 3))
    (rest,) = slices([*whole[0], 3], 9)[1:]
    assert torch.allclose(made.keys, rest.keys, atol=1e-5)
    assert torch.allclose(made.values, rest.values, atol=1e-5)


def test_room_is_used_again_and_grows() -> None:
    memory = Room()
    first = memory.take([(4, 5), (2,)], torch.zeros(0))
    again = memory.take([(3, 2), (2,)], torch.zeros(0))
    assert first[0].data_ptr() == again[0].data_ptr()
    assert memory.take([(400,), (2,)], torch.zeros(0))[0].shape == (400,)
    assert again[0].shape == (3, 2)


@pytest.mark.parametrize("budget", [0, 1])
def test_a_budget_of_nothing_keeps_nothing(budget: int) -> None:
    cache = PrefixCache(budget)
    put(cache, (1,), (2,))
    assert (cache.held, cache.peak, cache.dropped) == (0, 0, 2)
