"""Other networks, trained and evaluated by MONCH's configs for comparison."""

from monch_monai.baselines.cppnet import CppNet, CppNetLoss, CppNetNucleid, CppNetTruthd
from monch_monai.baselines.hovernet import HoVerDistancesd, HoVerNetMaps, HoVerNetMapsLoss, HoVerNetNucleid
from monch_monai.baselines.ma_sam import MaSam, MaSamLoss
from monch_monai.baselines.med_sa import MedSa, MedSaLoss
from monch_monai.baselines.tsfd import TsfdLoss, TsfdNet, TsfdNucleid, TsfdTruthd

__all__ = [
    "CppNet",
    "CppNetLoss",
    "CppNetNucleid",
    "CppNetTruthd",
    "HoVerDistancesd",
    "HoVerNetMaps",
    "HoVerNetMapsLoss",
    "HoVerNetNucleid",
    "MaSam",
    "MaSamLoss",
    "MedSa",
    "MedSaLoss",
    "TsfdLoss",
    "TsfdNet",
    "TsfdNucleid",
    "TsfdTruthd",
]
