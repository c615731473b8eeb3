import numpy as np
import pytest
import shapely
import tifffile
from monai.data import MetaTensor
from scipy.ndimage import label

from monch_monai.errors import InputError
from monch_monai.geometry import Level0Box
from monch_monai.metrics import Instances, panoptic_counts, panoptic_quality
from monch_monai.nuclei import (
    NormalisedDistanced,
    WatershedNuclei,
    normalised_distance,
    outlines,
    rasterise,
    write_instance_map,
)
from monch_monai.nuclei.files import feature
from monch_monai.nuclei.watershed import fill_holes, renumber
from tests.fakes.labels import PLAIN, some_classes
from tests.fakes.nuclei import disc, random_instances

MPP = 0.25


def certain(class_map):
    """Probabilities of a network that is sure of its class map."""
    return np.stack([class_map == c for c in range(1, 6)]).astype(np.float16)


def nuclei_of(class_map, probs=None, mpp=MPP, **settings):
    return WatershedNuclei(mpp, **settings)(class_map, certain(class_map) if probs is None else probs)


def painted(*discs, shape=(96, 96)):
    """Class map of discs (x, y, radius, class)."""
    class_map = np.zeros(shape, np.uint8)
    for x, y, radius, c in discs:
        class_map[disc(shape, x, y, radius)] = c
    return class_map


def test_apart_nuclei_are_their_own_pixels_in_order_of_their_first():
    class_map = painted((70, 20, 9, 3), (20, 30, 9, 1), (60, 70, 9, 5))
    made = nuclei_of(class_map)
    assert made.classes.tolist() == [3, 1, 5]
    expected = label(class_map)[0]
    assert np.array_equal(made.instance_map > 0, expected > 0)
    assert np.array_equal(made.instance_map, expected)


def test_touching_nuclei_are_separated_about_where_they_touch():
    both = painted((40, 48, 12, 1), (60, 48, 12, 1))  # centres 20 px apart: they overlap by 4 px
    made = nuclei_of(both)
    assert len(made.classes) == 2
    halves = np.where(both > 0, np.where(np.arange(96)[None] < 50, 1, 2), 0)
    halves[:, 50] = 0
    assert (made.instance_map[:, :49] <= 1).all()
    assert (made.instance_map[:, 52:] != 1).all()
    truth = Instances(halves.astype(np.int64), np.array([0, 1, 1], np.uint8))
    guess = Instances(made.instance_map.astype(np.int64), np.append(np.uint8(0), made.classes))
    assert panoptic_quality(panoptic_counts(guess, truth, PLAIN)).pq[0] > 0.95


def ellipse(shape, x, y, long, short, degrees):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    along, across = (columns - x) * c + (rows - y) * s, (rows - y) * c - (columns - x) * s
    return (along / long) ** 2 + (across / short) ** 2 <= 1


@pytest.mark.parametrize("mpp", [0.25, 0.5, 0.75])
@pytest.mark.parametrize("degrees", range(0, 180, 20))
def test_a_long_slanted_nucleus_is_one_at_any_resolution(mpp, degrees):
    size = int(24 / mpp)
    nucleus = ellipse((size, size), size / 2, size / 2 + 0.3, 7 / mpp, 2.2 / mpp, degrees).astype(np.uint8)
    assert nuclei_of(nucleus, mpp=mpp).classes.tolist() == [1]


def test_touching_nuclei_are_separated_at_a_coarse_resolution():
    assert len(nuclei_of(painted((40, 48, 6, 1), (48, 48, 6, 1)), mpp=0.5).classes) == 2  # a neck narrower by 1.4 px


def test_a_row_of_three_touching_nuclei_is_three():
    assert len(nuclei_of(painted((20, 48, 12, 2), (40, 48, 12, 2), (60, 48, 12, 2))).classes) == 3


def test_a_long_nucleus_is_one():
    rows, columns = np.ogrid[:96, :96]
    spindle = (((columns - 48) / 40) ** 2 + ((rows - 48) / 6) ** 2 <= 1).astype(np.uint8) * 3
    assert nuclei_of(spindle).classes.tolist() == [3]


def test_a_shallow_neck_is_cut_only_where_asked():
    peanut = painted((42, 48, 12, 1), (54, 48, 12, 1))  # half widths 12 and 10.4 px: a neck of 0.4 µm
    assert len(nuclei_of(peanut, separation_um=0.5).classes) == 1
    assert len(nuclei_of(peanut, separation_um=0.25).classes) == 2


def test_parameters_are_in_micrometres():
    small = painted((24, 24, 6, 1), (34, 24, 6, 1), shape=(48, 60))
    large = small.repeat(2, axis=0).repeat(2, axis=1)
    coarse, fine = nuclei_of(small, mpp=0.5), nuclei_of(large, mpp=0.25)
    assert len(coarse.classes) == len(fine.classes) == 2
    assert nuclei_of(small, mpp=0.5, min_area_um2=40).classes.size == 0
    assert nuclei_of(small, mpp=1.0, min_area_um2=40).classes.size == 2


