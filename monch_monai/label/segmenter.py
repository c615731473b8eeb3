"""The bundle's inference, for images and regions that are asked for one at a time."""

from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import shapely
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import LoadImaged
from numpy.typing import NDArray

from monch_monai.errors import InputError
from monch_monai.label.annotations import Box as Part
from monch_monai.label.annotations import Outline
from monch_monai.label.reviewed import rasterise
from monch_monai.runs.run import check_device
from monch_monai.slides.geometry import Box, Point, Rectangle, Size, working_grid
from monch_monai.slides.nuclei_table import FoundNuclei
from monch_monai.slides.predictors import NetworkPredictor
from monch_monai.slides.reader import ImageSlide, Slide
from monch_monai.slides.segment import segment_rectangle
from monch_monai.slides.stitching import Prediction

MOST_PIXELS = 100_000_000
"""Pixels of the largest class map that is given out."""


class Segmented(NamedTuple):
    """Nuclei whose centroid lies in `part` of an image, as a table of `monch_monai.slides.nuclei_table.SCHEMA`, in px
    of level 0; `picture` is what the network said of the whole image, where that is a picture.
    """

    part: Part
    table: pa.Table
    picture: Prediction | None

    def class_map(self) -> NDArray[np.uint8]:
        """Class of each pixel of the part `[h, w]`: the network's of a picture; of a slide, that of its nucleus.

        Raises:
            InputError: the part is too large.
        """
        x, y, w, h = self.part
        if self.picture is not None:
            return self.picture.class_map[y : y + h, x : x + w]
        return self._drawn()[0]

    def instance_map(self) -> NDArray[np.int32]:
        """Nuclei of the part `[h, w]`, 0 for background; nuclei at its edge are cut there.

        Raises:
            InputError: the part is too large.
        """
        return self._drawn()[1]

    def _drawn(self) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
        _, _, w, h = self.part
        if w * h > MOST_PIXELS:
            raise InputError(
                f"a mask of {w}x{h} px would be too large; ask for a region (location, size) or for outlines (/infer/wsi)"
            )
        names = self.table["class_name"].to_pylist()
        return rasterise([Outline(n, p) for n, p in zip(names, self.polygons(), strict=True)], self.part)

    def polygons(self) -> list[shapely.Polygon]:
        """Outlines of the nuclei, px of level 0."""
        return list(shapely.from_wkb(self.table["geometry"].to_pylist()))


class Segmenter:
    """Segments with one version of the weights on one device, as `inference.json` does.

    A picture is segmented whole and by the config's own transforms and inferer, whatever part is asked for, so its class
    map is the one that `inference.json` writes. A slide is segmented in the part alone.

    Args:
        root: folder of the bundle.
        weights: file of the network's weights.
        device: where it runs.

    Raises:
        InputError: the weights are not of the config's network, or the device is not to be had.
    """

    def __init__(self, root: Path, weights: Path, device: str = "cpu") -> None:
        check_device(device)
        self.root, self.weights, self.device = root, weights, device
        config = self._config()
        config.get_parsed_content("weights")
        self.network = config.get_parsed_content("network").eval()

    def __call__(self, image: Slide, part: Part | None = None) -> Segmented:
        """Nuclei of a part of an image, or of the whole.

        Raises:
            InputError: no pixel of the part lies in the image, or the image is damaged there.
        """
        whole = Box(0, 0, int(image.size.width), int(image.size.height))
        box = whole if part is None else Box(*part).common(whole)
        if not box.width or not box.height:
            raise InputError(
                f"region at {part and part[:2]} of size {part and part[2:]} lies outside the image, "
                f"which is {whole.width}x{whole.height} px"
            )
        if not isinstance(image, ImageSlide):
            rectangle = Rectangle(Point(box.x, box.y), Size(box.width, box.height))
            return Segmented(box, segment_rectangle(image, self._predictor, rectangle, **self._tiling), None)
        prediction = self._predict(image)
        grid = working_grid(image.size, image.mpp, image.downsamples, image.mpp.mean)
        return Segmented(box, self._find(prediction, whole, box, grid), prediction)

    def _predict(self, image: ImageSlide) -> Prediction:
        config = self._config(image.mpp.mean)
        meta = {"original_channel_dim": -1, "filename_or_obj": image.name}
        item = {"image": MetaTensor(torch.from_numpy(image.pixels).float(), meta=meta)}
        for transform in config.get_parsed_content("preprocessing").transforms:
            if not isinstance(transform, LoadImaged):  # it is loaded
                item = transform(item)
        with torch.inference_mode():
            item["pred"] = config.get_parsed_content("inferer")(item["image"][None].to(self.device), self.network)[0]
            item = config.get_parsed_content("postprocessing")(item)
        class_map, probs = (item[key].cpu().numpy() for key in ("pred", "probs"))
        return Prediction(class_map[0], probs)

    @cached_property
    def _find(self) -> FoundNuclei:
        config = self._config()
        names = ("nucleus_separation_um", "nucleus_min_area_um2")
        return FoundNuclei(*(config.get_parsed_content(name) for name in names))

    @cached_property
    def _predictor(self) -> NetworkPredictor:
        config = self._config()
        return NetworkPredictor(
            self.network, config.get_parsed_content("mean"), config.get_parsed_content("std"), self.device
        )

    def _config(self, mpp: float = 0.25) -> ConfigParser:
        parser = ConfigParser(ConfigParser.load_config_file(self.root / "configs" / "inference.json"))
        given = {"bundle_root": self.root, "device": self.device, "checkpoint": self.weights, "mpp": mpp}
        parser.update({name: value if name == "mpp" else str(value) for name, value in given.items()})
        return parser
