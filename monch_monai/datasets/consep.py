"""CoNSeP, colon H&E at 0.25 µm/px with nuclei outlined by hand (Graham et al., 2019), as a prepared dataset.

The official layout is `Train/` and `Test/` with `Images/NAME.png` and `Labels/NAME.mat`. Fields are 1000x1000 px.

| raw type | name | class |
|---|---|---|
| 1 | other (necrotic, mitotic, uncertain) | 255, left out of loss and scores |
| 2 | inflammatory | inflammatory |
| 3 | healthy epithelial | epithelial |
| 4 | dysplastic or malignant epithelial | neoplastic |
| 5, 6, 7 | fibroblast, muscle, endothelial | connective |
"""

import logging
from collections.abc import Iterator, Sequence
from itertools import islice, product
from pathlib import Path

import numpy as np
import scipy.io
from numpy.typing import NDArray

from monch_monai.class_table import IGNORE_INDEX, PANNUKE, Vocabulary, find_class_table
from monch_monai.data.images import read_rgb
from monch_monai.data.tiles import Tile, read_tiles
from monch_monai.data.writer import Fold, free_folder, write_tiles
from monch_monai.datasets.card import write_card
from monch_monai.datasets.fields import edges
from monch_monai.datasets.folders import is_hidden, named
from monch_monai.datasets.inventory import take_inventory
from monch_monai.errors import InputError
from monch_monai.files import sha256
from monch_monai.geometry import TILE_SIZE
from monch_monai.settings import flag

logger = logging.getLogger(__name__)

_NAMES = ("inflammatory", "epithelial", "neoplastic", *3 * ["connective"])
CLASS_OF_TYPE = np.array([0, IGNORE_INDEX, *map(PANNUKE.names.index, _NAMES)], np.uint8)
"""Class of each raw type, 0 to 7, where types are merged into PanNuke's classes."""
VALIDATION_FIELDS = ("train_6", "train_9", "train_15", "train_17", "train_22")
"""Held-out fields: between them every class that CoNSeP has, healthy epithelium being in three fields of 27 only."""


def prepare_consep(
    source: str | Path,
    output_dir: str | Path,
    validation_fields: Sequence[str] = VALIDATION_FIELDS,
    types: bool | str = False,
) -> Path:
    """Writes CoNSeP as a prepared dataset, split by field.

    Folds: `train`, overlapping 256x256 tiles of the training fields; `validation`, the held-out fields whole;
    `validation_tiles`, the same ones cut like `train`; `test`, the official test fields whole, where `source` has them.
    Split `1` trains on `train`; split `all` on all fields of the training part, so that its validation scores are of
    fields it has seen.

    Args:
        source: the folder with `Train/` (and `Test/`), or a folder with `Images/` and `Labels/`.
        output_dir: the folder to make.
        validation_fields: names of the fields held out.
        types: whether nuclei keep CoNSeP's seven types, those of the class table `consep`, instead of being merged into
            PanNuke's classes.

    Raises:
        InputError: `source` has no fields, a field to hold out is missing, none is left for training, a field is
            damaged or not as in CoNSeP, or `types` is neither true nor false.
    """
    kept = flag("types", types)
    vocabulary = Vocabulary.of_table(find_class_table("consep") if kept else PANNUKE)
    value_of_type = np.arange(8, dtype=np.uint8) if kept else CLASS_OF_TYPE
    free_folder(output_dir)
    root = Path(source)
    places = (named(root, "Train"), named(named(root, "CoNSeP"), "Train"), root)
    train_dir = next((place for place in places if named(place, "Images").is_dir()), None)
    if train_dir is None:
        raise InputError(f"source {root} holds neither Train/Images nor Images: give CoNSeP's folder")
    fields = _find(train_dir)
    unknown = sorted(set(validation_fields) - set(fields))
    if unknown or not set(fields) - set(validation_fields):
        problem = "no such field to hold out, or none left to train on"
        found = f"{problem}: {unknown or sorted(validation_fields)}; the fields are {sorted(fields)}"
        raise InputError(f"{found}: name those to hold out with --validation_fields \"['NAME']\"")
    held_out = {name: path for name, path in fields.items() if name in validation_fields}
    training = {name: path for name, path in fields.items() if name not in validation_fields}
    first = next(iter(fields.values()))
    size = read_rgb(first).shape[0]
    if size < TILE_SIZE:
        raise InputError(f"{first} is {size} px high; CoNSeP's fields are of 1000x1000 px")
    folds = {
        "train": _tiles(training, size, value_of_type),
        "validation": _whole(held_out, size, value_of_type),
        "validation_tiles": _tiles(held_out, size, value_of_type),
    }
    splits = {
        "1": {"train": ["train"], "validation": ["validation"]},
        "all": {"train": ["train", "validation_tiles"], "validation": ["validation"]},
    }
    test_dir = named(train_dir.parent, "Test")
    if train_dir != root and named(test_dir, "Images").is_dir():
        test = _find(test_dir)
        folds["test"] = _whole(test, size, value_of_type)
        fields |= test
        for parts in splits.values():
            parts["test"] = ["test"]

    def finish(folder: Path) -> None:
        totals = {name: fold.count for name, fold in folds.items()}
        inventory = take_inventory(
            {name: read_tiles(folder / name, vocabulary.names) for name in folds}, totals, vocabulary
        )
        inventory.check_colors()
        overlap = "tiles of a field overlap and held-out fields are here twice, so that nuclei count more than once"
        print(write_card(folder, inventory, "CoNSeP", [*inventory.findings(), overlap]))

    write_tiles(
        output_dir,
        folds,
        splits,
        finish,
        vocabulary,
        name="CoNSeP",
        source=" | ".join(f"{name} {sha256(path)[:12]} {sha256(_labels(path))[:12]}" for name, path in fields.items()),
        license="none stated by its authors; cite Graham et al. (2019); for research only",
        labels="by hand" if kept else "by hand; CoNSeP's type 'other' is not counted",
    )
    logger.info("CoNSeP written to %s", output_dir)
    return Path(output_dir)


