"""The operations that are MONCH's own: tensors in, tensors out."""

from monch_monai.ops.high_pass import high_pass
from monch_monai.ops.knn import knn
from monch_monai.ops.max_relative import max_relative

__all__ = ["high_pass", "knn", "max_relative"]
