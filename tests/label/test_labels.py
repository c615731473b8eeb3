import json

import numpy as np
import pytest
import tifffile
from PIL import Image

from monch_monai.class_table import PANNUKE
from monch_monai.errors import InputError
from monch_monai.geometry import Level0Box
from monch_monai.label.annotations import Outline
from monch_monai.label.labels import draw, read_labels, requested_part
from monch_monai.nuclei import outlines
from tests.fakes.labels import some_classes
from tests.fakes.nuclei import random_instances
from tests.label.test_annotations import asap, write

SIZE = (40, 30)
WHOLE = Level0Box(0, 0, *SIZE)


def rectangle(x, y, w, h):
    return [(x, y), (x + w, y), (x + w, y + h), (x, y + h)]


@pytest.mark.parametrize("seed", range(8))
def test_rasterising_outlines_gives_their_pixels_back(seed):
    """Of what lies in one piece; holes stay holes."""
    nuclei = random_instances(seed)
    ids = nuclei.ids.astype(np.int32)
    polygons = outlines(ids)
    expected = np.zeros_like(ids)
    for i, polygon in enumerate(polygons, start=1):
        if polygon.area == (ids == i).sum():
            expected[ids == i] = i
    kept = [i for i in range(1, len(polygons) + 1) if (expected == i).any()]
    drawn = [Outline(PANNUKE.classes[nuclei.classes[i]].name, polygons[i - 1]) for i in kept]
    classes, instances = draw(drawn, Level0Box(0, 0, ids.shape[1], ids.shape[0]), PANNUKE)
    np.testing.assert_array_equal(np.append(0, kept)[instances], expected)
    np.testing.assert_array_equal(classes, nuclei.classes[expected])
    window = draw(drawn, Level0Box(7, 5, 20, 11), PANNUKE)
    np.testing.assert_array_equal(window[1], instances[5:16, 7:27])


def test_later_outlines_lie_on_top(tmp_path):
    path = write(tmp_path, "a.xml", asap(("dead", rectangle(0, 0, 10, 10)), ("Ignore*", rectangle(5, 0, 10, 10))))
    label = read_labels(path, WHOLE, 0.25, PANNUKE)
    assert label.box == WHOLE
    assert set(np.unique(label.classes[:10, :5])) == {4}
    assert set(np.unique(label.classes[:10, 5:15])) == {255}
    assert not label.classes[10:].any()
    assert not label.instances[:10, 5:].any()


@pytest.mark.parametrize(
    ("slide", "part", "named", "region", "box"),
    [
        (False, None, None, False, (0, 0, 40, 30)),
        (True, None, None, False, (10, 12, 6, 5)),  # around the outlines
        (True, None, None, True, (8, 9, 20, 15)),  # what was reviewed
        (False, None, None, True, (8, 9, 20, 15)),
        (True, None, (5, 6, 30, 20), False, (5, 6, 30, 20)),  # the box that our own answers name
        (True, None, (1000, 2000, 40, 30), False, (10, 12, 6, 5)),  # where a patch was cut from
        (False, None, (1000, 2000, 40, 30), False, (0, 0, 40, 30)),
        (True, (4, 4, 30, 20), (5, 6, 30, 20), True, (4, 4, 30, 20)),
    ],
)
def test_the_part_that_was_reviewed(tmp_path, slide, part, named, region, box):
    annotations = [("neoplastic", rectangle(10, 12, 6, 5))]
    if region:
        annotations.append(("Region*", rectangle(8, 9, 20, 15)))
    x, y, w, h = named or (0, 0, 0, 0)
    path = write(tmp_path, "a.xml", asap(*annotations, box=f'X="{x}" Y="{y}" W="{w}" H="{h}"'))
    label = read_labels(path, WHOLE, 0.25, PANNUKE, part and Level0Box(*part), slide)
    assert tuple(label.box) == box
    assert label.classes.shape == (box[3], box[2])
    assert (label.classes == 1).sum() == (label.instances == 1).sum() == 30
    assert (label.classes == 255).sum() == (box[2] * box[3] - 300 if region else 0)


