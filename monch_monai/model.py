"""MONCH in Python: weights, loaded once, that segment arrays, pictures and slides."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import shapely
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from monch_monai.class_table import ClassTable
from monch_monai.data.images import compare_mpp, read_rgb
from monch_monai.encoders import ClipResNet50
from monch_monai.errors import InputError, shown
from monch_monai.geometry import NETWORK_MPP, Level0Box, LevelBox, Mpp, WorkingBox, WorkingGrid
from monch_monai.legend import draw_nuclei
from monch_monai.networks import Monch, load_checkpoint, reference_density
from monch_monai.nuclei import rasterise
from monch_monai.predict import NetworkPredictor, Prediction, Predictor, Tiling
from monch_monai.segmentation import (
    SCHEMA,
    FoundNuclei,
    NucleusFinder,
    named,
    part_regions,
    polygons_of,
    segment_regions,
)
from monch_monai.settings import flag
from monch_monai.slides import ImageSlide, LightenedSlide, Slide, grid_of, open_slide, tissue_and_lightening
from monch_monai.slides.image_files import is_slide
from monch_monai.stain import DEFAULT_RULE

if TYPE_CHECKING:
    import geopandas

Image = NDArray[np.uint8] | str | Path
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
            InputError: the file of the image is gone or damaged.
        """
        with closing(_open(self._image, self.mpp.x)) as slide:
            pixels = slide.read(0, LevelBox(*self.region))
        classes = np.append(np.uint8(0), self.table["class_index"].to_numpy())
        ids = self.instance_map
        return draw_nuclei(pixels, classes[ids], self.class_table, self.mpp.mean, ids, list(self.counts.values()))


def load(
    checkpoint: str | Path | None = None,
    device: str | None = None,
    amp: bool = True,
    network: Monch | None = None,
) -> Model:
    """Loads weights.

    Args:
        checkpoint: file of a trained network, such as `best.pt`; None is the bundle's `models/model.pt`.
        device: `cpu`, `cuda`, `cuda:1`, …; None is `cuda` where there is one.
        amp: whether bfloat16 is used where the hardware computes in it.
        network: takes the weights where their encoder is none of the package's; None is MONCH with the checkpoint's
            encoder.

    Raises:
        InputError: the file does not exist or is refused by `load_checkpoint`, or `amp` is neither true nor false.
    """
    file = _shipped() if checkpoint is None else Path(checkpoint)
    network = network if network is not None else Monch(ClipResNet50())
    load_checkpoint(network, file)
    where = device if device is not None else "cuda" if torch.cuda.is_available() else "cpu"
    return Model(NetworkPredictor(network, device=where, amp=amp), reference_density(file))


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
            numbers or has no px in the image, or a switch is neither true nor false.
    """
    model = model if model is not None else load()
    in_tissue, lightens = flag("tissue", tissue), flag("lighten", lighten)
    with closing(_open(image, mpp)) as slide:
        part = None if region is None else _part(region, slide)
        grid, density = grid_of(slide), model.reference_density if lightens else None
        rule = DEFAULT_RULE if in_tissue and not isinstance(slide, ImageSlide) else None
        where, factors = tissue_and_lightening(slide, grid, density, rule)
        covered = (grid.box if part is None else grid.covering(part)).common(grid.box)
        classes, tables = np.zeros((covered.height, covered.width), np.uint8), [SCHEMA.empty_table()]
        todo = {cell for r in part_regions(grid, model.tiling.over(grid.box), part, where) for cell in r.cells}
        with tqdm(total=len(todo), unit="tile", delay=BAR_AFTER_S, leave=False, disable=not progress) as bar:
            predictor = _Counted(model.predictor, bar)
            settings = (part, model.finder, model.tiling, where)
            for found in segment_regions(LightenedSlide(slide, factors), predictor, *settings):
                core = found.region.core
                here = found.view.class_map[core.within(found.region.view)] * where.pixels(core)
                classes[core.within(covered)] = here
                tables.append(found.nuclei)
        table = named(pa.concat_tables(tables), model.class_table)
        box = slide.box if part is None else part
        return Segmented(table, model.class_table, box, slide.resolution, factors, image, grid, covered, classes)


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


def _open(image: Image, mpp: float | None) -> Slide:
    if isinstance(image, np.ndarray):
        return ImageSlide(image, NETWORK_MPP if mpp is None else mpp)
    path = Path(image)
    if not path.exists():
        raise InputError(f"{path} does not exist: give a picture, a slide or an array [H, W, 3]")
    if path.is_dir() or is_slide(path):
        return open_slide(path, mpp)
    taken = Mpp(*[NETWORK_MPP if mpp is None else mpp] * 2)
    compare_mpp(path, taken)
    return ImageSlide(read_rgb(path), taken.x, str(path))


def _part(region: Sequence[int], slide: Slide) -> Level0Box:
    """A region as far as it lies in the slide."""
    numbers = list(region) if isinstance(region, Sequence | np.ndarray) else []
    if len(numbers) != 4 or not all(isinstance(n, int | np.integer) for n in numbers):
        raise InputError(f"region is {shown(region)}; give x, y, width, height, whole px of level 0")
    part = Level0Box(*map(int, numbers)).common(slide.box)
    if not part.width or not part.height:
        size = f"{slide.size.width}x{slide.size.height} px"
        raise InputError(f"region {tuple(numbers)} lies outside {slide.name} of {size}: give a part of it")
    return part
