"""All ways to the argmax, one contract: the right class, or "ambiguous"; never a wrong one. On the clear back end,
whose slots carry the noise of CKKS, against NumPy's argmax."""

from itertools import pairwise

import numpy as np
import pytest

from burnish.core.errors import BurnishError
from burnish.private.argmax.all_pairs import (
    SPREAD_LEVELS,
    all_pairs_from_differences,
    all_pairs_levels,
    all_pairs_of_blocks,
    differences_from_scores,
    scores_in_rows,
    spread_rotations,
)
from burnish.private.argmax.reading import needed_error, read_label
from burnish.private.argmax.records import Row, Tournament, blocks_of
from burnish.private.argmax.running_maximum import comparison_levels, folding, running_rotations, sequential
from burnish.private.encryption.choose import make_client, make_evaluator
from burnish.private.encryption.clear import ClearClient, ClearEvaluator
from burnish.private.encryption.parameters import Parameters
from burnish.private.polynomials.minimax import cheapest, minimax
from tests.private.encryption.backends import needs_openfhe

RING = Parameters(ring=32768, scale_bits=35, levels=22, end_bits=45)
EPS = 2.0**-6


def sign_for(method, classes, eps=EPS):
    return cheapest(eps, needed_error(method, classes, eps), below=4)


class Refresh:
    """Decrypt and encrypt again, where a service would bootstrap."""

    def __init__(self, client):
        self.client, self.times = client, 0

    def __call__(self, cipher, level):
        self.times += 1
        return self.client.encrypt(self.client.decrypt(cipher), level)


def run_all_pairs(scores, sign, parameters=RING, rotations=None):
    layout = Tournament(scores.shape[1], parameters.slots)
    client = ClearClient(parameters)
    evaluator = ClearEvaluator(parameters, client.evaluation_keys(layout.rotations))
    level = all_pairs_levels(layout.classes, sign)
    answer = all_pairs_from_differences(evaluator, client.encrypt(layout.differences(scores), level), layout, sign)
    assert answer.level == 0
    slots = client.decrypt(answer)
    assert answer.noise < 1 / 8
    return [read_label(slots, layout, sign, query) for query in range(len(scores))], slots, layout


def run_running(method, scores, sign, parameters=RING):
    layout = Row(scores.shape[1], parameters.slots)
    client = ClearClient(parameters)
    evaluator = ClearEvaluator(parameters, client.evaluation_keys(running_rotations(layout, method)))
    refresh = Refresh(client)
    way = {"folding": folding, "sequential": sequential}[method]
    start = client.encrypt(layout.spread(scores), comparison_levels(sign))
    slots = client.decrypt(way(evaluator, start, layout, sign, refresh))
    return [read_label(slots, layout, sign, query) for query in range(len(scores))], refresh.times


def gaps(scores):
    top = np.sort(scores, axis=1)
    return top[:, -1] - top[:, -2]


def keeps_the_contract(labels, scores, eps):
    for label, row, gap in zip(labels, scores, gaps(scores), strict=True):
        if gap >= eps or label.index is not None:
            assert label.index == np.argmax(row), (gap, label)
        else:
            assert int(np.argmax(row)) in label.contenders


def test_by_hand():
    """Rows of w of [.1, .7, .3, .2], scaled: products 0, 1, 0, 0."""
    sign = minimax((15, 15), 2.0**-4)
    labels, slots, layout = run_all_pairs(np.array([[0.1, 0.7, 0.3, 0.2]]) / 2, sign)
    assert [round(float(slots[layout.place(0, label)]), 2) for label in range(4)] == [0, 1, 0, 0]
    assert labels[0].index == 1
    assert not labels[0].ambiguous


def test_folding_by_hand():
    """[3, 9, 4, 1]: by 1 -> 9, 9, 4, 3; by 2 -> 9 everywhere; equal to the second."""
    labels, _ = run_running("folding", np.array([[3, 9, 4, 1]]) / 18, sign_for("folding", 4))
    assert labels[0].index == 1


