"""The bundle's inference, for images and regions that are asked for one at a time."""

from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import LoadImaged
from numpy.typing import NDArray
from torch import nn

from monch_monai.data.density import lightening
from monch_monai.errors import InputError
from monch_monai.inferers import NETWORK_MPP
from monch_monai.label.annotations import Outline
from monch_monai.label.opening import open_image
from monch_monai.label.reviewed import MOST_PIXELS, rasterise
from monch_monai.runs.rules import check_device
from monch_monai.slides.geometry import Box, Point, Rectangle, Size, working_grid
from monch_monai.slides.nuclei_table import FoundNuclei
from monch_monai.slides.predictors import Predictor
from monch_monai.slides.reading import in_small
from monch_monai.slides.segment import segment_rectangle
from monch_monai.slides.segmenter import fingerprint, stem
from monch_monai.slides.slide import ImageSlide, LightenedSlide, Slide
from monch_monai.slides.stitching import Prediction


class Segmented(NamedTuple):
    """Nuclei whose centroid lies in `part` of an image, as a table of `monch_monai.slides.nuclei_table.SCHEMA`, in px
    of level 0; `picture` is what the network said of the whole image, where that is a picture.
    """

    part: Box
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
                f"a mask of {w}x{h} px is too large; ask for a region (location, size) or for outlines (/infer/wsi)"
            )
        names = self.table["class_name"].to_pylist()
        return rasterise([Outline(n, p) for n, p in zip(names, self.polygons(), strict=True)], self.part)

    def polygons(self) -> list[shapely.Polygon]:
        """Outlines of the nuclei, px of level 0."""
        return list(shapely.from_wkb(self.table["geometry"].to_pylist()))


class Segmenter:
    """Segments with one version of the weights on one device, as the bundle's configs do.

    A picture is segmented whole, by the transforms and the inferer of `inference.json`, whatever part is asked for: its
    class map is the one that `inference.json` writes. A slide is segmented by `inference_wsi.json`: a part of it while
    the client waits, the whole into a folder, which goes on where it was interrupted and is kept for the next time.

    Args:
        root: folder of the bundle.
        weights: file of the network's weights.
        slides_dir: folder for whole slides segmented with these weights.
        device: where it runs.

    Raises:
        InputError: the weights are not of the config's network, or the device is not to be had.
    """

    def __init__(self, root: Path, weights: Path, slides_dir: Path, device: str = "cpu") -> None:
        check_device(device)
        self.root, self.weights, self.slides_dir, self.device = root, weights, slides_dir, device
        self._lightenings: dict[str, tuple[float, ...]] = {}

    def __call__(self, path: str | Path, part: Box | None = None, mpp: float | None = None) -> Segmented:
        """Nuclei of a part of an image, or of the whole.

        Args:
            path: the image's file.
            part: in px of level 0; it may reach beyond the image.
            mpp: as in `open_image`.

        Raises:
            InputError: no pixel of the part lies in the image, or the image cannot be read.
        """
        with closing(open_image(path, mpp)) as image:
            whole = Box(0, 0, int(image.size.width), int(image.size.height))
            box = whole if part is None else part.common(whole)
            if not box.width or not box.height:
                raise InputError(
                    f"region {part and tuple(part)} (x, y, width, height) lies outside the image of "
                    f"{whole.width}x{whole.height} px"
                )
            if isinstance(image, ImageSlide):
                prediction = self._predict(image)
                grid = working_grid(image.size, image.resolution, image.downsamples, image.resolution.mean)
                return Segmented(box, self._find(prediction, whole, box, grid), prediction)
            if box != whole:
                rectangle = Rectangle(Point(box.x, box.y), Size(box.width, box.height))
                seen = LightenedSlide(image, self._lightening(Path(path), image))
                return Segmented(box, segment_rectangle(seen, self._predictor, rectangle, self._find), None)
        return Segmented(whole, self._whole_slide(Path(path), image.resolution.mean if mpp else None), None)

    def _predict(self, image: ImageSlide) -> Prediction:
        config = self._config("inference.json", mpp=image.resolution.mean, reference_density=self._reference_density)
        meta = {"original_channel_dim": -1, "filename_or_obj": image.name}
        item = {"image": MetaTensor(torch.tensor(image.pixels, dtype=torch.float32), meta=meta)}
        for transform in config.get_parsed_content("preprocessing").transforms:
            if not isinstance(transform, LoadImaged):  # it is loaded
                item = transform(item)
        with torch.inference_mode():
            item["pred"] = config.get_parsed_content("inferer")(item["image"][None].to(self.device), self._network)[0]
            item = config.get_parsed_content("postprocessing")(item)
        return Prediction(item["pred"][0].cpu().numpy(), item["probs"].cpu().numpy())

    def _lightening(self, path: Path, slide: Slide) -> tuple[float, ...]:
        """As `inference_wsi.json` has it of the whole slide; made once a slide."""
        if self._reference_density is None:
            return lightening(None, None)
        known = fingerprint(path)
        if known not in self._lightenings:
            grid = working_grid(slide.size, slide.resolution, slide.downsamples, NETWORK_MPP)
            self._lightenings[known] = lightening(in_small(slide, grid), self._reference_density)
        return self._lightenings[known]

    @cached_property
    def _reference_density(self) -> list[float] | None:
        config = self._config("inference.json")
        told: list[float] | None = None
        if "reference_density" in config:  # which working copies of earlier versions lack
            told = config.get_parsed_content("reference_density")
        return told

    def _whole_slide(self, path: Path, mpp: float | None) -> pa.Table:
        # Processes forked off a server may hang on its threads' locks.
        # A slide that is replaced under its name, or said to be of another resolution, has a folder of its own.
        folder = self.slides_dir / f"{fingerprint(path)[:16]}{'' if mpp is None else f'_{mpp:g}'}"
        config = self._config("inference_wsi.json", mpp=mpp, output_dir=str(folder), nucleus_workers=0)
        config.get_parsed_content("weights")  # before the predictor takes a copy of the network
        with config.get_parsed_content("segmenter") as segment:
            segment(path)
        return pq.read_table(folder / stem(path) / "nuclei.parquet")

    @cached_property
    def _network(self) -> nn.Module:
        config = self._config("inference.json")
        config.get_parsed_content("weights")
        network: nn.Module = config.get_parsed_content("network").eval()
        return network

    @cached_property
    def _predictor(self) -> Predictor:
        config = self._config("inference_wsi.json")
        config.get_parsed_content("weights")
        predictor: Predictor = config.get_parsed_content("predictor")
        return predictor

    @cached_property
    def _find(self) -> FoundNuclei:
        config = self._config("inference.json")
        rule = ("nucleus_separation_um", "nucleus_min_area_um2")
        return FoundNuclei(*(config.get_parsed_content(name) for name in rule))

    def _config(self, name: str, **settings: Any) -> ConfigParser:
        parser = ConfigParser(ConfigParser.load_config_file(self.root / "configs" / name))
        ours = {"bundle_root": str(self.root), "device": self.device, "checkpoint": str(self.weights)}
        parser.update(ours | settings)
        return parser
