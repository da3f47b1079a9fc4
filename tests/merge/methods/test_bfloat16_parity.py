"""bfloat16 inputs, by the specification's definition of parity (merge.md, section 4).

mergekit rounds after every step and sorts without stability, so equality of bits means nothing. What is asked instead:
the same entries kept and elected outside the threshold's bfloat16 bucket, and a result within half an ulp (+ 1e-6) of a
float64 reference with the same masks: never farther from it than mergekit's is from its own.
"""

import numpy as np
import pytest
import torch

from burnish.merge.kernels import kernel
from burnish.merge.methods import get
from tests.merge.methods.slow_reference import largest, merge, without_outliers

SIZE = 4096


def half_ulp(values):
    """Half the distance of bfloat16 neighbours (8 significant bits) at each value."""
    return 2.0 ** (np.floor(np.log2(np.maximum(np.abs(values), 2.0**-126))) - 8)


def through_kernel(name, base, models, per_model, shared):
    out = torch.empty_like(models[0])
    raw = [tensor.view(torch.uint16).numpy() for tensor in (base, *models, out)]
    compiled = kernel(name, "bfloat16")
    assert compiled is not None
    compiled(raw[0], raw[1:-1], model_parameters=per_model, parameters=shared, out=raw[-1])
    return out


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ["task_arithmetic", "ties", "breadcrumbs", "breadcrumbs_ties"])
@pytest.mark.parametrize("weight", [[1.0, 1.0], [0.3, 0.55]])
def test_never_farther_from_the_truth_than_mergekit(mergekit, fine_tunes, name, weight, seed):
    from mergekit.sparsify import magnitude, magnitude_outliers

    base, models = fine_tunes((SIZE,), 2, torch.bfloat16, seed=seed, drift=0.02)
    density, gamma = 0.5, 0.05
    per_model = {"weight": weight, "density": [density] * 2}
    shared = {"normalize": True}
    deltas = [model.float() - base.float() for model in models]
    rounded = [model - base for model in models]
    everything = [set(range(SIZE))] * 2
    ours_kept, their_kept = everything, everything
    if name == "ties":
        ours_kept = [largest(delta.tolist(), density) for delta in deltas]
        their_kept = [set(magnitude(delta, density).nonzero().flatten().tolist()) for delta in rounded]
    elif name != "task_arithmetic":
        per_model["gamma"] = [gamma] * 2
        ours_kept = [without_outliers(delta.tolist(), density, gamma) for delta in deltas]
        their_kept = [
            set(magnitude_outliers(delta, density, gamma=gamma).nonzero().flatten().tolist()) for delta in rounded
        ]
    for ours, theirs, delta in zip(ours_kept, their_kept, rounded, strict=True):
        # The masks differ only among entries whose rounded magnitude is that of a threshold.
        assert len({delta[i].abs().item() for i in ours ^ theirs if delta[i] != 0}) <= 2

    wide, elect = [model.double().numpy() for model in models], name in ("ties", "breadcrumbs_ties")
    reference = merge(base.double().numpy(), wide, ours_kept, weight, elect=elect, normalize=True)
    found = get(name)(base, models, model_parameters=per_model, parameters=shared).bfloat16()
    assert through_kernel(name, base, models, per_model, shared).equal(found)
    ours_error = np.abs(found.double().numpy() - reference)
    parts = [
        np.array([delta[i].item() * share if i in kept else 0 for i in range(SIZE)])
        for delta, kept, share in zip(deltas, ours_kept, weight, strict=True)
    ]
    # 0.3 x 0.04296875 - 0.55 x 0.0234375 is 0, and in no binary arithmetic is: such votes have no true outcome.
    sums, scale = np.abs(parts[0] + parts[1]), np.maximum(np.abs(parts[0]), np.abs(parts[1]))
    decided = (sums > 1e-6 * scale) | (scale == 0) | (not elect)
    assert (ours_error <= half_ulp(reference) + 1e-6)[decided].all()
    assert decided.mean() > 0.9

    theirs = mergekit(name, base, models, per_model, shared).double().numpy()
    differing = set.union(*(ours ^ theirs for ours, theirs in zip(ours_kept, their_kept, strict=True)))
    same = np.array([i not in differing for i in range(SIZE)]) & ((sums > 2**-6 * scale) | (scale == 0) | (not elect))
    assert same.mean() > 0.8
    their_error = np.abs(theirs - reference)
    assert (ours_error <= their_error + 1e-6)[same].all()
    assert ours_error[same].mean() < their_error[same].mean()


@pytest.mark.parametrize("weight", [[1.0, 1.0], [0.3, 0.55]])
def test_elects_what_mergekit_elects(fine_tunes, weight):
    from mergekit.merge_methods.generalized_task_arithmetic import get_mask

    from burnish.merge.methods.consensus import agrees, elect_signs

    base, models = fine_tunes((SIZE,), 2, torch.bfloat16, drift=0.02)
    rounded = torch.stack([(model - base) * share for model, share in zip(models, weight, strict=True)])
    exact = [(model.float() - base.float()) * share for model, share in zip(models, weight, strict=True)]
    signs = elect_signs(exact)
    ours = torch.stack([agrees(delta, signs) for delta in exact])
    # Where two opposite deltas round to neighbours, mergekit's vote is the rounding's.
    undecided = rounded.sum(0).abs() <= 2**-7 * rounded.abs().amax(0)
    assert (ours == get_mask(rounded))[:, ~undecided].all()
    assert undecided.float().mean() < 0.1


@pytest.mark.parametrize("name", ["linear", "slerp"])
def test_averages_are_rounded_once(mergekit, fine_tunes, name):
    base, models = fine_tunes((SIZE,), 1, torch.bfloat16, drift=1.0)
    if name == "linear":
        models, per_model, shared = [base, *models], {"weight": [0.3, 0.9]}, dict[str, float]()
        reference = (0.3 * models[0].double() + 0.9 * models[1].double()).numpy() / 1.2
        theirs = mergekit(name, None, models, per_model, shared)
    else:
        per_model, shared = {}, {"t": 0.3}
        a, b = base.double(), models[0].double()
        theta = torch.acos(a @ b / a.norm() / b.norm())
        reference = ((torch.sin(0.7 * theta) * a + torch.sin(0.3 * theta) * b) / torch.sin(theta)).numpy()
        theirs = mergekit(name, base, models, per_model, shared)
    found = through_kernel(name, base, models, per_model, shared).double().numpy()
    error = np.abs(found - reference)
    assert (error <= half_ulp(reference) + 1e-6).all()
    assert error.max() <= np.abs(theirs.double().numpy() - reference).max() + 1e-7