@pytest.mark.parametrize("classes", [2, 3, 5, 16, 31, 64, 128])
def test_all_pairs_keeps_the_contract(classes):
    """Thousands of vectors: full ciphertexts of uniform scores, whose nearest two are often nearer than eps."""
    rng = np.random.default_rng(classes)
    sign = sign_for("all_pairs", classes)
    queries = min(Tournament(classes, RING.slots).queries, 1000)
    certain, rounds = 0, 2 if queries > 8 else 8
    for _ in range(rounds):
        scores = rng.uniform(-0.5, 0.5, (queries, classes))
        scores[rng.random(queries) < 0.5, 0] = 0.5  # of many uniform scores, the nearest two are nearer than eps
        scores[:, 1:] = np.where(scores[:, :1] == 0.5, scores[:, 1:] * 0.9, scores[:, 1:])
        labels, slots, layout = run_all_pairs(scores, sign)
        keeps_the_contract(labels, scores, EPS)
        certain += sum(not label.ambiguous for label in labels)
        assert np.abs(slots[layout.answers() == 0]).max() < 2.0**-12  # nothing but the answer comes back
    assert certain > queries * rounds / 4


@pytest.mark.parametrize(("method", "classes"), [("folding", 2), ("folding", 7), ("folding", 64), ("sequential", 5)])
def test_running_maxima_keep_the_contract(method, classes):
    rng = np.random.default_rng(classes)
    scores = rng.uniform(-0.5, 0.5, (min(500, Row(classes, RING.slots).queries), classes))
    labels, refreshes = run_running(method, scores, sign_for(method, classes))
    keeps_the_contract(labels, scores, EPS)
    assert refreshes == ((classes - 1).bit_length() if method == "folding" else Row(classes, 16384).width - 1)


@pytest.mark.parametrize(
    ("method", "classes"),
    [("all_pairs", 2), ("all_pairs", 3), ("all_pairs", 16), ("folding", 3), ("folding", 16), ("sequential", 3)],
)
def test_no_counter_example_around_eps(method, classes):
    """Searches where one would be: gaps from 0 to 2 eps and rivals in any number, and exactly eps on both sides."""
    sign = sign_for(method, classes)
    queries = min(1000, (Tournament if method == "all_pairs" else Row)(classes, RING.slots).queries)
    rng = np.random.default_rng(7)
    wrong = right = ambiguous = 0
    for trial in range(3):
        gap = np.array([rng.uniform(0, 2 * EPS, queries), rng.choice([0.0, EPS, EPS * (1 - 1e-6)], queries),
                        EPS * 2.0 ** -rng.uniform(0, 20, queries)][trial])  # fmt: skip
        best = rng.uniform(-0.4, 0.5, queries)
        scores = rng.uniform(-0.5, 1, (queries, classes)).clip(max=0) + (best - gap)[:, None]
        scores = np.maximum(scores, -0.5)
        winners = rng.integers(0, classes, queries)
        rivals = (winners + rng.integers(1, classes, queries)) % classes
        scores[np.arange(queries), rivals] = best - gap
        scores[np.arange(queries), winners] = best
        labels = run_all_pairs(scores, sign)[0] if method == "all_pairs" else run_running(method, scores, sign)[0]
        for label, winner, size in zip(labels, winners, gap, strict=True):
            ambiguous += label.ambiguous
            right += label.index == winner
            tied = size < 2.0**-30
            wrong += label.index is not None and label.index != winner and not tied
            assert not (tied and label.index is not None)
            if size >= EPS:
                assert label.index == winner
    assert wrong == 0
    assert min(right, ambiguous) > queries / 2


def test_what_an_ambiguous_answer_says_would_resolve_it_does():
    """Asked again at the eps that the label names, the same scores give the right class."""
    rng = np.random.default_rng(5)
    scores = rng.uniform(-0.5, 0.3, (64, 4))
    scores[:, 2] = 0.4
    scores[:, 0] = 0.4 - EPS * 2.0 ** -rng.uniform(0, 4, 64)
    labels, _, _ = run_all_pairs(scores, sign_for("all_pairs", 4))
    told = [(label, row) for label, row in zip(labels, scores, strict=True) if label.ambiguous and label.resolves]
    assert len(told) > 20
    for eps in {label.resolves for label, _ in told}:
        rows = np.array([row for label, row in told if label.resolves == eps])
        again, _, _ = run_all_pairs(rows, sign_for("all_pairs", 4, eps), RING)
        assert [label.index for label in again] == [2] * len(rows)


def test_ties_of_all_are_ambiguous_and_name_no_eps():
    for classes in (2, 4, 16):
        labels, _, _ = run_all_pairs(np.full((3, classes), 0.25), sign_for("all_pairs", classes))
        for label in labels:
            assert (label.index, label.resolves) == (None, None)
            assert label.contenders == tuple(range(classes))


