"""The nuclei and classes of an image that was segmented, in memory."""

import hashlib
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from monch_monai.class_table import ClassTable
from monch_monai.cohort import fingerprint
from monch_monai.errors import InputError
from monch_monai.geometry import Level0Box, LevelBox, Mpp, WorkingBox, WorkingGrid
from monch_monai.legend import draw_nuclei
from monch_monai.nuclei import rasterise
from monch_monai.segmentation import polygons_of
from monch_monai.slides.image_files import Image, open_pixels

if TYPE_CHECKING:
    import geopandas


@dataclass(frozen=True)
class Segmented:
    """The nuclei and classes of an image or of a region of it.

    Attributes:
        table: a row a nucleus, with the columns of `nuclei.parquet` (bundle/docs/results.md): centroid `x`, `y` in px
            of level 0, area in µm², probabilities, and the outline as WKB, px of level 0.
        class_table: the classes.
        region: what was segmented, px of level 0: nuclei are those whose centroid lies there.
        mpp: of level 0, µm per pixel.
        optical_density_times: by what the density of red, green and blue was multiplied for the network.
    """

    table: pa.Table
    class_table: ClassTable
    region: Level0Box
    mpp: Mpp
    optical_density_times: tuple[float, ...]
    _image: Image = field(repr=False)
    _identity: str = field(repr=False)
    _grid: WorkingGrid = field(repr=False)
    _covered: WorkingBox = field(repr=False)
    _working_classes: NDArray[np.uint8] = field(repr=False)

    @cached_property
    def nuclei(self) -> "geopandas.GeoDataFrame":
        """A row a nucleus: class, numbers of `table`, and the outline as geometry, px of level 0.

        Raises:
            InputError: geopandas is not installed.
        """
        try:
            import geopandas
        except ImportError as error:
            raise InputError("nuclei needs geopandas: pip install geopandas, or use table, a row a nucleus") from error
        numbers = self.table.drop_columns(["source", "geometry"]).to_pandas()
        return geopandas.GeoDataFrame(numbers, geometry=shapely.from_wkb(self.table["geometry"].to_numpy()))

    @property
    def class_map(self) -> NDArray[np.uint8]:
        """Class of each px of the region `[h, w]`, by index in `class_table`; 0 is background, as outside tissue."""
        rows, columns = self._grid.pixel_at(self.region)
        return self._working_classes[rows[:, None] - self._covered.y, columns - self._covered.x]

    @property
    def instance_map(self) -> NDArray[np.int32]:
        """Nuclei of the region `[h, w]`, numbered from 1 in the order of `table`; 0 is background."""
        return rasterise(polygons_of(self.table), self.region)

    @property
    def counts(self) -> dict[str, int]:
        """Number of nuclei of each class, by name."""
        found = np.bincount(self.table["class_index"].to_numpy(), minlength=len(self.class_table))
        return {c.name: int(found[c.index]) for c in self.class_table.nuclei}

    @property
    def picture(self) -> NDArray[np.uint8]:
        """The region with the contours of its nuclei, a legend and a scale bar beneath `[H, W, 3]`.

        Raises:
            InputError: the file of the image is gone, damaged or another than was segmented, or the array has other
                pixels.
        """
        with closing(open_pixels(self._image, self.mpp.x)) as slide:
            if identify(self._image) != self._identity:
                if isinstance(self._image, np.ndarray):
                    raise InputError("the array has other pixels than were segmented: give segment a copy of it")
                raise InputError(f"{self._image} is another file than was segmented: segment it again")
            pixels = slide.read(0, LevelBox(*self.region))
        classes = np.append(np.uint8(0), self.table["class_index"].to_numpy())
        ids = self.instance_map
        return draw_nuclei(pixels, classes[ids], self.class_table, self.mpp.mean, ids, list(self.counts.values()))


def identify(image: Image) -> str:
    """What an image is recognised by: SHA-256 of an array's pixels, or the `fingerprint` of a file or folder.

    Raises:
        InputError: the file cannot be read.
    """
    if isinstance(image, np.ndarray):
        return hashlib.sha256(np.ascontiguousarray(image).data).hexdigest()
    return fingerprint(Path(image))
