"""Unary and binary relationships: worked by hand, and equal to slow loops over views and pairs."""

import itertools

import numpy as np
import pytest
import torch

from burnish.prove.dov4cl import relations


def unit(n: int, views: int, seed: int) -> torch.Tensor:
    numbers = torch.randn(n, views, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return relations.unit(numbers)


def test_unary_by_hand() -> None:
    """Two views [1, 0] and [.6, .8]: cosine .6."""
    views = torch.tensor([[[1.0, 0.0], [0.6, 0.8]]])
    other = torch.tensor([[[0.0, 1.0], [0.0, 1.0]]])
    assert relations.unary(views, other)[0].tolist() == pytest.approx([0.6, 1.0, 0.4])


def test_binary_by_hand() -> None:
    """k = 2, E_u off the diagonal .5, E_v .3: d = (.2 + .2) / (2 * 1) = .2."""

    def pair(cosine: float) -> list[list[float]]:
        return [[1.0, 0.0], [cosine, (1 - cosine**2) ** 0.5]]

    views = torch.tensor([pair(0.5), pair(0.3)]).transpose(0, 1)  # [images, views, dim]
    found = relations.spread(relations.binary(views, views))
    # global-local pairs: two of four are the same view twice
    assert found.tolist() == pytest.approx([0.2, 0.2, 0.1], abs=1e-6)


@pytest.mark.parametrize("clamp", [False, True])
def test_equal_to_slow_loops(clamp: bool) -> None:
    wide, small = unit(6, 2, 0), unit(6, 3, 1)
    views = torch.cat([wide, small], 1)
    groups = {
        0: list(itertools.combinations(range(2), 2)),
        1: list(itertools.combinations(range(2, 5), 2)),
        2: list(itertools.product(range(2), range(2, 5))),
    }

    def cosine(i: int, u: int, j: int, v: int) -> float:
        value = float(views[i, u] @ views[j, v])
        return min(max(value, 0.0), 1.0) if clamp else value

    unary, binary = relations.unary(wide, small, clamp=clamp), relations.binary(wide, small, clamp=clamp)
    for group, pairs in groups.items():
        for i in range(6):
            assert float(unary[i, group]) == pytest.approx(np.mean([cosine(i, u, i, v) for u, v in pairs]))
        total = 0.0
        for i, j in itertools.permutations(range(6), 2):
            gaps = [abs(cosine(i, u, j, u) - cosine(i, v, j, v)) for u, v in pairs]
            assert float(binary[group, i, j]) == pytest.approx(np.mean(gaps))
            total += float(np.mean(gaps))
        assert float(relations.spread(binary)[group]) == pytest.approx(total / 30)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    wide, small = unit(7, 2, 2), unit(7, 2, 3)
    whole = relations.binary(wide, small)
    monkeypatch.setattr(relations, "ROWS", 1)
    torch.testing.assert_close(relations.binary(wide, small), whole)


def test_amplified_sum_by_hand() -> None:
    assert float(relations.amplified_sum(torch.tensor([0.2, -0.1, 0.3]), 3.0)) == pytest.approx(1.4)


def test_steady_views_have_no_spread() -> None:
    one = unit(5, 1, 4)
    same = one.expand(5, 3, 5)
    assert float(relations.binary(same, same).abs().max()) < 1e-12
    assert float((relations.unary(same, same) - 1).abs().max()) < 1e-12
