"""Embedded models after a part of their training: enough for the form of what they do. No page says how well they do.

It trains in a child of the fork server: see :func:`train`.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from tests.forked import CONTEXT


def train(name: str, cache: Path) -> None:
    """Train one into a cache, in a child: under the checks of shapes, which this process may make, it takes far longer.

    Args:
        name: of an embedded model, or ``dov4cl-demo``, the suspect of the recipe.
        cache: a value for ``BURNISH_CACHE``.
    """
    process = CONTEXT.Process(target=_train, args=(name, str(cache)))
    process.start()
    process.join()
    assert process.exitcode == 0, f"{name}: exit status {process.exitcode}"


def _train(name: str, cache: str) -> None:
    os.environ["BURNISH_CACHE"] = cache
    import torch

    from burnish.prove.dov4cl import demo
    from burnish.testbeds import arithmetic, models, motion_pair, scene_model, ways_model

    torch.set_num_threads(1)
    arithmetic.train_base = partial(arithmetic.train_base, steps=200)
    ways_model.write_base = partial(ways_model.write_base, steps=300)
    teacher, student = motion_pair.PAIR
    motion_pair.PAIR = ((*teacher[:3], teacher[3] // 4), (*student[:3], student[3] // 4))
    scene_model.Spend = partial(scene_model.Spend, scenes=2048, seeing=200, steps=250)  # type: ignore[misc, assignment]
    if name == "dov4cl-demo":
        demo.thief(demo.public().pixels[:2])
    else:
        models.prepare_model(name)
