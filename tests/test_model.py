"""MONCH in Python."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import tifffile
from PIL import Image

import monch_monai
from monch_monai import Model, load, model, segment
from monch_monai.class_table import PANNUKE
from monch_monai.cohort import SlideSegmenter
from monch_monai.errors import InputError
from monch_monai.geometry import Level0Box
from monch_monai.legend import draw_nuclei
from monch_monai.segmentation import Workers
from monch_monai.stain import DEFAULT_RULE
from tests.fakes.slides import colours, on_seams, paint, write_slide

SIZE = (500, 400)
NUCLEI = on_seams(SIZE, 100)
FIELD = paint(NUCLEI, SIZE)
MODEL = Model(colours)


def test_regions_have_the_nuclei_of_the_whole_whose_centroids_they_hold(tmp_path):
    slide = write_slide(tmp_path / "field.tif", FIELD)
    whole = segment(slide, MODEL)
    left, right = (segment(slide, MODEL, region=(x, 0, 250, 400)) for x in (0, 250))
    outlines = [set(found.table["geometry"].to_pylist()) for found in (whole, left, right)]
    assert outlines[0] == outlines[1] | outlines[2]
    assert not outlines[1] & outlines[2]
    assert max(left.table["x"].to_pylist()) < 250 <= min(right.table["x"].to_pylist())
    assert np.array_equal(np.hstack([left.class_map, right.class_map]), whole.class_map)
    assert left.region == Level0Box(0, 0, 250, 400)
    assert segment(slide, MODEL, region=(450, 350, 900, 900)).region == Level0Box(450, 350, 50, 50)


def test_an_array_a_picture_and_a_slide_have_the_nuclei_that_were_painted(tmp_path):
    Image.fromarray(FIELD).save(tmp_path / "field.png")
    counts = np.bincount([n.index for n in NUCLEI], minlength=6)
    for image in (FIELD, tmp_path / "field.png", str(write_slide(tmp_path / "field.tif", FIELD))):
        found = segment(image, MODEL)
        assert found.counts == {c.name: counts[c.index] for c in PANNUKE.nuclei}
        assert found.mpp.mean == pytest.approx(0.25)
        for n in NUCLEI:
            assert found.class_map[int(n.y), int(n.x)] == n.index


def test_a_tiff_that_states_another_resolution_than_it_is_taken_at_is_warned_of(tmp_path, caplog):
    tifffile.imwrite(tmp_path / "a.tif", FIELD, resolution=(20000, 20000), resolutionunit="CENTIMETER")
    assert segment(tmp_path / "a.tif", MODEL).mpp.mean == 0.25
    assert "a.tif states 0.5 µm/px, and is segmented at --mpp 0.25" in caplog.text


def test_nuclei_are_a_table_of_outlines_with_their_numbers():
    found = segment(FIELD, MODEL)
    nuclei = found.nuclei
    assert len(nuclei) == found.table.num_rows == found.instance_map.max() == len(NUCLEI)
    assert nuclei["class_name"].value_counts().to_dict() == {name: n for name, n in found.counts.items() if n}
    assert (nuclei.area * 0.25**2).to_numpy() == pytest.approx(nuclei["area_um2"].to_numpy(), rel=0.02)
    assert {f"prob_{c.name}" for c in PANNUKE.nuclei} <= set(nuclei.columns)
    places = [(int(p.x), int(p.y)) for p in nuclei.representative_point()]
    assert [found.instance_map[y, x] for x, y in places] == [*range(1, len(NUCLEI) + 1)]


def test_the_picture_is_the_contour_picture_of_the_region_with_its_legend(tmp_path):
    slide = write_slide(tmp_path / "field.tif", FIELD)
    found = segment(slide, MODEL, region=(100, 50, 300, 200))
    classes = np.append(np.uint8(0), found.table["class_index"].to_numpy())[found.instance_map]
    ids, counts = found.instance_map, list(found.counts.values())
    expected = draw_nuclei(FIELD[50:250, 100:400], classes, PANNUKE, found.mpp.mean, ids, counts)
    assert np.array_equal(found.picture, expected)


def test_without_geopandas_the_message_is_one_line_and_the_table_is_there(monkeypatch):
    found = segment(FIELD[:64, :64], MODEL)
    monkeypatch.setitem(sys.modules, "geopandas", None)
    with pytest.raises(InputError, match="nuclei needs geopandas: pip install geopandas, or use table"):
        _ = found.nuclei
    assert found.table.column_names[:3] == ["class_index", "class_name", "x"]


def test_a_slide_with_glass_is_that_of_the_command_line_and_its_glass_is_not_run(tmp_path):
    pixels = np.full((600, 1800, 3), 243, np.uint8)
    pixels[100:500, 100:600] = FIELD
    slide, ran = write_slide(tmp_path / "slide.tif", pixels), []

    def watched(tiles):
        ran.append(len(tiles))
        return colours(tiles)

    watched.class_table = PANNUKE
    found = segment(slide, Model(watched))
    in_tissue, ran[:] = sum(ran), []
    everywhere = segment(slide, Model(watched), tissue=False)
    assert 0 < in_tissue < sum(ran)
    assert everywhere.table.num_rows == len(NUCLEI)
    with SlideSegmenter(tmp_path / "out", colours, workers=Workers(0, 0), tissue=DEFAULT_RULE) as by_command:
        by_command(slide)
    written = pq.read_table(tmp_path / "out" / "slide" / "nuclei.parquet")
    assert found.table.sort_by("x").equals(written.sort_by("x").cast(found.table.schema))
    assert np.array_equal(found.class_map, tifffile.imread(tmp_path / "out" / "slide" / "classes.ome.tif"))


def test_work_that_takes_long_shows_its_tiles(monkeypatch, capsys):
    monkeypatch.setattr(model, "BAR_AFTER_S", 0)
    segment(FIELD, MODEL)
    assert re.search(r"0/(\d+)", capsys.readouterr().err)
    segment(FIELD, MODEL, progress=False)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("image", "settings", "expected"),
    [
        ("nowhere.svs", {}, "nowhere.svs does not exist: give a picture, a slide or an array"),
        (np.zeros((40, 40), np.uint8), {}, r"the image is uint8 \[40, 40\]; expected uint8 RGB \[H, W, 3\]"),
        (np.zeros((40, 40, 3)), {}, "the image is float64"),
        (np.zeros((40, 40, 3), np.uint8), {"region": (0, 0, 40)}, r"region is \(0, 0, 40\); give x, y, width, height"),
        (np.zeros((40, 40, 3), np.uint8), {"region": (0, 0, 4.5, 4)}, "whole px of level 0"),
        (np.zeros((40, 40, 3), np.uint8), {"region": (50, 0, 9, 9)}, "lies outside the image of 40x40 px"),
        (np.zeros((40, 40, 3), np.uint8), {"region": (3, 3, 0, 9)}, "lies outside the image of 40x40 px"),
        (np.zeros((40, 40, 3), np.uint8), {"mpp": -1}, "mpp is -1; give µm per pixel"),
        (np.zeros((40, 40, 3), np.uint8), {"tissue": "perhaps"}, "tissue is 'perhaps'; give true or false"),
        (np.zeros((40, 40, 3), np.uint8), {"progress": "bar"}, "progress is 'bar'; give true or false"),
        (np.zeros((40, 40, 3), np.uint8), {"model": "best.pt"}, "model is 'best.pt'; give what load returns"),
        (np.zeros((40, 40, 3), np.uint8), {"region": b"1234"}, "region is b'1234'; give x, y"),
        (np.zeros((40, 40, 3), np.uint8), {"region": (True, 0, 9, 9)}, r"region is \(True, 0, 9, 9\); give x, y"),
        (np.zeros((0, 40, 3), np.uint8), {}, "the image is 40x0 px; at least 32x32 is needed"),
        (np.zeros((33, 20, 3), np.uint8), {}, "the image is 20x33 px; at least 32x32 is needed"),
        (Image.new("RGB", (40, 40)), {}, r"image is <PIL.*>; give a picture, a slide or an array .* numpy.asarray"),
        ([[[1, 2, 3]] * 40] * 40, {}, r"image is \[\[\[1, 2, 3\], .*…; give a picture, a slide or an array"),
        (None, {}, "image is None; give a picture, a slide or an array"),
        ("", {}, "image is ''; give a picture, a slide or an array"),
        ("x" * 300, {}, "x does not exist: give a picture"),
        (Path(__file__).parent, {}, "tests is a folder without a DICOM slide: give a picture"),
        (__file__, {}, r"test_model.py cannot be read as an image \(not an image\): replace"),
    ],
)
def test_what_cannot_be_segmented_is_refused_in_one_line(image, settings, expected):
    with pytest.raises(InputError, match=expected) as caught:
        segment(image, **{"model": MODEL, **settings})
    assert "\n" not in str(caught.value)


def test_weights_that_are_missing_are_refused(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"checkpoint .*none.pt does not exist: give --checkpoint the file"):
        load(tmp_path / "none.pt")
    monkeypatch.setattr(model, "__file__", str(tmp_path / "site" / "monch_monai" / "model.py"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"no weights in .*models/model.pt: give load a checkpoint"):
        load()
    with pytest.raises(InputError, match="checkpoint is 5; give a path"):
        load(5)


@pytest.mark.parametrize("device", ["gpu0", "", "meta", 5])
def test_a_device_that_cannot_be_used_is_refused_before_weights_are_read(device, tmp_path):
    with pytest.raises(InputError, match=r"device .* cannot be used .*: give --device cpu"):
        load(tmp_path / "none.pt", device)


def change(path):
    Image.fromarray(FIELD[::-1]).save(path)


@pytest.mark.parametrize("name", ["field.png", "field.tif"])
@pytest.mark.parametrize(("after", "expected"), [(change, "is another file than"), (Path.unlink, "does not exist")])
def test_a_file_that_was_replaced_after_it_was_segmented_has_no_picture(name, after, expected, tmp_path):
    path = tmp_path / name
    write_slide(path, FIELD) if name.endswith("tif") else Image.fromarray(FIELD).save(path)
    found = segment(path, MODEL)
    after(path)
    with pytest.raises(InputError, match=f"{name} {expected}"):
        _ = found.picture


def test_an_array_that_was_written_to_after_it_was_segmented_has_no_picture():
    pixels = FIELD.copy()[:, ::-1]
    found = segment(pixels, MODEL)
    assert found.picture.shape[1] == pixels.shape[1]
    pixels[0, 0] += 1
    with pytest.raises(InputError, match="the array has other pixels than were segmented: give segment a copy of it"):
        _ = found.picture


WITHOUT_MONAI = """
import sys
import numpy as np
from monch_monai import load, segment
model = load(device="cpu")
found = segment(np.full((64, 64, 3), 240, np.uint8), model)
assert found.class_map.shape == (64, 64)
print(sorted({"monai", "ignite", "matplotlib", "geopandas"} & set(sys.modules)))
"""


@pytest.mark.slow
def test_shipped_weights_load_and_segment_without_an_import_of_monai(tmp_path):
    root = Path(monch_monai.__file__).parents[1]
    environment = {"PYTHONPATH": str(root), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_MONAI],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_package_names_its_version_and_what_it_offers():
    assert {"load", "segment", "Model", "Segmented"} <= set(dir(monch_monai))
    assert monch_monai.__version__.count(".") == 2
