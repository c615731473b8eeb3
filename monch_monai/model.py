"""MONCH in Python: weights, loaded once, that segment arrays, pictures and slides."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from monch_monai.class_table import ClassTable
from monch_monai.device import check_device
from monch_monai.encoders import ClipResNet50
from monch_monai.errors import InputError, shown
from monch_monai.geometry import Level0Box
from monch_monai.networks import Monch, load_checkpoint, reference_density
from monch_monai.predict import EngineNetwork, NetworkPredictor, Prediction, Predictor, Tiling
from monch_monai.segmentation import (
    SCHEMA,
    FoundNuclei,
    NucleusFinder,
    named,
    part_regions,
    segment_regions,
)
from monch_monai.segmented import Segmented, identify
from monch_monai.settings import flag, text
from monch_monai.slides import ImageSlide, LightenedSlide, Slide, grid_of, tissue_and_lightening
from monch_monai.slides.image_files import Image, open_pixels
from monch_monai.stain import DEFAULT_RULE

SHIPPED = Path("models", "model.pt")
"""The bundle's weights, in its folder."""
BAR_AFTER_S = 2
"""Seconds of work after which a bar shows the progress."""


@dataclass(frozen=True)
class Model:
    """A network with its weights, and what makes nuclei of its predictions.

    Attributes:
        predictor: predicts tiles.
        reference_density: mean optical density `[3]` of the tissue trained on, by channel, that darker images are
            lightened to; None where the weights record none.
        finder: makes nuclei.
        tiling: settings of the tiles.
    """

    predictor: Predictor
    reference_density: Sequence[float] | None = None
    finder: NucleusFinder = field(default_factory=FoundNuclei)
    tiling: Tiling = field(default_factory=Tiling)

    @property
    def class_table(self) -> ClassTable:
        """The classes of the weights."""
        return self.predictor.class_table


def load(
    checkpoint: str | Path | None = None,
    device: str | None = None,
    amp: bool = True,
    network: Monch | None = None,
    engine: str = "torch",
) -> Model:
    """Loads weights.

    Args:
        checkpoint: file of a trained network, such as `best.pt`; None is the bundle's `models/model.pt`.
        device: `cpu`, `cuda`, `cuda:1`, …; None is `cuda` where there is one.
        amp: whether bfloat16 is used where the hardware computes in it.
        network: takes the weights where their encoder is none of the package's; None is MONCH with the checkpoint's
            encoder.
        engine: what computes the network on the CPU: `torch`, `onnxruntime`, `openvino`, or `auto`: for 1000 tiles or
            more the fastest installed.

    Raises:
        InputError: the file does not exist or is refused by `load_checkpoint`, PyTorch cannot compute on `device`,
            `amp` is neither true nor false, or `engine` is none of these or not installed.
    """
    file = _shipped() if checkpoint is None else Path(text("checkpoint", checkpoint))
    found = "cuda" if torch.cuda.is_available() else "cpu"
    where = str(check_device(found if device is None else device))
    network = network if network is not None else Monch(ClipResNet50())
    load_checkpoint(network, file)
    predictor = NetworkPredictor(EngineNetwork(network, engine), device=where, amp=amp)
    tiling = Tiling(batch_size=4 * torch.get_num_threads() if where == "cpu" else 4)
    return Model(predictor, reference_density(file), tiling=tiling)


