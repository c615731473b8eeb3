"""Class tables as YAML files, and those that come with the package: `pannuke`, the default, and `consep`."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from monch_monai.class_table.class_table import ClassTable, NucleusClass
from monch_monai.errors import InputError, one_line

SHIPPED = {path.stem: path for path in sorted(Path(__file__).with_name("tables").glob("*.yaml"))}
"""Tables of the package, by name."""
LARGEST = 256 * 1024
"""Bytes of the largest file of words that is read."""
KEYS = ("name", "color", "sentences", "held_out", "parent", "of")


class _Loader(yaml.SafeLoader):
    """Plain YAML that refuses a key given twice, which YAML's own loader takes the last of."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """A mapping.

        Raises:
            yaml.constructor.ConstructorError: a key stands twice.
        """
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = next((key for i, key in enumerate(keys) if key in keys[:i]), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(None, None, f"the key {twice!r} stands twice", node.start_mark)
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep)
        return mapping


def find_class_table(choice: str | Path) -> ClassTable:
    """The table that `choice` names: one of the package's by name, or a YAML file.

    Raises:
        InputError: there is no such table or file, or `read_class_table` refuses it.
    """
    return read_class_table(SHIPPED.get(str(choice), Path(choice)))


def read_class_table(path: str | Path) -> ClassTable:
    """Reads a class table from YAML (or JSON, which is YAML).

    The file has `name` and `classes`, a list. A class has `name`, `color` (`[255, 0, 0]` or `"#ff0000"`), `sentences`,
    and where wanted `held_out`, `parent` and `of`.

    Raises:
        InputError: there is no such file, it is too large, no YAML, or no table that can be used.
    """
    return parse_class_table(load_yaml(path), str(path))


def load_yaml(path: str | Path) -> Any:
    """What a YAML file of words holds.

    Raises:
        InputError: there is no such file, it is too large, or no YAML.
    """
    file = Path(path)
    if not file.is_file():
        found = "is a folder" if file.is_dir() else "does not exist"
        raise InputError(f"class table {path} {found}: give a YAML file, or one of {', '.join(SHIPPED)}")
    if file.stat().st_size > LARGEST:
        size = f"{file.stat().st_size:,} bytes"
        raise InputError(f"class table {path} has {size}: give at most {LARGEST:,}, a few hundred sentences")
    try:
        return yaml.load(file.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 # a SafeLoader
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"class table {path} is no YAML ({one_line(error, 120)}): mend it") from error


def parse_class_table(record: Any, source: str) -> ClassTable:
    """The class table that YAML or JSON holds; `source` names it in messages.

    Raises:
        InputError: it holds no table, a key is unknown or missing, or the table cannot be used.
    """
    if not isinstance(record, dict) or not isinstance(record.get("classes"), list):
        raise InputError(
            f"class table {source} has no list of classes: it needs `classes:`, each with name, color, sentences"
        )
    unknown = sorted(map(str, set(record) - {"name", "classes"}))
    if unknown:
        raise InputError(f"class table {source} has the key {unknown[0]!r}: give name and classes alone")
    classes = [_parse_class(index, each, source) for index, each in enumerate(record["classes"])]
    return ClassTable(str(record.get("name") or Path(source).stem), tuple(classes))


def _parse_class(index: int, record: Any, source: str) -> NucleusClass:
    if not isinstance(record, dict):
        raise InputError(
            f"class table {source} has {one_line(ValueError(record), 40)!r} for a class: give {', '.join(KEYS)}"
        )
    unknown = sorted(map(str, set(record) - set(KEYS)))
    missing = [key for key in KEYS[:3] if record.get(key) is None]
    of = f"class {record.get('name', index)!r} of class table {source}"
    if unknown or missing:
        found = f"has the unknown key {unknown[0]!r}" if unknown else f"has no {missing[0]}"
        raise InputError(f"{of} {found}: give {', '.join(KEYS[:3])}, and where wanted {', '.join(KEYS[3:])}")
    lists = {key: record.get(key) or [] for key in ("sentences", "held_out", "of")}
    for key, value in lists.items():
        if not isinstance(value, list):
            raise InputError(f"{of} has {key} that are no list: write each on a line that begins with a dash")
    parent, color = record.get("parent"), _parse_color(record["color"])
    name = record["name"] if isinstance(record["name"], str) else str(record["name"])
    sentences, held_out, parts = (tuple(lists[key]) for key in ("sentences", "held_out", "of"))
    return NucleusClass(index, name, color, sentences, held_out, parent, parts)


def _parse_color(value: Any) -> tuple[Any, ...]:
    """Red, green and blue where `value` is a colour, else anything that `ClassTable` refuses."""
    if isinstance(value, str) and len(value) == 7 and value[0] == "#":
        try:
            return tuple(bytes.fromhex(value[1:]))
        except ValueError:
            return (value,)
    return tuple(value) if isinstance(value, list) else (value,)


PANNUKE = read_class_table(SHIPPED["pannuke"])
"""PanNuke's classes, the default table."""
EARLIER = read_class_table(Path(__file__).with_name("earlier.yaml"))
"""PanNuke's classes as versions before 0.3.0 described them, whose checkpoints store no sentences."""
