"""A file of other words for the classes of trained weights."""

from pathlib import Path
from typing import Any, NamedTuple

from monch_monai.class_table.class_table import MOST_SENTENCES, ClassTable
from monch_monai.class_table.table_file import SHIPPED, load_yaml, parse_class_table
from monch_monai.errors import InputError, shown


class Wording(NamedTuple):
    """Classes as a user words them.

    Attributes:
        table: the classes of the results.
        described: the classes that the network is to describe: those of `table`, but for each merged class the classes
            it is made of.
        parts: names among `described` of what each class of `table` is made of.
    """

    table: ClassTable
    described: ClassTable
    parts: tuple[tuple[str, ...], ...]

    def groups(self) -> list[list[int]]:
        """Indices among `described` of the maps of each class of `table`."""
        return [[self.described.names.index(name) for name in names] for names in self.parts]

    def is_same(self, own: str, now: str) -> bool:
        """Whether the weights' own class `own` is the class `now` of these words."""
        return own in self.parts[self.table.names.index(now)]


def read_wording(path: str | Path, own: ClassTable) -> Wording:
    """Reads a class table, in which classes of the weights may be kept, merged and left out.

    A class has sentences as in `read_class_table`; or its name alone, as the weights have it, with which it keeps its
    colour and sentences; or, in place of sentences, `of`: names of the weights' classes that are one class here. The
    background may be left out, which keeps it.

    Args:
        path: YAML file, or the name of a table of the package.
        own: the weights' classes.

    Raises:
        InputError: the file cannot be read or used, `of` names what is no class of the weights, or one that another
            class has too, or a class without sentences is none of the weights'.
    """
    record, source = load_yaml(SHIPPED.get(str(path), path)), str(path)
    if not isinstance(record, dict) or not isinstance(record.get("classes"), list):
        raise InputError(
            f"words {source} have no list of classes: they need `classes:`, each with a name and sentences"
        )
    known = {c["name"]: c for c in own.to_dict()["classes"]}
    background, *nuclei = known
    given = [dict(c) if isinstance(c, dict) else {"name": c} for c in record["classes"]]
    if not any(c.get("name") == background for c in given):
        given.insert(0, {"name": background})
    described: list[dict[str, Any]] = []
    parts: list[tuple[str, ...]] = []
    for c in given:
        name, names = c.get("name"), c.get("of")
        if not isinstance(name, str):
            raise InputError(f"words {source} name a class {shown(name)}: give each class a name, as text")
        if not names:
            described.append(_kept(c, known, f"words {source}: class {shown(name)}"))
            parts.append((name,))
            continue
        names = [names] if isinstance(names, str) else names
        unknown = [n for n in names if n not in nuclei] if isinstance(names, list) else [names]
        if unknown:
            found = f"is of {shown(unknown[0])}, which is no nucleus class of the weights"
            raise InputError(f"words {source}: class {shown(name)} {found}: give some of {', '.join(nuclei)}")
        if "sentences" in c:
            raise InputError(f"words {source}: class {shown(name)} has `of` and sentences: give one of the two")
        described += [known[n] for n in names]
        parts.append(tuple(names))
        # Sentences of a merged class stand for all that it is made of, as many of each, so that all count.
        of_parts = zip(*(known[n]["sentences"] for n in names), strict=False)
        c["sentences"] = [s for one_of_each in of_parts for s in one_of_each][:MOST_SENTENCES]
        c["of"] = list(dict.fromkeys(n for part in names for n in (part, *known[part]["of"])))
        c.setdefault("color", known[names[0]]["color"])
    for name in nuclei:
        users = [c["name"] for c, names in zip(given, parts, strict=True) for n in names if n == name]
        if len(users) > 1:
            raise InputError(f"words {source} use the class {shown(name)} twice, in {' and '.join(users)}: use it once")
    return Wording(
        parse_class_table({**record, "classes": given}, source),
        parse_class_table({**record, "classes": described}, source),
        tuple(parts),
    )


def _kept(c: dict[str, Any], known: dict[str, dict[str, Any]], what: str) -> dict[str, Any]:
    """The class `c`, with what the weights' class of its name has besides; held-out sentences belong to sentences."""
    if c["name"] not in known and "sentences" not in c:
        raise InputError(f"{what} has no sentences: write some, or name a class of the weights: {', '.join(known)}")
    kept = known.get(c["name"], {})
    c.update({k: v for k, v in kept.items() if k not in c and (k != "held_out" or "sentences" not in c)})
    return c
