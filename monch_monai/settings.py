"""Settings as a command line gives them."""

import math
from collections.abc import Sequence

from monch_monai.errors import InputError


def flag(name: str, value: bool | str) -> bool:
    """`value` as a truth: Fire hands `--amp false` on as the text `false`.

    Raises:
        InputError: it is neither true nor false.
    """
    text = str(value).lower()
    if text not in ("true", "false"):
        raise InputError(f"{name} is {value!r}; give true or false")
    return text == "true"


def fraction(name: str, value: float) -> float:
    """`value`, a number from 0 to 1.

    Raises:
        InputError: it is not.
    """
    if not _is_number(value) or not 0 <= value <= 1:
        raise InputError(f"{name} is {value!r}; give a number from 0 to 1")
    return value


def whole_number(name: str, value: int, least: int) -> int:
    """`value`, a whole number of at least `least`.

    Raises:
        InputError: it is not.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InputError(f"{name} is {value!r}; give a whole number of at least {least}")
    return value


def factor_range(name: str, value: Sequence[float]) -> tuple[float, float]:
    """`value`, two numbers above 0, the smaller first.

    Raises:
        InputError: it is not.
    """
    are_two = isinstance(value, list | tuple) and len(value) == 2 and all(map(_is_number, value))
    if not are_two or not 0 < value[0] <= value[1] < math.inf:
        raise InputError(f"{name} is {value!r}; give two numbers above 0, the smaller first, as [0.7,2.5]")
    return value[0], value[1]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