def test_a_nucleus_is_of_the_class_with_the_largest_mean_probability():
    class_map = painted((48, 48, 10, 1))
    class_map[:, 50:][class_map[:, 50:] > 0] = 2  # the smaller part
    probs = np.zeros((5, 96, 96), np.float32)
    probs[0], probs[1] = 0.5, 0.4
    probs[1][class_map == 2] = 0.95
    made = nuclei_of(class_map, probs)
    area, share = (class_map > 0).sum(), (class_map == 2).sum()
    assert made.classes.tolist() == [2]
    assert made.probs[0, :2] == pytest.approx([0.5, (0.95 * share + 0.4 * (area - share)) / area], abs=1e-6)


@pytest.mark.parametrize("number", [2, 3, 25])
def test_classes_may_be_of_any_number(number):
    class_map = painted((20, 30, 9, number - 1), (70, 60, 9, 1))
    probs = np.stack([class_map == c for c in range(1, number)]).astype(np.float16)
    made = nuclei_of(class_map, probs)
    assert made.classes.tolist() == [number - 1, 1]
    assert made.probs.tolist() == [probs[:, y, x].tolist() for x, y in ((20, 30), (70, 60))]


def test_a_feature_has_the_name_and_colour_of_its_class():
    c = some_classes(4).classes[3]
    made = feature(shapely.box(0, 0, 2, 3), c, {"Area µm^2": 6.0})
    assert made["properties"] == {
        "objectType": "detection",
        "classification": {"name": "class 3", "color": [30, 252, 9]},
        "measurements": {"Area µm^2": 6.0},
    }


def test_a_tie_goes_to_the_lower_class():
    class_map = painted((48, 48, 10, 4))
    assert nuclei_of(class_map, np.full((5, 96, 96), 0.3)).classes.tolist() == [1]


def test_one_pixel_nuclei_are_kept_when_asked_for():
    class_map = np.zeros((8, 9), np.uint8)
    class_map[0, 0], class_map[7, 8], class_map[3, 3], class_map[4, 4] = 1, 2, 3, 4
    made = nuclei_of(class_map, min_area_um2=0)
    assert made.classes.tolist() == [1, 3, 4, 2]  # pixels that share a corner only are two nuclei
    assert nuclei_of(class_map).classes.size == 0
    first = outlines(made.instance_map)[1]
    assert first.equals(shapely.box(3, 3, 4, 4))


@pytest.mark.parametrize("fill", [0, 255])
def test_an_image_without_nuclei(fill):
    made = nuclei_of(np.full((20, 30), fill, np.uint8))
    assert (made.instance_map.max(), made.classes.shape, made.probs.shape) == (0, (0,), (0, 5))
    assert outlines(made.instance_map) == []


def test_an_image_that_is_one_nucleus():
    assert nuclei_of(np.full((40, 40), 2, np.uint8)).classes.tolist() == [2]


def test_holes_of_one_nucleus_are_filled_and_a_gap_between_two_is_not():
    parts = np.ones((7, 12), np.int32)
    parts[:, 6:] = 2
    parts[2:4, 2], parts[3, 5:7], parts[5, 0] = 0, 0, 0
    filled = fill_holes(parts)
    assert (filled[2:4, 2] == 1).all()
    assert (filled[3, 5:7] == 0).all()
    assert filled[5, 0] == 0  # at the border
    assert np.array_equal(fill_holes(filled), filled)


def test_renumbering_drops_small_parts():
    assert renumber(np.array([[5, 0, 2], [5, 9, 2]], np.int32), min_area=2).tolist() == [[1, 0, 2], [1, 0, 2]]


@pytest.mark.parametrize("seed", range(20))
def test_every_nucleus_is_one_piece_inside_the_mask_or_its_holes_and_has_a_valid_outline(seed):
    drawn = random_instances(seed)
    class_map = drawn.classes[drawn.ids]
    made = nuclei_of(class_map, min_area_um2=0)
    assert (made.instance_map[class_map > 0] > 0).all()
    shapes = outlines(made.instance_map)
    assert len(shapes) == len(made.classes) == made.instance_map.max()
    for i, shape in enumerate(shapes, start=1):
        mask = made.instance_map == i
        assert label(mask)[1] == 1
        assert shape.is_valid
        assert shape.geom_type == "Polygon"
        assert shape.exterior.is_ccw
        assert shape.area == mask.sum()
        centres = shapely.points(*np.meshgrid(np.arange(mask.shape[1]) + 0.5, np.arange(mask.shape[0]) + 0.5))
        assert np.array_equal(shapely.contains(shape, centres), mask)
    overlap = sum(shape.area for shape in shapes) - shapely.union_all(shapes).area
    assert overlap == pytest.approx(0, abs=1e-9)


