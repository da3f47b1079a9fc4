"""The task-vector methods as rows of data: what each keeps of a delta, and how it adds up what is kept.

All are  base + lambda * mix(weight_m * keep_m(model_m - base)),  per tensor. The catalogue, the one function over
tensors (task_vectors.py) and the compiled kernels read the same rows. No torch, no numba.
"""

from dataclasses import dataclass
from typing import Literal

Keep = Literal["all", "largest", "band", "random", "ranked"]


@dataclass(frozen=True)
class TaskVectorMethod:
    """One method of the family.

    Attributes:
        name: of the merge method.
        reference: its paper.
        keep: which entries of a delta stay: `all`; the `largest` magnitudes; a `band` of magnitudes below the outliers;
            a `random` part; a random part in which larger magnitudes have the better chance (`ranked`).
        elect: whether only entries with the elected sign are added (TIES), or all.
        normalize: the default of that parameter.
        rescale: the default of that parameter.
    """

    name: str
    reference: str
    keep: Keep
    elect: bool = False
    normalize: bool = False
    rescale: bool = False

    @property
    def random(self) -> bool:
        """Whether the result depends on a seed."""
        return self.keep in ("random", "ranked")


FAMILY = (
    # arXiv:2212.04089, section 2: base + lambda sum_m w_m (model_m - base)
    TaskVectorMethod("task_arithmetic", "arXiv:2212.04089", "all"),
    # arXiv:2306.01708, algorithm 1: trim, elect signs, merge what agrees
    TaskVectorMethod("ties", "arXiv:2306.01708", "largest", elect=True, normalize=True),
    # arXiv:2311.03099, equation 2: drop at random, divide the kept entries by the density
    TaskVectorMethod("dare_linear", "arXiv:2311.03099", "random", rescale=True),
    TaskVectorMethod("dare_ties", "arXiv:2311.03099", "random", elect=True, rescale=True),
    # arXiv:2406.11617, section 3: drop at random, small entries more often; `della_linear` without the election
    TaskVectorMethod("della", "arXiv:2406.11617", "ranked", elect=True, normalize=True, rescale=True),
    TaskVectorMethod("della_linear", "arXiv:2406.11617", "ranked", rescale=True),
    # arXiv:2312.06795, equations 2 and 3: drop the outliers and the small entries
    TaskVectorMethod("breadcrumbs", "arXiv:2312.06795", "band"),
    TaskVectorMethod("breadcrumbs_ties", "arXiv:2312.06795", "band", elect=True),
)
ROWS = {row.name: row for row in FAMILY}
