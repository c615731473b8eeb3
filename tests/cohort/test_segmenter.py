import json

import numpy as np
import pytest
import shapely
from PIL import Image

from monch_monai.class_table import PANNUKE
from monch_monai.geometry import Level0Box
from monch_monai.predict import Tiling
from monch_monai.segmentation import segment_part
from monch_monai.slides import ImageSlide, LightenedSlide, open_slide
from monch_monai.stain import lightened, lightening, shrunk, tissue_density
from tests.cohort.reading_back import assert_found, nuclei_of, segment, segmenter
from tests.fakes.slides import Nucleus, colours, on_seams, paint, write_slide

SIZE = (1300, 1150)
SIDE = 512
NUCLEI = on_seams(SIZE, SIDE) + on_seams(SIZE, 192)[3:9:5]


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    return write_slide(tmp_path_factory.mktemp("slide") / "seams.tif", paint(NUCLEI, SIZE))


@pytest.mark.parametrize("overlap", [0.25, 0.5])
@pytest.mark.parametrize("tile_size", [128, 256, 320])
def test_every_nucleus_is_found_once_and_whole_for_any_tiles(slide, tmp_path, tile_size, overlap):
    found = segment(slide, tmp_path, tile_size=tile_size, overlap=overlap)
    assert_found(found, NUCLEI, SIZE, place=0.05, area=1e-4, mpp=0.25)
    assert found["mean_prob"].to_pylist() == [0.75] * len(NUCLEI)


def test_region_size_and_workers_change_nothing(slide, tmp_path):
    alone = segment(slide, tmp_path / "alone", region_size=2048)
    workers = segment(slide, tmp_path / "workers", nucleus_workers=2, num_workers=2, batch_size=3)
    key = [("y", "ascending"), ("x", "ascending")]
    assert alone.sort_by(key).equals(workers.sort_by(key))


@pytest.mark.parametrize(("mpp", "levels"), [(0.5, 2), (0.125, 2), (0.2, 1), (0.3, 1)])
def test_places_are_those_of_level_0_at_any_resolution(tmp_path, mpp, levels):
    size = (900, 800)
    nuclei = [Nucleus(n.x, n.y, n.radius + 4, n.index) for n in on_seams(size, 300)]
    found = segment(write_slide(tmp_path / "s.tif", paint(nuclei, size), mpp=mpp, levels=levels), tmp_path / "out")
    assert_found(found, nuclei, size, place=1, area=0.25, mpp=mpp)  # edges are blends


def test_a_part_gives_what_the_slide_gives_there(slide, tmp_path):
    whole = segment(slide, tmp_path)
    corner = Level0Box(SIDE - 100, SIDE - 90, 700, 480)
    opened = open_slide(slide)
    part = segment_part(opened, colours, corner, tiling=Tiling(128))
    opened.close()
    left, top = corner.x, corner.y
    rows = whole.to_pylist()
    inside = [row for row in rows if left <= row["x"] < left + 700 and top <= row["y"] < top + 480]
    assert len(inside) > 3
    assert sorted(r["geometry"] for r in part.to_pylist()) == sorted(r["geometry"] for r in inside)


def test_an_image_in_memory_is_a_slide():
    nuclei = [Nucleus(20, 30, 8, 2), Nucleus(60, 3, 9, 5)]
    found = segment_part(ImageSlide(paint(nuclei, (100, 64)), mpp=0.25), colours)
    assert_found(found, [nuclei[0]], (100, 64), place=0.05, area=1e-4, mpp=0.25, others=1)
    assert segment_part(ImageSlide(paint([], (40, 40)), mpp=0.5), colours).num_rows == 0


