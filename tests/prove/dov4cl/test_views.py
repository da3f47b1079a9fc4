"""Views of an audit: the same picture whatever the batch, of the right size and type, grey and colour."""

import numpy as np
import pytest
from scipy import stats

from burnish.prove.contrastive.recipe import ViewSettings
from burnish.prove.dov4cl.recipe import PipelineSettings
from burnish.prove.dov4cl.views import make_views, numbers

PIPELINE = PipelineSettings(global_views=2, local_views=3)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_view_depends_on_its_image_alone(channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 12, 10, channels), dtype=np.uint8)
    index = np.arange(9)
    whole = make_views(pixels, index, PIPELINE, "global", seed=5)
    assert whole.shape == (9, 2, 12, 10, channels)
    assert whole.dtype == np.uint8
    for rows in ([3], [8, 3, 1], [0, 4, 5, 6]):
        np.testing.assert_array_equal(make_views(pixels[rows], np.array(rows), PIPELINE, "global", seed=5), whole[rows])


def test_kinds_draws_seeds_and_views_differ() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 1), dtype=np.uint8)
    index = np.arange(2)
    same = PIPELINE.model_copy(update={"local_size": "same", "local_view": ViewSettings(), "local_views": 2})
    made = [
        make_views(pixels, index, same, "global", seed=5),
        make_views(pixels, index, same, "local", seed=5),
        make_views(pixels, index, same, "global", seed=6),
        make_views(pixels, index, same, "global", seed=5, draw=1),
    ]
    assert len({views.tobytes() for views in made}) == 4
    assert not np.array_equal(made[0][:, 0], made[0][:, 1])


def test_local_views_are_half_as_large() -> None:
    pixels = np.zeros((1, 9, 8, 3), dtype=np.uint8)
    assert make_views(pixels, np.array([0]), PIPELINE, "local", seed=0).shape == (1, 3, 4, 4, 3)


def test_numbers_are_uniform_and_below_one() -> None:
    found = numbers(0, 0, 0, np.arange(300), 4)
    assert found.shape == (300, 4, 12)
    assert found.max() < 1
    assert stats.kstest(found.ravel(), "uniform").pvalue > 0.01
    assert numbers(0, 0, 0, np.array([], dtype=np.int64), 4).shape == (0, 4, 12)
