"""What a method brings so that its evidence can be checked. Knows no method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from burnish.prove.findings import Record


@dataclass(frozen=True)
class Analysis:
    """How a method's evidence is computed, and computed again by whoever checks it.

    Attributes:
        findings: from stored answers and settings, as the method's ``analysis.analyse`` documents them.
        settings: the settings of ``findings`` that a recipe (as plain data) decides: what a commitment fixes of them.
    """

    findings: Callable[[Mapping[str, np.ndarray], Mapping[str, Any]], Record | Mapping[str, Any]]
    settings: Callable[[Mapping[str, Any]], dict[str, Any]]
