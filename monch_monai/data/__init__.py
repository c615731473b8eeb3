"""Prepared datasets of tiles, picture files, how MONAI reads both, and how training tiles are drawn and varied."""

from monch_monai.data.density import LightenTissued, note_density
from monch_monai.data.images import ReadableImages
from monch_monai.data.readers import ClassMapReader, InstanceMapReader, RGBReader, read_instance_map
from monch_monai.data.sampling import RankTileSampler, tile_sampler, tiles_at_once
from monch_monai.data.stain import RandStainJitterd
from monch_monai.data.tiles import Tile, Tiles
from monch_monai.data.writer import Fold, write_tiles

__all__ = [
    "ClassMapReader",
    "Fold",
    "InstanceMapReader",
    "LightenTissued",
    "RGBReader",
    "RandStainJitterd",
    "RankTileSampler",
    "ReadableImages",
    "Tile",
    "Tiles",
    "note_density",
    "read_instance_map",
    "tile_sampler",
    "tiles_at_once",
    "write_tiles",
]
