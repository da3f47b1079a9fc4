import numpy as np
import pytest

from burnish.core.errors import UserError
from burnish.merge.rmm.reward import (
    Cycler,
    discounted_returns,
    dynamic_average,
    everything,
    items_for_correlation,
    leading,
    rank_correlation_bound,
)


def test_dynamic_average_of_section_2():
    assert dynamic_average(60.0, 80.0, episode=5, episodes=10, d=0.8, fraction=0.1) == pytest.approx(72)


def test_dynamic_average_over_four_episodes():
    previous, told = None, []
    for episode, raw in enumerate([60.0, 80.0, 50.0, 70.0], 1):
        previous = dynamic_average(previous, raw, episode, episodes=10, d=0.8, fraction=0.5)
        told.append(previous)
    assert told == pytest.approx([60, 76.8, 50, 63.6])


def test_dynamic_average_is_off_at_full_data():
    assert dynamic_average(60.0, 80.0, episode=7, episodes=10, d=0.8, fraction=1.0) == 80


def test_returns():
    np.testing.assert_allclose(discounted_returns([0.0, 0.0, 80.0], 0.99), [78.408, 79.2, 80])


def test_items_for_a_rank_correlation():
    assert items_for_correlation(0.8, spread=0.05, accuracy=0.5) == 178
    assert rank_correlation_bound(0.05, 0.5, 178) == pytest.approx(0.8, abs=1e-3)


def test_a_cycle_of_1_over_s_episodes_sees_every_item_once():
    cycler = Cycler([10, 20], fraction=0.1, chunk=200)
    seen = [cycler.next() for _ in range(10)]
    assert {(task, item) for s in seen for task, start, stop in s for item in range(start, stop)} == {
        *((0, i) for i in range(10)),
        *((1, i) for i in range(20)),
    }
    assert cycler.next() == seen[0]


def test_a_cycle_resumes():
    cycler, other = (Cycler([10], fraction=0.2, chunk=200) for _ in range(2))
    cycler.next()
    other.load_state_dict(cycler.state_dict())
    assert other.next() == cycler.next() == ((0, 4, 6),) or other.cursors == cycler.cursors


def test_published_batches():
    # 10 batches of 128, s = .25: int(2.5) = 2 an episode
    assert Cycler([1280], 0.25, chunk=200, batch_size=128).next() == ((0, 0, 128), (0, 128, 256))
    # language: int(100 s) batches whatever the size, here all there are
    assert len(Cycler([256], 0.25, chunk=200, batch_size=128, fixed_batches=frozenset({0})).next()) == 2


@pytest.mark.parametrize(
    "make",
    [
        lambda: Cycler([1280], 0.05, chunk=200, batch_size=128),
        lambda: Cycler([10], 0.05, chunk=200),
        lambda: leading([10, 50], 0.05, chunk=200),
    ],
)
def test_a_subset_of_nothing_is_refused(make):
    with pytest.raises(UserError, match=r"no whole .*raise subset_fraction"):
        make()


def test_subsets_do_not_fall_to_rounding():
    assert leading([30], 0.1, 200) == ((0, 0, 3),)
    assert leading([100], 0.29, 200) == ((0, 0, 29),)


def test_chunks():
    assert everything([450, 10], 200) == ((0, 0, 200), (0, 200, 400), (0, 400, 450), (1, 0, 10))
