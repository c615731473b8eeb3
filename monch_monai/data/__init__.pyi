from .images import ReadableImages
from .readers import ClassMapReader, InstanceMapReader, RGBReader, read_instance_map
from .reference_density import record_reference_density
from .sampling import RankTileSampler, evaluated_at_once, tile_sampler, tiles_at_once
from .several import SeveralTiles
from .tile_labels import TileLabels
from .tiles import Tile, Tiles
from .writer import Fold, write_tiles

__all__ = [
    "ClassMapReader", "Fold", "InstanceMapReader", "RGBReader", "RankTileSampler", "ReadableImages", "SeveralTiles",
    "Tile", "TileLabels", "Tiles",
    "evaluated_at_once", "read_instance_map", "record_reference_density", "tile_sampler", "tiles_at_once",
    "write_tiles",
]  # fmt: skip
