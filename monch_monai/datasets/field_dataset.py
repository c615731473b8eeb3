"""Labelled fields as a prepared dataset, split by patient."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from monch_monai.class_table import IGNORE_INDEX, Vocabulary
from monch_monai.data.images import MIN_SIZE
from monch_monai.data.tiles import read_tiles
from monch_monai.data.writer import Fold, free_folder, write_tiles
from monch_monai.datasets.card import write_card
from monch_monai.datasets.fields import MOST_NUCLEI, Field, training_tiles, whole_fields
from monch_monai.datasets.inventory import take_inventory
from monch_monai.datasets.patients import Validation, hold_out
from monch_monai.errors import InputError
from monch_monai.files import sha256

logger = logging.getLogger(__name__)

OVERLAP = "tiles of a training field overlap, so that their nuclei count more than once"


def write_fields(
    output_dir: str | Path,
    fields: Sequence[Field],
    vocabulary: Vocabulary,
    validation: Validation,
    **notes: str,
) -> Path:
    """Writes fields as a prepared dataset.

    Folds: `train`, overlapping 256x256 tiles; `validation_SIDE`, the held-out fields whole, each padded to a square of
    SIDE px; `test_SIDE`, those of the source's own test part. Split `1` has them all. No patient is in two parts:
    training fields of patients of the test part are left out.

    Args:
        output_dir: the folder to make.
        fields: at least one.
        vocabulary: what the values of their class maps stand for.
        validation: see `monch_monai.datasets.patients.hold_out`.
        notes: for the manifest: `name`, `license`, `labels`, …

    Raises:
        InputError: two fields have one name, one cannot be read, is too small or has another size than its labels, the
            split leaves no field or no nucleus to train on, or `write_tiles` refuses the folder.
    """
    free_folder(output_dir)
    for name, count in Counter(field.name for field in fields).items():
        if count > 1:
            twins = " and ".join(str(field.files[0]) for field in fields if field.name == name)
            raise InputError(f"two fields are named {name}, {twins}: rename or remove one")
    tested = {field.patient for field in fields if field.for_test}
    of_training = {f.name: f.patient for f in fields if not f.for_test and f.patient not in tested}
    if not of_training:
        raise InputError("all fields are of the test part or its patients, so that none is left to train on")
    held_out = hold_out(of_training, validation)
    read, findings, labelled = _examined(fields)
    parts: dict[str, list[Field]] = {
        "train": [f for f in read if f.name in of_training and f.patient not in held_out],
        "validation": [f for f in read if f.name in of_training and f.patient in held_out],
        "test": [f for f in read if f.for_test],
    }
    if not any(f.name in labelled for f in parts["train"]):
        found = f"none of the {len(parts['train'])} fields left for training has a nucleus whose label counts"
        raise InputError(f"{found}: look at the labels, or hold other patients out")
    of_part = {"train": {"train": training_tiles(parts["train"])}} | {
        part: whole_fields(part, parts[part]) for part in ("validation", "test") if parts[part]
    }
    folds: dict[str, Fold] = {name: fold for made in of_part.values() for name, fold in made.items()}
    left_out = sorted(f.name for f in fields if not f.for_test and f.patient in tested)
    findings += [f"left out, since their patients are in the test part: {', '.join(left_out)}"] if left_out else []
    findings = [_listed(part, members) for part, members in parts.items() if members] + findings

    def finish(folder: Path) -> None:
        tiles = {name: read_tiles(folder / name, vocabulary.names) for name in folds}
        inventory = take_inventory(tiles, {name: fold.count for name, fold in folds.items()}, vocabulary)
        inventory.check_colors()
        print(write_card(folder, inventory, notes["name"], [*findings, OVERLAP, *inventory.findings()]))

    write_tiles(
        output_dir,
        folds,
        {"1": {part: list(made) for part, made in of_part.items()}},
        finish,
        vocabulary,
        source=" | ".join(_origin(part, f) for part, members in parts.items() for f in members),
        **notes,
    )
    logger.info("%s written to %s", notes["name"], output_dir)
    return Path(output_dir)


def _examined(fields: Sequence[Field]) -> tuple[list[Field], list[str], set[str]]:
    """The fields with their sizes, each read once, a line for each kind of remark, and names of those with nuclei."""
    examined, remarks, labelled = [], Counter[str](), set[str]()
    for field in tqdm(fields, "reading fields", unit="field", mininterval=1, leave=False):
        image, classes, instances, oddities = field.read()
        height, width = image.shape[:2]
        if min(height, width) < MIN_SIZE:
            found = f"field {field.name} is of {width}x{height} px at the network's resolution"
            raise InputError(f"{found}: at least {MIN_SIZE}x{MIN_SIZE} is needed, so check the mpp or leave it out")
        for values in (classes, instances):
            if values.shape != (height, width):
                found = f"field {field.name} has labels of {values.shape[1]}x{values.shape[0]} px"
                raise InputError(f"{found}; its picture is of {width}x{height}: give labels of the picture's size")
        if instances.size and not 0 <= instances.min() <= instances.max() <= MOST_NUCLEI:
            found = f"field {field.name} has ids of nuclei from {instances.min()} to {instances.max()}"
            raise InputError(f"{found}; expected 0 to {MOST_NUCLEI}: renumber them")
        if ((classes > 0) & (classes != IGNORE_INDEX)).any():
            labelled.add(field.name)
        remarks.update(oddities)
        examined.append(replace(field, size=(height, width)))
    return examined, [f"{count:,} {name}" for name, count in remarks.items() if count], labelled


def _origin(part: str, field: Field) -> str:
    """Part, name, tissue and contents of a field, all that its tiles depend on."""
    return " ".join([part, field.name, field.tissue, *(sha256(path)[:12] for path in field.files)])


def _listed(part: str, fields: Sequence[Field]) -> str:
    patients = sorted({field.patient for field in fields})
    return f"{part}: {len(fields)} fields of {len(patients)} patients: {', '.join(patients)}"
