"""A folder of evidence as an audit leaves it, without an audit: the answers are noise."""

from pathlib import Path

import numpy as np

from burnish.prove.dov4cl.analysis import analyse
from burnish.prove.evidence import write_evidence


def write_noise(folder: Path) -> None:
    """Evidence of an audit of one suspect and two shadows, which finds nothing."""
    rng = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {"public": np.arange(20) < 10}
    for name in ("suspect", "shadow_000", "shadow_001"):
        for kind, views in (("global", 2), ("local", 3)):
            arrays[f"{name}_{kind}"] = rng.normal(size=(1, 20, views, 4)).astype(np.float32)
    settings = {"seed": 0, "test": "permutation", "alpha": 0.05, "a": 1.0, "draws": 200, "repeats": 1}
    settings |= {"private_is": "held out", "split": None}
    write_evidence(folder, method="dov4cl", settings=settings, arrays=arrays, findings=analyse(arrays, settings))
