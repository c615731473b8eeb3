"""Other networks, trained and evaluated by MONCH's configs for comparison."""

from monch_monai.baselines.hovernet import HoVerDistancesd, HoVerNetMaps, HoVerNetMapsLoss, HoVerNetNucleid
from monch_monai.baselines.ma_sam import MaSam, MaSamLoss
from monch_monai.baselines.med_sa import MedSa, MedSaLoss

__all__ = [
    "HoVerDistancesd",
    "HoVerNetMaps",
    "HoVerNetMapsLoss",
    "HoVerNetNucleid",
    "MaSam",
    "MaSamLoss",
    "MedSa",
    "MedSaLoss",
]
