from .changed_nuclei import ChangedNuclei, report_words, with_words
from .class_mapd import ClassMapd
from .engine_network import EngineNetwork
from .inferer import LatticeInferer
from .lattice import Cell, Lattice, Tiling
from .precision import MixedPrecisionInferer, cpu_capabilities, has_fast_bfloat16
from .prediction import NaNError, Prediction, class_map, classify
from .predictor import NetworkPredictor, Predictor
from .stitching import MemoryCache, TileCache, cut, paste, run_tiles

__all__ = [
    "Cell", "ChangedNuclei", "ClassMapd", "EngineNetwork", "Lattice", "LatticeInferer", "MemoryCache",
    "MixedPrecisionInferer",
    "NaNError", "NetworkPredictor",
    "Prediction", "Predictor", "TileCache", "Tiling", "class_map", "classify", "cpu_capabilities", "cut",
    "has_fast_bfloat16", "paste", "report_words", "run_tiles", "with_words",
]  # fmt: skip