def test_outlines_go_along_pixel_edges_without_needless_points():
    ids = np.zeros((6, 8), np.int32)
    ids[1:4, 2:7] = 1
    (shape,) = outlines(ids)
    assert shape.equals(shapely.box(2, 1, 7, 4))
    assert len(shape.exterior.coords) == 5


def test_a_nucleus_around_another_has_a_hole():
    ids = np.ones((5, 5), np.int32)
    ids[2, 2] = 2
    ring, core = outlines(ids)
    assert len(ring.interiors) == 1
    assert core.equals(shapely.box(2, 2, 3, 3))


def test_of_a_nucleus_in_pieces_the_largest_is_outlined():
    (shape,) = outlines(np.array([[1, 0, 1, 1]]))
    assert shape.equals(shapely.box(2, 0, 4, 1))


@pytest.mark.parametrize(
    ("highest", "dtype"), [(0, np.uint16), (300, np.uint16), (65535, np.uint16), (65536, np.uint32)]
)
def test_instance_maps_keep_every_id(tmp_path, highest, dtype):
    ids = np.zeros((30, 40), np.int32)
    ids[3, 4] = highest
    write_instance_map(tmp_path / "a.tif", ids)
    read = tifffile.imread(tmp_path / "a.tif")
    assert read.dtype == dtype
    assert np.array_equal(read, ids)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"mpp": 0}, "mpp is 0; give µm per pixel, a number above 0"),
        ({"separation_um": -1}, "separation_um is -1; give µm, a number above 0"),
        ({"separation_um": "wide"}, "separation_um is 'wide'; give µm, a number above 0"),
        ({"min_area_um2": -2}, "min_area_um2 is -2; give µm², a number of at least 0"),
        ({"min_area_um2": float("nan")}, "min_area_um2 is nan"),
    ],
)
def test_refuses_unusable_parameters(settings, problem):
    with pytest.raises(InputError, match=problem):
        WatershedNuclei(**{"mpp": MPP, **settings})


def test_refuses_probabilities_of_another_size():
    with pytest.raises(ValueError, match=r"class map is \[4, 4\], probabilities \[5, 4, 5\]: sizes must agree"):
        nuclei_of(np.zeros((4, 4), np.uint8), np.zeros((5, 4, 5)))


def test_refuses_negative_ids(tmp_path):
    with pytest.raises(ValueError, match="instance map holds -1; ids are 0 and above"):
        write_instance_map(tmp_path / "a.tif", np.full((2, 2), -1))


def test_outlines_become_the_pixels_that_they_outlined():
    ids = nuclei_of(painted((20, 30, 9, 1), (36, 30, 9, 1), (70, 60, 12, 4), (95, 5, 8, 2))).instance_map
    whole = Level0Box(0, 0, ids.shape[1], ids.shape[0])
    assert np.array_equal(rasterise(outlines(ids), whole), ids)
    part = Level0Box(7, 25, 20, 11)
    assert np.array_equal(rasterise(outlines(ids), part), ids[part.within(whole)])


def test_the_distance_of_a_disc_falls_evenly_from_its_middle_to_its_edge():
    discs = disc((64, 64), 20, 32, 12).astype(np.uint16)
    discs[disc((64, 64), 44, 32, 12)] = 2  # they touch
    rows, columns = np.mgrid[:64, :64] + 0.5
    for number, x in ((1, 20), (2, 44)):
        radius = np.hypot(rows - 32, columns - x)
        here = (discs == number) & (np.abs(columns - 32) > 2)  # where they touch the edge is a line
        assert np.abs(normalised_distance(discs) - (1 - radius / 12))[here].max() < 0.15
    assert (normalised_distance(discs)[discs == 0] == 0).all()


def test_each_nucleus_has_its_own_largest_distance_and_the_images_border_is_no_edge():
    instance_map = np.zeros((40, 60), np.uint16)
    instance_map[5:8, 5:40] = 7  # ids need not be consecutive
    instance_map[20:, 30:] = 3
    distance = normalised_distance(instance_map)
    assert [distance[instance_map == number].max() for number in (7, 3)] == [1, 1]
    assert distance[-1, -1] == 1
    assert distance[20, 30:].max() < 0.1
    assert (normalised_distance(np.ones((5, 6), np.uint8)) == 1).all()


def test_the_transform_gives_the_distance_of_instance_maps_as_tensors():
    instance_map = disc((48, 48), 20, 32, 12).astype(np.uint16)
    changed = NormalisedDistanced("instances")({"instances": MetaTensor(instance_map[None].astype(np.int32))})
    assert np.array_equal(changed["instances"][0], normalised_distance(instance_map))
    assert isinstance(changed["instances"], MetaTensor)