def test_scores_beyond_the_bound_are_seen():
    """Differences far beyond 1 leave what polynomials are good for; what comes back is called damaged."""
    sign = sign_for("all_pairs", 4)
    labels, _, _ = run_all_pairs(np.array([[0.1, 0.2, 0.3, 0.9]]) * 4, sign)
    assert labels[0].index is None
    assert labels[0].damaged


def test_too_few_levels_name_the_step():
    layout, sign = Tournament(4, RING.slots), sign_for("all_pairs", 4)
    client, evaluator = ClearClient(RING), ClearEvaluator(RING)
    cipher = client.encrypt(layout.differences(np.zeros((1, 4))), all_pairs_levels(4, sign) - 1)
    with pytest.raises(BurnishError, match=r"0 left.*\(step: mask\)"):
        all_pairs_from_differences(evaluator, cipher, layout, sign)


def test_spread_scores_give_the_same_differences():
    layout = Tournament(6, RING.slots)
    client = ClearClient(RING)
    evaluator = ClearEvaluator(RING, client.evaluation_keys(spread_rotations(layout)))
    scores = np.random.default_rng(0).uniform(-0.5, 0.5, (layout.queries, 6))
    spread = differences_from_scores(evaluator, client.encrypt(scores_in_rows(layout, scores), 3), layout)
    assert spread.level == 3 - SPREAD_LEVELS
    wanted = layout.differences(scores).reshape(layout.queries, 8, 8)
    found = client.decrypt(spread).reshape(layout.queries, 8, 8)
    assert np.abs(found - wanted)[:, :6, :6].max() < 2.0**-15


def test_blocks_of_classes_give_the_one_winner():
    layouts = blocks_of(150, RING.slots)
    sign = sign_for("all_pairs", 150)
    rng = np.random.default_rng(2)
    client, evaluator = ClearClient(RING), ClearEvaluator(RING)
    for _ in range(3):
        scores = rng.uniform(-0.5, 0.4, 150)
        winner = int(rng.integers(150))
        scores[winner] = 0.4 + EPS
        starts = np.cumsum([0, *(layout.classes for layout in layouts)])
        parts = [scores[a:b] for a, b in pairwise(starts)]

        def between(rows, columns):
            square = np.zeros((128, 128))
            square[: len(rows), : len(columns)] = rows[:, None] - columns[None, :]
            return client.encrypt(square.ravel())

        grid = [[between(rows, columns) for columns in parts] for rows in parts]
        answers = [client.decrypt(answer) for answer in all_pairs_of_blocks(evaluator, grid, layouts, sign)]
        values = np.concatenate([
            [answer[layout.place(0, label)] for label in range(layout.classes)]
            for answer, layout in zip(answers, layouts, strict=True)
        ])  # fmt: skip
        assert np.argmax(values) == winner
        assert values[winner] > 0.75
        assert np.delete(values, winner).max() < 0.25


@pytest.mark.parametrize("backend", ["seal", pytest.param("openfhe", marks=needs_openfhe)])
def test_encrypted(backend):
    """Dozens of queries in one ciphertext of the small ring, right or ambiguous as on `clear`."""
    parameters = Parameters(ring=16384, scale_bits=32, levels=10, end_bits=45)
    sign = cheapest(2.0**-4, needed_error("all_pairs", 4, 2.0**-4), below=3)
    layout = Tournament(4, parameters.slots)
    client = make_client(parameters, backend)
    evaluator = make_evaluator(parameters, client.evaluation_keys(layout.rotations), backend)
    scores = np.random.default_rng(4).uniform(-0.5, 0.5, (layout.queries, 4))
    scores[:20, 0] = scores[:20, 1:].max(axis=1) + np.linspace(0, 2.0**-4, 20)  # may pass 1/2: harmless here
    cipher = client.encrypt(layout.differences(scores), all_pairs_levels(4, sign))
    answer = evaluator.save(all_pairs_from_differences(evaluator, cipher, layout, sign))
    slots = client.decrypt(client.load(answer))
    encrypted = [read_label(slots, layout, sign, query) for query in range(len(scores))]
    keeps_the_contract(encrypted, scores, 2.0**-4)
    assert sum(label.ambiguous for label in encrypted) < len(scores) / 3
    clear = run_all_pairs(scores, sign, parameters)[0]
    assert sum(a.index != b.index for a, b in zip(encrypted, clear, strict=True)) <= 2
