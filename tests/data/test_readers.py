from types import SimpleNamespace

import numpy as np
import pytest
import torch
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged

from monch_monai.class_table import PANNUKE, Vocabulary
from monch_monai.data import ClassMapReader, RGBReader, TileLabels
from monch_monai.errors import find_input_error
from tests.fakes.pictures import (
    class_picture,
    picture,
    save_jpeg,
    save_last_axis_3,
    save_picture,
    save_rgb24,
)

PLAIN = Vocabulary.of_table(PANNUKE)


def load(path, reader):
    both = Compose([LoadImaged(keys="x", reader=reader), EnsureChannelFirstd(keys="x")])
    return both({"x": str(path)})["x"]


def save_tiles(folder, values):
    """Three tiles, of which the middle one is `values`."""
    (folder / "fold").mkdir()
    np.save(folder / "fold" / "tiles.npy", np.stack([np.zeros_like(values), values, np.zeros_like(values)]))
    return f"{folder / 'fold' / 'tiles.npy'}#1"


def labels_of(folder, vocabulary=PLAIN, class_table=PANNUKE):
    """Labels of the dataset in a folder, whose tiles need not be square."""
    return TileLabels(SimpleNamespace(datasets=[SimpleNamespace(dir=folder, vocabulary=vocabulary)]), class_table)


IMAGES = {
    "png": lambda folder: save_picture(folder / "a.png"),
    "rgb24": lambda folder: save_rgb24(folder / "a.nii.gz"),
    "last axis 3": lambda folder: save_last_axis_3(folder / "a.nii.gz"),
    "one slice": lambda folder: save_last_axis_3(folder / "a.nii", depth=True),
    "tile": lambda folder: save_tiles(folder, picture()),
    "# in the name": lambda folder: save_picture(folder / "field#1.png"),
}
CLASS_MAPS = {
    "png": lambda folder: save_picture(folder / "a.png", class_picture()),
    "tile": lambda folder: save_tiles(folder, class_picture()),
}


@pytest.mark.parametrize("kind", IMAGES)
def test_an_image_is_loaded_channels_rows_columns(tmp_path, kind):
    image = load(IMAGES[kind](tmp_path), RGBReader())
    assert image.shape == (3, 40, 70)
    assert torch.equal(image.as_tensor(), torch.from_numpy(picture()).permute(2, 0, 1).float())


def test_a_jpeg_is_loaded_channels_rows_columns(tmp_path):
    image = load(save_jpeg(tmp_path / "a.jpg"), RGBReader())
    assert image.shape == (3, 40, 70)
    assert (image - torch.from_numpy(picture()).permute(2, 0, 1)).abs().max() <= 6


@pytest.mark.parametrize("kind", CLASS_MAPS)
def test_a_class_map_is_loaded_as_one_channel_of_rows_and_columns(tmp_path, kind):
    classes = load(CLASS_MAPS[kind](tmp_path), ClassMapReader(labels_of(tmp_path)))
    assert classes.shape == (1, 40, 70)
    assert torch.equal(classes.as_tensor()[0], torch.from_numpy(class_picture()).float())


def test_the_reader_may_be_named_by_its_class(tmp_path):
    assert load(save_picture(tmp_path / "a.png"), RGBReader).shape == (3, 40, 70)


def test_the_name_stays_with_the_image(tmp_path):
    reference = save_tiles(tmp_path, picture())
    assert load(reference, RGBReader()).meta["filename_or_obj"] == reference


def test_a_tile_is_a_copy_that_may_be_changed(tmp_path):
    reference = save_tiles(tmp_path, picture())
    reader = RGBReader()
    pixels, _ = reader.get_data(reader.read(reference))
    pixels[:] = 0
    assert np.array_equal(np.load(tmp_path / "fold" / "tiles.npy")[1], picture())


@pytest.mark.parametrize("kind", ["png", "tile"])
def test_a_class_map_of_another_value_is_refused(tmp_path, kind):
    wrong = class_picture()
    wrong[7, 7] = 9
    path = save_picture(tmp_path / "a.png", wrong) if kind == "png" else save_tiles(tmp_path, wrong)
    with pytest.raises(RuntimeError, match="applying transform") as caught:
        load(path, ClassMapReader(labels_of(tmp_path)))
    assert f"{path} holds 9; its class map holds 0 to 5 and 255" == str(find_input_error(caught.value))


def test_a_damaged_image_is_refused_by_its_own_line(tmp_path):
    (tmp_path / "a.png").write_text("not an image")
    with pytest.raises(RuntimeError, match="applying transform") as caught:
        load(tmp_path / "a.png", RGBReader())
    assert "a.png cannot be read as an image (not an image)" in str(find_input_error(caught.value))
