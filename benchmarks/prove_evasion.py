"""How often the search for evasion accuses an innocent suspect, on the encoders of the DOV4CL study.

    python benchmarks/prove_evasion.py [SEEDS [FOLDER]]

Trains the study's encoders of size `quick` (16 owners a seed; seeds that the study judges, from 1000 on) and puts each
before the 15 owners whose pictures it never saw, with the other encoders as shadows, as in the study. The floor is what
the test promises: a jump by chance in one audit of a thousand. The bound is Clopper-Pearson's over encoders, as audits
of one encoder are alike. FOLDER keeps the encoders; `artifacts/encoders` of the study's run has them already.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from burnish.core.models import load_model
from burnish.core.parallel import one_thread
from burnish.prove.contrastive.train import train_encoder
from burnish.prove.dov4cl.demo import embed
from burnish.prove.dov4cl.probes import PICTURES, scrambled
from burnish.prove.dov4cl.views import make_views
from burnish.prove.evasion import Evasion, Probes, measure_evasion
from burnish.prove.statistics import binomial_interval
from burnish.studies.dov4cl.experiment import VIEWS, Setting, owned, trainings
from burnish.studies.dov4cl.study import QUICK


def audits(setting: Setting) -> list[tuple[int, Evasion]]:
    """Every innocent encoder before every owner: its number, and what was measured."""
    models = [load_model(train_encoder(task)) for task in trainings(setting)[: setting.design.owners]]
    pixels = np.load(setting.folder / f"{setting.data}.npy", mmap_mode="r")
    found = []
    for owner, places in enumerate(owned(setting)):
        pictures, index = np.asarray(pixels[places]), np.arange(len(places))
        views = [make_views(pictures, index, VIEWS, kind, 1000 * setting.seed + owner) for kind in ("global", "local")]
        answers = [
            [embed(model, each.reshape(-1, *each.shape[2:])).reshape(*each.shape[:2], -1) for each in views]
            for model in models
        ]
        probed = np.r_[:PICTURES, setting.design.images : setting.design.images + PICTURES]
        path = scrambled(pictures[probed], probed, setting.seed)
        for number, model in enumerate(models):
            if number == owner:
                continue
            shadows = [each for other, each in enumerate(answers) if other not in (owner, number)]
            steps = embed(model, path.reshape(-1, *path.shape[2:])).reshape(*path.shape[:2], -1)
            again = embed(model, pictures[probed][::-1].copy())[::-1]  # another batch, other places in it
            probes = Probes(probed < setting.design.images, np.stack([steps[:, 0], again], axis=1), steps)
            found.append((number, measure_evasion(answers[number], shadows, probes, np.random.default_rng(owner))))
    return found


def main(seeds: int, kept: str | None = None) -> None:
    """Print what was found."""
    start, every = time.process_time(), []
    with tempfile.TemporaryDirectory() as passing, one_thread():
        for seed in range(1000, 1000 + seeds):
            setting = Setting(seed, "simclr", "mnist", QUICK.epochs[0], QUICK, Path(kept or passing))
            every += [((seed, number), each) for number, each in audits(setting)]
            print(f"seed {seed}: {time.process_time() - start:.0f} CPU-s", flush=True)
    encoders = {name for name, _ in every}
    accused = {name for name, each in every if each.signs}
    _, high = binomial_interval(len(accused), len(encoders))
    print(f"{len(every):,} innocent audits: {sum(bool(each.signs) for _, each in every)} called evasive")
    print(f"{len(accused)} of {len(encoders)} encoders ever called so: at most {high:.1%} with 95 % confidence")
    for name in ("inconsistency", "distinct", "spread", "signal", "apart", "jump", "jump_p"):
        values = np.array([getattr(each, name) for _, each in every], dtype=float)
        print(f"{name}: {values.min():.4g} to {values.max():.4g}, median {np.median(values):.4g}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 6, *sys.argv[2:3])
