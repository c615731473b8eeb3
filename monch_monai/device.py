"""The device that PyTorch computes on."""

import torch

from monch_monai.errors import InputError, one_line, shown


def check_device(device: str | torch.device) -> str | torch.device:
    """`device`, on which PyTorch can compute.

    Raises:
        InputError: `device` is no name of a device, or PyTorch cannot compute on it.
    """
    try:
        if not isinstance(device, str | torch.device):
            raise TypeError("a device is a word")
        _named(device)
        torch.zeros(1, device=device).item()
    except Exception as error:  # each kind of device raises its own
        reason = one_line(error, limit=90)
        raise InputError(f"device {shown(device, 60)} cannot be used ({reason}): give --device cpu") from error
    return device


def _named(device: str | torch.device) -> torch.device:
    try:
        return torch.device(device)
    except RuntimeError as error:  # whose text lists every kind of device there is
        raise TypeError("PyTorch has none of this name") from error
