from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser

from monch_monai.data import Fold, Tiles, write_tiles
from monch_monai.datasets.synthetic import synthetic_tile
from monch_monai.handlers import EpochSeeds
from tests.bundle.conftest import CONFIGS


@pytest.fixture(scope="module")
def unbalanced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty tiles, all without dead nuclei but the first two."""
    folder = tmp_path_factory.mktemp("data") / "unbalanced"

    def tiles(start: int) -> list:
        made = [synthetic_tile(np.random.default_rng(i), 64, 6)._replace(tissue="Colon") for i in range(40)]
        without = [
            tile._replace(
                classes=np.where(tile.classes == 4, 0, tile.classes).astype(np.uint8),
                instances=np.where(tile.classes == 4, 0, tile.instances).astype(np.uint16),
            )
            for tile in made[2:]
        ]
        return [*made[:2], *without][start:]

    write_tiles(folder, {"all": Fold(40, tiles, 64)}, {"1": {"train": ["all"], "validation": ["all"]}})
    return folder


def batches(dataset: Path, seed: int = 0, epoch: int = 1, **settings: object) -> list[dict]:
    parser = ConfigParser(ConfigParser.load_config_file(CONFIGS / "train.json"))
    parser.update({"dataset_dir": str(dataset), "device": "cpu", "batch_size": 8, "num_workers": 2, **settings})
    loader = parser.get_parsed_content("train#dataloader")
    EpochSeeds(seed, loader.dataset)(SimpleNamespace(state=SimpleNamespace(epoch=epoch)))
    return list(loader)


def same(some: list[dict], others: list[dict]) -> bool:
    return all(torch.equal(a[key], b[key]) for a, b in zip(some, others, strict=True) for key in ("image", "label"))


def test_a_seed_gives_the_same_batches_with_workers_and_another_seed_or_epoch_gives_others(unbalanced: Path) -> None:
    first = batches(unbalanced, sampling_strength=0.5)
    assert same(first, batches(unbalanced, sampling_strength=0.5))
    assert not same(first, batches(unbalanced, sampling_strength=0.5, seed=1))
    assert not same(first, batches(unbalanced, sampling_strength=0.5, epoch=2))


def test_sampling_draws_tiles_with_the_rarest_class_more_often(unbalanced: Path) -> None:
    def share(strength: float) -> float:
        drawn = [batches(unbalanced, epoch=e, sampling_strength=strength, num_workers=0) for e in range(3)]
        tiles = [label for epoch in drawn for batch in epoch for label in batch["label"]]
        return sum(bool((label == 4).any()) for label in tiles) / len(tiles)

    rows = Tiles(unbalanced).rows(["all"])
    assert sum(row["dead_nuclei"] != "0" for row in rows) == 2
    assert share(0.0) == 2 / 40
    assert share(1.0) > 0.15


def test_labels_stay_class_maps_and_follow_their_images(unbalanced: Path) -> None:
    for batch in batches(unbalanced, augmentation=1.0, stain_jitter=0.0):
        assert set(batch["label"].unique().tolist()) <= {0, 1, 2, 3, 4, 5}
        nuclei = batch["label"][:, 0] > 0
        brightness = batch["image"].mean(dim=1)
        assert brightness[nuclei].mean() < brightness[~nuclei].mean() - 0.5


def test_twice_the_optical_density_darkens_images_and_leaves_labels(unbalanced: Path) -> None:
    settings = {"augmentation": 1.0, "stain_jitter": 0.0, "num_workers": 0}
    plain, dark = (batches(unbalanced, density_range=[factor, factor], **settings) for factor in (1, 2))
    for before, after in zip(plain, dark, strict=True):
        assert torch.equal(before["label"], after["label"])
        assert (after["image"] <= before["image"] + 1e-3).all()
        assert after["image"].mean() < before["image"].mean() - 0.3


def test_without_augmentation_tiles_are_only_turned_by_right_angles_and_flipped(unbalanced: Path) -> None:
    tiles = np.load(unbalanced / "all" / "classes.npy")
    turned = {np.rot90(t, k)[:, ::f].tobytes() for t in tiles for k in range(4) for f in (1, -1)}
    for batch in batches(unbalanced, augmentation=0.0):
        assert {label.numpy().astype(np.uint8).tobytes() for label in batch["label"][:, 0]} <= turned
    stored = {tile.tobytes() for tile in tiles}
    for batch in batches(unbalanced, augmentation=0.0, flips=0.0):
        assert {label.numpy().astype(np.uint8).tobytes() for label in batch["label"][:, 0]} <= stored
