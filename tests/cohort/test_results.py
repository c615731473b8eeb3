import gzip
import json
from importlib.util import find_spec

import geopandas
import numpy as np
import openslide
import pytest
import shapely
import tifffile
from PIL import Image

from monch_monai.class_table import PANNUKE
from monch_monai.errors import InputError
from monch_monai.legend import with_legend
from monch_monai.writers import FORMATS
from tests.cohort.reading_back import segment
from tests.fakes.slides import COLOURS, Nucleus, colours, on_seams, paint, write_mirax, write_slide
from tests.writers.reading import READ

SIZE = (1500, 1100)
NUCLEI = on_seams(SIZE, 512)
MPP = 0.5


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Folder of a slide at 0.5 µm/px, worked on at 0.25."""
    folder = tmp_path_factory.mktemp("results")
    segment(write_slide(folder / "seams.tif", paint(NUCLEI, SIZE), mpp=MPP), folder / "out", region_size=1024)
    return folder / "out" / "seams"


def test_a_slide_has_these_files_and_nothing_is_left_beside_them(results):
    names = {"nuclei.geojson", "nuclei.parquet", "classes.ome.tif", "summary.json", "thumbnail.png", "tissue.png"}
    assert {path.name for path in results.iterdir()} == names
    assert [path.name for path in results.parent.iterdir()] == ["seams"]


def assert_is_geojson(collection):
    """RFC 7946: types, members, closed rings of at least four positions, the outer one counterclockwise."""
    assert collection["type"] == "FeatureCollection"
    assert "crs" not in collection
    for feature in collection["features"]:
        assert feature["type"] == "Feature"
        assert isinstance(feature["properties"], dict)
        assert "coordinates" not in feature
        assert feature["geometry"]["type"] == "Polygon"
        for number, ring in enumerate(feature["geometry"]["coordinates"]):
            assert len(ring) >= 4
            assert ring[0] == ring[-1]
            assert all(len(position) == 2 and all(isinstance(v, int | float) for v in position) for position in ring)
            assert shapely.LinearRing(ring).is_ccw == (number == 0)


def test_geojson_is_valid_and_in_the_schema_of_qupath(results):
    collection = json.loads((results / "nuclei.geojson").read_text(encoding="utf-8"))
    assert_is_geojson(collection)
    assert len(collection["features"]) == len(NUCLEI)
    for feature in collection["features"]:
        assert shapely.geometry.shape(feature["geometry"]).is_valid
        properties = feature["properties"]
        assert properties["objectType"] == "detection"
        known = {c.name: list(c.color) for c in PANNUKE.classes[1:]}
        assert known[properties["classification"]["name"]] == properties["classification"]["color"]
        assert set(properties["measurements"]) == {"Nucleus id", "Mean probability", "Area µm^2", "Circularity"}
    assert collection["monch"]["source_mpp"] == [pytest.approx(MPP), pytest.approx(MPP)]
    assert collection["monch"]["working_mpp"] == [0.25, 0.25]


def test_geopandas_reads_geojson_and_parquet_alike(results):
    from_json = geopandas.read_file(results / "nuclei.geojson")
    from_parquet = geopandas.read_parquet(results / "nuclei.parquet")
    assert len(from_json) == len(from_parquet) == len(NUCLEI)
    assert from_json.is_valid.all()
    assert (from_json.geometry.values == from_parquet.geometry.values).all()
    assert from_parquet.crs is None
    assert np.allclose(from_parquet.area * MPP**2, from_parquet["area_um2"], rtol=1e-3)


def test_gzip_holds_the_same(results, tmp_path):
    slide = write_slide(tmp_path / "seams.tif", paint(NUCLEI, SIZE), mpp=MPP)
    segment(slide, tmp_path / "out", region_size=1024, gzip="true")
    packed = gzip.decompress((tmp_path / "out" / "seams" / "nuclei.geojson.gz").read_bytes())
    assert packed == (results / "nuclei.geojson").read_bytes()
    assert not (tmp_path / "out" / "seams" / "nuclei.geojson").exists()


def test_the_pyramid_opens_in_openslide_with_its_resolution(results):
    with openslide.OpenSlide(results / "classes.ome.tif") as file:
        assert file.dimensions == (3000, 2200)
        assert float(file.properties[openslide.PROPERTY_NAME_MPP_X]) == pytest.approx(0.25, rel=1e-3)
        nucleus = NUCLEI[0]
        pixel = file.read_region((int(nucleus.x * 2), int(nucleus.y * 2)), 0, (1, 1)).getpixel((0, 0))
        assert pixel[:3] == PANNUKE.classes[nucleus.index].color


def test_the_pyramid_is_ome_tiff_and_halves_from_level_to_level(results):
    with tifffile.TiffFile(results / "classes.ome.tif") as file:
        series = file.series[0]
        assert [level.shape for level in series.levels] == [(2200, 3000), (1100, 1500), (550, 750)]
        assert all(level.pages[0].is_tiled for level in series.levels)
        whole = series.levels[0].asarray()
        assert np.array_equal(series.levels[1].asarray(), whole[::2, ::2])
        assert np.array_equal(series.levels[2].asarray(), whole[::4, ::4])
        pixels = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]
        assert (pixels["PhysicalSizeX"], pixels["PhysicalSizeXUnit"]) == (0.25, "µm")
    assert set(np.unique(whole)) == {0, 1, 2, 3, 4, 5}
    for nucleus in NUCLEI:
        assert whole[int(nucleus.y * 2), int(nucleus.x * 2)] == nucleus.index


def test_the_summary_counts(results):
    summary = json.loads((results / "summary.json").read_text(encoding="utf-8"))
    counts = np.bincount([n.index for n in NUCLEI], minlength=6)
    assert summary["nuclei"] == {c.name: counts[c.index] for c in PANNUKE.classes[1:]}
    assert summary["nuclei_total"] == len(NUCLEI)
    assert summary["tissue_mm2"] == pytest.approx(SIZE[0] * SIZE[1] * MPP**2 * 1e-6, rel=0.02)
    assert summary["per_mm2"]["dead"] == pytest.approx(counts[4] / summary["tissue_mm2"], rel=1e-3)
    assert summary["shares"]["dead"] == pytest.approx(counts[4] / len(NUCLEI), abs=1e-4)
    assert sum(summary["shares"].values()) == pytest.approx(1, abs=1e-3)
    assert summary["ratios"]["tumour_infiltration"] == pytest.approx(counts[2] / counts[1], abs=1e-4)
    assert summary["source_mpp"][0] == pytest.approx(MPP)


def test_pictures_show_nuclei_and_tissue(results):
    with Image.open(results / "thumbnail.png") as picture:
        assert picture.width == SIZE[0]
        assert json.loads(picture.text["monch"])["working_mpp"] == [0.25, 0.25]
        whole = np.asarray(picture)
    drawn, counts = whole[: SIZE[1]], np.bincount([n.index for n in NUCLEI], minlength=6)
    assert np.array_equal(whole, with_legend(drawn, PANNUKE, MPP, counts[1:].tolist()))
    nucleus = NUCLEI[0]
    edge = drawn[int(nucleus.y), int(nucleus.x) + 5 : int(nucleus.x) + 10]
    assert (edge == PANNUKE.classes[nucleus.index].color).all(axis=1).any()
    assert (drawn[int(nucleus.y), int(nucleus.x)] == COLOURS[nucleus.index - 1]).all()
    assert Image.open(results / "tissue.png").size == SIZE


def test_ratios_of_nothing_are_none(tmp_path):
    slide = write_slide(tmp_path / "empty.tif", paint([], (600, 600), ground=(243, 243, 243)))
    assert segment(slide, tmp_path).num_rows == 0
    summary = json.loads((tmp_path / "empty" / "summary.json").read_text(encoding="utf-8"))
    assert summary["ratios"]["tumour_infiltration"] is None
    assert summary["per_mm2_total"] is None
    assert json.loads((tmp_path / "empty" / "nuclei.geojson").read_text(encoding="utf-8"))["features"] == []


def square(x, y, side=12):
    ring = [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]
    return {"type": "Polygon", "coordinates": [ring]}


@pytest.mark.parametrize("packed", [False, True])
def test_another_tools_nuclei_keep_their_outlines_and_get_a_class(tmp_path, packed):
    slide = write_slide(tmp_path / "s.tif", paint([Nucleus(100, 100, 9, 2), Nucleus(512, 300, 9, 4)], (1030, 620)))
    given = [
        {"type": "Feature", "id": "a", "geometry": square(94, 94),
         "properties": {"objectType": "detection", "measurements": [{"name": "Solidity", "value": 0.9}]}},
        {"type": "Feature", "id": "b", "geometry": square(506, 294), "properties": {"objectType": "cell", "mine": 1}},
        {"type": "Feature", "id": "c", "geometry": square(700.5, 500.25, 0.2), "properties": None},
    ]  # fmt: skip
    file = tmp_path / ("given.geojson.gz" if packed else "given.geojson")
    text = json.dumps({"type": "FeatureCollection", "features": given}).encode()
    file.write_bytes(gzip.compress(text) if packed else text)
    found = segment(slide, tmp_path / "out", nuclei=file)
    written = json.loads((tmp_path / "out" / "s" / "nuclei.geojson").read_text(encoding="utf-8"))["features"]
    by_id = {feature["id"]: feature for feature in written}
    assert {i: f["geometry"] for i, f in by_id.items()} == {f["id"]: f["geometry"] for f in given}
    assert by_id["a"]["properties"]["classification"] == {"name": "inflammatory", "color": [0, 255, 0]}
    assert by_id["a"]["properties"]["measurements"] == {"Solidity": 0.9, "Mean probability": 0.75}
    assert by_id["b"]["properties"]["classification"]["name"] == "dead"
    assert by_id["b"]["properties"]["objectType"] == "cell"
    assert by_id["b"]["properties"]["mine"] == 1
    assert by_id["c"]["properties"]["measurements"]["Mean probability"] == 0  # of no nucleus in MONCH's eyes
    assert sorted(found["source"].to_pylist()) == [0, 1, 2]
    assert found.sort_by("source")["area_um2"].to_pylist()[:2] == [9.0, 9.0]


def test_nuclei_are_typed_where_no_tissue_was_seen(tmp_path):
    slide = write_slide(tmp_path / "s.tif", paint([Nucleus(300, 300, 9, 5)], (600, 600), ground=(243, 243, 243)))
    file = tmp_path / "given.geojson"
    file.write_text(json.dumps([{"type": "Feature", "geometry": square(294, 294), "properties": {}}]))
    assert segment(slide, tmp_path / "out", colours, nuclei=file)["class_name"].to_pylist() == ["epithelial"]


def test_nuclei_of_a_slide_scanned_in_part_are_where_that_part_shows_them(tmp_path):
    nuclei = [Nucleus(60.5, 50.5, 12, 1), Nucleus(250.5, 130.5, 9, 2)]
    slide = write_mirax(tmp_path / "part.mrxs", paint(nuclei, (320, 192)), at=(2, 1))
    segment(slide, tmp_path / "out", region_size=512)
    collection = json.loads((tmp_path / "out/part/nuclei.geojson").read_text(encoding="utf-8"))
    assert collection["monch"]["origin_in_file"] == [128, 64]
    centroids = [shapely.geometry.shape(feature["geometry"]).centroid for feature in collection["features"]]
    assert sorted((round(point.x, 1), round(point.y, 1)) for point in centroids) == [(60.5, 50.5), (250.5, 130.5)]
    with tifffile.TiffFile(tmp_path / "out/part/classes.ome.tif") as classes:
        assert classes.series[0].shape == (192, 320)


def test_every_format_holds_the_same_nuclei_with_features(tmp_path):
    chosen = [name for name, f in FORMATS.items() if not f.needs or find_spec(f.needs)]
    size = (700, 420)
    nuclei = on_seams(size, 256)
    slide = write_slide(tmp_path / "seams.tif", paint(nuclei, size), mpp=MPP)
    table = segment(slide, tmp_path / "out", region_size=512, write=chosen, features=True)
    folder = tmp_path / "out" / "seams"
    assert {path.name for path in folder.iterdir()} == {
        *(FORMATS[name].file for name in chosen), "summary.json", "thumbnail.png", "tissue.png",
    }  # fmt: skip
    for name in set(chosen) & READ.keys():
        found = READ[name](folder / FORMATS[name].file)
        assert sorted(c for c, _ in found) == sorted(PANNUKE.classes[n.index].name for n in nuclei)
    assert table.num_rows == len(nuclei)
    place = np.array([(row["x"], row["y"]) for row in table.to_pylist()]) * MPP
    distances = np.linalg.norm(place[:, None] - place[None], axis=2) + np.diag([np.inf] * len(place))
    assert np.allclose(table["nearest_um"].to_numpy(), distances.min(axis=1), atol=1e-3)
    areas = np.pi / 4 * table["equivalent_diameter_um"].to_numpy() ** 2
    assert np.allclose(areas, table["area_um2"].to_numpy(), rtol=1e-3)
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert summary["settings"]["write"] == chosen
    assert summary["class_table"] == PANNUKE.to_dict()


def test_what_could_not_be_written_is_written_in_other_formats_without_segmenting_again(tmp_path, monkeypatch):
    slide = write_slide(tmp_path / "s.tif", paint([Nucleus(100, 100, 9, 2)], (300, 300)))

    def fail(path, source):
        raise InputError("too much for this format")

    monkeypatch.setattr("monch_monai.writers.dsa.DsaFile", fail)
    with pytest.raises(InputError, match="too much for this format"):
        segment(slide, tmp_path / "out", write="dsa,geojson")

    def no_network(tiles):
        raise AssertionError("the network ran again")

    no_network.class_table = PANNUKE
    assert segment(slide, tmp_path / "out", no_network, write="parquet", features=True).num_rows == 1
