"""Errors that the user can correct, and how a command line shows them."""

import sys
from types import TracebackType


class InputError(ValueError):
    """A value from the user cannot be used. Its text is one line: the value, what was expected, what to do."""


def one_line(error: BaseException, limit: int = 200) -> str:
    """Text of an error in one line of at most `limit` characters; the name of its type where it has no text."""
    return (" ".join(str(error).split()) or type(error).__name__)[:limit]


def shown(value: object, limit: int = 80) -> str:
    """A user's value as messages show it, in at most `limit` characters."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def find_input_error(error: BaseException | None) -> InputError | None:
    """The `InputError` that is `error` or, wrapped by a framework, its cause."""
    while error is not None and not isinstance(error, InputError):
        error = error.__cause__
    return error


def show_input_errors_in_one_line() -> None:
    """Shows an `InputError` that ends the process as one line on stderr, without a traceback; the exit code stays 1.

    An interruption by the keyboard shows one word.
    """
    sys.excepthook = _show


def _show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    found = find_input_error(error)
    if isinstance(error, KeyboardInterrupt):
        print("\ninterrupted", file=sys.stderr)
    elif found is None:
        sys.__excepthook__(kind, error, trace)
    else:
        print(f"ERROR: {one_line(found, limit=2000)}", file=sys.stderr)
