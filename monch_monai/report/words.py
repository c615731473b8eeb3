"""Pictures of words in a tile, of an evaluation's or of the user's own picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from monai.bundle import ConfigParser
from numpy.typing import NDArray
from torch import Tensor

from monch_monai.class_table import ClassTable
from monch_monai.data import Tiles
from monch_monai.data.images import find_images
from monch_monai.errors import InputError, one_line
from monch_monai.geometry import NETWORK_MPP, TILE_SIZE, Level0Box
from monch_monai.networks import Monch
from monch_monai.predict import MixedPrecisionInferer
from monch_monai.predict.predictor import normalisation, tile_logits
from monch_monai.report.feature_maps import feature_maps, richest_tile
from monch_monai.report.figures import draw_feature_maps, save
from monch_monai.report.word_figure import draw_word_maps
from monch_monai.report.word_maps import WordMaps, word_maps
from monch_monai.settings import flag, whole_number
from monch_monai.slides.working_image import image_grid

NEEDED = ("weights", "network", "network_def", "preprocessing", "device", "mean", "std")
"""Parts of the config that a picture's words are drawn with."""


@idist.one_rank_only()
def draw_words(output_dir: str | Path, network: Monch, dataset: Any, tiles: Tiles, folds: list[str]) -> Path:
    """Draws `figures/words.png` of the tile that `draw_features` draws. Of several processes the first draws.

    Args:
        output_dir: folder of the evaluation.
        network: the one evaluated.
        dataset: transformed items, one for each tile of the folds, in their order.
        tiles: the prepared dataset.
        folds: those evaluated.
    """
    pixels, image = richest_tile(dataset, tiles, folds)
    path = Path(output_dir) / "figures" / "words.png"
    maps = word_maps(network, image.to(next(network.parameters()).device))
    save(path, draw_word_maps(pixels, maps, network.class_table))
    return path


def draw_picture_words(
    image: str | Path,
    out: str | Path,
    checkpoint: str | Path | None = None,
    mpp: float = NETWORK_MPP,
    x: int = 0,
    y: int = 0,
    config_file: str | Sequence[str] | None = None,
    stages: bool | str = False,
) -> Path:
    """Draws the words in a tile of a picture, by the settings of the bundle's `inference.json`; returns the PNG's path.

    The whole picture is lightened and resampled as inference does, then the tile of `TILE_SIZE` px is cut out. Where it
    would reach beyond the picture it is moved inside.

    Args:
        image: picture file.
        out: PNG to write.
        checkpoint: weights; None takes those that inference takes.
        mpp: of the picture, µm per pixel.
        x: left edge of the tile, px of the picture.
        y: top edge, as `x`.
        config_file: `inference.json` and overlays of other networks; None takes that of `bundle`, or of the current
            folder.
        stages: draws the network's stages in that tile, and its attention and probabilities by class, in place of the
            words (the paper's Fig. 6).

    Raises:
        InputError: `image` is no one picture that can be read, `out` is no PNG or is `image`, the tile begins outside,
            there are no weights or no config, or the network is not MONCH.
    """
    path = Path(out)
    if path.suffix.lower() != ".png" or path.resolve() == Path(image).resolve():
        raise InputError(f"OUT is {out}; give the name of a .png other than IMAGE")
    whole_number("x", x, least=0), whole_number("y", y, least=0)
    if Path(image).is_dir():
        raise InputError(f"{image} is a folder: give one picture")
    (picture,) = find_images(image)
    parser = _config(config_file, mpp=mpp, **({} if checkpoint is None else {"checkpoint": str(checkpoint)}))
    for name in ("weights", "network"):  # which loads the network, and takes it to the device
        parser.get_parsed_content(name)
    network = parser.get_parsed_content("network_def")
    if not isinstance(network, Monch):
        raise InputError(f"words act in MONCH alone; the config's network is {type(network).__name__}: use another")
    whole = parser.get_parsed_content("preprocessing")({"image": str(picture)})["image"]
    grid, box = image_grid(whole.meta, mpp)
    if x >= box.width or y >= box.height:
        raise InputError(f"x, y are {x}, {y}; the picture is of {box.width}x{box.height} px: give a place inside it")
    place = grid.covering(Level0Box(x, y, 1, 1))
    top, left = (max(0, min(a, n - TILE_SIZE)) for a, n in zip((place.y, place.x), whole.shape[1:], strict=True))
    tile = whole.as_tensor()[None, :, top : top + TILE_SIZE, left : left + TILE_SIZE].to(
        parser.get_parsed_content("device")
    )
    found: list[WordMaps] = []
    of_stages: dict[str, NDArray[np.float32]] = {}

    def watched(images: Tensor) -> Tensor:
        found.append(word_maps(network, images))
        of_stages.update(feature_maps(network, images) if flag("stages", stages) else {})
        return torch.from_numpy(found[0].logits)[None]

    of_images = (parser.get_parsed_content(name) for name in ("mean", "std"))
    tile_logits(tile, watched, *normalisation(network, *of_images), MixedPrecisionInferer(amp=False))
    pixels = tile[0].permute(1, 2, 0).cpu().numpy().astype(np.uint8)
    if of_stages:
        save(path, draw_feature_maps(pixels, of_stages, maps_by_class(found[0], network.class_table)))
    else:
        save(path, draw_word_maps(pixels, found[0], network.class_table))
    return path


def maps_by_class(maps: WordMaps, class_table: ClassTable) -> dict[str, dict[str, NDArray[np.float32]]]:
    """Attention to each class's words, where a stage attends to words, and its probability: kind to class to map."""
    probability = 1 / (1 + np.exp(-maps.logits))
    kinds = {"attention": maps.class_attention, "probability": probability}
    return {kind: dict(zip(class_table.names, of, strict=True)) for kind, of in kinds.items() if of is not None}


def _config(config_file: str | Sequence[str] | None, **settings: Any) -> ConfigParser:
    """The bundle's inference with other settings.

    Raises:
        InputError: a file of the config does not exist or cannot be read, or the config is not one of inference.
    """
    root = Path("bundle" if Path("bundle/configs").is_dir() else ".")
    given = str(root / "configs" / "inference.json") if config_file is None else config_file
    files = [given] if isinstance(given, str) else [str(file) for file in given]
    for file in files:
        if not Path(file).is_file():
            raise InputError(f"{file} does not exist: run this beside the bundle, or give --config_file")
    parser = ConfigParser()
    try:
        parser.read_config(files)
        missing = [name for name in NEEDED if name not in parser]
    except Exception as error:  # readers of JSON and YAML raise errors of many types
        raise InputError(f"config {files} cannot be read ({one_line(error, 120)}): give inference.json") from error
    if missing:
        raise InputError(f"config {files} has no {missing[0]}: give inference.json, then overlays of other networks")
    parser.update(settings)
    return parser
