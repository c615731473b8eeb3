"""Tiles through the network, and how their predictions become the map of an image or of a part of it."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Protocol, TypeVar

from monch_monai.geometry import WorkingBox
from monch_monai.predict.lattice import Cell, Lattice
from monch_monai.predict.prediction import Prediction

T = TypeVar("T")


class TileCache(Protocol):
    """Keeps the predictions of tiles that more than one region needs, each cut to its cell."""

    def get(self, cell: Cell) -> Prediction | None:
        """Prediction of the tile for its cell, if it has been kept."""

    def put(self, cell: Cell, prediction: Prediction) -> None:
        """Keeps a prediction."""

    def drop_above(self, lattice: Lattice, y: int) -> None:
        """Removes the predictions of tiles whose cells end above row `y`."""


class MemoryCache(dict[Cell, Prediction]):
    """A `TileCache` in memory."""

    def put(self, cell: Cell, prediction: Prediction) -> None:
        """Keeps a prediction."""
        self[cell] = prediction

    def drop_above(self, lattice: Lattice, y: int) -> None:
        """Removes the predictions of tiles whose cells end above row `y`."""
        for cell in [cell for cell in self if lattice.cell(cell).bottom <= y]:
            del self[cell]


def run_tiles(
    cells: Iterable[Cell], lattice: Lattice, run: Callable[[list[Cell]], Iterable[T]]
) -> Iterator[tuple[Cell, T]]:
    """Each tile with what `run` returns for it. All batches have the size `lattice.batch`, the last one filled up with
    its last tile: what a network returns for a tile may depend on the size of the batch, and on nothing else in it.
    """
    left = iter(cells)
    while some := list(islice(left, lattice.batch)):
        filled = some + [some[-1]] * (lattice.batch - len(some))
        yield from zip(some, run(filled), strict=False)


def paste(target: Any, target_box: WorkingBox, source: Any, source_box: WorkingBox, part: WorkingBox) -> None:
    """Copies `part` of one array or tensor into another, `[..., H, W]` each, as far as it lies in `target_box`."""
    both = part.common(target_box)
    target[(..., *both.within(target_box))] = source[(..., *both.within(source_box))]


def cut(prediction: Prediction, box: WorkingBox, part: WorkingBox) -> Prediction:
    """A copy of the `part` of a prediction that covers `box`."""
    place = (..., *part.within(box))
    class_map, probs, distance = prediction
    return Prediction(class_map[place].copy(), probs[place].copy(), distance[place].copy())
