"""The two operations that are MONCH's own: tensors in, tensors out."""

from monch_monai.ops.high_pass import high_pass
from monch_monai.ops.knn import knn

__all__ = ["high_pass", "knn"]
