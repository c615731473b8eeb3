"""Other networks, trained and evaluated by MONCH's configs for comparison."""

from monch_monai.baselines.hovernet import HoVerDistancesd, HoVerNetMaps, HoVerNetMapsLoss, HoVerNetNucleid

__all__ = ["HoVerDistancesd", "HoVerNetMaps", "HoVerNetMapsLoss", "HoVerNetNucleid"]
