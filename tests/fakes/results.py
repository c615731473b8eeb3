"""Results as inference writes them, of slides and images made by code."""

import json
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import shapely
from PIL import Image

from monch_monai.class_table import PANNUKE
from monch_monai.geometry import Mpp, Size, working_grid
from monch_monai.segmentation.nuclei_table import table
from monch_monai.viewer.pages import Pages
from monch_monai.viewer.results import find_results
from monch_monai.viewer.server import Server
from monch_monai.writers import FORMATS, Source, provenance
from tests.fakes.slides import Nucleus, paint, write_slide

MPP = 0.25


def some_nuclei(size, count=300, seed=0):
    """Discs that do not overlap, on a grid with some noise."""
    draw = np.random.default_rng(seed)
    across = int(np.ceil(np.sqrt(count)))
    step = size / across
    places = (
        np.stack(np.divmod(np.arange(count), across)[::-1], axis=1) * step + step / 2 + draw.uniform(-3, 3, (count, 2))
    )
    radii = draw.uniform(5, min(9, step / 2 - 4), count).round(1)
    return [
        Nucleus(*xy, r, int(i))
        for xy, r, i in zip(places.round(3).tolist(), radii, draw.integers(1, 6, count), strict=True)
    ]


def table_of(nuclei, seed=0):
    """Their table, with probabilities by chance."""
    probs = np.full((len(nuclei), 5), 0.05)
    classes = np.array([n.index for n in nuclei], np.uint8)
    probs[np.arange(len(nuclei)), classes - 1] = np.random.default_rng(seed).uniform(0.3, 1, len(nuclei)).round(4)
    outlines = [shapely.Point(n.x, n.y).buffer(n.radius) for n in nuclei]
    centres = np.array([[n.x, n.y] for n in nuclei])
    areas = np.array([outline.area for outline in outlines]) * MPP**2
    return table(classes, probs, centres, areas, np.full(len(nuclei), 0.99), outlines)


def write_nuclei(path, nuclei, picture, kind="slide", size=(2000, 2000)):
    """A file of nuclei in the format that its name has."""
    about = provenance({"software": "MONCH", kind: picture, "source_mpp": [MPP, MPP]}, PANNUKE, [])
    grid = working_grid(Size(*size), Mpp(MPP, MPP))
    source = Source(Path(picture), "0" * 64, Size(*size), Mpp(MPP, MPP), grid, PANNUKE, about)
    writer = FORMATS["parquet" if path.suffix == ".parquet" else "geojson"].load()
    with writer(path, source) as file:
        file.add(table_of(nuclei))
    return about


def write_slide_result(folder, name="one", size=2000, count=300, seed=0):
    """`folder/slides/NAME.tif`, and `folder/out` as inference_wsi.json leaves it; returns the nuclei."""
    nuclei, out = some_nuclei(size, count, seed), folder / "out" / name
    (folder / "slides").mkdir(exist_ok=True)
    out.mkdir(parents=True)
    write_slide(folder / "slides" / f"{name}.tif", paint(nuclei, (size, size)), MPP)
    about = write_nuclei(out / "nuclei.parquet", nuclei, f"{name}.tif")
    settings = {"settings": {"tissue": [None, 0.01], "mpp": None}, "nuclei_total": count}
    (out / "summary.json").write_text(json.dumps({**about, **settings}), encoding="utf-8")
    run = {"kind": "slides", "working_dir": str(folder), "config": {"dataset_dir": "slides"}}
    (out.parent / "run.json").write_text(json.dumps(run), encoding="utf-8")
    return nuclei


def write_image_result(folder, name="field", size=400, count=40, ending="geojson"):
    """`folder/images/NAME.png`, and `folder/out` as inference.json leaves it; returns the nuclei."""
    nuclei = some_nuclei(size, count)
    for part in ("images", "out"):
        (folder / part).mkdir(exist_ok=True)
    Image.fromarray(paint(nuclei, (size, size))).save(folder / "images" / f"{name}.png")
    write_nuclei(folder / "out" / f"{name}_nuclei.{ending}", nuclei, f"{name}.png", "image", (size, size))
    run = {"kind": "inference", "config": {"dataset_dir": str(folder / "images")}}
    (folder / "out" / "run.json").write_text(json.dumps(run), encoding="utf-8")
    return nuclei


@contextmanager
def served(out):
    """The viewer's server of a folder, in a thread."""
    with Server(Pages(find_results(out)), 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
