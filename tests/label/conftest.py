"""A small trained bundle, a studies folder, and a real MONAI Label server on them."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.bundle.conftest import REPOSITORY, run_bundle
from tests.fakes.trained import tissue, trained_monch, write_small_bundle
from tests.label.server import Server, free_port, running

FIELDS = {"field_a": (400, 304, 30), "field_b": (288, 320, 25), "field_c": (256, 256, 20), "field_d": (300, 260, 20)}
"""Width, height and nuclei of each picture."""
SLIDE = (1536, 1152, 320)


@pytest.fixture(scope="session")
def small_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_bundle(tmp_path_factory.mktemp("bundle") / "monch", trained_monch())


@pytest.fixture(scope="session")
def known() -> dict:
    """The tissue of each image in the studies folder."""
    images = {**FIELDS, "slide.v1": SLIDE}
    return {name: tissue(seed, *size) for seed, (name, size) in enumerate(images.items())}


@pytest.fixture(scope="session")
def studies(known: dict, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three PNGs, a JPEG, a pyramid of three levels at 0.25 µm/px, and a file that is no image."""
    folder = tmp_path_factory.mktemp("studies")
    for name in FIELDS:
        suffix = ".jpg" if name == "field_d" else ".png"
        Image.fromarray(known[name].image).save(folder / f"{name}{suffix}", quality=95)
    write_slide(folder / "slide.v1.tif", known["slide.v1"].image)
    (folder / "broken.png").write_bytes((folder / "field_a.png").read_bytes()[:2000])
    return folder


def write_slide(path: Path, pixels: np.ndarray, mpp: float = 0.25) -> None:
    resolution = {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"}
    with tifffile.TiffWriter(path) as tiff:
        for level in range(3):
            part = pixels[:: 2**level, :: 2**level]
            tiff.write(part, tile=(256, 256), photometric="rgb", subfiletype=int(level > 0), **resolution)


@pytest.fixture(scope="session")
def inference(small_bundle: Path, studies: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `inference.json` writes of the same images."""
    out = tmp_path_factory.mktemp("inference")
    done = run_bundle(
        "--config_file", small_bundle / "configs" / "inference.json", "--bundle_root", small_bundle,
        "--dataset_dir", studies, "--output_dir", out,
    )  # fmt: skip
    assert done.stderr.strip().splitlines()[-1].endswith("could not be read and have no result: broken.png")
    return out


@pytest.fixture(scope="session")
def app_dir(small_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("label") / "app"
    command = [sys.executable, "-m", "monch_monai", "label_app", str(folder), "--bundle_root", str(small_bundle)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def server(app_dir: Path, studies: Path) -> Iterator[Server]:
    with running(app_dir, studies, free_port()) as server:
        yield server
