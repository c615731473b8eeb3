"""From pixels to classes, the one way: normalise, run the network over a lattice of tiles, refuse NaN, name classes.

Whole slides, image files, MONAI Label's regions and exported networks all go through this room.
"""

from monch_monai.predict.changed_nuclei import ChangedNuclei, report_words, with_words
from monch_monai.predict.class_map import ClassMapd, NaNError, Prediction, class_map, classify
from monch_monai.predict.engine_network import EngineNetwork, tiles_at_once
from monch_monai.predict.inferer import LatticeInferer
from monch_monai.predict.lattice import Cell, Lattice, Tiling
from monch_monai.predict.precision import MixedPrecisionInferer, cpu_capabilities, has_fast_bfloat16
from monch_monai.predict.predictor import NetworkPredictor, Predictor
from monch_monai.predict.stitching import MemoryCache, TileCache, cut, paste, run_tiles

__all__ = [
    "Cell", "ChangedNuclei", "ClassMapd", "EngineNetwork", "Lattice", "LatticeInferer", "MemoryCache",
    "MixedPrecisionInferer", "NaNError", "NetworkPredictor",
    "Prediction", "Predictor", "TileCache", "Tiling", "class_map", "classify", "cpu_capabilities", "cut",
    "has_fast_bfloat16", "paste", "report_words", "run_tiles", "tiles_at_once", "with_words",
]  # fmt: skip
