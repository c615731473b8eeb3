"""Class tables as YAML files, and those that come with the package: `pannuke`, the default, and `consep`."""

import re
import unicodedata
from collections import Counter
from collections.abc import Hashable
from pathlib import Path
from typing import Any, ClassVar

import yaml

from monch_monai.class_table.class_table import ClassTable, NucleusClass
from monch_monai.errors import InputError, one_line, shown
from monch_monai.files import existing_file

SHIPPED = {path.stem: path for path in sorted(Path(__file__).with_name("tables").glob("*.yaml"))}
"""Tables of the package, by name."""
_NULL = "tag:yaml.org,2002:null"
LARGEST = 256 * 1024
"""Bytes of the largest file of words that is read."""
LONGEST_TABLE_NAME = 80
KEYS = ("name", "color", "sentences", "held_out", "parent", "of")


class _Loader(yaml.SafeLoader):
    """Plain YAML of lists, mappings and texts.

    Scalars stay as written, so that a class may be named `no` or `1.50`; null alone is null. Of what the standard has
    besides, it refuses tags, references (which grow without end when nested), and a key that stands twice.
    """

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {
        first: [(tag, pattern) for tag, pattern in known if tag == _NULL]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    yaml_constructors: ClassVar[dict[Any, Any]] = {
        tag: yaml.SafeLoader.yaml_constructors[tag]
        for tag in (None, _NULL, *(f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map")))
    }

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """A node.

        Raises:
            yaml.composer.ComposerError: it is a reference to another.
        """
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "references (*) are not read", self.peek_event().start_mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        return node

    def construct_scalar(self, node: yaml.ScalarNode) -> str:
        """Text, its letters composed with their accents (Unicode's NFC), as other files may have them."""
        return unicodedata.normalize("NFC", super().construct_scalar(node))

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """A mapping.

        Raises:
            yaml.constructor.ConstructorError: a key stands twice.
        """
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep)
        if len(mapping) < len(node.value):
            counts = Counter(key.value for key, _ in node.value)
            problem = f"the key {shown(max(counts, key=lambda key: counts[key]))} stands twice"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
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


def load_yaml(path: str | Path, what: str = "class table") -> Any:
    """What a YAML file of words holds; `what` it is, in messages.

    Raises:
        InputError: there is no such file, it is too large, or no YAML.
    """
    file = existing_file(f"{what} {path}", path, f"give a YAML file, or one of {', '.join(SHIPPED)}")
    try:
        if (size := file.stat().st_size) > LARGEST:
            raise InputError(f"{what} {path} has {size:,} bytes: give at most {LARGEST:,}, some hundred sentences")
        return yaml.load(file.read_text(encoding="utf-8-sig"), Loader=_Loader)  # noqa: S506 # a SafeLoader
    except OSError as error:
        raise InputError(f"{what} {path} cannot be read ({error.strerror or error}): give another") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{what} {path} is no YAML in UTF-8 ({_reason(error)}): mend it") from error


def _reason(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return one_line(error, 120)
    return f"line {mark.line + 1}: {one_line(Exception(error.problem), 120)}"  # type: ignore[attr-defined]


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
        raise InputError(f"class table {source} has the key {shown(unknown[0])}: give name and classes alone")
    classes = [_parse_class(index, each, source) for index, each in enumerate(record["classes"])]
    name = record.get("name") or Path(source).stem
    if not isinstance(name, str) or not name.isprintable() or len(name) > LONGEST_TABLE_NAME:
        raise InputError(f"class table {source} has the name {shown(name)}: give at most {LONGEST_TABLE_NAME} letters")
    return ClassTable(name, tuple(classes))


def _parse_class(index: int, record: Any, source: str) -> NucleusClass:
    if not isinstance(record, dict):
        raise InputError(f"class table {source} has {shown(record)} for a class: give {', '.join(KEYS)}")
    unknown = sorted(map(str, set(record) - set(KEYS)))
    missing = [key for key in KEYS[:3] if record.get(key) is None]
    of = f"class {shown(record.get('name', index))} of class table {source}"
    if unknown or missing:
        found = f"has the unknown key {shown(unknown[0])}" if unknown else f"has no {missing[0]}"
        raise InputError(f"{of} {found}: give {', '.join(KEYS[:3])}, and where wanted {', '.join(KEYS[3:])}")
    lists = {key: record.get(key) or [] for key in ("sentences", "held_out", "of")}
    for key, value in lists.items():
        if not isinstance(value, list):
            raise InputError(f"{of} has {key} that are no list: write each on a line that begins with a dash")
    parent, color = record.get("parent"), _parse_color(record["color"])
    sentences, held_out, parts = (tuple(lists[key]) for key in ("sentences", "held_out", "of"))
    return NucleusClass(index, record["name"], color, sentences, held_out, parent, parts)


def _parse_color(value: Any) -> tuple[Any, ...]:
    """Red, green and blue where `value` is a colour, else anything that `ClassTable` refuses."""
    if isinstance(value, str) and re.fullmatch("#[0-9a-fA-F]{6}", value):
        return tuple(bytes.fromhex(value[1:]))
    parts = value if isinstance(value, list) else [value]
    return tuple(int(v) if isinstance(v, str) and re.fullmatch("[0-9]{1,3}", v) else v for v in parts)


PANNUKE = read_class_table(SHIPPED["pannuke"])
"""PanNuke's classes, the default table."""
EARLIER = read_class_table(Path(__file__).with_name("earlier.yaml"))
"""PanNuke's classes as versions before 0.3.0 described them, whose checkpoints store no sentences."""
