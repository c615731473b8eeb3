"""Errors as HTTP responses, which MONAI Label's endpoints pass to the client."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fastapi import HTTPException

from monch_monai.errors import InputError


@contextmanager
def http_errors(upload: str | Path | None = None) -> Iterator[None]:
    """Turns an `InputError` into a response of status 400 with its text; other errors are the server's, 500.

    Args:
        upload: a file that came with the request, which the server named itself. When it is refused, MONAI Label
            leaves it lying.
    """
    try:
        yield
    except (InputError, HTTPException) as error:
        if upload is not None:
            Path(upload).unlink(missing_ok=True)
        if isinstance(error, InputError):
            raise HTTPException(status_code=400, detail=_without_names(str(error), upload)) from error
        raise


def _without_names(text: str, upload: str | Path | None) -> str:
    """An error's text in which the name that a server gave to an upload stands no more."""
    for name in () if upload is None else (str(upload), Path(upload).name):
        text = text.replace(name, "the uploaded image")
    return text


def not_found(what: str) -> HTTPException:
    """A response of status 404."""
    return HTTPException(status_code=404, detail=what)
