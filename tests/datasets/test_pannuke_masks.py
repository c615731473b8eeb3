import numpy as np
import pytest

from monch_monai.class_table import PANNUKE
from monch_monai.datasets.pannuke import masks as masks_module
from monch_monai.datasets.pannuke.masks import Nucleus, decode, draw, nuclei_of
from monch_monai.errors import InputError

NEOPLASTIC, INFLAMMATORY, CONNECTIVE, DEAD, EPITHELIAL, BACKGROUND = range(6)
"""Channels in the order of the official README."""


def masks_of(*nuclei, size=256):
    """Masks with nuclei `(channel, id, rows, columns)`, later ones over earlier ones, background where none is."""
    masks = np.zeros((size, size, 6))
    for channel, number, rows, columns in nuclei:
        masks[rows, columns, channel] = number
    masks[..., BACKGROUND] = ~masks[..., :BACKGROUND].any(axis=2)
    return masks


def block(row, column, size=4):
    return slice(row, row + size), slice(column, column + size)


def places(array, value):
    return {(int(y), int(x)) for y, x in zip(*np.nonzero(array == value), strict=True)}


def pixels_of(rows, columns):
    return {(y, x) for y in range(rows.start, rows.stop) for x in range(columns.start, columns.stop)}


def remarks(masks):
    """The remarks that are not 0."""
    return {name: number for name, number in decode(masks, "tile").remarks.items() if number}


@pytest.mark.parametrize(
    ("channel", "name"),
    [(0, "neoplastic"), (1, "inflammatory"), (2, "connective"), (3, "dead"), (4, "epithelial")],
)
def test_a_channel_becomes_the_class_that_the_official_order_gives_it(channel, name):
    classes = decode(masks_of((channel, 1, *block(10, 20))), "tile").classes
    assert {PANNUKE.classes[c].name for c in np.unique(classes)} == {"background", name}
    assert places(classes, 0).isdisjoint(pixels_of(*block(10, 20)))
    assert (classes > 0).sum() == 16


def test_maps_are_of_the_prepared_format_and_the_masks_size():
    maps = decode(masks_of((DEAD, 3, *block(0, 0)), size=48), "tile")
    assert (maps.classes.dtype, maps.instances.dtype) == (np.uint8, np.uint16)
    assert maps.classes.shape == maps.instances.shape == (48, 48)


def test_clean_masks_give_no_remarks():
    assert decode(masks_of((NEOPLASTIC, 1, *block(0, 0)), (EPITHELIAL, 2, *block(9, 9))), "tile").remarks == {
        "overlap_pixels": 0,
        "hidden_nuclei": 0,
        "nuclei_in_pieces": 0,
        "small_nuclei": 0,
        "void_pixels": 0,
        "background_conflicts": 0,
        "shared_ids": 0,
    }


def test_a_tile_without_nuclei_is_all_background():
    maps = decode(masks_of(), "tile")
    assert not maps.classes.any()
    assert not maps.instances.any()
    assert not any(maps.remarks.values())


def test_one_id_in_two_channels_is_two_nuclei():
    masks = masks_of((NEOPLASTIC, 7, *block(0, 0)), (DEAD, 7, *block(20, 20)))
    instances = decode(masks, "tile").instances
    assert places(instances, 1) == pixels_of(*block(0, 0))
    assert places(instances, 2) == pixels_of(*block(20, 20))
    assert remarks(masks) == {"shared_ids": 1}


def test_an_id_in_three_channels_is_counted_twice():
    assert remarks(masks_of(*((c, 7, *block(20 * c, 0)) for c in (1, 2, 4)))) == {"shared_ids": 2}


def test_more_than_255_nuclei_keep_ids_of_their_own():
    squares = [block(8 * row, 8 * column) for row in range(20) for column in range(15)]
    instances = decode(masks_of(*((INFLAMMATORY, i, *at) for i, at in enumerate(squares, 1))), "tile").instances
    assert instances.max() == 300
    assert all((instances[at] == i).all() for i, at in enumerate(squares, 1))


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.uint16, np.int32, np.int64])
def test_ids_of_any_size_and_number_type_become_numbers_from_1(dtype):
    masks = masks_of((CONNECTIVE, 40, *block(0, 0)), (CONNECTIVE, 65000 if dtype == np.uint16 else 99999, *block(9, 9)))
    instances = decode(masks.astype(dtype), "tile").instances
    assert np.unique(instances).tolist() == [0, 1, 2]
    assert places(instances, 2) == pixels_of(*block(9, 9))


def test_ids_follow_the_channel_and_then_the_id_there():
    masks = masks_of((EPITHELIAL, 1, *block(0, 0)), (NEOPLASTIC, 9, *block(8, 0)), (NEOPLASTIC, 2, *block(16, 0)))
    instances = decode(masks, "tile").instances
    assert [int(instances[row, 0]) for row in (16, 8, 0)] == [1, 2, 3]


def test_touching_nuclei_stay_two():
    instances = decode(masks_of((NEOPLASTIC, 1, *block(0, 0)), (NEOPLASTIC, 2, *block(0, 4))), "tile").instances
    assert places(instances, 1) == pixels_of(*block(0, 0))
    assert places(instances, 2) == pixels_of(*block(0, 4))


@pytest.mark.parametrize("second", [block(40, 40), block(4, 4)], ids=["apart", "diagonal"])
def test_a_nucleus_in_two_pieces_stays_one_and_is_counted(second):
    masks = masks_of((EPITHELIAL, 5, *block(0, 0)), (EPITHELIAL, 5, *second))
    assert places(decode(masks, "tile").instances, 1) == pixels_of(*block(0, 0)) | pixels_of(*second)
    assert remarks(masks) == {"nuclei_in_pieces": 1}


