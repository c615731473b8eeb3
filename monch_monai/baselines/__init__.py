"""Other networks in MONCH's harness, beside which it is measured."""

from monch_monai.baselines.hovernet import HoVerNetMaps, HoVerNetMapsLoss, HoVerNetNucleid

__all__ = ["HoVerNetMaps", "HoVerNetMapsLoss", "HoVerNetNucleid"]
