"""HF2EM: the high-frequency feature extraction module."""

from torch import Tensor, nn

from monch_monai.ops import high_pass


class HighFrequency(nn.Module):
    """High-frequency feature of the fine map: its high-pass part added to itself, Eqs. (2)-(4).

    Args:
        cutoff: share of each frequency axis that counts as low, in [0, 1]; see `monch_monai.ops.high_pass`.
        shape: of what counts as low, `box` or `circle`.
    """

    def __init__(self, cutoff: float = 0.25, shape: str = "box") -> None:
        super().__init__()
        self.cutoff, self.shape = cutoff, shape

    def extra_repr(self) -> str:
        """Settings that shapes of parameters do not show."""
        return f"cutoff={self.cutoff}, shape={self.shape!r}"

    def forward(self, fine: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, C, H, W]`."""
        return high_pass(fine, self.cutoff, self.shape, residual=True)
