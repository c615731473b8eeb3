"""The files of one image in the formats of `--write`, each written whole or not at all."""

import hashlib
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

import monch_monai
from monch_monai.class_table import ClassTable
from monch_monai.data.images import stem
from monch_monai.files import remove, sha256, write_atomically
from monch_monai.geometry import Mpp, WorkingGrid
from monch_monai.segmentation import Features, Neighbourhood
from monch_monai.settings import flag
from monch_monai.slides import ImageSlide
from monch_monai.writers import FORMATS, IMAGE_FORMATS, TILE, Format, Source, chosen_formats, provenance

logger = logging.getLogger(__name__)


class ImageFiles:
    """Writes the results of images as `STEM_nuclei.geojson`, `STEM_classes.ome.tif`, ….

    Args:
        output_dir: folder of the files.
        class_table: the classes of nuclei.
        write: names of formats.
        features: whether nuclei have the columns of `feature_quantities`.
        sources: files that predictions depend on, such as the checkpoint.

    Raises:
        InputError: `write` has no format, one that is unknown, or one whose package is not installed; or `features` is
            neither true nor false.
    """

    def __init__(
        self,
        output_dir: Path,
        class_table: ClassTable,
        write: str | Sequence[str] = IMAGE_FORMATS,
        features: bool | str = False,
        sources: Sequence[str | Path] = (),
    ) -> None:
        self.output_dir, self.class_table = output_dir, class_table
        self.formats, self.features = chosen_formats("write", write), flag("features", features)
        self.weights = [sha256(Path(path)) for path in sources]

    def write(
        self,
        path: Path,
        slide: ImageSlide,
        grid: WorkingGrid,
        class_map: NDArray[np.uint8],
        nuclei: pa.Table | None,
        factors: str = "",
    ) -> None:
        """Writes the chosen formats, and removes the files of others, which an earlier run may have left.

        Args:
            path: of the image.
            slide: its pixels.
            grid: its working pixels.
            class_map: `[H, W]`, working px.
            nuclei: of `SCHEMA`; None where none were looked for, and no file of nuclei is written.
            factors: by what its optical density was multiplied for the network, red, green and blue.

        Raises:
            OSError: the disk is full.
        """
        source = self._source(path, slide.resolution, slide, grid, factors)
        if nuclei is not None and self.features:
            neighbours = Neighbourhood([nuclei], self.class_table, source.mpp)
            nuclei = Features(slide, grid, neighbours)(nuclei)

        def square(row: int, column: int) -> NDArray[np.uint8] | None:
            found = class_map[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]
            return found if found.any() else None

        def write(format_: Format, part: str) -> None:
            if format_.of_map:
                format_.load()(Path(part), source, square)
            else:
                with format_.load()(Path(part), source) as file:
                    file.add(nuclei)

        for name, format_ in FORMATS.items():
            target = self.output_dir / f"{stem(path)}_{format_.file}"
            if name not in self.formats or not (format_.of_map or format_.holds(nuclei)):
                remove(target)
                if name in self.formats and nuclei is not None:
                    logger.info("%s has no nuclei, and %s has no file of none", path.name, name)
            elif format_.folder:
                write(format_, str(target))
            else:
                write_atomically(target, partial(write, format_))

    def _source(self, path: Path, mpp: Mpp, slide: ImageSlide, grid: WorkingGrid, factors: str) -> Source:
        about: dict[str, Any] = {
            "software": f"MONCH {monch_monai.__version__}",
            "image": path.name,
            "source_mpp": [mpp.x, mpp.y],
            "working_mpp": [grid.mpp.x, grid.mpp.y],
            "level0_px_per_working_px": list(grid.per_level0),
            "optical_density_times": [float(factor) for factor in factors.split()] or [1.0, 1.0, 1.0],
        }
        digest = sha256(path) if path.is_file() else hashlib.sha256(slide.pixels.tobytes()).hexdigest()
        about = provenance(about | {"image_sha256": digest}, self.class_table, self.weights)
        return Source(path, digest, slide.size, mpp, grid, self.class_table, about, self.features)
