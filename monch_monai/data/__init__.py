"""Prepared datasets of tiles, picture files, how MONAI reads both, and how training tiles are drawn."""

from monch_monai.data.images import ReadableImages
from monch_monai.data.readers import ClassMapReader, InstanceMapReader, RGBReader, read_instance_map
from monch_monai.data.reference_density import record_reference_density
from monch_monai.data.sampling import RankTileSampler, evaluated_at_once, tile_sampler, tiles_at_once
from monch_monai.data.several import SeveralTiles
from monch_monai.data.tile_labels import TileLabels
from monch_monai.data.tiles import Tile, Tiles
from monch_monai.data.writer import Fold, write_tiles

__all__ = [
    "ClassMapReader", "Fold", "InstanceMapReader", "RGBReader", "RankTileSampler", "ReadableImages", "SeveralTiles",
    "Tile", "TileLabels", "Tiles",
    "evaluated_at_once", "read_instance_map", "record_reference_density", "tile_sampler", "tiles_at_once",
    "write_tiles",
]  # fmt: skip