def segment(
    image: Image,
    model: Model | None = None,
    mpp: float | None = None,
    region: Sequence[int] | None = None,
    tissue: bool = True,
    lighten: bool = True,
    progress: bool = True,
) -> Segmented:
    """Segments an image, a slide or a region of one, as `inference.json` and `inference_wsi.json` do.

    Args:
        image: RGB pixels `[H, W, 3]` uint8, or the path of a picture or slide.
        model: of `load`; None loads the bundle's weights at each call.
        mpp: µm per pixel of level 0: of pixels and pictures 0.25 where None, of slides what the file states.
        region: (x, y, width, height) in px of level 0; None is all of the image.
        tissue: whether nuclei of slides are looked for in tissue alone; pixels and pictures are searched whole.
        lighten: whether images darker than the tissue trained on are lightened to it.
        progress: whether a bar on stderr shows the tiles of work that takes more than `BAR_AFTER_S`.

    Raises:
        InputError: the image cannot be read, its resolution is not known or no resolution, `region` is no four whole
            numbers or has no px in the image, `model` is none of `load`, or a switch is
            neither true nor false.
    """
    model = model if model is not None else load()
    if not isinstance(model, Model):
        raise InputError(f"model is {shown(model)}; give what load returns, such as load('best.pt')")
    in_tissue, lightens, shows = flag("tissue", tissue), flag("lighten", lighten), flag("progress", progress)
    with closing(open_pixels(image, mpp)) as slide:
        part, identity = None if region is None else _part(region, slide), identify(image)
        grid, density = grid_of(slide), model.reference_density if lightens else None
        rule = DEFAULT_RULE if in_tissue and not isinstance(slide, ImageSlide) else None
        where, factors = tissue_and_lightening(slide, grid, density, rule)
        covered = (grid.box if part is None else grid.covering(part)).common(grid.box)
        classes, tables = np.zeros((covered.height, covered.width), np.uint8), [SCHEMA.empty_table()]
        todo = {cell for r in part_regions(grid, model.tiling.over(grid.box), part, where) for cell in r.cells}
        if isinstance(model.predictor, NetworkPredictor):
            model.predictor.expect(len(todo))
        with tqdm(total=len(todo), unit="tile", delay=BAR_AFTER_S, leave=False, disable=not shows) as bar:
            predictor = _Counted(model.predictor, bar)
            settings = (part, model.finder, model.tiling, where)
            for found in segment_regions(LightenedSlide(slide, factors), predictor, *settings):
                core = found.region.core
                here = found.view.class_map[core.within(found.region.view)] * where.pixels(core)
                classes[core.within(covered)] = here
                tables.append(found.nuclei)
        table = named(pa.concat_tables(tables), model.class_table)
        box = slide.box if part is None else part
        about = (model.class_table, box, slide.resolution, factors)
        return Segmented(table, *about, image, identity, grid, covered, classes)


class _Counted:
    """A predictor that moves a bar on by the tiles that it predicts."""

    def __init__(self, predictor: Predictor, bar: tqdm) -> None:
        self.predictor, self.bar = predictor, bar

    @property
    def class_table(self) -> ClassTable:
        """The predictor's."""
        return self.predictor.class_table

    def __call__(self, tiles: NDArray[np.uint8]) -> Prediction:
        """The predictor's."""
        self.bar.update(min(len(tiles), self.bar.total - self.bar.n))  # the last batch is filled up
        return self.predictor(tiles)


def _shipped() -> Path:
    """The bundle's weights: of the clone or bundle that holds this package, or of the current folder.

    Raises:
        InputError: there are none.
    """
    roots = [Path(__file__).resolve().parents[1], Path()]
    places = [root / folder / SHIPPED for root in roots for folder in ("bundle", "")]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise InputError(f"no weights in {places[0]} or {SHIPPED}: give load a checkpoint, such as best.pt")
    return found


def _part(region: Sequence[int], slide: Slide) -> Level0Box:
    """A region as far as it lies in the slide."""
    numbers = list(region) if isinstance(region, Sequence | np.ndarray) and not isinstance(region, bytes) else []
    if len(numbers) != 4 or not all(isinstance(n, int | np.integer) and not isinstance(n, bool) for n in numbers):
        raise InputError(f"region is {shown(region)}; give x, y, width, height, whole px of level 0")
    part = Level0Box(*map(int, numbers)).common(slide.box)
    if not part.width or not part.height:
        size = f"{slide.size.width}x{slide.size.height} px"
        raise InputError(f"region {tuple(numbers)} lies outside {slide.name} of {size}: give a part of it")
    return part
