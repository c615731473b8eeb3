import numpy as np
import pytest
from scipy.ndimage import label, maximum_filter, minimum_filter

from monch_monai.data import Tiles
from monch_monai.datasets import write_synthetic
from monch_monai.datasets.synthetic import LOOKS, STROMA, synthetic_tile
from monch_monai.tissues import TISSUES


def tile(seed, **settings):
    return synthetic_tile(np.random.default_rng(seed), **settings)


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


SEEDS = range(6)


def test_the_same_seed_gives_the_same_tile_and_another_seed_another():
    assert same(tile(3), tile(3))
    assert not np.array_equal(tile(3).image, tile(4).image)
    assert not np.array_equal(tile(3).instances, tile(4).instances)


@pytest.mark.parametrize("seed", SEEDS)
def test_all_five_classes_occur(seed):
    assert np.unique(tile(seed).classes).tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("seed", SEEDS)
def test_class_map_and_instance_map_cover_the_same_pixels(seed):
    made = tile(seed)
    assert np.array_equal(made.classes > 0, made.instances > 0)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_nucleus_is_of_one_class_and_one_piece(seed):
    made = tile(seed)
    ids = np.unique(made.instances)[1:]
    assert ids.tolist() == list(range(1, len(ids) + 1))
    for i in ids:
        here = made.instances == i
        assert len(np.unique(made.classes[here])) == 1
        assert label(here, structure=np.ones((3, 3)))[1] == 1


@pytest.mark.parametrize("seed", SEEDS)
def test_no_nucleus_touches_another(seed):
    instances = tile(seed).instances.astype(int)
    neighbour = maximum_filter(instances, 3)
    lowest = minimum_filter(np.where(instances == 0, 10**6, instances), 3)
    inside = instances > 0
    assert np.array_equal(neighbour[inside], instances[inside])
    assert np.array_equal(lowest[inside], instances[inside])


@pytest.mark.parametrize("count", [1, 5, 20])
def test_as_many_nuclei_are_placed_as_asked_for_where_there_is_room(count):
    assert tile(0, nuclei=count).instances.max() == count


def test_no_nuclei_give_an_empty_tile():
    assert tile(0, nuclei=0).classes.max() == 0


def test_fewer_nuclei_are_placed_where_there_is_no_room():
    made = tile(0, size=48, nuclei=50)
    assert 1 <= made.instances.max() < 50


def test_a_nucleus_has_the_colour_of_its_class():
    tiles = [tile(seed) for seed in SEEDS]
    for index, (_, color, _) in enumerate(LOOKS.values(), start=1):
        pixels = np.concatenate([made.image[made.classes == index] for made in tiles])
        assert np.abs(pixels.mean(axis=0) - color).max() < 4
    ground = np.concatenate([made.image[made.classes == 0] for made in tiles])
    assert np.abs(ground.mean(axis=0) - STROMA).max() < 10


def test_types_and_shapes_are_those_of_a_tile():
    made = tile(0, size=64)
    assert [(a.dtype, a.shape) for a in made[:3]] == [
        (np.uint8, (64, 64, 3)),
        (np.uint8, (64, 64)),
        (np.uint16, (64, 64)),
    ]
    assert made.tissue in TISSUES


def test_a_dataset_is_written_with_the_same_contents_for_the_same_seed(tmp_path):
    for name, seed in (("one", 5), ("again", 5), ("other", 6)):
        write_synthetic(tmp_path / name, train=2, validation=1, tile_size=64, seed=seed)
    one, again, other = (Tiles(tmp_path / name) for name in ("one", "again", "other"))
    assert one.folds == {"train": 2, "validation": 1}
    assert (one.split(1, "train"), one.split(1, "validation")) == (["train"], ["validation"])
    assert one.fingerprint == again.fingerprint
    assert one.fingerprint != other.fingerprint
    images = [np.load(tmp_path / "one" / fold / "images.npy") for fold in ("train", "validation")]
    assert not np.array_equal(images[0][0], images[1][0])
