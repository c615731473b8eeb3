"""A file of other words for the classes of trained weights."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from monch_monai.class_table.class_table import ClassTable
from monch_monai.class_table.table_file import SHIPPED, load_yaml, parse_class_table
from monch_monai.errors import InputError


class Wording(NamedTuple):
    """Classes as a user words them.

    Attributes:
        table: the classes of the results.
        described: the classes that the network is to describe: those of `table`, but for each merged class the classes
            it is made of.
        merged: names of the weights' classes that each merged class is made of.
    """

    table: ClassTable
    described: ClassTable
    merged: Mapping[str, Sequence[str]] = MappingProxyType({})

    def groups(self) -> list[list[int]]:
        """Indices among `described` of the maps of each class of `table`."""
        names = self.described.names
        return [[names.index(name) for name in self.merged.get(c.name, (c.name,))] for c in self.table.classes]

    def is_same(self, own: str, now: str) -> bool:
        """Whether the weights' own class `own` is the class `now` of these words."""
        return own in self.merged.get(now, (now,))


def read_wording(path: str | Path, own: ClassTable) -> Wording:
    """Reads a class table, in which classes of the weights may be kept, merged and left out.

    A class has sentences as in `read_class_table`; or its name alone, as the weights have it, with which it keeps its
    colour and sentences; or, in place of sentences, `of`: names of the weights' classes that are one class here. The
    background may be left out, which keeps it.

    Args:
        path: YAML file, or the name of a table of the package.
        own: the weights' classes.

    Raises:
        InputError: the file cannot be read or used, or a class without sentences, or one that `of` names, is none of
            the weights'.
    """
    record, source = load_yaml(SHIPPED.get(str(path), path)), str(path)
    if not isinstance(record, dict) or not isinstance(record.get("classes"), list):
        raise InputError(
            f"words {source} have no list of classes: they need `classes:`, each with a name and sentences"
        )
    given = [dict(c) if isinstance(c, dict) else {"name": c} for c in record["classes"]]
    for c in given:
        c |= {"name": str(c["name"])} if c.get("name") is not None else {}
    background = own.classes[0].name
    if not any(c.get("name") == background for c in given):
        given.insert(0, {"name": background})
    known = {c["name"]: c for c in own.to_dict()["classes"]}
    nuclei = ", ".join(name for name in known if name != background)
    described: list[dict[str, Any]] = []
    merged: dict[str, list[str]] = {}
    for c in given:
        called, parts = c.get("name"), c.get("of")
        if not parts:
            kept = known.get(str(called), {})
            if called is not None and not kept and not c.get("sentences"):
                found = f"class {called!r} has no sentences, and the weights have no class of that name"
                raise InputError(f"words {source}: {found}: give it sentences, or a name of theirs: {nuclei}")
            kept = {key: value for key, value in kept.items() if key != "held_out" or "sentences" not in c}
            c.update({key: value for key, value in kept.items() if key not in c})
            described.append(c)
            continue
        names = [str(part) for part in parts] if isinstance(parts, list) else [str(parts)]
        unknown = [name for name in names if name not in known or name == background]
        if unknown:
            found = f"is of {unknown[0]!r}, which is no nucleus class of the weights"
            raise InputError(f"words {source}: class {called!r} {found}: give some of {nuclei}")
        if "sentences" in c:
            raise InputError(f"words {source}: class {called!r} has `of` and sentences: give one of the two")
        merged[str(called)] = names
        c["of"] = list(dict.fromkeys([*names, *(each for name in names for each in known[name]["of"])]))
        described += [known[name] for name in names]
        # Sentences of a merged class stand for all that it is made of, a third at most of each, so that all count.
        c["sentences"] = [
            s for three in zip(*(known[name]["sentences"] for name in names), strict=False) for s in three
        ]
        c.setdefault("color", known[names[0]]["color"])
    name = record.get("name") or Path(source).stem
    return Wording(
        parse_class_table({"name": name, "classes": given}, source),
        parse_class_table({"name": name, "classes": described}, source),
        merged,
    )
