"""Labels as a training sees them: each stands for a set of a class table's classes, one of which is true."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from monch_monai.class_table.class_table import ClassTable, Color
from monch_monai.errors import InputError

IGNORE_INDEX = 255
"""Value of pixels of which nothing is known: they count neither in a loss nor in a score."""
ANY = "any nucleus"


@dataclass(frozen=True)
class LabelSets:
    """What the values of a class map stand for.

    The first T values are the classes of the table, one each. Further values stand for several classes of which one is
    true, not known which; 255 stands for no knowledge at all.

    Args:
        table: T classes.
        several: the set of class indices of each value from T on, sorted, without the background.

    Raises:
        InputError: there are so many sets that values reach 255.
    """

    table: ClassTable
    several: tuple[tuple[int, ...], ...] = ()

    def __post_init__(self) -> None:
        """Refuses more values than a byte has."""
        if len(self) > IGNORE_INDEX:
            raise InputError(
                f"the datasets' labels make {len(self)} sets of classes; at most {IGNORE_INDEX} can be kept"
            )

    def __len__(self) -> int:
        """L, the number of values."""
        return len(self.table) + len(self.several)

    @property
    def sets(self) -> tuple[tuple[int, ...], ...]:
        """Class indices of each value, L of them."""
        return (*((index,) for index in range(len(self.table))), *self.several)

    @property
    def names(self) -> list[str]:
        """Name of each value: a class, several joined by `or`, or `any nucleus`."""
        of_several = [
            ANY if len(members) == len(self.table) - 1 else " or ".join(self.table.classes[i].name for i in members)
            for members in self.several
        ]
        return [*self.table.names, *of_several]

    @property
    def colors(self) -> list[Color]:
        """Colour of each value: a class's, or the mean of those of several."""
        return [_mean([self.table.classes[i].color for i in members]) for members in self.sets]

    @property
    def allowed(self) -> NDArray[np.bool_]:
        """Which classes may be true for each value, `[L, T]`."""
        matrix = np.zeros((len(self), len(self.table)), bool)
        for row, members in zip(matrix, self.sets, strict=True):
            row[list(members)] = True
        return matrix

    @property
    def disjoint(self) -> NDArray[np.bool_]:
        """Which pairs of values cannot be of one class, `[L, L]`."""
        return np.asarray(self.allowed.astype(int) @ self.allowed.T == 0)

    @property
    def rows(self) -> list[int]:
        """Values that tables of scores have rows for: all but that of any nucleus, for which there is one anyway."""
        return [value for value, members in enumerate(self.sets) if len(members) < len(self.table) - 1 or value < 2]

    def value_of(self, members: Iterable[int]) -> int:
        """Value of a set of class indices; 255 of none.

        Raises:
            ValueError: no value stands for the set.
        """
        wanted = tuple(sorted(set(members)))
        return self.sets.index(wanted) if wanted else IGNORE_INDEX

    @classmethod
    def holding(cls, table: ClassTable, sets: Sequence[tuple[int, ...]]) -> Self:
        """Values for the classes of a table and, in order of first appearance, for all other `sets`."""
        several = dict.fromkeys(tuple(sorted(s)) for s in sets if len(s) > 1)
        return cls(table, tuple(several))


def _mean(colors: Sequence[Color]) -> Color:
    red, green, blue = (round(sum(channel) / len(colors)) for channel in zip(*colors, strict=True))
    return red, green, blue
