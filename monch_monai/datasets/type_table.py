"""What the values of a type map mean: a table from value to classes, as CSV or YAML."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from monch_monai.class_table import IGNORE_INDEX, ClassTable, Vocabulary
from monch_monai.class_table.label_sets import ANY
from monch_monai.class_table.table_file import load_yaml
from monch_monai.datasets.csv_rows import read_csv
from monch_monai.errors import InputError, shown

FILES = ("classes.csv", "classes.yaml", "classes.yml")
EXAMPLE = "such as 1,neoplastic|epithelial in classes.csv (value,class), or 1: neoplastic|epithelial in classes.yaml"


@dataclass(frozen=True)
class TypeTable:
    """Labels of the values of a type map.

    Attributes:
        vocabulary: the labels.
        label_of: value in the vocabulary, or 255, of each value of the type map.
        path: the file, for messages and origins; None where there are no types.
        number_of: value of the type map that each text of the table's column `value` stands for.
    """

    vocabulary: Vocabulary
    label_of: Mapping[int, int]
    path: Path | None = None
    number_of: Mapping[str, int] = field(default_factory=dict)


def any_nucleus(table: ClassTable) -> TypeTable:
    """The table of a dataset without types: all nuclei are of any class."""
    return TypeTable(Vocabulary.of_nuclei(table, {ANY: None}), {0: 1})


def read_type_table(path: Path, table: ClassTable, texts: bool = False) -> TypeTable:
    """Reads a table of types.

    A value means one class, several joined by `|` of which one is true, `any` nucleus, or `ignore`.

    Args:
        path: CSV with the columns `value` and `class`, or YAML that maps values to classes.
        table: the classes.
        texts: whether values are any texts, which are numbered from 1 in the order of the table.

    Raises:
        InputError: the file cannot be read, a value is no whole number from 0 to 255 (or there are more than 255 texts)
            or stands twice, a class is none of the table's, or all values are ignored.
    """
    meaning: dict[int, str] = {}
    number_of: dict[str, int] = {}
    for given, text in _rows(path):
        if not texts and (not given.isdecimal() or int(given) > 255):
            raise InputError(f"{path} has the type value {shown(given)}: give whole numbers from 0 to 255, {EXAMPLE}")
        number = len(meaning) + 1 if texts else int(given)
        if given in number_of or number in meaning:
            raise InputError(f"{path} has the type value {given} twice: give each value once")
        if number > 255:
            raise InputError(f"{path} has more than 255 values: give fewer, {EXAMPLE}")
        meaning[number], number_of[given] = text, number
    labels: dict[str, tuple[str, ...] | None] = {}
    name_of: dict[int, str] = {}
    for given, value in number_of.items():
        text = meaning[value]
        if text == "ignore":
            continue
        classes = None if text == "any" else tuple(sorted({part.strip() for part in text.split("|")}))
        for name in classes or ():
            if name not in table.names[1:]:
                known = ", ".join((*table.names[1:], "any", "ignore"))
                raise InputError(
                    f"{path} gives type {given} the class {shown(name)}; class table {table.name} has {known}"
                )
        ordered = None if classes is None else tuple(c.name for c in table.nuclei if c.name in classes)
        name_of[value] = ANY if ordered is None else " or ".join(ordered)
        labels[name_of[value]] = ordered
    if not labels:
        raise InputError(f"{path} gives no type a class, so that nothing could be learned: {EXAMPLE}")
    place = {name: i for i, name in enumerate(labels, start=1)}
    label_of = {value: place[name_of[value]] if value in name_of else IGNORE_INDEX for value in meaning}
    return TypeTable(Vocabulary.of_nuclei(table, labels), label_of, path, number_of)


def _rows(path: Path) -> list[tuple[str, str]]:
    """Values and classes as text."""
    if path.suffix == ".csv":
        return [(row["value"], row["class"]) for row in read_csv(path, ("value", "class")).values()]
    found = load_yaml(path, "table of types") or {}
    if not isinstance(found, dict) or not all(isinstance(text, str) for pair in found.items() for text in pair):
        raise InputError(
            f"{path} cannot be read as a table of types: it needs a class as text for each value, {EXAMPLE}"
        )
    return [(value.strip(), name.strip()) for value, name in found.items()]
