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

from monch_monai.cohort import fingerprint, stem
from monch_monai.errors import InputError
from monch_monai.geometry import Level0Box
from monch_monai.label.annotations import Outline
from monch_monai.label.images import open_image
from monch_monai.label.labels import MOST_PIXELS, draw
from monch_monai.predict import Predictor, Tiling
from monch_monai.runs.rules import check_device
from monch_monai.segmentation import SCHEMA, FoundNuclei, polygons_of, segment_regions
from monch_monai.slides import ImageSlide, LightenedSlide, Slide, grid_of, tissue_and_lightening
from monch_monai.stain import TissueRule


class Segmented(NamedTuple):
    """Nuclei whose centroid lies in `part` of an image, as a table of `monch_monai.segmentation.SCHEMA`, in px of level
    0; `predicted` is the network's class map `[h, w]` of the part, where the image is a picture.
    """

    part: Level0Box
    table: pa.Table
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
            raise InputError(
                f"a mask of {w}x{h} px is too large; ask for a region (location, size) or for outlines (/infer/wsi)"
            )
        names = self.table["class_name"].to_pylist()
        return draw([Outline(n, p) for n, p in zip(names, polygons_of(self.table), strict=True)], self.part)


class Segmenter:
    """Segments with one version of the weights on one device, by the settings of the bundle's `inference_wsi.json`.

    A picture, or a part of a slide, is segmented while the client waits. A whole slide is segmented into a folder,
    which is resumed where it was interrupted and kept for the next time.

    Args:
        root: folder of the bundle.
        weights: file of the network's weights.
        slides_dir: folder for whole slides segmented with these weights.
        device: where it runs.

    Raises:
        InputError: the weights are not of the config's network, or the device cannot be used.
    """

    def __init__(self, root: Path, weights: Path, slides_dir: Path, device: str = "cpu") -> None:
        check_device(device)
        self.root, self.weights, self.slides_dir, self.device = root, weights, slides_dir, device
        self._lightenings: dict[str, tuple[float, ...]] = {}

    def __call__(self, path: str | Path, part: Level0Box | None = None, mpp: float | None = None) -> Segmented:
        """Nuclei of a part of an image, or of the whole.

        Args:
            path: the image's file.
            part: of the image; it may reach beyond it.
            mpp: as in `open_image`.

        Raises:
            InputError: no pixel of the part lies in the image, or the image cannot be read.
        """
        with closing(open_image(path, mpp)) as image:
            whole = image.box
            box = whole if part is None else part.common(whole)
            if not box.width or not box.height:
                raise InputError(
                    f"region {part and tuple(part)} (x, y, width, height) lies outside the image of "
                    f"{whole.width}x{whole.height} px"
                )
            if isinstance(image, ImageSlide) or box != whole:
                return self._segment(image, box, self._lightening(Path(path), image))
        return Segmented(whole, self._whole_slide(Path(path), image.resolution.mean if mpp else None), None)

    def _segment(self, image: Slide, box: Level0Box, factors: tuple[float, ...]) -> Segmented:
        seen, grid = LightenedSlide(image, factors), grid_of(image)
        covered, tables = grid.covering(box).common(grid.box), [SCHEMA.empty_table()]
        class_map = np.zeros((covered.height, covered.width), np.uint8) if isinstance(image, ImageSlide) else None
        for region, view, nuclei in segment_regions(seen, self._predictor, box, self._finder, self._tiling):
            tables.append(nuclei)
            if class_map is not None:
                class_map[region.core.within(covered)] = view.class_map[region.core.within(region.view)]
        if class_map is not None:
            rows, columns = grid.pixel_at(box)
            class_map = class_map[rows[:, None] - covered.y, columns - covered.x]
        return Segmented(box, pa.concat_tables(tables), class_map)

    def _lightening(self, path: Path, image: Slide) -> tuple[float, ...]:
        """The factors of the whole image; those of a slide are measured once."""
        known = "" if isinstance(image, ImageSlide) or self._reference_density is None else fingerprint(path)
        if not known or known not in self._lightenings:
            rule = self._tissue if known else None
            _, self._lightenings[known] = tissue_and_lightening(image, grid_of(image), self._reference_density, rule)
        return self._lightenings[known]

    @cached_property
    def _reference_density(self) -> list[float] | None:
        density: list[float] | None = self._config().get_parsed_content("reference_density")
        return density

    def _whole_slide(self, path: Path, mpp: float | None) -> pa.Table:
        # Processes forked off a server may hang on its threads' locks.
        # A slide that is replaced under its name, or given another resolution, has a folder of its own.
        folder = self.slides_dir / f"{fingerprint(path)[:16]}{'' if mpp is None else f'_{mpp:g}'}"
        config = self._config(mpp=mpp, output_dir=str(folder), nucleus_workers=0)
        config.get_parsed_content("weights")
        with config.get_parsed_content("segmenter") as segment:
            segment(path)
        return pq.read_table(folder / stem(path) / "nuclei.parquet")

    @cached_property
    def _predictor(self) -> Predictor:
        config = self._config()
        config.get_parsed_content("weights")
        predictor: Predictor = config.get_parsed_content("predictor")
        return predictor

    @cached_property
    def _finder(self) -> FoundNuclei:
        finder: FoundNuclei = self._config().get_parsed_content("finder")
        return finder

    @cached_property
    def _tissue(self) -> TissueRule | None:
        rule: TissueRule | None = self._config().get_parsed_content("segmenter#tissue")
        return rule

    @cached_property
    def _tiling(self) -> Tiling:
        tiling: Tiling = self._config().get_parsed_content("segmenter#tiling")
        return tiling

    def _config(self, **settings: Any) -> ConfigParser:
        parser = ConfigParser(ConfigParser.load_config_file(self.root / "configs" / "inference_wsi.json"))
        ours = {"bundle_root": str(self.root), "device": self.device, "checkpoint": str(self.weights)}
        parser.update(ours | settings)
        if "finder" not in parser:
            raise InputError(
                f"{self.root / 'configs'} is of a version before 0.2.0: make the server's folder anew "
                "(python -m monch_monai label_app), and copy versions/ into its model/monch/"
            )
        return parser
