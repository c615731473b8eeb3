import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from monch_monai.datasets.pannuke.parquet import ParquetFold
from monch_monai.datasets.pannuke.sources import find_folds
from monch_monai.errors import InputError
from monch_monai.tissues import TISSUES
from tests.fakes.pannuke import FoldArrays, make_fold, png, write_parquet

ORDER = ("Neoplastic", "Inflammatory", "Connective", "Dead", "Epithelial")


def rewrite(path, change):
    """Changes the rows of a file, keeping its schema."""
    table = pq.read_table(path)
    rows = table.to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, table.schema), path)


def refusal(path):
    with pytest.raises(InputError) as caught:
        list(ParquetFold([path]).tiles())
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def square(row, column, size=8):
    inside = np.zeros((256, 256), bool)
    inside[row : row + size, column : column + size] = True
    return inside


@pytest.fixture
def parquet(tmp_path, fold):
    return write_parquet(tmp_path, 1, fold)


def with_nuclei(path, *nuclei):
    """Gives the first tile the nuclei `(category, inside)`."""

    def change(rows):
        rows[0]["instances"] = [{"bytes": png(inside), "path": None} for _, inside in nuclei]
        rows[0]["categories"] = [category for category, _ in nuclei]

    rewrite(path, change)
    return next(ParquetFold([path]).tiles())


def test_images_and_maps_are_those_of_the_arrays(parquet, fold):
    for tile, image, masks in zip(ParquetFold([parquet]).tiles(), fold.images, fold.masks, strict=True):
        assert np.array_equal(tile.image, image)
        for c in range(5):
            assert np.array_equal(tile.classes == c + 1, masks[..., c] > 0)
        ids = [masks[..., c] == i for c in range(5) for i in sorted(set(masks[..., c].flat) - {0})]
        assert all(np.array_equal(tile.instances == number, inside) for number, inside in enumerate(ids, 1))
        assert tile.instances.max() == len(ids)


@pytest.mark.parametrize("category", range(5))
def test_a_category_becomes_the_class_after_background(parquet, category):
    tile = with_nuclei(parquet, (category, square(10, 20)))
    assert np.array_equal(tile.classes == category + 1, square(10, 20))
    assert tile.classes.sum() == 64 * (category + 1)


def test_nuclei_are_drawn_by_category_whatever_the_order_of_the_list(parquet):
    tile = with_nuclei(parquet, (4, square(4, 4)), (0, square(0, 0)))
    assert np.array_equal(tile.classes == 5, square(4, 4))
    assert (tile.instances[0, 0], tile.instances[11, 11], tile.instances[5, 5]) == (1, 2, 2)
    assert tile.remarks["overlap_pixels"] == 16


def test_a_tile_without_nuclei_and_a_nucleus_without_pixels_are_empty(parquet):
    assert not with_nuclei(parquet).classes.any()
    tile = with_nuclei(parquet, (2, square(0, 0, 0)), (3, square(0, 0)))
    assert np.unique(tile.instances).tolist() == [0, 1]


def test_all_spellings_of_tissues_become_pannukes_own(tmp_path):
    small = make_fold(1)
    fold = FoldArrays(*(np.repeat(array, len(TISSUES), axis=0) for array in small[:2]), np.array(TISSUES))
    fold.masks[...] = 0
    path = write_parquet(tmp_path, 1, fold)
    assert [tile.tissue for tile in ParquetFold([path]).tiles()] == list(TISSUES)


def test_tissues_may_be_text(parquet):
    table = pq.read_table(parquet)
    texts = table.set_column(3, "tissue", pa.array(["Adrenal Gland", "Head & Neck", "Bile-duct"]))
    pq.write_table(texts, parquet)
    assert [tile.tissue for tile in ParquetFold([parquet]).tiles()] == ["Adrenal_gland", "HeadNeck", "Bile-duct"]


@pytest.mark.parametrize("tissue", [19, -1])
def test_a_tissue_without_a_name_is_refused(parquet, tissue):
    rewrite(parquet, lambda rows: rows[1].update(tissue=tissue))
    assert refusal(parquet) == f"{parquet}#1: the tissue '{tissue}' is none of PanNuke's nineteen"


@pytest.mark.parametrize(
    "names",
    [
        ("neoplastic cells", "Inflammatory", "Connective/Soft tissue cells", "Dead Cells", "Epithelial"),
        (*ORDER, "Background"),
    ],
)
def test_other_names_of_categories_in_the_right_order_are_taken(tmp_path, fold, names):
    assert ParquetFold([write_parquet(tmp_path, 1, fold, names)]).count == 3


WRONG = [
    ("Epithelial", "Dead", "Connective", "Inflammatory", "Neoplastic"),
    ("Neoplastic", "Epithelial", "Inflammatory", "Connective", "Dead"),
    ("Background", *ORDER),
    ("Neoplastic", "Inflammatory", "Dead", "Connective", "Epithelial"),
    ("Neoplastic", "Inflammatory"),
]


