"""The error that is the user's to mend, and how a command line shows it."""

import sys
from types import TracebackType


class InputError(ValueError):
    """Something a user gave cannot be used. Its text is one line: what was wrong, what was expected, what to do."""


def one_line(error: BaseException, limit: int = 200) -> str:
    """Text of an error in one line of at most `limit` characters; the name of its type where it has no text."""
    return (" ".join(str(error).split()) or type(error).__name__)[:limit]


def find_input_error(error: BaseException | None) -> InputError | None:
    """The `InputError` that is `error` or, wrapped by a framework, its cause."""
    while error is not None and not isinstance(error, InputError):
        error = error.__cause__
    return error


def show_input_errors_in_one_line() -> None:
    """Lets an `InputError` that ends the process print its line alone, without a traceback; the exit code stays 1.

    An interruption by the keyboard prints a word.
    """
    sys.excepthook = _show


def _show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    found = find_input_error(error)
    if isinstance(error, KeyboardInterrupt):
        print("\ninterrupted", file=sys.stderr)
    elif found is None:
        sys.__excepthook__(kind, error, trace)
    else:
        print(f"ERROR: {found}", file=sys.stderr)
