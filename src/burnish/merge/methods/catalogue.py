"""What every merge method asks of the user, with mergekit's names and defaults. Data only: no mathematics, no torch."""

from dataclasses import replace

from burnish.merge.methods.family import FAMILY, TaskVectorMethod
from burnish.merge.methods.method import MergeMethod
from burnish.merge.methods.parameter import Parameter

_WEIGHT = Parameter(float, "how much of this model goes into the result; set it for every model")
_SHARE = replace(_WEIGHT, default=1.0, doc="how much of this model goes into the result")
_DENSITY = Parameter(float, "the share of this model's delta that is kept, 0 to 1", 1.0, least=0, most=1)
_GAMMA = Parameter(float, "the share of this model's largest deltas that is dropped as outliers", 0.01, least=0, most=1)
_EPSILON = Parameter(
    float, "keep probabilities run from density - epsilon to density + epsilon with magnitude", 0.15, least=0, most=1
)
_LAMBDA = Parameter(float, "scales the merged delta before it is added to the base", 1.0)
_INT8_MASK = Parameter(bool, "accepted for mergekit's sake; without effect", False, inert=True)
_NORMALIZE = Parameter(bool, "divide by the sum of the weights that went in", False)
_RESCALE = Parameter(bool, "make up for dropped entries by scaling the kept ones", False)
_NORM = Parameter(str, "the norm of the delta that rescale restores", "l1", ("l1", "l2", "linf"))
_RANDOM_NORM = Parameter(
    str,
    "what rescale restores: the expectation (divide by the keep probability) or a norm of the delta",
    "l1",
    ("probability", "l1", "l2", "linf"),
)


_KEEP_PARAMETERS = {"band": {"gamma": _GAMMA}, "ranked": {"epsilon": _EPSILON}}


def _task_vectors(row: TaskVectorMethod) -> MergeMethod:
    """What a row of the task-vector family asks of the user."""
    norms = {"random": replace(_RANDOM_NORM, default="probability"), "ranked": _RANDOM_NORM}
    parameters = {
        "normalize": replace(_NORMALIZE, default=row.normalize),
        "lambda": _LAMBDA,
        "rescale": replace(_RESCALE, default=row.rescale, inert=row.keep == "all"),
        "rescale_norm": norms.get(row.keep, _NORM),
        "int8_mask": _INT8_MASK,
    }
    if row.keep == "all":
        del parameters["rescale_norm"]
    density = replace(_DENSITY, inert=row.keep == "all")
    return MergeMethod(
        row.name,
        row.reference,
        "task_vectors",
        "required",
        model_parameters={"weight": _WEIGHT, "density": density, **_KEEP_PARAMETERS.get(row.keep, {})},
        parameters=parameters,
        random=row.random,
    )


CATALOGUE = (
    MergeMethod(
        "linear",
        "arXiv:2203.05482",
        "average",
        "unused",
        model_parameters={"weight": _WEIGHT},
        parameters={"normalize": replace(_NORMALIZE, default=True)},
    ),
    MergeMethod(
        "slerp",
        "Shoemake 1985",
        "sphere",
        "required",
        max_models=1,
        parameters={"t": Parameter(float, "where between the base (0) and the other model (1)", least=0, most=1)},
    ),
    MergeMethod(
        "nuslerp",
        "mergekit",
        "sphere",
        "optional",
        min_models=2,
        max_models=2,
        model_parameters={"weight": _WEIGHT},
        parameters={
            "nuslerp_row_wise": Parameter(bool, "interpolate along the first axis instead of the last", False),
            "nuslerp_flatten": Parameter(bool, "interpolate the whole tensor as one vector", True),
        },
    ),
    MergeMethod(
        "multislerp",
        "goddard.blog/posts/multislerp-wow-what-a-cool-idea",
        "sphere",
        "optional",
        model_parameters={"weight": _WEIGHT},
        parameters={
            "normalize_weights": Parameter(bool, "make the weights sum to 1", True),
            "eps": Parameter(float, "what keeps a division by a norm finite", 1e-8, least=0),
        },
    ),
    MergeMethod(
        "karcher",
        "arXiv:2603.04972",
        "sphere",
        "unused",
        parameters={
            "max_iter": Parameter(int, "most steps of the fixed-point iteration", 10, least=1),
            "tol": Parameter(float, "the step length that ends the iteration", 1e-5, least=0),
        },
    ),
    *map(_task_vectors, FAMILY),
    MergeMethod(
        "sce",
        "arXiv:2408.07990",
        "selection",
        "required",
        parameters={
            "select_topk": Parameter(
                float, "the share of the entries that vary that is kept, most varying first", 1.0, least=0, most=1
            ),
            "int8_mask": _INT8_MASK,
        },
    ),
    MergeMethod(
        "model_stock",
        "arXiv:2403.19522",
        "average",
        "required",
        min_models=2,
        parameters={"filter_wise": Parameter(bool, "one interpolation ratio a row instead of one a tensor", False)},
    ),
    MergeMethod(
        "nearswap",
        "huggingface.co/alchemonaut/QuartetAnemoi-70B-t0.0001",
        "average",
        "required",
        max_models=1,
        parameters={"t": Parameter(float, "the distance up to which the other model's value is taken whole", least=0)},
    ),
    MergeMethod(
        "passthrough",
        "mergekit",
        "average",
        "unused",
        max_models=1,
        model_parameters={
            "scale": Parameter(float, "multiplies the tensor; unset: copied as it is", None, optional=True)
        },
    ),
    MergeMethod("arcee_fusion", "arcee.ai", "selection", "required", max_models=1),
    MergeMethod(
        "ram",
        "arXiv:2601.13572",
        "selection",
        "required",
        parameters={"epsilon": Parameter(float, "deltas up to this size count as unchanged", 1e-5, least=0)},
    ),
    MergeMethod(
        "ramplus_tl",
        "arXiv:2601.13572",
        "selection",
        "required",
        parameters={
            "r": Parameter(float, "how much a model's own entries grow with its overlap with others", 0.1, least=0),
            "alpha": Parameter(float, "the overlap ratio at which that growth stops", 0.2, least=0),
            "epsilon": Parameter(float, "deltas up to this size count as unchanged", 1e-5, least=0),
        },
    ),
    MergeMethod(
        "fisher",
        "arXiv:2111.09832",
        "statistical",
        "unused",
        model_parameters={"weight": _SHARE},
        parameters={
            "floor": Parameter(float, "least Fisher information, relative to the tensor's mean", 1e-6, least=0)
        },
        statistics="fisher",
    ),
    MergeMethod(
        "regmean",
        "arXiv:2212.09849",
        "statistical",
        "unused",
        model_parameters={"weight": _SHARE},
        parameters={
            "alpha": Parameter(float, "scales the off-diagonal of the Gram matrices, 0 to 1", 0.9, least=0, most=1),
            "ridge": Parameter(
                float, "pull towards the average, relative to the mean of the Gram diagonal", 1e-6, least=0
            ),
            "input_axis": Parameter(
                int,
                "the weight's input axis: 1 for Linear, 0 for GPT-2's Conv1D; unset: as the statistics say",
                None,
                optional=True,
                least=0,
                most=1,
            ),
        },
        statistics="gram",
    ),
    MergeMethod(
        "tsv",
        "arXiv:2412.00081",
        "spectral",
        "required",
        model_parameters={"weight": _SHARE},
        parameters={"lambda": _LAMBDA},
    ),
    MergeMethod(
        "iso_c",
        "arXiv:2502.04959",
        "spectral",
        "required",
        model_parameters={"weight": _SHARE},
        parameters={"lambda": _LAMBDA},
    ),
)
