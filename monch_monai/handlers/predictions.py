"""Files of the predictions of images."""

import csv
import io
import logging
from pathlib import Path

import numpy as np
import torch
from ignite.engine import Engine, Events

from monch_monai.classes import CLASSES, NUCLEUS_CLASSES
from monch_monai.data.density import FACTORS
from monch_monai.data.images import is_nifti, read_rgb, stem, write_class_map, write_picture
from monch_monai.errors import InputError
from monch_monai.files import write_text_atomically
from monch_monai.nuclei import WatershedNuclei, write_geojson, write_instance_map
from monch_monai.overlay import draw_contours
from monch_monai.settings import flag

logger = logging.getLogger(__name__)


class PredictionWriter:
    """Writes the predictions of images, and a summary of all.

    For each image: `STEM_classes.png` (`.nii.gz` for NIfTI input) and the contour picture `STEM_overlay.png`; with
    nuclei also `STEM_instances.tif` and `STEM_nuclei.geojson`, and the contours are then of nuclei. At the end
    `summary.csv`: a row an image, of the pixels and nuclei of each class and the factors that lightened the image.

    Args:
        output_dir: folder for the files.
        unreadable: images that were left out, with the reason, for their rows in the summary.
        watershed: finds the nuclei of class maps.
        nuclei: whether to find nuclei.

    Raises:
        InputError: `nuclei` is neither true nor false.
    """

    def __init__(
        self,
        output_dir: str | Path,
        unreadable: dict[Path, str] | None = None,
        watershed: WatershedNuclei | None = None,
        nuclei: bool | str = True,
    ) -> None:
        self.output_dir = Path(output_dir)
        self.unreadable = unreadable or {}
        self.watershed = watershed if flag("nuclei", nuclei) else None
        self.rows: dict[str, list[int | str]] = {}

    def attach(self, engine: Engine) -> None:
        """Registers with an evaluator whose output has `image` with its file's name, the class map `pred` and, for
        nuclei, the probabilities `probs`.
        """
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.write)
        engine.add_event_handler(Events.COMPLETED, self.write_summary)

    def write(self, engine: Engine) -> None:
        """Writes the files of a batch's images."""
        for item in engine.state.output:
            source = Path(item["image"].meta["filename_or_obj"])
            class_map = torch.as_tensor(item["pred"])[0].cpu().numpy().astype(np.uint8)
            suffix = ".nii.gz" if is_nifti(source) else ".png"
            write_class_map(self.output_dir / f"{stem(source)}_classes{suffix}", class_map, like=source)
            drawn, instance_map = class_map, None
            counts = np.bincount(class_map.ravel(), minlength=len(CLASSES)).tolist()
            instances, outlines = (self.output_dir / f"{stem(source)}_{s}" for s in ("instances.tif", "nuclei.geojson"))
            if self.watershed is None:  # those of an earlier run do not belong to this class map
                instances.unlink(missing_ok=True)
                outlines.unlink(missing_ok=True)
            else:
                nuclei = self.watershed(class_map, torch.as_tensor(item["probs"]).cpu().numpy())
                write_instance_map(instances, nuclei.instance_map)
                write_geojson(outlines, nuclei)
                instance_map = nuclei.instance_map
                drawn = np.append(np.uint8(0), nuclei.classes)[instance_map]
                counts += np.bincount(nuclei.classes, minlength=len(CLASSES))[1:].tolist()
            overlay = draw_contours(read_rgb(source), drawn, instance_map=instance_map)
            write_picture(self.output_dir / f"{stem(source)}_overlay.png", overlay)
            self.rows[source.name] = [*counts, item["image"].meta.get(FACTORS, "")]

    def write_summary(self, engine: Engine | None = None) -> None:
        """Writes `summary.csv`."""
        names = [c.name for c in CLASSES]
        if self.watershed is not None:
            names += [f"{c.name} nuclei" for c in NUCLEUS_CLASSES]
        names.append(FACTORS)
        text = io.StringIO()
        table = csv.writer(text)
        table.writerow(["image", *names, "error"])
        table.writerows([image, *row, ""] for image, row in self.rows.items())
        table.writerows([path.name, *[""] * len(names), reason] for path, reason in self.unreadable.items())
        write_text_atomically(self.output_dir / "summary.csv", text.getvalue())

    def finish(self) -> None:
        """Logs where the results are; the run's last step.

        Raises:
            InputError: there are `unreadable` images.
        """
        logger.info("%d images segmented; results and summary.csv are in %s", len(self.rows), self.output_dir)
        if self.unreadable:
            total = len(self.rows) + len(self.unreadable)
            names = ", ".join(path.name for path in self.unreadable)
            raise InputError(f"{len(self.unreadable)} of {total} images could not be read and have no result: {names}")