def test_a_darker_slide_is_seen_as_light_as_the_reference(tmp_path):
    nuclei, size = on_seams((900, 800), 300), (900, 800)
    pale = paint(nuclei, size)
    dark = lightened(pale, (1.6, 1.7, 1.8))  # here: darkened
    reference = tissue_density(shrunk(pale, 0.25)).tolist()
    path = write_slide(tmp_path / "dark.tif", dark)
    assert segment(path, tmp_path / "as_it_is").num_rows < len(nuclei) / 2
    found = segment(path, tmp_path / "lightened", reference_density=reference)
    assert_found(found, nuclei, size, place=0.05, area=1e-4, mpp=0.25)
    summary = json.loads((tmp_path / "lightened" / "dark" / "summary.json").read_text())
    assert summary["optical_density_times"] == pytest.approx([1 / 1.6, 1 / 1.7, 1 / 1.8], rel=0.02)
    assert summary["settings"]["reference_density"] == reference
    picture = np.asarray(Image.open(tmp_path / "lightened" / "dark" / "thumbnail.png"))
    assert (picture[10, 200] == dark[10, 200]).all()  # people see the slide as it is
    seen = LightenedSlide(ImageSlide(dark, mpp=0.25), lightening(tissue_density(shrunk(dark, 0.25)), reference))
    assert sorted(segment_part(seen, colours)["geometry"].to_pylist()) == sorted(found["geometry"].to_pylist())


STROKES = {"green": (20, 120, 60), "blue": (30, 60, 170), "black": (25, 25, 28), "grey": (90, 92, 95)}


def test_a_pen_beside_the_tissue_changes_nothing_in_it(tmp_path):
    clean = np.full((700, 1800, 3), 243, np.uint8)
    clean[50:650, 50:650] = lightened(paint(on_seams((600, 600), 200), (600, 600)), (1.6, 1.7, 1.8))
    one = segmenter(tmp_path / "out", num_workers=0, reference_density=[0.15, 0.3, 0.17])
    expected = one.plan(write_slide(tmp_path / "clean.tif", clean))
    assert min(expected.lightening) < 0.9
    for pen, colour in STROKES.items():
        drawn = clean.copy()
        drawn[30:650, 1750:1790] = colour  # 275 µm away
        plan = one.plan(write_slide(tmp_path / f"{pen}.tif", drawn))
        assert plan.lightening == expected.lightening
        assert np.array_equal(plan.tissue.mask, expected.tissue.mask)
    for name in ("clean", "green"):
        one(tmp_path / f"{name}.tif")
    assert nuclei_of(tmp_path / "out" / "clean").num_rows > 10
    assert nuclei_of(tmp_path / "out" / "green").equals(nuclei_of(tmp_path / "out" / "clean"))


def test_touching_nuclei_on_a_corner_are_told_apart_alike(tmp_path):
    pair = [Nucleus(506, 512, 9, 1), Nucleus(519, 512, 9, 1), Nucleus(512, 498, 6, 2)]
    path = write_slide(tmp_path / "pair.tif", paint(pair, (1100, 1100)))
    in_four, in_one = (segment(path, tmp_path / str(side), region_size=side) for side in (512, 2048))
    assert sorted(in_four["geometry"].to_pylist()) == sorted(in_one["geometry"].to_pylist())
    assert sorted(in_one["class_name"].to_pylist()) == ["inflammatory", "neoplastic", "neoplastic"]


def test_nothing_of_glass_is_run_or_reported(tmp_path):
    pixels = paint([Nucleus(1500, 300, 10, 1)], (2000, 600), ground=(243, 243, 243))
    pixels[100:500, 100:700] = paint([Nucleus(200, 150, 10, 3)], (600, 400))
    seen = []

    def watched(tiles):
        seen.append(len(tiles))
        return colours(tiles)

    path = write_slide(tmp_path / "glass.tif", pixels)
    one = segmenter(tmp_path / "out", watched, region_size=2048, num_workers=0, batch_size=1)
    tiles = one.plan(path).tiles()
    summary = one(path)
    assert summary["nuclei_total"] == 1
    assert nuclei_of(tmp_path / "out" / "glass")["x"].to_pylist() == [pytest.approx(300, abs=0.01)]
    assert summary["tissue_mm2"] == pytest.approx(600 * 400 * 0.25**2 * 1e-6, rel=0.1)
    assert sum(seen) == tiles < 24  # of 44


def test_outlines_are_valid_closed_and_as_large_as_they_say(slide, tmp_path):
    found = segment(slide, tmp_path)
    polygons = shapely.from_wkb(found["geometry"].to_pylist())
    assert shapely.is_valid(polygons).all()
    assert all(p.exterior.is_closed and p.exterior.is_ccw for p in polygons)
    assert np.allclose(shapely.area(polygons) * 0.25**2, found["area_um2"].to_numpy(), atol=1e-4)
    assert set(found["class_name"].to_pylist()) == {c.name for c in PANNUKE.classes[1:]}
    assert (found["circularity"].to_numpy() > 0.85).all()
