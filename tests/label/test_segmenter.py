import json

import numpy as np
import pytest
import torch
from PIL import Image

from monch_monai.class_table import PANNUKE
from monch_monai.geometry import Level0Box
from monch_monai.label.segmenter import Segmenter
from monch_monai.predict import Prediction
from monch_monai.stain import lightened
from tests.fakes.labels import some_classes
from tests.fakes.network import small_monch
from tests.fakes.slides import paint, write_slide
from tests.fakes.trained import tissue, write_small_bundle


@pytest.fixture
def segmenter(tmp_path):
    """Of untrained weights that record pale tissue."""
    network = small_monch()
    network.reference_density.copy_(torch.tensor([0.07, 0.2, 0.12]))
    root = write_small_bundle(tmp_path / "bundle", network)
    return Segmenter(root, root / "models" / "model.pt", tmp_path / "slides")


def leaves_images_as_they_are(segmenter):
    path = segmenter.root / "configs" / "inference_wsi.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(config | {"lighten": False}), encoding="utf-8")
    return Segmenter(segmenter.root, segmenter.weights, segmenter.slides_dir)


def watched(segmenter):
    """What the segmenter's network sees: a list that its tiles are added to."""
    segmenter._bundled.pipeline.predictor = watcher = Watcher()
    return watcher.seen


class Watcher:
    """Finds nothing in the tiles that it keeps."""

    class_table = PANNUKE

    def __init__(self):
        self.seen = []

    def __call__(self, tiles):
        self.seen.append(tiles)
        shape = tiles.shape[:3]
        return Prediction.of_classes(
            np.zeros(shape, np.uint8), np.zeros((shape[0], len(self.class_table) - 1, *shape[1:]), np.float16)
        )


def test_a_picture_is_seen_lightened(segmenter, tmp_path):
    pixels = tissue(0, 256, 256, 20).image
    Image.fromarray(pixels).save(tmp_path / "field.png")
    seen = watched(segmenter)
    segmenter(tmp_path / "field.png")
    assert (seen[0][0] >= pixels).all()
    assert (seen[0][0] != pixels).any()
    segmenter = leaves_images_as_they_are(segmenter)
    seen = watched(segmenter)
    segmenter(tmp_path / "field.png")
    assert (seen[0][0] == pixels).all()


def test_a_part_of_a_slide_is_seen_as_light_as_the_whole(segmenter, tmp_path):
    pixels = paint([], (1024, 512))
    pixels[:, 512:] = lightened(pixels[:, 512:], (2.0, 2.0, 2.0))
    path = write_slide(tmp_path / "slide.tif", pixels)
    seen = watched(segmenter)
    segmenter(path, Level0Box(0, 0, 128, 128))
    segmenter(path, Level0Box(800, 200, 128, 128))
    pale, dark = (tiles[0, 100, 100].astype(float) for tiles in (seen[0], seen[-1]))
    assert (pale > pixels[0, 0]).all()
    assert np.log(dark / 255) == pytest.approx(2 * np.log(pale / 255), rel=0.05)


def test_a_slide_at_another_resolution_is_measured_anew(segmenter, tmp_path, monkeypatch):
    slide, measured = write_slide(tmp_path / "s.tif", paint([], (600, 600)), mpp=None), []

    def factors(image, grid, *rest):
        measured.append(image.resolution.x)
        return None, (1.0, 1.0, 1.0)

    monkeypatch.setattr("monch_monai.label.segmenter.tissue_and_lightening", factors)
    watched(segmenter)
    for mpp in (0.25, 0.5, 0.25):
        segmenter(slide, Level0Box(0, 0, 200, 200), mpp)
    assert measured == [0.25, 0.5]


def test_nuclei_are_of_the_classes_that_the_weights_store(tmp_path):
    table = some_classes(3)
    network = small_monch(class_table=table)
    root = write_small_bundle(tmp_path / "bundle", network)
    Image.fromarray(tissue(0, 256, 256, 20).image).save(tmp_path / "field.png")
    segmenter = Segmenter(root, root / "models" / "model.pt", tmp_path / "slides")
    assert segmenter.class_table == table
    predictor = segmenter._bundled.pipeline.predictor = Watcher()
    predictor.class_table = table
    found = segmenter(tmp_path / "field.png")
    assert found.class_table == table
    assert [name for name in found.table.column_names if name.startswith("prob_")] == ["prob_class 1", "prob_class 2"]
