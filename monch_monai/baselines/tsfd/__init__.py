"""TSFD-Net (Ilyas et al., 2022): network, loss and nuclei, from its description; no code of its authors' is used."""

from monch_monai.baselines.tsfd.loss import TsfdLoss, TsfdTruthd
from monch_monai.baselines.tsfd.network import TsfdNet
from monch_monai.baselines.tsfd.nuclei import TsfdNucleid

__all__ = ["TsfdLoss", "TsfdNet", "TsfdNucleid", "TsfdTruthd"]
