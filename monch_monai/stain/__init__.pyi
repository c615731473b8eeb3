from .density import lightened, lightening, tissue_density
from .glass import RandGlassd
from .jitter import RandStainJitterd
from .lighten import LightenTissued, shrunk
from .tissue import DEFAULT_RULE, TISSUE_MPP, TissueRule, tissue_rule

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
