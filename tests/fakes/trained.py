"""A bundle whose network is small, and was trained for seconds, so that it finds the nuclei of synthetic tissue."""

import json
import shutil
from pathlib import Path

import numpy as np
import torch

from monch_monai.class_table import PANNUKE, ClassTable
from monch_monai.data import Tile
from monch_monai.datasets.synthetic import synthetic_tile
from monch_monai.losses import PerClassBCE
from monch_monai.networks import Monch
from tests.fakes.network import SmallText, small_monch

BUNDLE = Path(__file__).parents[2] / "bundle"


def tissue(seed: int, width: int, height: int, nuclei: int, class_table: ClassTable = PANNUKE) -> Tile:
    """Synthetic tissue with known nuclei; nuclei at the edge may be cut."""
    tile = synthetic_tile(np.random.default_rng(seed), max(width, height), nuclei, class_table)
    parts = (array[:height, :width] for array in (tile.image, tile.classes, tile.instances))
    return Tile(*parts, tile.tissue, tile.source)


def trained_monch(steps: int = 120, class_table: ClassTable = PANNUKE) -> Monch:
    network = small_monch()
    encoder = network.image_encoder
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (encoder.mean, encoder.std))
    network.describe(class_table, SmallText(), words="fixed")  # random features, as many as are learned in seconds
    optimizer, loss, rng = torch.optim.Adam(network.parameters(), 3e-3), PerClassBCE(), np.random.default_rng(0)
    for _ in range(steps):
        tiles = [synthetic_tile(rng, 128, 8, class_table) for _ in range(4)]
        images = torch.from_numpy(np.stack([tile.image for tile in tiles])).permute(0, 3, 1, 2) / 255
        classes = torch.from_numpy(np.stack([tile.classes for tile in tiles]))[:, None]
        optimizer.zero_grad()
        loss(network((images - mean) / std), classes).backward()
        optimizer.step()
    network.reference_density.copy_(torch.tensor([0.12, 0.36, 0.2]))  # a little paler, so that all doors must lighten
    return network.eval()


def write_small_bundle(folder: Path, network: Monch) -> Path:
    """The bundle's own configs but for the network, and that network's weights."""
    shutil.copytree(BUNDLE / "configs", folder / "configs")
    for name in ("train", "inference", "inference_wsi"):
        path = folder / "configs" / f"{name}.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        config["network_def"] = {"_target_": "tests.fakes.network.small_monch"}
        path.write_text(json.dumps(config, indent=4), encoding="utf-8")
    (folder / "models").mkdir()
    torch.save(network.state_dict(), folder / "models" / "model.pt")
    return folder
