"""Slices: found by what stands before them, given up leaf first."""

import pytest
import torch

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


@pytest.mark.parametrize("budget", [0, 1])
def test_a_budget_of_nothing_keeps_nothing(budget: int) -> None:
    cache = PrefixCache(budget)
    put(cache, (1,), (2,))
    assert (cache.held, cache.peak, cache.dropped) == (0, 0, 2)
