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
        upload: a file that came with the request; when it is refused, MONAI Label leaves it lying.
    """
    try:
        yield
    except (InputError, HTTPException) as error:
        if upload is not None:
            Path(upload).unlink(missing_ok=True)
        if isinstance(error, InputError):
            raise HTTPException(status_code=400, detail=str(error)) from error
        raise


def not_found(what: str) -> HTTPException:
    """A response of status 404."""
    return HTTPException(status_code=404, detail=what)
