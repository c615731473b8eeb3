import csv
import json
import resource
from importlib.util import find_spec

import nibabel as nib
import numpy as np
import pytest
import tifffile
import torch
from ignite.engine import Engine
from monai.data import MetaTensor

from monch_monai.class_table import PANNUKE
from monch_monai.data.images import read_class_map, read_rgb
from monch_monai.errors import InputError
from monch_monai.files import sha256
from monch_monai.handlers import PredictionWriter
from monch_monai.legend import draw_nuclei
from monch_monai.segmentation import FoundNuclei
from monch_monai.slides.working_image import FACTORS, PIXELS, SIZE
from monch_monai.writers import FORMATS
from tests.fakes.labels import PLAIN
from tests.fakes.pictures import AFFINE, class_picture, picture, save_picture, save_rgb24
from tests.writers.reading import READ

NAMES = [c.name for c in PANNUKE.classes]
COUNTS = class_picture()
COUNTS[39, 69] = 0  # predictions hold no ignored pixels


def predict(writer, *paths):
    """Runs an evaluator whose prediction is the known class map for every image."""

    def step(engine, batch):
        path = batch[0]["path"]
        image = MetaTensor(torch.zeros(3, 40, 70), meta={"filename_or_obj": str(path), SIZE: [70, 40]})
        probs = torch.stack([torch.from_numpy(np.equal(COUNTS, c)) for c in range(1, 6)]).half()
        return [{"image": image, "pred": MetaTensor(torch.from_numpy(COUNTS)[None]), "probs": MetaTensor(probs)}]

    evaluator = Engine(step)
    writer.attach(evaluator)
    pixels = torch.from_numpy(picture()).permute(2, 0, 1)
    evaluator.run([[{"path": path, PIXELS: pixels}] for path in paths])


def summary(folder):
    with (folder / "summary.csv").open(newline="") as file:
        return list(csv.reader(file))


