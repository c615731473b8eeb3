"""Places and lengths on a slide, each with its unit; and the grid of pixels that the network works on.

Two grids of pixels, both with their origin at the slide's top left corner: *level 0*, the slide's own (`Point`, `Size`,
`Rectangle`: what users see), and the *working grid* at the network's resolution (`Box`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from monch_monai.errors import InputError

COARSEST = 20.0
"""µm per pixel above which a file's resolution is a default of its writer (72 dpi is 353), not a microscope's."""
NATIVE = 0.05
"""A level whose mpp is within this share of the wanted one is worked on as it is: resampling so little only blurs."""


@dataclass(frozen=True)
class Mpp:
    """µm per pixel, along x and along y."""

    x: float
    y: float

    def __post_init__(self) -> None:
        """Refuses what is no length."""
        for value in (self.x, self.y):
            if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < COARSEST:
                raise InputError(f"mpp is {value!r}; give µm per pixel, from 0 to {COARSEST:g} (40x is about 0.25)")

    @property
    def mean(self) -> float:
        """Side of a square pixel of the same area."""
        return math.sqrt(self.x * self.y)


@dataclass(frozen=True)
class Point:
    """Place on a slide, in px of level 0 from its top left corner."""

    x: float
    y: float


@dataclass(frozen=True)
class Size:
    """Width and height, in px of level 0."""

    width: float
    height: float


@dataclass(frozen=True)
class Rectangle:
    """Part of a slide, at level 0."""

    location: Point
    size: Size


class Box(NamedTuple):
    """Rectangle of whole pixels of the working grid (or of one level of a slide); it may reach beyond the slide."""

    x: int
    y: int
    width: int
    height: int

    @property
    def right(self) -> int:
        """Column after the last."""
        return self.x + self.width

    @property
    def bottom(self) -> int:
        """Row after the last."""
        return self.y + self.height

    @classmethod
    def between(cls, x: int, y: int, right: int, bottom: int) -> "Box":
        """Box from its first to after its last column and row; empty where these cross."""
        return cls(x, y, max(0, right - x), max(0, bottom - y))

    def grown(self, margin: int) -> "Box":
        """The box with `margin` pixels more on each side."""
        return Box(self.x - margin, self.y - margin, self.width + 2 * margin, self.height + 2 * margin)

    def common(self, other: "Box") -> "Box":
        """What lies in both; of width or height 0 where nothing does."""
        return Box.between(
            max(self.x, other.x), max(self.y, other.y), min(self.right, other.right), min(self.bottom, other.bottom)
        )

    def within(self, outer: "Box") -> tuple[slice, slice]:
        """Rows and columns of this box in an array that covers `outer`."""
        top, left = self.y - outer.y, self.x - outer.x
        return slice(top, top + self.height), slice(left, left + self.width)


@dataclass(frozen=True)
class Grid:
    """The working grid of one slide.

    Attributes:
        level: level of the slide that is read.
        per_level: px of that level per working px, along x and y; exactly 1 where it is read as it is.
        per_level0: px of level 0 per working px, along x and y.
        mpp: µm per working px.
        width: of the slide, in working px.
        height: of the slide, in working px.
    """

    level: int
    per_level: tuple[float, float]
    per_level0: tuple[float, float]
    mpp: Mpp
    width: int
    height: int

    @property
    def box(self) -> Box:
        """The whole slide."""
        return Box(0, 0, self.width, self.height)

    def box_of(self, rectangle: Rectangle) -> Box:
        """Smallest box that covers a part of level 0."""
        (sx, sy), place, size = self.per_level0, rectangle.location, rectangle.size
        return Box.between(
            math.floor(place.x / sx),
            math.floor(place.y / sy),
            math.ceil((place.x + size.width) / sx),
            math.ceil((place.y + size.height) / sy),
        )

    def to_level0(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Points `[N, 2]` (x, y) of the working grid, in px of level 0."""
        scaled: NDArray[np.float64] = points.astype(np.float64) * np.asarray(self.per_level0)
        return scaled


def working_grid(size: Size, mpp: Mpp, downsamples: Sequence[float], wanted: float) -> Grid:
    """Grid of `wanted` µm per pixel for a slide.

    It is the grid of the slide's level itself where that is within 5 % of it. Else pixels are resampled from the
    coarsest level that is finer; a slide that is coarser throughout is enlarged from level 0.

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
    return Grid(
        level,
        per_level,
        per_level0,
        Mpp(mpp.x * per_level0[0], mpp.y * per_level0[1]) if native else Mpp(wanted, wanted),
        max(1, math.ceil(size.width / per_level0[0] - 1e-6)),
        max(1, math.ceil(size.height / per_level0[1] - 1e-6)),
    )
