import numpy as np
import pytest
import tifffile
from PIL import Image

from monch_monai.data import Tiles
from monch_monai.errors import InputError
from monch_monai.geometry import TILE_SIZE, Level0Box
from monch_monai.label.training_tiles import Labelled, write_labelled
from tests.fakes.labels import some_classes


def case(folder, name, width=300, height=280, mpp=None, part=None, scale=1):
    """An image whose every pixel says where it is and of which class it is labelled."""
    y, x = np.mgrid[:height, :width]
    classes = ((x // 20 + y // 20) % 6).astype(np.uint8)
    image = np.stack([x % 251, y % 241, classes * 40], axis=2).astype(np.uint8)
    Image.fromarray(image).save(folder / f"{name}.png")
    x, y, w, h = part or (0, 0, width, height)
    Image.fromarray(classes[y : y + h, x : x + w]).save(folder / f"{name}_label.png")
    return Labelled(name, folder / f"{name}.png", folder / f"{name}_label.png", part and Level0Box(*part), mpp)


def test_tiles_cover_what_was_reviewed_once_and_belong_to_their_image(tmp_path):
    tiles = list(case(tmp_path, "a").tiles())
    assert [tile.source for tile in tiles] == [f"a at ({x}, {y})" for y in (0, 256) for x in (0, 256)]
    assert sum((tile.classes != 255).sum() for tile in tiles) == 300 * 280
    for tile in tiles:
        counted = tile.classes != 255
        np.testing.assert_array_equal(tile.image[..., 2][counted], tile.classes[counted] * 40)
        assert ((tile.instances > 0) == ((tile.classes > 0) & counted)).all()
        assert len(np.unique(tile.instances[counted])) - 1 == tile.instances.max()


def test_a_part_is_where_it_was_said_to_be(tmp_path):
    (tile,) = case(tmp_path, "a", part=(30, 20, 200, 160)).tiles()
    assert tile.image.shape == (TILE_SIZE, TILE_SIZE, 3)
    assert (tile.classes != 255).sum() == 200 * 160
    np.testing.assert_array_equal(tile.image[:160, :200, 0], (np.arange(200) + 30)[None] % 251 + np.zeros((160, 1)))
    np.testing.assert_array_equal(tile.image[:160, :200, 2], tile.classes[:160, :200] * 40)


def test_images_of_20x_are_enlarged_with_their_labels(tmp_path):
    tiles = list(case(tmp_path, "a", width=128, height=100, mpp=0.5).tiles())
    assert [tile.source for tile in tiles] == ["a at (0, 0)"]
    (tile,) = tiles
    assert (tile.classes != 255).sum() == 256 * 200
    label = np.asarray(Image.open(tmp_path / "a_label.png"))
    np.testing.assert_array_equal(tile.classes[:200], label.repeat(2, 0).repeat(2, 1))


def test_a_slide_is_read_where_it_was_labelled(tmp_path):
    labelled = case(tmp_path, "a", width=700, height=600, part=(256, 256, 256, 256))
    pixels = np.asarray(Image.open(tmp_path / "a.png"))
    resolution = {"resolution": (4e4, 4e4), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(tmp_path / "s.tif", pixels, tile=(256, 256), photometric="rgb", **resolution)
    (tile,) = labelled._replace(image=tmp_path / "s.tif").tiles()
    np.testing.assert_array_equal(tile.image, pixels[256:512, 256:512])
    np.testing.assert_array_equal(tile.classes * 40, tile.image[..., 2])


@pytest.mark.parametrize(
    ("count", "val_split", "held_out"), [(5, 0.2, 1), (5, 0.5, 2), (2, 0.2, 1), (1, 0.2, 0), (3, 0, 0)]
)
def test_whole_images_are_held_out(tmp_path, count, val_split, held_out):
    cases = [case(tmp_path, f"image {i}", 64 + i, 64) for i in range(count)]
    write_labelled(tmp_path / "tiles", cases, val_split)
    tiles = Tiles(tmp_path / "tiles")
    train, validation = (
        {row["source"] for row in tiles.rows(tiles.split(1, part))} for part in ("train", "validation")
    )
    assert len(validation) == (held_out or count)
    assert len(train | validation) == count
    assert held_out == 0 or not train & validation


def test_who_is_held_out_does_not_depend_on_the_order(tmp_path):
    cases = [case(tmp_path, f"image {i}", 64, 64) for i in range(4)]
    for name, some in (("a", cases), ("b", cases[::-1])):
        write_labelled(tmp_path / name, some)
    assert Tiles(tmp_path / "a").fingerprint == Tiles(tmp_path / "b").fingerprint


def test_the_dataset_has_the_classes_of_the_labels(tmp_path):
    labelled = case(tmp_path, "a", 64, 64)._replace(class_table=some_classes(6))
    write_labelled(tmp_path / "tiles", [labelled])
    tiles = Tiles(tmp_path / "tiles")
    assert tiles.class_table == some_classes(6)
    assert tiles.vocabulary.names == some_classes(6).names
    with pytest.raises(InputError, match="class map holds 0 to 2 and 255"):
        write_labelled(tmp_path / "others", [labelled._replace(class_table=some_classes(3))])


def test_nothing_to_train_on_is_refused(tmp_path):
    with pytest.raises(InputError, match="no image has a label yet"):
        write_labelled(tmp_path / "tiles", [])
    with pytest.raises(InputError, match="val_split is 1"):
        write_labelled(tmp_path / "tiles", [case(tmp_path, "a")], 1)
    assert not (tmp_path / "tiles").exists()


def held_out(folder):
    """Images on both sides."""
    tiles = Tiles(folder)
    rows = (tiles.rows(tiles.split(1, part)) for part in ("train", "validation"))
    return [{row["source"].split(" at ")[0] for row in part} for part in rows]


@pytest.mark.parametrize("sizes", [(1, 1, 1), (4, 1, 1), (5, 4), (2, 2, 2, 2), (9, 1)])
def test_patches_of_one_slide_stay_on_one_side(tmp_path, sizes):
    cases = [
        case(tmp_path, f"s{s}-patch-{i}_0_64_64", 64, 64)._replace(slide=f"s{s}")
        for s, size in enumerate(sizes)
        for i in range(size)
    ]
    write_labelled(tmp_path / "tiles", cases, 0.25)
    train, validation = held_out(tmp_path / "tiles")
    assert train
    assert validation
    assert not {name.split("-")[0] for name in train} & {name.split("-")[0] for name in validation}
    assert len(validation) <= max(round(0.25 * len(cases)), min(sizes))


def test_one_slide_alone_is_not_split(tmp_path, caplog):
    cases = [case(tmp_path, f"s-patch-{i}_0_64_64", 64, 64)._replace(slide="s") for i in range(3)]
    write_labelled(tmp_path / "tiles", cases)
    assert held_out(tmp_path / "tiles")[0] == held_out(tmp_path / "tiles")[1]
    assert "no image is held out (all labels are of one image or slide)" in caplog.text


def test_scales_are_never_mixed_silently(tmp_path, caplog):
    caplog.set_level("INFO")
    stated = [case(tmp_path, f"stated {i}", 64, 64, mpp=0.5) for i in range(2)]
    guessed = [case(tmp_path, f"guessed {i}", 64, 64, mpp=0.25)._replace(assumed=True) for i in range(5)]
    words = r"5 images have no resolution \(guessed 0, guessed 1, guessed 2, …\), while others have 0.5 µm/px: give"
    with pytest.raises(InputError, match=words):
        write_labelled(tmp_path / "mixed", stated + guessed)
    assert not (tmp_path / "mixed").exists()
    write_labelled(tmp_path / "guessed", guessed)
    assert "labels of 5 images: 5 at 0.25 µm/px (assumed); all are brought to 0.25 µm/px" in caplog.text
    known = [case(tmp_path, "40x", 64, 64, mpp=0.25), *stated]
    write_labelled(tmp_path / "known", known)
    assert "labels of 3 images: 1 at 0.25 µm/px, 2 at 0.5 µm/px; all are brought to 0.25 µm/px" in caplog.text
    write_labelled(tmp_path / "alike", [known[0], *guessed])
