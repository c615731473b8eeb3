"""Places and lengths on an image or slide, each in pixels of its own kind, and the resolution the network works at.

Three kinds of pixels, all counted from the top left corner: those of *level 0*, the image's own, which users see
(`Level0Box`); those of any one *level* of a slide's pyramid (`LevelBox`); and *working pixels*, at the network's
resolution (`WorkingBox`).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from monch_monai.errors import InputError, shown

NETWORK_MPP = 0.25
"""µm per pixel that the network is trained for: 40x."""
FINEST_MPP = 0.02
"""µm per pixel below which no microscope of light takes pictures; files that state less are damaged."""
COARSEST_MPP = 2.0
"""µm per pixel beyond which a nucleus has too few pixels to be recognised; files that state more state a printer's."""
TILE_SIZE = 256
"""Side of the tiles that the network is trained on and sees, px."""
NATIVE = 0.05
"""A level whose mpp is within this share of the wanted one is used as it is: resampling so little only blurs."""


@dataclass(frozen=True)
class Mpp:
    """µm per pixel, along x and along y; numbers of NumPy become those of Python.

    Raises:
        InputError: a value is no number from `FINEST_MPP` up to `COARSEST_MPP`.
    """

    x: float
    y: float

    def __post_init__(self) -> None:
        """Refuses what is no resolution."""
        for axis, given in (("x", self.x), ("y", self.y)):
            value = given.item() if isinstance(given, np.generic) else given
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not is_number or not FINEST_MPP <= value <= COARSEST_MPP:
                bounds = f"from {FINEST_MPP:g} up to {COARSEST_MPP:g}"
                raise InputError(f"mpp is {shown(value)}; give µm per pixel, {bounds} (40x is about 0.25)")
            object.__setattr__(self, axis, value)

    @classmethod
    def stated(cls, x: float, y: float) -> "Mpp | None":
        """The resolution that a file states; None where it can be no microscope's, such as 72 dpi."""
        return cls(x, y) if all(FINEST_MPP <= value <= COARSEST_MPP for value in (x, y)) else None

    @property
    def mean(self) -> float:
        """Side of a square pixel of the same area."""
        return math.sqrt(self.x * self.y)


class Size(NamedTuple):
    """Width and height, in px of level 0."""

    width: int
    height: int


