"""A dataset's vocabulary: what each of its labels states of a nucleus, and how that reads in another class table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from monch_monai.class_table.class_table import RESERVED, ClassTable, Color
from monch_monai.class_table.label_sets import IGNORE_INDEX, LabelSets
from monch_monai.errors import InputError, shown


@dataclass(frozen=True)
class Vocabulary:
    """The labels of a dataset, by the values of its class maps from 0 on; 255 is ignored.

    Args:
        table: classes that the labels speak of.
        labels: name of each label, and the names of the classes that it may stand for.

    Raises:
        InputError: the first label is not the background alone, a label's name is reserved or occurs twice, or a label
            stands for no class, for one that the table does not have, or for the background beside others.
    """

    table: ClassTable
    labels: tuple[tuple[str, tuple[str, ...]], ...]

    def __post_init__(self) -> None:
        """Refuses labels that say nothing that could be learned."""
        names = [name for name, _ in self.labels]
        background = self.table.names[0]
        if not self.labels or self.labels[0][1] != (background,):
            raise InputError(f"labels of class table {self.table.name} begin with {names[:1]}: value 0 is {background}")
        for name, classes in self.labels:
            unknown = [c for c in classes if c not in self.table.names]
            if unknown or not classes:
                found = f"names the class {shown(unknown[0])}" if unknown else "names no class"
                known = ", ".join(self.table.names)
                raise InputError(f"label {shown(name)} {found}: class table {self.table.name} has {known}")
            if background in classes and len(classes) > 1:
                raise InputError(f"label {shown(name)} stands for {background} or others: leave such pixels out (255)")
            if name.casefold() in RESERVED and set(self.table.names[1:]) != set(classes):
                raise InputError(f"label {shown(name)} means something else in tables of results: give it another name")
            if names.count(name) > 1:
                raise InputError(f"label {shown(name)} occurs twice: no two labels may have one name")

    @classmethod
    def of_table(cls, table: ClassTable) -> Self:
        """Each class of a table as a label of its own."""
        return cls(table, tuple((name, (name,)) for name in table.names))

    @classmethod
    def of_nuclei(cls, table: ClassTable, labels: Mapping[str, Sequence[str] | None]) -> Self:
        """The background and labels of nuclei by name, each of some classes; None is any class of nuclei."""
        every = tuple(c.name for c in table.nuclei)
        of_nuclei = tuple((name, every if classes is None else tuple(classes)) for name, classes in labels.items())
        return cls(table, ((table.names[0], (table.names[0],)), *of_nuclei))

    @property
    def names(self) -> list[str]:
        """Names of the labels."""
        return [name for name, _ in self.labels]

    @property
    def colors(self) -> list[Color]:
        """Colours of the labels, as `LabelSets` has them."""
        own = combined(self.table, [self])
        return [own.colors[value] for value in self.lookup(own)[: len(self.labels)]]

    def sets(self, table: ClassTable) -> list[tuple[int, ...]]:
        """Class indices of another table that each label may stand for.

        A class is that of the same name, or those that name it in `of`, or whose parent it is. Else it is all that its
        own `of` names, where the table has these; else its parent, or the classes of that parent; else any nucleus.
        """
        return [
            tuple(sorted({i for name in classes for i in self._indices(name, table)})) for _, classes in self.labels
        ]

    def lookup(self, labels: LabelSets) -> NDArray[np.uint8]:
        """Value among `labels` of each value of this dataset's class maps, `[256]`.

        Values that are no label stay out of the losses and scores.

        Raises:
            ValueError: `labels` has no value for a set.
        """
        values = np.full(256, IGNORE_INDEX, np.uint8)
        values[: len(self.labels)] = [labels.value_of(members) for members in self.sets(labels.table)]
        return values

    def to_dict(self) -> dict[str, Any]:
        """The vocabulary as plain JSON; `from_dict` reads it."""
        labels = [{"name": name, "classes": list(classes)} for name, classes in self.labels]
        return {"class_table": self.table.to_dict(), "labels": labels}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """The vocabulary of `to_dict`.

        Raises:
            InputError: it cannot be used.
            KeyError, TypeError, ValueError: the mapping is no such record.
        """
        labels = tuple((label["name"], tuple(label["classes"])) for label in record["labels"])
        return cls(ClassTable.from_dict(record["class_table"]), labels)

    def _indices(self, name: str, table: ClassTable) -> list[int]:
        own = self.table.classes[self.table.names.index(name)]
        parts = [_standing_for(part, table) for part in own.of]
        of_parts = [index for part in parts for index in part] if all(parts) else []
        every = [c.index for c in table.nuclei]
        return _standing_for(name, table) or of_parts or _standing_for(own.in_pannuke, table) or every


def _standing_for(name: str | None, table: ClassTable) -> list[int]:
    """Index of the class of a name; else of those that name it in `of`; else of those whose parent it is."""
    if name is None or name in table.names:
        return [] if name is None else [table.names.index(name)]
    return [c.index for c in table.classes if name in c.of] or [c.index for c in table.nuclei if c.parent == name]


def combined(table: ClassTable, vocabularies: Sequence[Vocabulary]) -> LabelSets:
    """Values for all that the labels of several datasets stand for in one class table."""
    return LabelSets.holding(table, [members for v in vocabularies for members in v.sets(table)])
