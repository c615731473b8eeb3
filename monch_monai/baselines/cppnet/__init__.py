"""CPP-Net (Chen et al., 2023): network, loss and nuclei, from its description; no code of its authors' is used."""

from monch_monai.baselines.cppnet.loss import CppNetLoss
from monch_monai.baselines.cppnet.network import CppNet
from monch_monai.baselines.cppnet.nuclei import CppNetNucleid
from monch_monai.baselines.cppnet.polygons import CppNetTruthd

__all__ = ["CppNet", "CppNetLoss", "CppNetNucleid", "CppNetTruthd"]
