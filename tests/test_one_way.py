"""The same pixels give the same nuclei, whichever door they come through."""

import json
from pathlib import Path

import numpy as np
import pytest
from monai.bundle import ConfigParser
from PIL import Image

from monch_monai import load
from monch_monai import segment as segment_in_python
from monch_monai.class_table import PANNUKE, ClassTable
from monch_monai.geometry import Level0Box
from monch_monai.label.segmenter import Segmenter
from monch_monai.stain import lightened
from monch_monai.writers import GeoJsonFile
from tests.bundle.conftest import fork_bundle, run_bundle
from tests.fakes.labels import some_classes
from tests.fakes.network import small_monch
from tests.fakes.slides import write_slide
from tests.fakes.sources import source_of
from tests.fakes.trained import tissue, trained_monch, write_small_bundle

SIZE = 1000


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_bundle(tmp_path_factory.mktemp("bundle") / "monch", trained_monch())


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of one field of tissue, darker than that trained on, as a PNG and as a tiled TIFF pyramid."""
    folder = tmp_path_factory.mktemp("field")
    pixels = lightened(tissue(0, SIZE, SIZE, 260).image, (1.3, 1.3, 1.3))
    (folder / "png").mkdir()
    Image.fromarray(pixels).save(folder / "png" / "field.png")
    write_slide(folder / "field.tif", pixels)
    return folder


def nuclei_of(geojson: Path) -> list[tuple]:
    """Outline, class and probability of each nucleus of a file, in an order of their own."""
    features = json.loads(geojson.read_text(encoding="utf-8"))["features"]
    return sorted(
        (
            feature["geometry"]["coordinates"],
            feature["properties"]["classification"]["name"],
            feature["properties"]["measurements"]["Mean probability"],
        )
        for feature in features
    )


def from_table(table, path: Path, class_table: ClassTable = PANNUKE) -> list[tuple]:
    with GeoJsonFile(path, source_of(class_table)) as file:
        file.add(table)
    return nuclei_of(path)


def test_a_field_has_the_same_nuclei_as_a_picture_as_a_slide_and_through_label(bundle, field, tmp_path):
    for config, data in (("inference", field / "png"), ("inference_wsi", field / "field.tif")):
        done = fork_bundle(
            "--config_file", bundle / "configs" / f"{config}.json", "--bundle_root", bundle, "--dataset_dir", data,
            "--output_dir", tmp_path / config,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    picture = nuclei_of(tmp_path / "inference" / "field_nuclei.geojson")
    assert len(picture) > 100
    assert nuclei_of(tmp_path / "inference_wsi" / "field" / "nuclei.geojson") == picture
    segment = Segmenter(bundle, bundle / "models" / "model.pt", tmp_path / "slides")
    for path in (field / "png" / "field.png", field / "field.tif"):
        whole = segment(path, Level0Box(0, 0, SIZE, SIZE) if path.suffix == ".png" else None)
        assert from_table(whole.table, tmp_path / "whole.geojson") == picture
        halves = [segment(path, Level0Box(x, 0, SIZE // 2, SIZE)).table for x in (0, SIZE // 2)]
        found = [from_table(half, tmp_path / "half.geojson") for half in halves]
        assert sorted(found[0] + found[1]) == picture
    classes = np.asarray(Image.open(tmp_path / "inference" / "field_classes.png"))
    part = segment(field / "png" / "field.png", Level0Box(300, 200, 400, 500))
    assert np.array_equal(part.class_map(), classes[200:700, 300:700])
    factors = (tmp_path / "inference" / "summary.csv").read_text(encoding="utf-8").splitlines()[1].split(",")[-2]
    summary = json.loads((tmp_path / "inference_wsi" / "field" / "summary.json").read_text(encoding="utf-8"))
    assert factors == " ".join(f"{factor:.2f}" for factor in summary["optical_density_times"])
    assert min(summary["optical_density_times"]) < 0.9


def by_config(bundle: Path, folder: Path, mpp: float) -> list[tuple]:
    """Nuclei of `field.png` of a folder by the config for pictures, run in this process."""
    parser = ConfigParser(ConfigParser.load_config_file(bundle / "configs" / "inference.json"))
    settings = {
        "bundle_root": str(bundle),
        "dataset_dir": str(folder / "field.png"),
        "output_dir": str(folder / "out"),
    }
    parser.update({**settings, "mpp": mpp, "device": "cpu"})
    (folder / "out").mkdir()
    parser.get_parsed_content("weights")
    parser.get_parsed_content("evaluator").run()
    return nuclei_of(folder / "out" / "field_nuclei.geojson")


@pytest.mark.slow
def test_nuclei_have_the_classes_of_the_weights_through_every_door(tmp_path):
    class_table = some_classes(4)
    bundle = write_small_bundle(tmp_path / "bundle", trained_monch(class_table=class_table))
    pixels = tissue(1, 400, 360, 40, class_table).image
    Image.fromarray(pixels).save(tmp_path / "field.png")
    picture = by_config(bundle, tmp_path, 0.25)
    assert len(picture) > 10
    assert {name for _, name, _ in picture} <= set(class_table.names[1:])
    segment = Segmenter(bundle, bundle / "models" / "model.pt", tmp_path / "slides")
    slide = write_slide(tmp_path / "field.tif", pixels, levels=1)
    for found in (segment(tmp_path / "field.png", mpp=0.25), segment(slide)):
        assert found.class_table == class_table
        assert from_table(found.table, tmp_path / "label.geojson", class_table) == picture
    classes = np.asarray(Image.open(tmp_path / "out" / "field_classes.png"))
    assert 0 < classes.max() < len(class_table)


@pytest.mark.parametrize("mpp", [0.5, 0.3, 0.2])
def test_a_field_of_another_resolution_has_them_too(bundle, tmp_path, mpp):
    pixels = np.asarray(Image.fromarray(tissue(1, 400, 400, 40).image).resize((round(100 / mpp), round(90 / mpp))))
    Image.fromarray(pixels).save(tmp_path / "field.png")
    picture = by_config(bundle, tmp_path, mpp)
    segment = Segmenter(bundle, bundle / "models" / "model.pt", tmp_path / "slides")
    assert from_table(segment(tmp_path / "field.png", mpp=mpp).table, tmp_path / "label.geojson") == picture
    slide = write_slide(tmp_path / "field.tif", pixels, mpp=mpp, levels=1)
    assert from_table(segment(slide).table, tmp_path / "slide.geojson") == picture
    assert len(picture) > 10
    classes = np.asarray(Image.open(tmp_path / "out" / "field_classes.png"))
    assert classes.shape == pixels.shape[:2]
    model = load(bundle / "models" / "model.pt", "cpu", network=small_monch())
    for image in (pixels, tmp_path / "field.png", slide):
        found = segment_in_python(image, model, None if image is slide else mpp)
        assert from_table(found.table, tmp_path / "python.geojson") == picture
        assert np.array_equal(found.class_map, classes)
    drawn = np.asarray(Image.open(tmp_path / "out" / "field_overlay.png"))
    assert np.array_equal(segment_in_python(pixels, model, mpp).picture, drawn)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(300, 260), (300, 100)])
def test_an_export_gives_pictures_and_slides_the_same_nuclei(bundle, tmp_path, size):
    pixels = tissue(2, *size, 30).image
    Image.fromarray(pixels).save(tmp_path / "field.png")
    write_slide(tmp_path / "field.tif", pixels, levels=1)
    configs = bundle / "configs"
    exported = run_bundle(
        "--config_file", f"['{configs}/inference.json','{configs}/export.json']", "--bundle_root", bundle,
        "--formats", "onnx", "--output_dir", tmp_path / "models",
    )  # fmt: skip
    assert exported.returncode == 0, exported.stderr
    onnx = tmp_path / "models" / "model.onnx"
    for config, data, given in (
        (f"['{configs}/inference.json','{configs}/export/onnx.json']", "field.png", ("--onnx_file", onnx)),
        (configs / "inference_wsi.json", "field.tif", ("--onnx", onnx)),
    ):
        done = run_bundle(
            "--config_file", config, "--bundle_root", bundle, "--dataset_dir", tmp_path / data,
            "--output_dir", tmp_path / "out", *given,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    picture = nuclei_of(tmp_path / "out" / "field_nuclei.geojson")
    assert len(picture) > 5
    assert nuclei_of(tmp_path / "out" / "field" / "nuclei.geojson") == picture
