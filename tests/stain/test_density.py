import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from torch import nn

from monch_monai.data import Tiles, record_reference_density, write_tiles
from monch_monai.data.tiles import Tile
from monch_monai.data.writer import Fold
from monch_monai.stain import LightenTissued, lightened, lightening, shrunk, tissue_density
from tests.fakes.network import small_monch

PURPLE, PINK = (0.5, 0.9, 0.3), (0.2, 0.6, 0.25)


def coloured(*densities, side=32):
    """RGB image `[side, side * n, 3]` of squares, each with the given optical densities by channel."""
    squares = [np.broadcast_to(256 * np.exp(-np.asarray(d)) - 1, (side, side, 3)) for d in densities]
    return np.concatenate(squares, axis=1).round().astype(np.uint8)


GLASS = (0.02, 0.02, 0.02)


def test_density_is_that_of_tissue_whatever_glass_there_is():
    for image in (coloured(PURPLE), coloured(PURPLE, GLASS, GLASS)):
        assert tissue_density(image) == pytest.approx(PURPLE, abs=0.01)
    assert tissue_density(coloured(PURPLE, PINK)) == pytest.approx(np.mean([PURPLE, PINK], axis=0), abs=0.01)


BLACK, PEN, GREY = ((4.0, 4.0, 4.0), (2.2, 2.4, 2.2), (0.2, 0.2, 0.2))


@pytest.mark.parametrize("other", [BLACK, PEN, GREY])
def test_what_is_no_tissue_does_not_count(other):
    assert tissue_density(coloured(PURPLE, other)) == pytest.approx(PURPLE, abs=0.01)


def test_too_little_tissue_is_not_judged():
    assert tissue_density(coloured(PURPLE, side=4)) is not None
    assert tissue_density(coloured(PURPLE, side=4)[1:]) is None


def test_glass_has_no_density_and_is_left_alone():
    assert tissue_density(coloured(GLASS)) is None
    assert lightening(tissue_density(coloured(GLASS)), PINK) == (1, 1, 1)


@pytest.mark.parametrize(("mpp", "size"), [(0.25, (3, 6)), (0.5, (6, 12)), (8.0, (96, 192)), (0.01, (1, 1))])
def test_an_image_in_small_has_pixels_of_eight_micrometres(mpp, size):
    assert shrunk(coloured(PURPLE, PINK, side=96), mpp).shape == (*size, 3)


def test_channels_darker_than_the_reference_are_lightened_to_it_and_paler_ones_left():
    assert lightening(tissue_density(coloured(PURPLE)), (0.25, 0.45, 0.3)) == pytest.approx((0.5, 0.5, 1), abs=0.02)
    assert lightening(tissue_density(coloured(PINK)), PURPLE) == (1, 1, 1)
    assert lightening(tissue_density(coloured(PURPLE)), None) == (1, 1, 1)


def test_lightened_tissue_has_the_density_of_the_reference():
    image = coloured(PURPLE, GLASS)
    made = lightened(image, lightening(tissue_density(image), PINK))
    assert tissue_density(made) == pytest.approx(PINK, abs=0.01)
    assert (made >= image).all()


def test_density_is_multiplied_at_every_value():
    values = np.arange(1, 256, dtype=np.uint8)
    image = np.stack([values] * 3, axis=-1)[None]
    made = lightened(image, (0.4, 0.7, 1.0))
    expected = 255 * np.exp(np.log(image / 255) * (0.4, 0.7, 1.0))
    assert np.abs(made - expected).max() <= 0.5 + 1e-6
    assert (made[..., 2] == image[..., 2]).all()
    assert made.dtype == np.uint8


def test_factors_of_one_give_the_very_image():
    image = coloured(PURPLE)
    assert lightened(image, (1.0, 1.0, 1.0)) is image


def as_item(pixels):
    image = MetaTensor(torch.from_numpy(pixels).permute(2, 0, 1).float(), meta={"filename_or_obj": "a.png"})
    return {"image": image, "label": 3}


def test_the_transform_lightens_images_and_keeps_their_metadata():
    pixels = coloured(PURPLE, PINK, GLASS, side=96)
    item = as_item(pixels)
    made = LightenTissued("image", (0.2, 0.4, 0.1), mpp=0.5)(item)
    expected = lightened(pixels, lightening(tissue_density(shrunk(pixels, 0.5)), (0.2, 0.4, 0.1)))
    assert (made["image"].numpy().transpose(1, 2, 0) == expected).all()
    assert (expected > pixels).any()
    assert made["image"].meta["filename_or_obj"] == "a.png"
    assert made["image"].dtype == torch.float32
    assert made["label"] == 3
    assert (item["image"].numpy().transpose(1, 2, 0) == pixels).all()


def test_the_transform_without_a_reference_leaves_the_very_image():
    item = as_item(coloured(PURPLE))
    assert LightenTissued("image", None)(item)["image"] is item["image"]


def tiles_of(folder, *images):
    empty = np.zeros((128, 128), np.uint8)
    tiles = [Tile(i, empty, empty.astype(np.uint16), "Colon", f"f{n}") for n, i in enumerate(images)]
    write_tiles(folder, {"train": Fold(len(tiles), lambda start: tiles[start:], 128)}, {})
    return Tiles(folder)


def test_a_network_keeps_the_median_tile(tmp_path):
    tiles = tiles_of(tmp_path / "d", *(coloured(d, side=128) for d in (PURPLE, PINK, PINK, GLASS)))
    network = small_monch()
    assert record_reference_density(network, tiles, ["train"]) == pytest.approx(PINK, abs=0.01)
    assert network.state_dict()["reference_density"].tolist() == pytest.approx(PINK, abs=0.01)


def test_a_network_that_goes_on_keeps_the_density_it_has(tmp_path):
    tiles, network = tiles_of(tmp_path / "d", coloured(PINK, side=128)), small_monch()
    assert record_reference_density(network, tiles, ["train"], known=[0.25, 0.5, 0.125]) == [0.25, 0.5, 0.125]
    assert network.reference_density.tolist() == [0.25, 0.5, 0.125]


def test_without_tissue_or_a_place_nothing_is_recorded(tmp_path):
    glass = tiles_of(tmp_path / "glass", coloured(GLASS, side=128))
    network = small_monch()
    assert record_reference_density(network, glass, ["train"]) is None
    assert not network.reference_density.any()
    assert record_reference_density(nn.Linear(1, 1), glass, ["train"]) is None
