"""Files of the predictions of images."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine, Events

from monch_monai.class_table import ClassTable
from monch_monai.data.images import stem, write_class_map, write_picture
from monch_monai.data.nifti import is_nifti
from monch_monai.errors import InputError, one_line
from monch_monai.files import write_rows
from monch_monai.geometry import NETWORK_MPP
from monch_monai.handlers.image_files import ImageFiles
from monch_monai.handlers.items import class_map_of, name_of, probs_and_distance
from monch_monai.legend import draw_nuclei
from monch_monai.nuclei import write_instance_map
from monch_monai.predict import Prediction
from monch_monai.segmentation import NucleusFinder, counts_by_class, find_nuclei
from monch_monai.settings import flag
from monch_monai.slides import FACTORS, PIXELS, ImageSlide, image_grid
from monch_monai.writers import FORMATS, IMAGE_FORMATS, log_view

logger = logging.getLogger(__name__)


class PredictionWriter:
    """Writes the predictions of images, and a summary of all.

    For each image: `STEM_classes.png` (`.nii.gz` for NIfTI input) and the contour picture `STEM_overlay.png`; with
    nuclei also `STEM_instances.tif`, and the contours are then of nuclei. Then the formats of `write` (`ImageFiles`).
    At the end `summary.csv`: a row an image, of the pixels of each class, the factors that lightened the image and, of
    nuclei, counts, densities per mm² of the image and shares by class (bundle/docs/results.md).

    Args:
        output_dir: folder for the files.
        class_table: the network's classes.
        unreadable: images that were left out, with the reason, for their rows in the summary.
        finder: finds the nuclei of class maps.
        nuclei: whether to find nuclei.
        mpp: of the images, µm per pixel.
        write: names of formats.
        features: whether files of nuclei have the columns of `feature_quantities`.
        sources: files that predictions depend on, such as the checkpoint.

    Raises:
        InputError: `nuclei` or `features` is neither true nor false, or `write` is refused by `chosen_formats`.
    """

    def __init__(
        self,
        output_dir: str | Path,
        class_table: ClassTable,
        unreadable: dict[Path, str] | None = None,
        finder: NucleusFinder | None = None,
        nuclei: bool | str = True,
        mpp: float = NETWORK_MPP,
        write: str | Sequence[str] = IMAGE_FORMATS,
        features: bool | str = False,
        sources: Sequence[str | Path] = (),
    ) -> None:
        self.output_dir = Path(output_dir)
        self.unreadable, self.class_table = unreadable or {}, class_table
        self.finder = finder if flag("nuclei", nuclei) else None
        self.mpp = mpp
        self.files = ImageFiles(self.output_dir, class_table, write, features, sources)
        of_nuclei = [name for name in self.files.formats if not FORMATS[name].of_map]
        if self.finder is None and of_nuclei not in ([], [*IMAGE_FORMATS]):
            logger.warning("nuclei is false, so these files of nuclei are not written: %s", ", ".join(of_nuclei))
        self.rows: dict[str, dict[str, Any]] = {}
        self.pictures: list[Path] = []
        self.without_nuclei: list[str] = []

    def attach(self, engine: Engine) -> None:
        """Registers with an evaluator whose batch has `pixels`, and whose output has `image` with metadata, the class
        map `pred` and, for nuclei, the probabilities `probs`, both at the working resolution.
        """
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.write)
        engine.add_event_handler(Events.COMPLETED, self.write_summary)

    def write(self, engine: Engine) -> None:
        """Writes the files of a batch's images.

        Raises:
            InputError: the disk is full.
        """
        for given, item in zip(engine.state.batch, engine.state.output, strict=True):
            try:
                self._write(given, item)
            except OSError as error:
                problem = f"{self.output_dir} cannot be written ({error.strerror or one_line(error)})"
                raise InputError(f"{problem}: make room and run again") from error

    def _write(self, given: dict[str, Any], item: dict[str, Any]) -> None:
        """Writes the files of one image, of its pixels and of its prediction."""
        source = Path(name_of(item))
        at_working = class_map_of(item, "pred")
        grid, whole = image_grid(item["image"].meta, self.mpp)
        rows, columns = grid.pixel_at(whole)
        class_map = at_working[rows[:, None], columns]
        suffix = ".nii.gz" if is_nifti(source) else ".png"
        write_class_map(self.output_dir / f"{stem(source)}_classes{suffix}", class_map, like=source)
        drawn, instance_map, table = class_map, None, None
        pixels_of = np.bincount(class_map.ravel(), minlength=len(self.class_table)).tolist()
        row: dict[str, Any] = dict(zip(self.class_table.names, pixels_of, strict=True))
        counts: list[int] | None = None
        instances = self.output_dir / f"{stem(source)}_instances.tif"
        if self.finder is None:  # those of an earlier run do not belong to this class map
            instances.unlink(missing_ok=True)
        else:
            nuclei = find_nuclei(Prediction(at_working, *probs_and_distance(item)), grid, self.finder, whole)
            instance_map, table = nuclei.instance_map, nuclei.table
            write_instance_map(instances, instance_map)
            drawn = np.append(np.uint8(0), nuclei.classes)[instance_map]
            if not table.num_rows:
                self.without_nuclei.append(source.name)
            counts = np.bincount(nuclei.classes, minlength=len(self.class_table))[1:].tolist()
            row |= self._counted(counts, class_map.size * self.mpp**2 * 1e-6)
        pixels = given[PIXELS].permute(1, 2, 0).numpy()
        factors = item["image"].meta.get(FACTORS, "")
        self.files.write(source, ImageSlide(pixels, self.mpp), grid, at_working, table, factors)
        picture = self.output_dir / f"{stem(source)}_overlay.png"
        write_picture(picture, draw_nuclei(pixels, drawn, self.class_table, self.mpp, instance_map, counts))
        self.pictures.append(picture)
        self.rows[source.name] = {**row, FACTORS: factors}

    def _counted(self, counts: list[int], area_mm2: float) -> dict[str, Any]:
        """Columns of the nuclei of an image."""
        counted = counts_by_class(counts, self.class_table, area_mm2)
        row = {f"{name} nuclei": count for name, count in counted["nuclei"].items()}
        row |= {"area_mm2": round(area_mm2, 9), **{name: counted[name] for name in ("nuclei_total", "per_mm2_total")}}
        row |= {f"{name} nuclei per mm2": density for name, density in counted["per_mm2"].items()}
        return row | {f"{name} nuclei share": share for name, share in counted["shares"].items()}

    def write_summary(self, engine: Engine | None = None) -> None:
        """Writes `summary.csv`."""
        names = self.class_table.names
        if self.finder is not None:
            names = [*names, *self._counted([0] * len(self.class_table.nuclei), 0)]
        rows: list[dict[str, Any]] = [{"image": image, **row} for image, row in self.rows.items()]
        rows += [{"image": path.name, "error": reason} for path, reason in self.unreadable.items()]
        columns = ["image", *names, FACTORS, "error"]
        write_rows(self.output_dir / "summary.csv", rows, columns)

    def finish(self) -> None:
        """Logs where the results are, and how to look at them; warns of images without nuclei. The run's last step.

        Raises:
            InputError: there are `unreadable` images.
        """
        logger.info("%d images segmented; results and summary.csv are in %s", len(self.rows), self.output_dir)
        if empty := self.without_nuclei:
            message = "no nucleus in %d of %d images, such as %s: see its overlay; is it H&E, at %.4g µm/px (--mpp)?"
            logger.warning(message, len(empty), len(self.rows), empty[0], self.mpp)
        if self.pictures:
            formats = self.files.formats if self.finder is not None else ()
            log_view(formats, self.output_dir, self.pictures[0])
        if self.unreadable:
            total = len(self.rows) + len(self.unreadable)
            names = ", ".join(path.name for path in self.unreadable)
            raise InputError(f"{len(self.unreadable)} of {total} images could not be read and have no result: {names}")