def test_a_mask_of_any_format_with_its_nuclei_separated(tmp_path):
    classes = np.zeros((30, 40), np.uint8)
    classes[2:12, 2:12], classes[20:28, 20:34] = 3, 5
    classes[0, 39] = 255
    Image.fromarray(classes).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "a.tif", classes)
    for name in ("a.png", "a.tif"):
        label = read_labels(tmp_path / name, WHOLE, 0.25, PANNUKE)
        np.testing.assert_array_equal(label.classes, classes)
        np.testing.assert_array_equal(label.instances[classes == 3], 1)
        np.testing.assert_array_equal(label.instances[classes == 5], 2)
    part = requested_part({"location": [60, 70], "size": SIZE})
    assert read_labels(tmp_path / "a.png", Level0Box(0, 0, 100, 100), 0.25, PANNUKE, part).box == part


def test_labels_hold_the_classes_of_a_table(tmp_path):
    classes = np.zeros((30, 40), np.uint8)
    classes[2:12, 2:12], classes[20:28, 20:34] = 1, 2
    Image.fromarray(classes).save(tmp_path / "a.png")
    outlined = asap(("class 1", rectangle(2, 2, 10, 10)), ("class 2", rectangle(20, 20, 14, 8)))
    for path in (tmp_path / "a.png", write(tmp_path, "a.xml", outlined)):
        label = read_labels(path, WHOLE, 0.25, some_classes(3))
        np.testing.assert_array_equal(label.classes, classes)
        np.testing.assert_array_equal(label.instances, classes)
    with pytest.raises(InputError, match="holds 2; its class map holds 0 to 1 and 255"):
        read_labels(tmp_path / "a.png", WHOLE, 0.25, some_classes(2))
    Image.fromarray(np.where(classes == 1, 255, 0).astype(np.uint8)).save(tmp_path / "b.png")
    with pytest.raises(InputError, match="holds only 0, 255; a class map holds 0 to 2, and 255 only"):
        read_labels(tmp_path / "b.png", WHOLE, 0.25, some_classes(3))


def test_an_image_without_nuclei_is_a_label_too(tmp_path):
    Image.fromarray(np.zeros((30, 40), np.uint8)).save(tmp_path / "a.png")
    assert not read_labels(tmp_path / "a.png", WHOLE, 0.25, PANNUKE).classes.any()
    assert not read_labels(write(tmp_path, "a.xml", asap()), WHOLE, 0.25, PANNUKE).classes.any()
    with pytest.raises(InputError, match="outlines nothing of a slide"):
        read_labels(tmp_path / "a.xml", WHOLE, 0.25, PANNUKE, slide=True)


@pytest.mark.parametrize(
    ("points", "words"),
    [
        (rectangle(30, 0, 12, 5), "reach over .30, 0, 42, 5., but the image is 40x30 px"),
        (rectangle(-3, 0, 9, 9), "reach"),
    ],
)
def test_outlines_beyond_the_image_are_of_another(tmp_path, points, words):
    with pytest.raises(InputError, match=words):
        read_labels(write(tmp_path, "a.xml", asap(("dead", points))), WHOLE, 0.25, PANNUKE)


def test_outlines_rounded_over_the_edge_are_cut_there(tmp_path):
    label = read_labels(write(tmp_path, "a.xml", asap(("dead", rectangle(30, 20, 11, 11)))), WHOLE, 0.25, PANNUKE)
    assert (label.classes == 4).sum() == 100


@pytest.mark.parametrize("size", [[0, 0], [-1, -1], [0, 7]])
def test_sizes_that_are_not_positive_mean_the_whole(size):
    assert requested_part({"location": [3, 4], "size": size}) is None
    assert requested_part({}) is None
    assert requested_part({"size": [5, 6]}) == Level0Box(0, 0, 5, 6)


@pytest.mark.parametrize("request_", [{"size": [1]}, {"size": "ab", "location": [0, 0]}, {"size": 7}])
def test_a_part_is_two_pairs_of_numbers(request_):
    with pytest.raises(InputError, match="give two whole numbers each"):
        requested_part(json.loads(json.dumps(request_)))