def read_field(path: Path, size: int, value_of_type: NDArray[np.uint8] = CLASS_OF_TYPE) -> Tile:
    """The field whose picture is `path`, whole, of `size` pixels a side, with the value of each of types 0 to 7.

    Raises:
        InputError: the picture or its labels are missing, damaged or of another size, or do not fit together.
    """
    image, labels = read_rgb(path), _labels(path)
    if image.shape[:2] != (size, size):
        raise InputError(f"{path} is of {image.shape[1]}x{image.shape[0]} px; the first field is of {size}x{size}")
    try:
        content = scipy.io.loadmat(labels, variable_names=["inst_map", "type_map"])
        instances, types = content["inst_map"], content["type_map"]
    except Exception as error:  # of damaged files SciPy raises errors of many types
        raise InputError(f"{labels} cannot be read as CoNSeP's labels ({error!r}): fetch it again") from error
    if not instances.shape == types.shape == image.shape[:2]:
        raise InputError(f"{labels} is of {list(instances.shape)} px; its picture is of {list(image.shape[:2])}")
    if not np.isin(types, np.arange(len(CLASS_OF_TYPE))).all():
        raise InputError(f"{labels} holds types from {types.min():g} to {types.max():g}; CoNSeP has 0 to 7")
    if ((types > 0) != (instances > 0)).any() or not 0 <= instances.min() <= instances.max() < 2**16:
        raise InputError(f"{labels}: its type map and its instance map do not show the same nuclei")
    return Tile(image, value_of_type[types.astype(np.uint8)], instances.astype(np.uint16), "Colon", path.stem)


def _find(part: Path) -> dict[str, Path]:
    """Pictures by name, in the order of their numbers."""
    folder = named(part, "Images")
    found = [path for path in folder.iterdir() if path.suffix.lower() == ".png" and not is_hidden(path.name)]
    pictures = sorted(found, key=lambda path: (len(path.stem), path.stem))
    if not pictures:
        raise InputError(f"{folder} holds no PNG: give CoNSeP's folder")
    for path in pictures:
        if not _labels(path).is_file():
            raise InputError(f"{path} has no labels: {_labels(path)} is missing")
    return {path.stem: path for path in pictures}


def _labels(picture: Path) -> Path:
    return named(named(picture.parents[1], "Labels"), f"{picture.stem}.mat")


def _whole(fields: dict[str, Path], size: int, value_of_type: NDArray[np.uint8]) -> Fold:
    paths = list(fields.values())
    return Fold(len(paths), lambda start: (read_field(path, size, value_of_type) for path in paths[start:]), size)


def _tiles(fields: dict[str, Path], size: int, value_of_type: NDArray[np.uint8]) -> Fold:
    places = [*product(edges(size), edges(size))]
    per_field = len(places)

    def cut(start: int) -> Iterator[Tile]:
        for path in list(fields.values())[start // per_field :]:
            field = read_field(path, size, value_of_type)
            yield from (field.cut(y, x, TILE_SIZE) for y, x in places)

    return Fold(per_field * len(fields), lambda start: islice(cut(start), start % per_field, None), TILE_SIZE)
