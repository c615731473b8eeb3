"""The stain of tissue: its optical density, where it lies, how images are lightened to a reference, and its jitter."""

from monch_monai.stain.density import lightened, lightening, tissue_density
from monch_monai.stain.glass import RandGlassd
from monch_monai.stain.jitter import RandStainJitterd
from monch_monai.stain.lighten import LightenTissued, shrunk
from monch_monai.stain.tissue import DEFAULT_RULE, TISSUE_MPP, TissueRule, tissue_rule

__all__ = [
    "DEFAULT_RULE",
    "TISSUE_MPP",
    "LightenTissued",
    "RandGlassd",
    "RandStainJitterd",
    "TissueRule",
    "lightened",
    "lightening",
    "shrunk",
    "tissue_density",
    "tissue_rule",
]
