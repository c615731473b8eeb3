"""Max-relative aggregation of neighbours: the gather, the maximum and the difference in one."""

from monch_monai.ops.max_relative.op import max_relative

__all__ = ["max_relative"]
