"""The bundle's inference, for images and regions that are asked for one at a time."""

from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from monai.bundle import ConfigParser
from numpy.typing import NDArray

from monch_monai.class_table import ClassTable
from monch_monai.cohort import SlideSegmenter, fingerprint, stem
from monch_monai.device import check_device
from monch_monai.errors import InputError
from monch_monai.geometry import Level0Box
from monch_monai.label.annotations import Outline
from monch_monai.label.labels import MOST_PIXELS, draw
from monch_monai.label.scale import stated_mpp
from monch_monai.segmentation import SCHEMA, named, polygons_of, segment_regions
from monch_monai.slides import ImageSlide, LightenedSlide, Slide, grid_of, tissue_and_lightening
from monch_monai.slides.image_files import open_image
from monch_monai.writers import SLIDE_FORMATS


class Segmented(NamedTuple):
    """Nuclei whose centroid lies in `part` of an image, as a table as in `nuclei.parquet`, in px of level 0, of the
    classes of `class_table`. `predicted` is the network's class map `[h, w]` of the part, where the image is a picture.
    """

    part: Level0Box
    table: pa.Table
    class_table: ClassTable
    predicted: NDArray[np.uint8] | None

    def class_map(self) -> NDArray[np.uint8]:
        """Class of each pixel of the part `[h, w]`: the network's of a picture; of a slide, that of its nucleus.

        Raises:
            InputError: the part has more than `MOST_PIXELS`.
        """
        return self._drawn()[0] if self.predicted is None else self.predicted

    def instance_map(self) -> NDArray[np.int32]:
        """Nuclei of the part `[h, w]`, 0 for background; nuclei at its edge are cut there.

        Raises:
            InputError: the part has more than `MOST_PIXELS`.
        """
        return self._drawn()[1]

    def _drawn(self) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
        _, _, w, h = self.part
        if w * h > MOST_PIXELS:
            raise InputError(f"a mask of {w}x{h} px is too large; ask for a part (location, size) or for outlines")
        names = self.table["class_name"].to_pylist()
        outlines = [Outline(n, p) for n, p in zip(names, polygons_of(self.table), strict=True)]
        return draw(outlines, self.part, self.class_table)


class Segmenter:
    """Segments with one version of the weights on one device, by the settings of the bundle's `inference_wsi.json`.

    A picture, or a part of a slide, is segmented while the client waits. A whole slide is segmented into a folder,
    which is resumed where it was interrupted and kept for the next time.

    Args:
        root: folder of the bundle.
        weights: file of the network's weights.
        slides_dir: folder for whole slides segmented with these weights.
        device: where it runs.
        words: file of other words for the classes; None keeps those of the weights.

    Raises:
        InputError: the weights are not of the config's network, or the device cannot be used.
    """

    def __init__(
        self, root: Path, weights: Path, slides_dir: Path, device: str = "cpu", words: str | None = None
    ) -> None:
        check_device(device)
        self.root, self.weights, self.slides_dir, self.device = root, weights, slides_dir, device
        self.words = {} if words is None else {"words": words}
        self._slide_factors: dict[str, tuple[float, ...]] = {}

    @property
    def class_table(self) -> ClassTable:
        """The classes of the weights."""
        return self._bundled.class_table

    def __call__(self, path: str | Path, part: Level0Box | None = None, mpp: float | None = None) -> Segmented:
        """Nuclei of a part of an image, which may reach beyond it, or of the whole; `mpp` is as in `open_image`.

        Raises:
            InputError: no pixel of the part lies in the image, or the image cannot be read.
        """
        with closing(open_image(path, mpp)) as image:
            whole = image.box
            box = whole if part is None else part.common(whole)
            if not box.width or not box.height:
                given = f"region {part and tuple(part)} (x, y, width, height)"
                raise InputError(f"{given} lies outside the image of {whole.width}x{whole.height} px")
            if isinstance(image, ImageSlide) or box != whole:
                return self._segment(image, box, self._factors(Path(path), image))
        table = self._whole_slide(Path(path), image.resolution.mean if stated_mpp(path) is None else None)
        return Segmented(whole, table, self.class_table, None)

    def _segment(self, image: Slide, box: Level0Box, factors: tuple[float, ...]) -> Segmented:
        seen, grid = LightenedSlide(image, factors), grid_of(image)
        covered, tables = grid.covering(box).common(grid.box), [SCHEMA.empty_table()]
        class_map = np.zeros((covered.height, covered.width), np.uint8) if isinstance(image, ImageSlide) else None
        parts = (self._bundled.pipeline.predictor, box, self._bundled.finder, self._bundled.tiling)
        for region, view, nuclei in segment_regions(seen, *parts):
            tables.append(nuclei)
            if class_map is not None:
                class_map[region.core.within(covered)] = view.class_map[region.core.within(region.view)]
        if class_map is not None:
            rows, columns = grid.pixel_at(box)
            class_map = class_map[rows[:, None] - covered.y, columns - covered.x]
        return Segmented(box, named(pa.concat_tables(tables), self.class_table), self.class_table, class_map)

    def _factors(self, path: Path, image: Slide) -> tuple[float, ...]:
        """What lightens the whole image; of a slide at a resolution measured once."""
        grid, density = grid_of(image), self._bundled.reference_density
        if isinstance(image, ImageSlide) or density is None:
            return tissue_and_lightening(image, grid, density, None)[1]
        slide = f"{fingerprint(path)} at {image.resolution}"
        if slide not in self._slide_factors:
            self._slide_factors[slide] = tissue_and_lightening(image, grid, density, self._bundled.tissue)[1]
        return self._slide_factors[slide]

    def _whole_slide(self, path: Path, mpp: float | None) -> pa.Table:
        # A slide that is replaced under its name, or given another resolution, has a folder of its own.
        folder = self.slides_dir / f"{fingerprint(path)[:16]}{'' if mpp is None else f'_{mpp}'}"
        with self._slide_segmenter(mpp=mpp, output_dir=str(folder), write=[*SLIDE_FORMATS]) as segment:
            segment(path)
        return pq.read_table(folder / stem(path) / "nuclei.parquet")

    @cached_property
    def _bundled(self) -> SlideSegmenter:
        """The segmenter of the bundle's settings, whose parts segment pictures and parts of slides."""
        return self._slide_segmenter()

    def _slide_segmenter(self, **settings: Any) -> SlideSegmenter:
        parser = ConfigParser(ConfigParser.load_config_file(self.root / "configs" / "inference_wsi.json"))
        # Processes forked off a server may hang on its threads' locks.
        ours = {"bundle_root": str(self.root), "device": self.device, "nucleus_workers": 0}
        parser.update({**ours, "checkpoint": str(self.weights), **self.words, **settings})
        for part, version in (("finder", "0.2.0"), ("rewording", "0.3.0")):
            if part not in parser:
                remedy = "run python -m monch_monai label_app anew, and copy versions/ into its model/monch/"
                raise InputError(f"{self.root / 'configs'} is of a version before {version}: {remedy}")
        parser.get_parsed_content("weights")
        segmenter: SlideSegmenter = parser.get_parsed_content("segmenter")
        return segmenter
