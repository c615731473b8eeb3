"""Dilated k nearest neighbours, Eq. (5)."""

from monch_monai.ops.knn.op import knn

__all__ = ["knn"]
