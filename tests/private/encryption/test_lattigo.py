"""A second library as oracle: the same circuits, the same results, the same sign polynomials. In a process of its own,
since the library is written in Go and keeps one scheme a process. Skipped where orion-fhe is not installed."""

import importlib.util
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(importlib.util.find_spec("orion") is None, reason="orion-fhe is not installed")

PROGRAM = """
import numpy as np
from burnish.private.argmax.all_pairs import all_pairs_from_differences, all_pairs_levels
from burnish.private.argmax.reading import needed_error, read_label
from burnish.private.argmax.records import Tournament
from burnish.private.encryption.clear import ClearClient, ClearEvaluator
from burnish.private.encryption.lattigo import Lattigo
from burnish.private.encryption.parameters import Parameters
from burnish.private.polynomials.minimax import cheapest, minimax

parameters = Parameters(ring=16384, scale_bits=32, levels=10, end_bits=50)
library = Lattigo(parameters)
a, b = np.random.default_rng(0).uniform(-1, 1, (2, parameters.slots))
x, y = library.encrypt(a), library.encrypt(b)
for found, wanted in [
    (library.add(x, y), a + b),
    (library.subtract(x, y), a - b),
    (library.negate(x), -a),
    (library.rescale(library.multiply(x, y)), a * b),
    (library.rescale(library.multiply_plain(x, b)), a * b),
    (library.add_plain(x, b), a + b),
    (library.rotate(x, 3), np.roll(a, -3)),
    (library.drop(x, 7), a),
]:
    assert np.abs(library.decrypt(found) - wanted).max() < 1e-3, np.abs(library.decrypt(found) - wanted).max()
assert x.level == 10 and library.drop(x, 7).level == 7

layout = Tournament(4, parameters.slots)
sign = cheapest(2.0**-4, needed_error("all_pairs", 4, 2.0**-4), below=3)
scores = np.random.default_rng(1).uniform(-0.5, 0.5, (layout.queries, 4))
level = all_pairs_levels(4, sign)
slots = library.decrypt(
    all_pairs_from_differences(library, library.encrypt(layout.differences(scores), level), layout, sign)
)
clear = ClearClient(parameters)
wanted = clear.decrypt(
    all_pairs_from_differences(
        ClearEvaluator(parameters), clear.encrypt(layout.differences(scores), level), layout, sign
    )
)
assert np.abs(slots - wanted).max() < 0.05, np.abs(slots - wanted).max()
labels = [read_label(slots, layout, sign, query) for query in range(len(scores))]
assert all(label.index in (None, row.argmax()) for label, row in zip(labels, scores))
assert sum(label.ambiguous for label in labels) < len(labels) / 3

ours = minimax((7, 15), 2.0**-4)
theirs = library.sign_coefficients((7, 15), 4)
points = np.concatenate([-np.geomspace(2.0**-4, 1, 500), np.geomspace(2.0**-4, 1, 500)])
values = points
for stage in theirs:
    values = np.polynomial.chebyshev.chebval(values, stage)
error = np.abs(2 * values - 1 - np.sign(points)).max()
# Theirs leaves room for the scheme's error; none of these degrees can do better than the best.
assert ours.error < error * (1 + 1e-6) and error < 5 * ours.error, (error, ours.error)
print("agreed")
"""


def test_lattigo_agrees():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "agreed" in done.stdout
