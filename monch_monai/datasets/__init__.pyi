from .consep import prepare_consep
from .dataset_dir import open_tiles
from .monusac import prepare_monusac
from .monuseg import prepare_monuseg
from .pannuke import prepare_pannuke
from .plain import prepare_plain
from .sample import prepare_sample
from .synthetic import write_synthetic

__all__ = [
    "open_tiles", "prepare_consep", "prepare_monusac", "prepare_monuseg", "prepare_pannuke", "prepare_plain",
    "prepare_sample", "write_synthetic",
]  # fmt: skip
