"""Checks of settings. Each returns the value that it accepts, and refuses any other in one line."""

import math
import os
from collections.abc import Sequence
from typing import Any

from monch_monai.errors import InputError, shown


def flag(name: str, value: bool | str) -> bool:
    """`value` as a bool. From `--amp false` Fire makes the text `false`, which is accepted too.

    Raises:
        InputError: `value` is neither true nor false.
    """
    text = str(value).lower()
    if text not in ("true", "false"):
        raise InputError(f"{name} is {shown(value)}; give true or false")
    return text == "true"


def whole_number(name: str, value: int, least: int, most: int | None = None) -> int:
    """`value`, a whole number of at least `least` and, where that is given, up to `most`.

    Raises:
        InputError: `value` is not a whole number, below `least` or above `most`.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least or (most is not None and value > most):
        bounds = f"{least}" if most is None else f"{least} and up to {most}"
        raise InputError(f"{name} is {shown(value)}; give a whole number of at least {bounds}")
    return value


def multiple(name: str, value: int, of: int, most: int | None = None) -> int:
    """`value`, a whole number above 0 that `of` divides, up to `most` where that is given.

    Raises:
        InputError: `value` is not a whole number, not above 0, above `most`, or no multiple of `of`.
    """
    if whole_number(name, value, least=1, most=most) % of:
        raise InputError(f"{name} is {shown(value)}; give a multiple of {of}")
    return value


def fraction(name: str, value: float) -> float:
    """`value`, a number from 0 to 1.

    Raises:
        InputError: `value` is not a number, or outside this range.
    """
    if not _is_number(value) or not 0 <= value <= 1:
        raise InputError(f"{name} is {shown(value)}; give a number from 0 to 1")
    return value


def number(
    name: str,
    value: float,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
    unit: str = "",
) -> float:
    """`value`, a finite number within the bounds that are given; the error states them after `unit`.

    Raises:
        InputError: `value` is not a number, not finite, or out of bounds.
    """
    fits = _is_number(value) and (
        abs(value) < math.inf
        and (least is None or value >= least)
        and (above is None or value > above)
        and (most is None or value <= most)
        and (below is None or value < below)
    )
    if not fits:
        bounds = (("of at least", least), ("above", above), ("up to", most), ("below", below))
        expected = " and ".join(f"{word} {bound:g}" for word, bound in bounds if bound is not None)
        raise InputError(f"{name} is {shown(value)}; give {unit}a number {expected}")
    return value


def factor_range(name: str, value: Sequence[float], most: float | None = None) -> tuple[float, float]:
    """`value`, two finite numbers above 0, the smaller first, and up to `most` where that is given.

    Raises:
        InputError: `value` is anything else.
    """
    are_two = isinstance(value, list | tuple) and len(value) == 2 and all(map(_is_number, value))
    if not are_two or not 0 < value[0] <= value[1] < math.inf or (most is not None and value[1] > most):
        bounds = "above 0" if most is None else f"above 0 and up to {most:g}"
        raise InputError(f"{name} is {shown(value)}; give two numbers {bounds}, the smaller first, as [0.7,2.5]")
    return value[0], value[1]


def by_channel(name: str, value: Any, positive: bool = False) -> tuple[float, float, float]:
    """A finite number each for red, green and blue, above 0 where `positive`.

    Raises:
        InputError: `value` is anything else.
    """
    given = value if isinstance(value, list | tuple) else ()
    if len(given) != 3 or not all(_is_number(v) and math.isfinite(v) and (v > 0 or not positive) for v in given):
        least = " above 0" if positive else ""
        raise InputError(f"{name} is {shown(value)}; give a finite number{least} for each of red, green and blue")
    return float(given[0]), float(given[1]), float(given[2])


def word(name: str, value: str, words: Sequence[str]) -> str:
    """`value`, one of `words`.

    Raises:
        InputError: `value` is none of them.
    """
    if value not in words:
        raise InputError(f"{name} is {shown(value)}; give {', '.join(words[:-1])} or {words[-1]}")
    return value


def text(name: str, value: Any) -> str:
    """`value`, a text that is not empty, such as a path.

    Raises:
        InputError: `value` is empty, or neither text nor a path.
    """
    found = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(found, str) or not found:
        raise InputError(f"{name} is {shown(value)}; give a path or a word")
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
