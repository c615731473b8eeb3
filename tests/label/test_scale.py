from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from monch_monai.errors import InputError
from monch_monai.label.scale import FILE, REQUEST, SERVER, scale_of, slide_of, stated_mpp

PIXELS = np.full((64, 80, 3), 200, np.uint8)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def tiff(path: Path, mpp: float | None, **layout) -> Path:
    resolution = {} if mpp is None else {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, PIXELS, photometric="rgb", **resolution, **layout)
    return path


def test_a_picture_without_a_resolution_is_assumed_to_be_at_40x(picture):
    scale = scale_of(picture, (None, REQUEST))
    assert (scale.mpp, scale.assumed) == (0.25, True)
    assert str(scale) == "0.25 um/px, assumed, since the file states none"
    assert scale_of(picture, (None, REQUEST), server=0.5) == (0.5, SERVER)
    assert scale_of(picture, (0.4, REQUEST), server=0.5) == (0.4, REQUEST)


@pytest.mark.parametrize("layout", [{}, {"tile": (32, 32)}])
def test_a_tiff_states_its_own(tmp_path, layout):
    stated = tiff(tmp_path / "a.tif", 0.5, **layout)
    assert stated_mpp(stated) == pytest.approx(0.5)
    assert scale_of(stated, (0.5, REQUEST), server=0.25).source == FILE
    with pytest.raises(InputError, match=r"mpp of a.tif is 0.5 \(stated by the file\) and 0.25 µm/px \(given with the"):
        scale_of(stated, (0.25, REQUEST))
    assert stated_mpp(tiff(tmp_path / "b.tif", None, **layout)) is None


def test_a_slide_without_a_resolution_is_not_assumed(tmp_path):
    slide = tiff(tmp_path / "a.tif", None, tile=(32, 32))
    with pytest.raises(InputError, match="states no resolution"):
        scale_of(slide)
    assert scale_of(slide, server=0.5).mpp == 0.5


@pytest.mark.parametrize("mpp", ["0.5", 0, -1, 40, float("nan"), True, [0.5]])
def test_what_is_no_resolution_is_refused(picture, mpp):
    with pytest.raises(InputError, match="mpp is "):
        scale_of(picture, (mpp, REQUEST))


def test_the_slide_of_a_patch():
    assert slide_of("a.v1-patch-100_20_256_256", {}) == "a.v1"
    assert slide_of("a-patch--5_20_256_256", {}) == "a"  # QuPath's rectangle reached over the edge
    assert slide_of("field", {}) == "field"
    assert slide_of("field", {"slide": "s"}) == "s"
