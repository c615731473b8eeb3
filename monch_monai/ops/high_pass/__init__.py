"""High-pass filter of a feature map, Eqs. (2)-(4)."""

from monch_monai.ops.high_pass.op import high_pass

__all__ = ["high_pass"]