@dataclass(frozen=True)
class Box:
    """Rectangle of whole pixels, which may reach beyond the image; use the subclass of the kind of pixels meant.

    Boxes of two kinds are never equal, and the methods below take a box of the same kind.
    """

    x: int
    y: int
    width: int
    height: int

    def __iter__(self) -> Iterator[int]:
        """x, y, width, height."""
        return iter((self.x, self.y, self.width, self.height))

    @property
    def right(self) -> int:
        """Column after the last."""
        return self.x + self.width

    @property
    def bottom(self) -> int:
        """Row after the last."""
        return self.y + self.height

    @classmethod
    def between(cls, x: int, y: int, right: int, bottom: int) -> Self:
        """Box from its first to after its last column and row; empty where these cross."""
        return cls(x, y, max(0, right - x), max(0, bottom - y))

    @classmethod
    def around(cls, bounds: Sequence[float]) -> Self:
        """Smallest box that covers left, top, right and bottom."""
        (left, top), (right, bottom) = np.floor(bounds[:2]).astype(int), np.ceil(bounds[2:]).astype(int)
        return cls.between(int(left), int(top), int(right), int(bottom))

    def grown(self, margin: int) -> Self:
        """The box with `margin` pixels more on each side."""
        return type(self)(self.x - margin, self.y - margin, self.width + 2 * margin, self.height + 2 * margin)

    def common(self, other: Self) -> Self:
        """The part that lies in both boxes; of width or height 0 where they do not meet."""
        return self.between(
            max(self.x, other.x), max(self.y, other.y), min(self.right, other.right), min(self.bottom, other.bottom)
        )

    def within(self, outer: Self) -> tuple[slice, slice]:
        """Rows and columns of this box in an array that covers `outer`."""
        top, left = self.y - outer.y, self.x - outer.x
        return slice(top, top + self.height), slice(left, left + self.width)

    def squares(self, side: int) -> Iterator[Self]:
        """Squares of `side` px that cover the box, row by row, none overlapping; the last are cut at its edge."""
        for y in range(self.y, self.bottom, side):
            for x in range(self.x, self.right, side):
                yield self.between(x, y, min(x + side, self.right), min(y + side, self.bottom))

    def owns(self, points: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Which of the points `[N, 2]` (x, y) lie in the box: left and top edges do, right and bottom ones do not."""
        x, y = points[:, 0], points[:, 1]
        inside: NDArray[np.bool_] = (x >= self.x) & (x < self.right) & (y >= self.y) & (y < self.bottom)
        return inside


class Level0Box(Box):
    """Rectangle in px of level 0."""


class LevelBox(Box):
    """Rectangle in px of one level of a slide."""


class WorkingBox(Box):
    """Rectangle in working px."""


@dataclass(frozen=True)
class WorkingGrid:
    """The working pixels of one slide or image.

    Attributes:
        level: level of the slide that is read.
        per_level: px of that level per working px, along x and y; exactly 1 where the level is used as it is.
        per_level0: px of level 0 per working px, along x and y.
        mpp: µm per working px.
        box: the whole slide.
    """

    level: int
    per_level: tuple[float, float]
    per_level0: tuple[float, float]
    mpp: Mpp
    box: WorkingBox

    @property
    def um2_per_level0_px(self) -> float:
        """µm² per px of level 0."""
        return self.mpp.x / self.per_level0[0] * self.mpp.y / self.per_level0[1]

    def covering(self, part: Level0Box) -> WorkingBox:
        """Smallest box that covers a part of level 0."""
        (sx, sy) = self.per_level0
        return WorkingBox.around((part.x / sx, part.y / sy, part.right / sx, part.bottom / sy))

    def to_level0(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Points `[N, 2]` (x, y) in working px, in px of level 0."""
        scaled: NDArray[np.float64] = points.astype(np.float64) * np.asarray(self.per_level0)
        return scaled

    def pixel_at(self, part: Level0Box) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows `[h]` and columns `[w]` of the working px at the centres of the px of a part of level 0."""
        places = ((part.y, part.height, self.per_level0[1]), (part.x, part.width, self.per_level0[0]))
        rows, columns = (np.floor((first + np.arange(n) + 0.5) / s).astype(np.int64) for first, n, s in places)
        return rows.clip(0, self.box.height - 1), columns.clip(0, self.box.width - 1)


def working_grid(
    size: Size, mpp: Mpp, downsamples: Sequence[float] = (1.0,), wanted: float = NETWORK_MPP
) -> WorkingGrid:
    """Working pixels of `wanted` µm for a slide or image.

    They are the pixels of the slide's level whose mpp is within 5 % of that. Else they are resampled from the coarsest
    level that is finer; a slide that is coarser throughout is enlarged from level 0.

    Args:
        size: of level 0.
        mpp: of level 0.
        downsamples: px of level 0 per px of each level, finest first.
        wanted: µm per working px.
    """
    nearest = min(range(len(downsamples)), key=lambda i: abs(math.log(mpp.mean * downsamples[i] / wanted)))
    native = all(abs(m * downsamples[nearest] / wanted - 1) <= NATIVE for m in (mpp.x, mpp.y))
    if native:
        level, per_level = nearest, (1.0, 1.0)
    else:
        finer = [i for i, d in enumerate(downsamples) if max(mpp.x, mpp.y) * d <= wanted]
        level = finer[-1] if finer else 0
        per_level = (wanted / (mpp.x * downsamples[level]), wanted / (mpp.y * downsamples[level]))
    per_level0 = (per_level[0] * downsamples[level], per_level[1] * downsamples[level])
    width, height = (max(1, math.ceil(n / s - 1e-6)) for n, s in zip(size, per_level0, strict=True))
    at = Mpp(mpp.x * per_level0[0], mpp.y * per_level0[1]) if native else Mpp(wanted, wanted)
    return WorkingGrid(level, per_level, per_level0, at, WorkingBox(0, 0, width, height))
