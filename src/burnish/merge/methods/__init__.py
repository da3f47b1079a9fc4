"""Every merge method as one pure function over task tensors, and the registry that names them. Knows no files."""

from burnish.merge.methods.method import MergeMethod
from burnish.merge.methods.own import merge_method
from burnish.merge.methods.parameter import REQUIRED, Parameter
from burnish.merge.methods.registry import get, names

__all__ = ["REQUIRED", "MergeMethod", "Parameter", "get", "merge_method", "names"]
