"""Refusals as HTTP answers, which MONAI Label's endpoints hand on to the client."""

from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import HTTPException

from monch_monai.errors import InputError


@contextmanager
def refusing() -> Iterator[None]:
    """Turns an `InputError` into an answer of status 400 with its text; other errors are the server's, 500."""
    try:
        yield
    except InputError as error:
        raise HTTPException(status_code=400, detail=str(error)) from error


def not_found(what: str) -> HTTPException:
    """An answer of status 404."""
    return HTTPException(status_code=404, detail=what)
