"""Files fetched over HTTP: downloads that broke off are resumed, and files checked."""

import errno
import logging
import time
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path

from tqdm import tqdm

from monch_monai.errors import InputError
from monch_monai.files import PART, sha256

logger = logging.getLogger(__name__)

TIMEOUT = 30
"""Seconds without a response before a try fails."""
TRIES = 5
PIECE = 1 << 20
DISK = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
"""Errors that another try does not remove."""


def fetch(url: str, path: str | Path, checksum: str | None, pause: float = 2.0, tries: int = TRIES) -> None:
    """Fetches `url` to `path`. An unfinished download is kept beside `path`, and the next try or call resumes it.

    Args:
        url: address, http or https.
        path: of the file; an existing one with the checksum is left as it is.
        checksum: SHA-256 of the whole file, in hexadecimal; None where its publisher states none.
        pause: seconds before the second try; each later one waits twice as long.
        tries: after which it gives up.

    Raises:
        InputError: `url` is no web address, the server cannot be reached or does not send the file, the file cannot be
            written, `path` is a file with another checksum, or the download has another checksum (and is removed).
    """
    target = Path(path)
    by_hand = f"fetch {url} by other means and lay it in {target.parent}"
    if target.exists():
        if checksum is not None and sha256(target) != checksum:
            raise InputError(f"{target} has another SHA-256 than the published file: remove it, or move it away")
        return
    if not url.startswith(("http://", "https://")):
        raise InputError(f"{url} is no web address: give one that begins with http:// or https://")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{target.parent} cannot be made ({error}): name another folder") from error
    part = target.with_name(f"{PART}{target.name}")
    for attempt in range(tries):
        try:
            _go_on(url, part)
            break
        except urllib.error.HTTPError as error:
            if error.code < 500:
                raise InputError(f"the download of {url} failed with {error.code} {error.reason}: {by_hand}") from error
            problem: Exception = error
        except (OSError, HTTPException) as error:
            if getattr(error, "errno", None) in DISK:
                remedy = "make room or change its permissions, then run again to resume"
                raise InputError(f"{part} cannot be written ({error}): {remedy}") from error
            problem = error
        if attempt == tries - 1:
            raise InputError(f"{url} could not be fetched ({problem}): run again to resume, or {by_hand}") from problem
        logger.warning("%s broke off (%s); trying again", url, problem)
        time.sleep(pause * 2**attempt)
    if checksum is not None and (found := sha256(part)) != checksum:
        part.unlink()
        raise InputError(f"{url} gave a file with SHA-256 {found}, not {checksum}: try again, or {by_hand}")
    part.rename(target)


def _go_on(url: str, part: Path) -> None:
    """Appends to `part` what is missing of the file at `url`."""
    done = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})  # noqa: S310 (http only)
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)  # noqa: S310
    except urllib.error.HTTPError as error:
        if error.code == 416 and done:  # the file is complete
            return
        raise
    with response:
        if response.status != 206:  # the server sends it from the beginning
            done = 0
        length = response.headers.get("Content-Length")
        total = done + int(length) if length else None
        with (
            part.open("ab" if done else "wb") as file,
            tqdm(total=total, initial=done, desc=url.rsplit("/", 1)[-1], unit="B", unit_scale=True) as progress,
        ):
            while piece := response.read(PIECE):
                file.write(piece)
                progress.update(len(piece))
        if total is not None and part.stat().st_size < total:
            raise HTTPException(f"{part.stat().st_size:,} of {total:,} bytes came")
