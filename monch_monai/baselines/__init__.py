"""Other networks in MONCH's harness, beside which it is measured."""

from monch_monai.baselines.hovernet import HoVerDistancesd, HoVerNetMaps, HoVerNetMapsLoss, HoVerNetNucleid

__all__ = ["HoVerDistancesd", "HoVerNetMaps", "HoVerNetMapsLoss", "HoVerNetNucleid"]