@pytest.fixture
def out(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def test_a_picture_gets_class_map_and_overlay(tmp_path, out):
    predict(PredictionWriter(out, PLAIN.table), save_picture(tmp_path / "a.b.png"))
    assert sorted(path.name for path in out.iterdir()) == ["a.b_classes.png", "a.b_overlay.png", "summary.csv"]
    assert np.array_equal(read_class_map(out / "a.b_classes.png", 6), COUNTS)
    assert np.array_equal(read_rgb(out / "a.b_overlay.png"), draw_nuclei(picture(), COUNTS, PLAIN.table, 0.25))


def test_a_nifti_image_gets_a_nifti_class_map_with_its_geometry(tmp_path, out):
    predict(PredictionWriter(out, PLAIN.table), save_rgb24(tmp_path / "a.nii.gz"))
    assert sorted(path.name for path in out.iterdir()) == ["a_classes.nii.gz", "a_overlay.png", "summary.csv"]
    assert np.array_equal(read_class_map(out / "a_classes.nii.gz", 6), COUNTS)
    assert np.array_equal(nib.load(out / "a_classes.nii.gz").affine, AFFINE)
    assert np.array_equal(read_rgb(out / "a_overlay.png"), draw_nuclei(picture(), COUNTS, PLAIN.table, 0.25))


def test_the_summary_counts_the_pixels_of_each_class(tmp_path, out):
    predict(PredictionWriter(out, PLAIN.table), save_picture(tmp_path / "a.png"), save_picture(tmp_path / "b.bmp"))
    header, *rows = summary(out)
    assert header == [
        "image", "background", "neoplastic", "inflammatory", "connective", "dead", "epithelial",
        "optical_density_times", "error",
    ]  # fmt: skip
    counts = ["2455", "256", "64", "10", "14", "1"]
    assert rows == [["a.png", *counts, "", ""], ["b.bmp", *counts, "", ""]]
    assert sum(map(int, counts)) == 40 * 70


def test_the_summary_records_what_images_were_lightened_by(tmp_path, out):
    writer, path = PredictionWriter(out, PLAIN.table), save_picture(tmp_path / "a.png")
    image = MetaTensor(
        torch.zeros(3, 40, 70), meta={"filename_or_obj": str(path), SIZE: [70, 40], FACTORS: "0.34 0.36 0.24"}
    )
    engine = Engine(lambda engine, batch: [{"image": image, "pred": MetaTensor(torch.from_numpy(COUNTS)[None])}])
    writer.attach(engine)
    engine.run([[{PIXELS: torch.from_numpy(picture()).permute(2, 0, 1)}]])
    assert summary(out)[1][-2:] == ["0.34 0.36 0.24", ""]


def test_an_unreadable_image_has_a_row_with_the_reason_and_fails_the_run_at_its_end(tmp_path, out):
    writer = PredictionWriter(out, PLAIN.table, unreadable={tmp_path / "bad.png": "bad.png cannot be read, alas"})
    predict(writer, save_picture(tmp_path / "a.png"))
    assert summary(out)[-1] == ["bad.png", *[""] * 7, "bad.png cannot be read, alas"]
    with pytest.raises(InputError, match=r"1 of 2 images could not be read and have no result: bad\.png"):
        writer.finish()


def test_a_run_that_read_everything_says_where_results_are(tmp_path, out, caplog):
    caplog.set_level("INFO")
    writer = PredictionWriter(out, PLAIN.table)
    predict(writer, save_picture(tmp_path / "a.png"))
    writer.finish()
    assert [record.message for record in caplog.records[-3:]] == [
        f"1 images segmented; results and summary.csv are in {out}",
        f"picture  {out / 'a_overlay.png'}",
        "viewer   needs nuclei and --write with geojson or parquet",
    ]


def test_a_run_that_found_nuclei_ends_with_the_viewers_command(tmp_path, out, caplog, monkeypatch):
    caplog.set_level("INFO")
    writer = PredictionWriter(out, PLAIN.table, finder=FoundNuclei(min_area_um2=0))
    predict(writer, save_picture(tmp_path / "a.png"))
    writer.finish()
    assert caplog.records[-1].message.startswith("viewer   ")
    assert f"python -m monch_monai view {out}" in caplog.records[-1].message
    caplog.clear()
    predict(PredictionWriter(out, PLAIN.table, finder=FoundNuclei(), write="dsa"), save_picture(tmp_path / "a.png"))
    assert "view " not in caplog.text


def test_images_in_which_no_nucleus_is_found_are_warned_of_in_one_line(tmp_path, out, caplog):
    writer = PredictionWriter(out, PLAIN.table, finder=FoundNuclei(min_area_um2=1000))
    predict(writer, save_picture(tmp_path / "a.png"), save_picture(tmp_path / "b.png"))
    writer.finish()
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [
        "no nucleus in 2 of 2 images, such as a.png: see its overlay; is it H&E, at 0.25 µm/px (--mpp)?"
    ]


NUCLEUS_FILES = ["a_classes.png", "a_instances.tif", "a_nuclei.geojson", "a_overlay.png", "summary.csv"]


def test_nuclei_are_written_as_ids_and_outlines_and_counted_by_class(tmp_path, out):
    predict(PredictionWriter(out, PLAIN.table, finder=FoundNuclei(min_area_um2=0)), save_picture(tmp_path / "a.png"))
    assert sorted(path.name for path in out.iterdir()) == NUCLEUS_FILES
    ids = tifffile.imread(out / "a_instances.tif")
    assert ids.dtype == np.uint16
    assert np.array_equal(ids > 0, COUNTS > 0)
    features = json.loads((out / "a_nuclei.geojson").read_text())["features"]
    names = [feature["properties"]["classification"]["name"] for feature in features]
    class_of = np.array([0, *(NAMES.index(name) for name in names)], np.uint8)
    counts = [names.count(name) for name in NAMES[1:]]
    overlay = draw_nuclei(picture(), class_of[ids], PLAIN.table, 0.25, ids, counts)
    assert np.array_equal(read_rgb(out / "a_overlay.png"), overlay)
    header, row = summary(out)
    counted = dict(zip(header, row, strict=True))
    assert header[7:] == [
        "neoplastic nuclei", "inflammatory nuclei", "connective nuclei", "dead nuclei", "epithelial nuclei",
        "area_mm2", "nuclei_total", "per_mm2_total", *(f"{name} nuclei per mm2" for name in NAMES[1:]),
        *(f"{name} nuclei share" for name in NAMES[1:]), "optical_density_times", "error",
    ]  # fmt: skip
    for name in ("neoplastic", "inflammatory", "connective", "dead", "epithelial"):
        assert int(counted[f"{name} nuclei"]) == names.count(name)
        assert float(counted[f"{name} nuclei share"]) == pytest.approx(names.count(name) / len(names), abs=1e-4)
        density = names.count(name) / (40 * 70 * 0.25**2 * 1e-6)
        assert float(counted[f"{name} nuclei per mm2"]) == pytest.approx(density)
    assert float(counted["area_mm2"]) == pytest.approx(40 * 70 * 0.25**2 * 1e-6)
    assert int(counted["nuclei_total"]) == len(names)
    assert float(counted["per_mm2_total"]) == pytest.approx(len(names) / (40 * 70 * 0.25**2 * 1e-6))
    assert len(names) == ids.max() >= 4


@pytest.mark.parametrize("nuclei", [False, "false"])
def test_no_nuclei_are_written_when_not_wanted(tmp_path, out, nuclei):
    writer = PredictionWriter(out, PLAIN.table, finder=FoundNuclei(), nuclei=nuclei)
    predict(writer, save_picture(tmp_path / "a.png"))
    assert sorted(path.name for path in out.iterdir()) == ["a_classes.png", "a_overlay.png", "summary.csv"]
    assert len(summary(out)[0]) == 9


def test_the_log_names_files_of_nuclei_that_are_asked_for_and_not_written(tmp_path, out, caplog):
    PredictionWriter(out, PLAIN.table, finder=FoundNuclei(), nuclei=False)
    PredictionWriter(out, PLAIN.table, finder=FoundNuclei(), nuclei=False, write="pyramid")
    assert caplog.text == ""  # of what nobody asked for
    PredictionWriter(out, PLAIN.table, finder=FoundNuclei(), nuclei=False, write="dsa,pyramid,parquet")
    assert "nuclei is false, so these files of nuclei are not written: parquet, dsa\n" in caplog.text


def test_a_nifti_image_gets_its_nuclei_in_rows_and_columns(tmp_path, out):
    writer = PredictionWriter(out, PLAIN.table, finder=FoundNuclei(min_area_um2=0))
    predict(writer, save_rgb24(tmp_path / "a.nii.gz"))
    assert np.array_equal(tifffile.imread(out / "a_instances.tif") > 0, COUNTS > 0)


def test_an_unreadable_image_has_empty_cells_for_nuclei_too(tmp_path, out):
    bad = {tmp_path / "bad.png": "alas"}
    writer = PredictionWriter(out, PLAIN.table, unreadable=bad, finder=FoundNuclei())
    predict(writer, save_picture(tmp_path / "a.png"))
    header, *rows = summary(out)
    assert [len(row) for row in rows] == [len(header)] * 2
    assert rows[-1] == ["bad.png", *[""] * 25, "alas"]


def test_a_switch_that_is_neither_true_nor_false_is_refused(out):
    with pytest.raises(InputError, match="nuclei is 'maybe'; give true or false"):
        PredictionWriter(out, PLAIN.table, finder=FoundNuclei(), nuclei="maybe")


def test_an_image_is_written_in_the_formats_asked_for_and_in_no_others(tmp_path, out):
    finder, path = FoundNuclei(min_area_um2=0), save_picture(tmp_path / "a.png")
    every = [name for name, f in FORMATS.items() if not f.needs or find_spec(f.needs)]
    predict(PredictionWriter(out, PLAIN.table, finder=finder, write=every, features=True, sources=[path]), path)
    plain = {"a_classes.png", "a_instances.tif", "a_overlay.png", "summary.csv"}
    assert {p.name for p in out.iterdir()} == plain | {f"a_{FORMATS[name].file}" for name in every}
    (wanted,) = {len(READ[name](out / f"a_{FORMATS[name].file}")) for name in every if name in READ}
    assert wanted == len(np.unique(tifffile.imread(out / "a_instances.tif"))) - 1 > 3
    assert np.array_equal(tifffile.imread(out / "a_classes.ome.tif"), COUNTS)
    about = json.loads((out / "a_nuclei.geojson").read_text(encoding="utf-8"))["monch"]
    assert about["weights_sha256"] == [sha256(path)]
    assert about["class_table"] == PLAIN.table.to_dict()
    assert (about["image"], about["source_mpp"], about["working_mpp"]) == ("a.png", [0.25, 0.25], [0.25, 0.25])
    predict(PredictionWriter(out, PLAIN.table, finder=finder, write="dsa"), path)
    assert {p.name for p in out.iterdir()} == plain | {"a_nuclei.dsa.json"}
    predict(PredictionWriter(out, PLAIN.table, write="dsa,pyramid"), path)
    assert {p.name for p in out.iterdir()} == plain - {"a_instances.tif"} | {"a_classes.ome.tif"}


def test_a_full_disk_is_one_line_and_leaves_no_part(tmp_path, out):
    path = save_picture(tmp_path / "a.png")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        with pytest.raises(InputError, match=r"out cannot be written \(File too large\): make room and run again"):
            predict(PredictionWriter(out, PLAIN.table, finder=FoundNuclei(min_area_um2=0)), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(out.glob(".part*"))