def test_pixels_that_share_an_edge_are_one_piece():
    assert remarks(masks_of((DEAD, 5, *block(0, 0)), (DEAD, 5, *block(3, 4)))) == {}


@pytest.mark.parametrize(("first", "second"), [(0, 1), (2, 4), (3, 4), (4, 0)])
def test_where_two_classes_overlap_the_later_channel_wins_and_the_pixels_are_counted(first, second):
    masks = masks_of((first, 1, *block(0, 0, 8)), (second, 1, *block(4, 4, 8)))
    classes, instances, _ = decode(masks, "tile")
    winner, loser = max(first, second), min(first, second)
    shared = pixels_of(*block(4, 4))
    assert shared <= places(classes, winner + 1)
    assert shared <= places(instances, 2)
    assert len(places(classes, loser + 1)) == len(places(instances, 1)) == 64 - 16
    assert remarks(masks) == {"overlap_pixels": 16, "shared_ids": 1}


def test_a_pixel_of_three_classes_is_one_pixel_of_overlap():
    masks = masks_of(*((c, 1, slice(0, 4), slice(4 * c, 12)) for c in range(3)))
    assert decode(masks, "tile").remarks["overlap_pixels"] == 4 * 8
    assert places(decode(masks, "tile").classes, 3) == pixels_of(slice(0, 4), slice(8, 12))


def test_a_nucleus_hidden_by_later_ones_is_counted_and_gone():
    masks = masks_of((NEOPLASTIC, 1, *block(10, 10)), (EPITHELIAL, 2, *block(8, 8, 8)))
    maps = decode(masks, "tile")
    assert np.unique(maps.classes).tolist() == [0, 5]
    assert np.unique(maps.instances).tolist() == [0, 2]
    assert remarks(masks) == {"hidden_nuclei": 1, "overlap_pixels": 16}


@pytest.mark.parametrize(("pixels", "small"), [(1, 1), (9, 1), (10, 0)])
def test_nuclei_of_fewer_than_10_pixels_are_kept_and_counted(pixels, small):
    masks = masks_of((CONNECTIVE, 1, slice(0, 1), slice(0, pixels)))
    assert (decode(masks, "tile").classes == 3).sum() == pixels
    assert decode(masks, "tile").remarks["small_nuclei"] == small


def test_a_background_channel_of_zeros_changes_nothing_but_the_count_of_void_pixels():
    masks = masks_of((NEOPLASTIC, 1, *block(0, 0)), (DEAD, 2, *block(9, 9)))
    without = masks.copy()
    without[..., BACKGROUND] = 0
    for one, other in zip(decode(masks, "tile")[:2], decode(without, "tile")[:2], strict=True):
        assert np.array_equal(one, other)
    assert remarks(without) == {"void_pixels": 65504}


def test_a_background_channel_of_ones_hides_no_nucleus():
    masks = masks_of((INFLAMMATORY, 1, *block(0, 0)))
    masks[..., BACKGROUND] = 1
    assert places(decode(masks, "tile").classes, 2) == pixels_of(*block(0, 0))
    assert remarks(masks) == {"background_conflicts": 16}


def test_a_background_channel_with_ids_is_refused():
    masks = masks_of((NEOPLASTIC, 1, *block(0, 0)))
    masks[9, 9, BACKGROUND] = 12
    with pytest.raises(InputError, match=r"masks\.npy#5: the sixth mask channel holds ids up to 12"):
        decode(masks, "masks.npy#5")


def test_channels_that_begin_with_background_are_refused():
    masks = masks_of((NEOPLASTIC, 1, *block(0, 0)), (EPITHELIAL, 2, *block(9, 9)))
    with pytest.raises(InputError, match="the channels are not in PanNuke's order"):
        decode(np.roll(masks, 1, axis=2), "tile")


@pytest.mark.parametrize("value", [-1, 0.5, float("nan"), float("inf")])
@pytest.mark.parametrize("channel", [DEAD, BACKGROUND])
def test_values_that_are_no_ids_are_refused(value, channel):
    masks = masks_of((NEOPLASTIC, 1, *block(0, 0)))
    masks[100, 100, channel] = value
    with pytest.raises(InputError, match=r"masks\.npy#5: masks hold values that are no instance ids"):
        decode(masks, "masks.npy#5")


def test_nuclei_are_given_by_channel_and_then_by_id():
    masks = masks_of((DEAD, 4, *block(0, 0)), (NEOPLASTIC, 8, *block(9, 9)), (NEOPLASTIC, 3, *block(20, 20)))
    found = nuclei_of(masks)
    assert [nucleus.class_index for nucleus in found] == [1, 1, 4]
    assert [places(nucleus.inside, True) for nucleus in found] == [
        pixels_of(*block(20, 20)), pixels_of(*block(9, 9)), pixels_of(*block(0, 0)),
    ]  # fmt: skip


def test_nuclei_of_one_class_may_overlap_without_being_of_two_classes():
    inside = [np.zeros((16, 16), bool) for _ in range(2)]
    inside[0][block(0, 0, 6)] = inside[1][block(4, 4, 6)] = True
    maps = draw([Nucleus(2, i) for i in inside], (16, 16))
    assert len(places(maps.instances, 1)) == 36 - 4
    assert maps.remarks["overlap_pixels"] == 0


@pytest.mark.slow
def test_more_nuclei_than_16_bits_can_number_are_refused(monkeypatch):
    monkeypatch.setattr(masks_module, "label", lambda box, connectivity: box)
    everywhere = np.ones((1, 1), bool)
    with pytest.raises(InputError, match="a tile has more than 65535 nuclei"):
        draw((Nucleus(1, everywhere) for _ in range(65536)), (1, 1))
