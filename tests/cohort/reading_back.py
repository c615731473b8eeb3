"""A slide segmented by its colours, and what was found held against what was painted."""

import numpy as np
import pyarrow.parquet as pq

from monch_monai.class_table import PANNUKE
from monch_monai.cohort import SlideSegmenter, wanted_results
from monch_monai.predict import Tiling
from monch_monai.segmentation import Workers, nucleus_finder
from monch_monai.stain import tissue_rule
from tests.fakes.slides import colours


def segment(slide, out, predictor=colours, **settings):
    """Nuclei of a slide, segmented in this process without workers unless they are given."""
    with segmenter(out, predictor, **({"num_workers": 0} | settings)) as s:
        s(slide)
    return nuclei_of(out / slide.stem)


def segmenter(out, predictor=colours, region_size=512, num_workers=1, nucleus_workers=0, **settings):
    """A `SlideSegmenter`, its settings by the names that the config gives them.

    A predictor that states no classes predicts PanNuke's.
    """
    if not hasattr(predictor, "class_table"):
        predictor.class_table = PANNUKE
    tiling = {name: settings.pop(name) for name in ("tile_size", "overlap", "batch_size") if name in settings}
    tissue = {
        name: settings.pop(f"tissue_{name}") for name in ("threshold", "min_area_mm2") if f"tissue_{name}" in settings
    }
    finder = {name: settings.pop(name) for name in ("nuclei", "separation_um", "min_area_um2") if name in settings}
    wanted = {name: settings.pop(name) for name in ("write", "gzip", "features") if name in settings}
    return SlideSegmenter(
        out,
        predictor,
        tiling=Tiling(**tiling),
        workers=Workers(num_workers, nucleus_workers, region_size),
        tissue=tissue_rule(settings.pop("tissue", True), **tissue),
        finder=nucleus_finder(**finder),
        wanted=wanted_results(**wanted),
        **settings,
    )


def nuclei_of(folder):
    """The table of a slide's results."""
    return pq.read_table(folder / "nuclei.parquet")


def assert_found(found, nuclei, size, place, area, mpp, others=0):
    """Each painted nucleus is found once: its class, its place to `place` px of level 0, its area to the share `area`
    of its pixels', where a slide of this size (width, height) does not cut it."""
    rows = found.to_pylist()
    assert len(rows) == len(nuclei) + others
    for n in nuclei:
        near = [row for row in rows if abs(row["x"] - n.x) < n.radius and abs(row["y"] - n.y) < n.radius]
        assert len(near) == 1, n
        row = near[0]
        assert row["class_index"] == n.index
        if n.radius < n.x < size[0] - n.radius and n.radius < n.y < size[1] - n.radius:
            assert abs(row["x"] - centre(n)[0]) <= place, n
            assert abs(row["y"] - centre(n)[1]) <= place, n
            assert abs(row["area_um2"] / (pixels(n).shape[1] * mpp**2) - 1) <= area, n


def pixels(n):
    """(x, y) `[2, N]` of the centres of the pixels of a nucleus."""
    grid = np.mgrid[
        int(n.x - n.radius) - 1 : int(n.x + n.radius) + 2, int(n.y - n.radius) - 1 : int(n.y + n.radius) + 2
    ]
    x, y = grid.reshape(2, -1) + 0.5
    return np.stack([x, y])[:, (x - n.x) ** 2 + (y - n.y) ** 2 <= n.radius**2]


def centre(n):
    """Mean of its pixels' centres."""
    return pixels(n).mean(axis=1)
