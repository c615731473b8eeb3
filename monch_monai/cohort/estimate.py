"""What a slide will take, before anything heavy starts."""

import time

import numpy as np

from monch_monai.cohort.results import Wanted
from monch_monai.segmentation import Pipeline, Plan, margin_px

NUCLEI_PER_MM2 = 4000
"""Of cellular tissue; a slide may have a third or twice as many."""
BYTES_PER_NUCLEUS = {
    "geojson": 1000,
    "geojson.gz": 150,
    "parquet": 300,
    "dicom": 350,
    "dsa": 1000,
    "anndata": 60,
    "spatialdata": 300,
}
BYTES_PER_MM2_OF_CLASSES = {"pyramid": 300_000, "seg": 6_000_000}
PICTURE_BYTES = 6 * 2**20
"""Of the thumbnail and the picture of the tissue."""
PROCESS_BYTES = 1000 * 2**20
"""PyTorch, MONAI and the network's weights."""
TILE_BYTES = 40 * 2**20
"""Activations for a tile of 256 px."""


def estimate(plan: Plan, pipeline: Pipeline, wanted: Wanted) -> str:
    """A line of tissue area, tiles, time, memory and output size.

    Time is that of the network alone, from one batch timed here after another that warms up. Memory may be off by half,
    the size of the results by a factor of three: it goes by a usual density of nuclei, and by whether GeoJSON is
    compressed.
    """
    tile, batch = plan.lattice.tile, plan.lattice.batch
    noise = np.random.default_rng(0).integers(0, 256, (batch, tile, tile, 3), np.uint8)  # equal tiles are computed once
    pipeline.predictor(noise)
    start = time.perf_counter()
    pipeline.predictor(noise)
    per_tile = (time.perf_counter() - start) / batch
    tiles, area = plan.tiles(), plan.tissue.area_mm2(plan.grid)
    view = (plan.side + 2 * margin_px(plan.grid)) ** 2
    read = (plan.side + 2 * margin_px(plan.grid) + 2 * tile) ** 2
    per_px = 1 + 2 * len(pipeline.predictor.class_table.nuclei)
    memory = (
        PROCESS_BYTES + batch * TILE_BYTES * (tile / 256) ** 2 + read * (3 * (2 + pipeline.workers.num_workers) + 24)
    )
    memory += view * (per_px * (2 + pipeline.workers.nucleus_workers) + 60 * max(1, pipeline.workers.nucleus_workers))
    names = ["geojson.gz" if name == "geojson" and wanted.gzip else name for name in wanted.formats]
    nuclei, pixels = (sum(of.get(name, 0) for name in names) for of in (BYTES_PER_NUCLEUS, BYTES_PER_MM2_OF_CLASSES))
    size = area * (NUCLEI_PER_MM2 * nuclei + pixels) + PICTURE_BYTES
    slide = plan.slide
    return (
        f"{slide.name}: {slide.size.width}x{slide.size.height} px at {slide.resolution.mean:.4g} µm/px,"
        f" worked on at {plan.grid.mpp.mean:.4g}; {area:.2f} mm² of tissue, {tiles} tiles, about"
        f" {_duration(tiles * per_tile)}, {memory / 2**30:.1f} GiB of memory, {size / 2**20:.0f} MiB of results"
    )


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{round(seconds)} s" if seconds < 120 else f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"
