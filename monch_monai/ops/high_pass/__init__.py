"""High-pass filter of a feature map, Eqs. (2)-(3)."""

from monch_monai.ops.high_pass.reference import high_pass

__all__ = ["high_pass"]
