"""Fisher averaging, RegMean, task singular vectors and isotropic merging, against what their papers say they do."""

import torch

from burnish.merge.methods import get


def merge(name, base, models, statistics=None, per_model=None, **parameters):
    return get(name)(base, models, model_parameters=per_model or {}, parameters=parameters, statistics=statistics)


def test_fisher_weighs_by_information():
    models, information = (
        [torch.tensor([0.0, 2]), torch.tensor([4.0, 6])],
        [torch.tensor([1.0, 2]), torch.tensor([3.0, 2])],
    )
    torch.testing.assert_close(merge("fisher", None, models, information), torch.tensor([3.0, 4.0]))
    weighted = merge("fisher", None, models, information, {"weight": [3, 1]})
    torch.testing.assert_close(weighted, torch.tensor([2.0, 3.0]))


def test_fisher_averages_where_nobody_knows():
    models = [torch.tensor([0.0, 2]), torch.tensor([4.0, 6])]
    nothing = [torch.zeros(2), torch.zeros(2)]
    for statistics in (None, nothing, [torch.ones(2), None]):
        torch.testing.assert_close(merge("fisher", None, models, statistics), torch.tensor([2.0, 4.0]))


def test_regmean_is_the_least_squares_layer():
    torch.manual_seed(0)
    weights, inputs = (
        [torch.randn(5, 3) for _ in range(2)],
        [torch.randn(50, 3) * torch.tensor([1, 5.0, 0.2]) for _ in range(2)],
    )
    stacked = torch.cat(inputs)
    targets = torch.cat([x @ w.T for x, w in zip(inputs, weights, strict=True)])
    expected = torch.linalg.lstsq(stacked, targets).solution.T
    grams = [x.T @ x for x in inputs]
    found = merge("regmean", None, weights, grams, alpha=1.0, ridge=1e-12)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    turned = merge("regmean", None, [w.T.contiguous() for w in weights], grams, alpha=1.0, ridge=1e-12, input_axis=0)
    torch.testing.assert_close(turned.T, expected, rtol=1e-4, atol=1e-5)


def test_regmean_without_statistics_or_activity_averages():
    models = [torch.zeros(2, 3), torch.ones(2, 3)]
    dead = torch.diag(torch.tensor([1.0, 0.0, 0.0]))
    for statistics in (None, [torch.zeros(3, 3)] * 2, [torch.eye(3), None], [dead, dead]):
        torch.testing.assert_close(merge("regmean", None, models, statistics), torch.full((2, 3), 0.5))
    vectors = [torch.zeros(3), torch.ones(3)]
    torch.testing.assert_close(merge("regmean", None, vectors, [torch.eye(3)] * 2), torch.full((3,), 0.5))


def test_tsv_keeps_one_task_and_orthogonal_tasks_whole():
    torch.manual_seed(0)
    base, model = torch.randn(6, 4), torch.randn(6, 4)
    torch.testing.assert_close(merge("tsv", base, [model]), model, rtol=1e-4, atol=1e-5)
    u, v = torch.linalg.qr(torch.randn(6, 6)).Q, torch.linalg.qr(torch.randn(4, 4)).Q
    deltas = [
        u[:, 2 * m : 2 * m + 2] @ torch.diag(torch.tensor([3.0, 1.0])) @ v[:, 2 * m : 2 * m + 2].T for m in range(2)
    ]
    merged = merge("tsv", base, [base + delta for delta in deltas])
    torch.testing.assert_close(merged, base + deltas[0] + deltas[1], rtol=1e-4, atol=1e-5)


def test_tsv_takes_interference_out():
    # Two tasks that share their only direction: summing doubles it, decorrelating does not.
    base = torch.zeros(4, 4)
    delta = torch.zeros(4, 4)
    delta[0, 0], delta[1, 1] = 1.0, 0.5
    merged = merge("tsv", base, [delta, delta])
    assert merged.norm() < (2 * delta).norm()


def test_tsv_decorrelates_both_sides():
    """Two rank-one tasks that overlap on one side only, then only on the other; expected from the polar factor."""
    a, b = torch.tensor([1.0, 0, 0, 0]), torch.tensor([0.6, 0.8, 0, 0])
    c, d = torch.tensor([0, 0, 1.0, 0]), torch.tensor([0, 0, 0, 1.0])

    def polar(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        matrix = torch.stack([x, y], dim=1)
        values, vectors = torch.linalg.eigh(matrix.T @ matrix)
        return matrix @ vectors @ torch.diag(values**-0.5) @ vectors.T

    scales = torch.diag(torch.tensor([3.0, 2.0]))
    for left, right in (((a, b), (c, d)), ((c, d), (a, b))):
        deltas = [scales[n, n] * torch.outer(left[n], right[n]) for n in range(2)]
        expected = polar(*left) @ scales @ polar(*right).T
        rows, columns = (2, 4) if left[0] is a else (4, 2)
        # The overlapping side has two entries: so each task keeps one direction, and no arbitrary second one.
        found = merge("tsv", torch.zeros(rows, columns), [delta[:rows, :columns] for delta in deltas])
        torch.testing.assert_close(found, expected[:rows, :columns], rtol=1e-4, atol=1e-5)


def test_iso_c_has_a_flat_spectrum_and_the_summed_subspace():
    torch.manual_seed(0)
    base, models = torch.randn(6, 4), [torch.randn(6, 4) for _ in range(3)]
    merged = merge("iso_c", base, models)
    summed = sum(model - base for model in models)
    mean = torch.linalg.svdvals(summed).mean()
    torch.testing.assert_close(torch.linalg.svdvals(merged - base), mean.expand(4), rtol=1e-4, atol=1e-5)
    assert ((merged - base) * summed).sum() > 0


def test_spectral_methods_average_what_is_no_matrix():
    base, models = torch.zeros(3), [torch.tensor([2.0, 0, 4]), torch.tensor([0.0, 2, 4])]
    for name in ("tsv", "iso_c"):
        assert merge(name, base, models, **{"lambda": 0.5}).tolist() == [0.5, 0.5, 2]
