"""Ignite handlers and metrics, attached to the engines that train, evaluate and infer."""

from monch_monai.handlers.buffers import SharedBuffers
from monch_monai.handlers.calibration import Calibration
from monch_monai.handlers.checkpoints import Checkpoints
from monch_monai.handlers.compared_tiles import ComparedTiles
from monch_monai.handlers.history import History
from monch_monai.handlers.notable import NotableTiles
from monch_monai.handlers.nucleus_scores import NucleusScores
from monch_monai.handlers.overlays import OverlaySheet
from monch_monai.handlers.own_words import OwnWords
from monch_monai.handlers.predictions import PredictionWriter
from monch_monai.handlers.progress import Progress, loss_of
from monch_monai.handlers.scores import MeanDice, ScoreTable
from monch_monai.handlers.seeds import EpochSeeds

__all__ = [
    "Calibration",
    "Checkpoints",
    "ComparedTiles",
    "EpochSeeds",
    "History",
    "MeanDice",
    "NotableTiles",
    "NucleusScores",
    "OverlaySheet",
    "OwnWords",
    "PredictionWriter",
    "Progress",
    "ScoreTable",
    "SharedBuffers",
    "loss_of",
]
