import numpy as np
import pytest

from monch_monai.class_table import PANNUKE
from monch_monai.geometry import Mpp, Size, WorkingBox, working_grid
from monch_monai.predict import MemoryCache, Prediction, Tiling, cut
from monch_monai.segmentation import margin_px, regions
from monch_monai.segmentation.regions import predict_region, read_tiles
from monch_monai.slides import ImageSlide
from tests.fakes.labels import some_classes

GRID = working_grid(Size(3000, 2000), Mpp(0.25, 0.25))


def test_a_region_sees_a_margin_and_runs_the_tiles_it_needs():
    lattice = Tiling().over(GRID.box)
    assert margin_px(GRID) == 128
    found = list(regions(GRID.box, GRID, lattice, 1024))
    assert [(region.core.x, region.core.y) for region in found] == [(x, y) for y in (0, 1024) for x in (0, 1024, 2048)]
    assert found[4].view == WorkingBox(896, 896, 1280, 1104)  # cut at the slide's foot
    assert found[4].cells == lattice.cells(found[4].view)
    only = list(regions(GRID.box, GRID, lattice, 1024, lambda box: box.x >= 2048))
    assert [region.core.x for region in only] == [2048, 2048]
    assert all(lattice.cell(cell).x >= 2048 for region in only for cell in region.cells)


def by_place(tiles):
    """A prediction in the colours of each pixel: class, probability in hundredths, distance in eighths."""
    probs, distance = tiles[:, None, :, :, 1] / np.float16(100), tiles[:, None, :, :, 2] / np.float16(8)
    return Prediction(tiles[..., 0], np.repeat(probs, 5, axis=1), distance)


by_place.class_table = PANNUKE


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("tiling", [Tiling(256, 0.25, 3), Tiling(96, 0.5, 4), Tiling(63, 0.1, 1)], ids=str)
def test_regions_make_the_map_that_their_tiles_predict(tiling, cached):
    grid = working_grid(Size(700, 500), Mpp(0.25, 0.25))
    image = np.random.default_rng(0).integers(0, 6, (500, 700, 3)).astype(np.uint8)
    slide = ImageSlide(image, 0.25)
    lattice, cache = tiling.over(grid.box), MemoryCache() if cached else None
    for region in regions(grid.box, grid, lattice, 256):
        pixels = read_tiles(slide, grid, lattice, region.cells)
        view = predict_region(pixels, region, lattice, by_place, margin_px(grid), cache)
        assert np.array_equal(view.class_map, image[region.view.within(grid.box)][..., 0])
        assert np.array_equal(view.probs[4], image[region.view.within(grid.box)][..., 1] / np.float16(100))
        assert np.array_equal(view.distance[0], image[region.view.within(grid.box)][..., 2] / np.float16(8))


def test_a_view_has_as_many_maps_as_the_predictors_classes():
    class_table = some_classes(3)

    def two(tiles):
        return Prediction.of_classes(tiles[..., 0], np.repeat(tiles[:, None, :, :, 1] / np.float16(100), 2, axis=1))

    two.class_table = class_table
    grid = working_grid(Size(90, 80), Mpp(0.25, 0.25))
    lattice = Tiling(64).over(grid.box)
    image = np.random.default_rng(0).integers(0, 3, (80, 90, 3)).astype(np.uint8)
    (region,) = regions(grid.box, grid, lattice)
    for cells in (region.cells, []):
        pixels = read_tiles(ImageSlide(image, 0.25), grid, lattice, region.cells)
        view = predict_region(pixels, region._replace(cells=cells), lattice, two, margin_px(grid))
        assert view.probs.shape == (2, 80, 90)
        assert np.array_equal(view.class_map, image[..., 0] if cells else np.zeros((80, 90)))


def test_an_image_smaller_than_a_tile_is_seen_with_its_edge_repeated():
    grid = working_grid(Size(50, 40), Mpp(0.25, 0.25))
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3)).astype(np.uint8)
    seen = read_tiles(ImageSlide(image, 0.25), grid, Tiling(64).over(grid.box), [(0, 0)])
    assert np.array_equal(seen, np.pad(image, ((0, 24), (0, 14), (0, 0)), mode="edge"))


def test_a_cache_in_memory_holds_copies_and_drops_what_is_done():
    lattice = Tiling(64, 0).over(GRID.box)
    cache = MemoryCache({(0, 0): None, (5, 1): None, (0, 2): None})
    cache.drop_above(lattice, 128)
    assert list(cache) == [(0, 2)]
    tile = Prediction.empty(64, 64, classes=6)
    assert cut(tile, WorkingBox(0, 0, 64, 64), WorkingBox(8, 8, 4, 4)).probs.base is None