@pytest.mark.parametrize("names", WRONG, ids=["reversed", "paper", "background first", "swapped", "two"])
def test_categories_other_than_the_official_ones_are_refused(tmp_path, fold, names):
    path = write_parquet(tmp_path, 1, fold, names)
    assert refusal(path) == (
        f"{path} has the categories {list(names)}; expected are "
        "['neoplastic', 'inflammatory', 'connective', 'dead', 'epithelial'], in this order"
    )


@pytest.mark.parametrize("category", [-1, 5])
def test_a_category_that_does_not_exist_is_refused(parquet, category):
    with pytest.raises(InputError, match=f"#0: category {category}; PanNuke has 0 to 4"):
        with_nuclei(parquet, (category, square(0, 0)))


@pytest.mark.parametrize("column", ["image", "instances", "categories", "tissue"])
def test_a_missing_column_is_refused(parquet, column):
    pq.write_table(pq.read_table(parquet).drop_columns([column]), parquet)
    assert refusal(parquet) == f"{parquet} has no column '{column}'; expected image, instances, categories, tissue"


def test_fewer_masks_than_categories_are_refused(parquet):
    rewrite(parquet, lambda rows: rows[1]["instances"].pop())
    assert refusal(parquet) == f"{parquet}#1: 19 masks with 20 categories"


def test_fewer_categories_than_masks_are_refused(parquet):
    rewrite(parquet, lambda rows: rows[1]["categories"].pop())
    assert refusal(parquet) == f"{parquet}#1: 20 masks with 19 categories"


def test_a_mask_of_another_size_is_refused(parquet):
    with pytest.raises(InputError, match=r"#0: a mask has shape \[128, 256\]; expected \[256, 256\]"):
        with_nuclei(parquet, (0, square(0, 0)[:128]))


def test_an_image_of_another_size_is_refused(parquet):
    rewrite(parquet, lambda rows: rows[2]["image"].update(bytes=png(np.zeros((128, 256, 3), np.uint8))))
    assert f"{parquet}#2: the image has shape [128, 256, 3]; expected [256, 256, 3]" == refusal(parquet)


@pytest.mark.parametrize("data", [b"", b"no picture", png(np.eye(256, dtype=np.uint8))[:-40], None])
def test_a_damaged_picture_is_refused(parquet, data):
    rewrite(parquet, lambda rows: rows[1]["image"].update(bytes=data))
    message = refusal(parquet)
    assert message.startswith(f"{parquet}#1: a picture cannot be read (")
    assert message.endswith("): fetch the file again")


@pytest.mark.parametrize("share", [0, 0.5, 0.999])
def test_a_truncated_file_is_refused(parquet, share):
    data = parquet.read_bytes()
    parquet.write_bytes(data[: math.floor(share * len(data))])
    message = refusal(parquet)
    assert message.startswith(f"{parquet} cannot be read as parquet (")
    assert message.endswith("): fetch it again")


def test_a_file_damaged_inside_is_refused(parquet):
    data = bytearray(parquet.read_bytes())
    data[4:40] = bytes(36)
    parquet.write_bytes(data)
    assert refusal(parquet).startswith(f"{parquet} is damaged (")


def test_shards_are_read_in_the_order_of_their_names(tmp_path, fold):
    for shard, kept in ((1, slice(2, 3)), (0, slice(0, 2))):
        path = write_parquet(tmp_path, 2, FoldArrays(*(array[kept] for array in fold)))
        path.rename(path.with_name(f"fold2-0000{shard}-of-00002.parquet"))
    found = find_folds(tmp_path)[2]
    assert found.count == 3
    assert [tile.tissue for tile in found.tiles()] == fold.types.tolist()


@pytest.mark.parametrize("start", [0, 1, 2, 3])
def test_tiles_from_a_given_one_on_are_the_rest(parquet, start):
    found = ParquetFold([parquet])
    rest = list(found.tiles())[start:]
    again = list(found.tiles(start))
    assert [tile.source for tile in again] == [f"row {i}" for i in range(start, 3)]
    assert all(
        np.array_equal(a, b)
        for one, other in zip(again, rest, strict=True)
        for a, b in zip(one[:3], other[:3], strict=True)
    )


def test_a_file_without_names_still_has_pannukes_categories(tmp_path, parquet, fold):
    table = pq.read_table(parquet)
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps({})}), parquet)
    assert ParquetFold([parquet]).count == 3
    assert refusal(parquet).endswith("the tissue '0' is none of PanNuke's nineteen")


def test_a_missing_file_of_a_fold_is_refused(tmp_path):
    path = write_parquet(tmp_path, 1, make_fold(1))
    path.rename(path.with_name("fold1-00000-of-00002.parquet"))
    with pytest.raises(InputError, match="has 1 of 2 files of a fold: fetch the rest"):
        find_folds(tmp_path)
