"""Labelled pictures of your own, in folders of pictures, ids of nuclei and types, as a prepared dataset.

SOURCE/images/NAME.*        pictures: PNG, JPEG, TIFF, BMP or NIfTI
SOURCE/instances/NAME.*     ids of nuclei, 0 is none: PNG or TIFF of 16 bits, or .npy
SOURCE/boxes.csv            in place of instances/ and types/: columns field, x0, y0, x1, y1, class (`boxes`)
SOURCE/types/NAME.*         values of types (not needed)
SOURCE/ignore/NAME.*        not 0 where nothing is known (not needed, nor for every picture)
SOURCE/classes.csv          columns value, class; or classes.yaml. What each type means, where there are types
SOURCE/fields.csv           columns field, and tissue or patient where wanted (not needed)

Maps have the size of their picture.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path

from monch_monai.class_table import ClassTable, find_class_table
from monch_monai.data.images import SUFFIXES, stem
from monch_monai.datasets.boxes import read_boxes
from monch_monai.datasets.csv_rows import read_csv
from monch_monai.datasets.field_dataset import write_fields
from monch_monai.datasets.fields import Field
from monch_monai.datasets.folders import named
from monch_monai.datasets.label_maps import SUFFIXES as MAP_SUFFIXES
from monch_monai.datasets.label_maps import find_map, scale_of
from monch_monai.datasets.patients import UNKNOWN, VALIDATION, Validation, patient_of
from monch_monai.datasets.plain_field import PlainField
from monch_monai.datasets.type_table import FILES, TypeTable, any_nucleus, read_type_table
from monch_monai.errors import InputError, shown
from monch_monai.geometry import NETWORK_MPP, Mpp
from monch_monai.settings import flag
from monch_monai.tissues import TISSUES

MAPS = ("instances", "types", "ignore")
BOXES = "boxes.csv"


def prepare_plain(
    source: str | Path,
    output_dir: str | Path,
    classes: str = "pannuke",
    exhaustive: bool | str | None = None,
    mpp: float = NETWORK_MPP,
    tissue: str | None = None,
    validation: Validation = VALIDATION,
    patients: str | None = None,
) -> Path:
    """Writes labelled pictures as a prepared dataset, split by patient; see `write_fields` for its folds.

    Args:
        source: the folder with `images/`, and `instances/` or `boxes.csv`.
        output_dir: the folder to make.
        classes: class table that types refer to: one of the package's by name, or a YAML file.
        exhaustive: whether every nucleus is labelled. If not, pixels without a label are 255, but for those that are
            certainly of no nucleus (`monch_monai.datasets.haematoxylin`). None means that it is, but for boxes.
        mpp: µm per pixel of the pictures. Others than 0.25 are resampled.
        tissue: of all pictures. None takes the column of `fields.csv`; without one it is unknown.
        validation: share of the patients held out, or names of patients or fields.
        patients: regular expression that finds the patient in a field's name. None takes the column of `fields.csv`;
            without one see `patient_of`.

    Raises:
        InputError: a file is missing, damaged or does not fit the others, a type or class is unknown, a setting cannot
            be used, or `write_fields` refuses the fields.
    """
    root, table, scale = Path(source), find_class_table(classes), scale_of(Mpp(mpp, mpp).mean)
    boxed = (root / BOXES).exists()
    all_labelled = not boxed if exhaustive is None else flag("exhaustive", exhaustive)
    pictures = _pictures(root, boxed)
    types = _types(root, table, boxed)
    boxes = read_boxes(root / BOXES, pictures, types) if boxed else {}
    rows = _rows(root / "fields.csv", pictures)
    _refuse_strays(root, pictures)
    tables = [path for path in (root / BOXES if boxed else None, types.path) if path is not None]
    fields = []
    for name, picture in pictures.items():
        maps = {kind: path for kind in MAPS if (path := find_map(named(root, kind), name)) is not None}
        for kind in MAPS[:2]:
            if kind not in maps and named(root, kind).is_dir():
                raise InputError(f"{picture} has no labels: {root / kind} holds no {name}.png, .tif or .npy")
        row = rows.get(name, {})
        patient = (row.get("patient") if patients is None else None) or patient_of(name, patients)
        read = PlainField(picture, maps, types, scale, all_labelled, boxes.get(name)).read
        of_row = _spelled(tissue or row.get("tissue"))
        files = (picture, *maps.values(), *tables)
        fields.append(Field(name, patient, of_row, files, read))
    how = "by the source" if all_labelled else "not exhaustive: pixels without one are 255 unless far from haematoxylin"
    drawn = "ellipses in boxes, " if boxed else ""
    resampled = f"; resampled from {mpp:g} to {NETWORK_MPP:g} µm/px, labels by the nearest pixel" if scale != 1 else ""
    return write_fields(
        output_dir,
        fields,
        types.vocabulary,
        validation,
        name=root.resolve().name,
        license="that of the source",
        labels=drawn + how + resampled,
    )


def _pictures(root: Path, boxed: bool) -> dict[str, Path]:
    folder = named(root, "images")
    for needed in (folder, named(root, MAPS[0])):
        if not needed.is_dir() and not (boxed and needed != folder):
            wanted = f"give a folder with images/ and instances/ (or {BOXES})"
            raise InputError(f"source {root} has no folder {needed.name}: {wanted}")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.lower().endswith(SUFFIXES) and not path.name.startswith("."):
            twin = found.setdefault(stem(path), path)
            if twin != path:
                raise InputError(f"two fields are named {stem(path)}, {twin.name} and {path.name}: rename one")
    if not found:
        raise InputError(f"{folder} holds no picture ({', '.join(SUFFIXES)}): lay some there")
    return found


def _types(root: Path, table: ClassTable, boxed: bool) -> TypeTable:
    tables = [root / name for name in FILES if (root / name).is_file()]
    if len(tables) > 1:
        raise InputError(f"{root} has {tables[0].name} and {tables[1].name}: remove one")
    for kind in MAPS[:2] if boxed else ():
        if named(root, kind).is_dir():
            raise InputError(f"{root} has {BOXES} and {kind}/: nuclei are given by one or the other, so remove one")
    if not boxed and named(root, "types").is_dir() != bool(tables):
        has, lacks = (tables[0].name, "folder types") if tables else ("types/", f"table {' or '.join(FILES[:2])}")
        raise InputError(f"{root} has {has} but no {lacks}: the one needs the other, so add it or remove {has}")
    return read_type_table(tables[0], table, texts=boxed) if tables else any_nucleus(table)


def _rows(path: Path, pictures: Mapping[str, Path]) -> dict[str, dict[str, str]]:
    """Rows of `fields.csv` by field."""
    rows: dict[str, dict[str, str]] = {}
    for row in read_csv(path, ("field",)).values() if path.exists() else ():
        name = row["field"]
        if name not in pictures:
            near = get_close_matches(name, pictures, 1, 0.0)[0]
            raise InputError(f"{path} has the field {shown(name)}, of which there is no picture: did you mean {near}?")
        if name in rows:
            raise InputError(f"{path} has the field {shown(name)} twice: give each field one row")
        rows[name] = row
    return rows


def _refuse_strays(root: Path, pictures: Mapping[str, Path]) -> None:
    """Refuses maps of no picture, which would be left out silently."""
    folders = [folder for kind in MAPS if (folder := named(root, kind)).is_dir()]
    for path in (path for folder in folders for path in sorted(folder.iterdir())):
        is_map = path.suffix.lower() in MAP_SUFFIXES
        if path.name.startswith(".") or not (is_map or path.name.lower().endswith(SUFFIXES)):
            continue
        if not is_map:
            raise InputError(f"{path} is no map: write it as {', '.join(MAP_SUFFIXES)}")
        if path.stem not in pictures:
            raise InputError(f"{path} has no picture: {root / 'images'} holds none named {path.stem}; rename one")


def _spelled(tissue: str | None) -> str:
    """A tissue as PanNuke spells it, where that has it."""
    name = (tissue or "").strip() or UNKNOWN
    return next((known for known in TISSUES if known.casefold() == name.casefold()), name)
