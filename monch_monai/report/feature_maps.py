"""Feature maps of a tile, stage by stage (the paper's Fig. 6)."""

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from monch_monai.data import RGBReader, Tiles
from monch_monai.geometry import TILE_SIZE
from monch_monai.handlers.items import name_of
from monch_monai.networks import Monch
from monch_monai.networks.features import HighFrequency, MultiGrainedFeatures, Topology
from monch_monai.report.figures import draw_feature_maps, save

STAGES = {"high": "asks conv (q_h)", "conv": "asks topo (q_v)", "topo": "asks text (q_t)", "text": "asks blend (q_T)"}


def feature_maps(network: Monch, image: Tensor) -> dict[str, NDArray[np.float32]]:
    """Length of the feature vector at each place, by stage: `F^h`, `F^v`, `F^t`, the decoder's stages, the merged map.

    Args:
        network: for a module that is switched off, its substitute is shown; a stage of the decoder is left out.
        image: `[1, 3, H, W]`, normalised.

    Returns:
        name to `[h, w]` float32, of the image without the border that the network adds; sizes differ.
    """
    seen: dict[str, Any] = {}
    modules: dict[str, nn.Module] = {"features": network.features}
    if network.decoder is not None:
        modules |= {**dict(network.decoder.attend.items()), "merged": network.decoder.merge}
    with ExitStack() as hooks, torch.inference_mode():
        for name, module in modules.items():
            hooks.enter_context(module.register_forward_hook(lambda *call, name=name: seen.update({name: call[-1]})))
        network.eval()(image)
    grid = seen["features"][0].shape[-2:]  # of the fine map, and of the decoder's queries
    maps = dict(zip(_feature_names(network), seen["features"], strict=True))
    maps |= {title: seen[name].mT.unflatten(2, grid) for name, title in STAGES.items() if name in seen}
    if "merged" in seen:
        maps["merged"] = seen["merged"]
    padded = network.pad(image).shape[-2:]
    lengths = {}
    for name, (values, *_) in maps.items():
        sizes = zip(values.shape[1:], image.shape[-2:], padded, strict=True)
        height, width = (math.ceil(cells * size / whole) for cells, size, whole in sizes)
        lengths[name] = values[:, :height, :width].float().norm(dim=0).cpu().numpy()
    return lengths


@idist.one_rank_only()
def draw_features(output_dir: str | Path, network: Monch, dataset: Any, tiles: Tiles, folds: list[str]) -> Path:
    """Draws `figures/feature_maps.png` of the tile with the most classes, and among equals the most nuclei.

    Of several processes the first draws.

    Args:
        output_dir: folder of the evaluation.
        network: the one evaluated.
        dataset: transformed items, one for each tile of the folds, in their order.
        tiles: the prepared dataset.
        folds: those evaluated.
    """
    pixels, image = richest_tile(dataset, tiles, folds)
    path = Path(output_dir) / "figures" / "feature_maps.png"
    save(path, draw_feature_maps(pixels, feature_maps(network, image.to(next(network.parameters()).device))))
    return path


def richest_tile(dataset: Any, tiles: Tiles, folds: list[str]) -> tuple[NDArray[np.uint8], Tensor]:
    """The tile with the most classes, and among equals the most nuclei; of whole fields, the first corner.

    Args:
        dataset: transformed items, one for each tile of the folds, in their order.
        tiles: the prepared dataset.
        folds: those to choose from.

    Returns:
        its pixels `[H, W, 3]`, and the transformed image `[1, 3, H, W]`.
    """
    richness = [
        _richness(row, part.vocabulary.names[1:]) for part, inner in tiles.parts(folds) for row in part.rows(inner)
    ]
    item = dataset[richness.index(max(richness))]
    pixels, _ = RGBReader().get_data([name_of(item)])
    image = torch.as_tensor(item["image"])[None, :, :TILE_SIZE, :TILE_SIZE]
    return pixels[:TILE_SIZE, :TILE_SIZE], image


def _feature_names(network: Monch) -> tuple[str, str, str]:
    features = network.features
    if not isinstance(features, MultiGrainedFeatures):
        return "F^f fine", "F^m middle", "F^c coarse"
    high = "high-pass" if isinstance(features.high, HighFrequency) else "conv"
    topo = "topology" if isinstance(features.topo, Topology) else "conv"
    return f"F^h {high}", "F^v conv", f"F^t {topo}"


def _richness(row: Mapping[str, str], labels: Sequence[str]) -> tuple[int, int]:
    nuclei = [int(row[f"{label}_nuclei"]) for label in labels]
    return sum(n > 0 for n in nuclei), sum(nuclei)
