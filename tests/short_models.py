"""Embedded models after a part of their training: enough for the form of what they do. No page says how well they do.

For a child: under the checks of shapes training takes far longer.
"""

from __future__ import annotations

import os
from functools import partial


def train(name: str, cache: str) -> None:
    """Train one into a cache.

    Args:
        name: of an embedded model, or ``dov4cl-demo``, the suspect of the recipe.
        cache: a value for ``BURNISH_CACHE``; set for good in this process.
    """
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
