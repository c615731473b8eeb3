"""Published weights on the hub, in its cache, or laid by hand."""

import threading
from pathlib import Path

import huggingface_hub
from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

from monch_monai.encoders.publication import Publication
from monch_monai.errors import InputError

HUB_SECONDS = 10.0


def cached(publication: Publication) -> Path | None:
    """The file in the hub's cache, if it is there."""
    for name in publication.files:
        found = huggingface_hub.try_to_load_from_cache(publication.hub, name)
        if isinstance(found, str):
            return Path(found)
    return None


def download(publication: Publication) -> Path:
    """The file from the hub's cache, or from the hub if it answers within 10 s.

    Raises:
        InputError: why it is not to be had, and the way to lay it by hand.
    """
    found = cached(publication)
    if found is not None:
        return found
    name = _answered(publication)
    try:
        return Path(huggingface_hub.hf_hub_download(publication.hub, name))
    except Exception as error:  # whatever the hub's client raises, the way on is the same
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{publication.hub} could not be downloaded ({reason}): {by_hand(publication)}") from error


def in_folder(folder: Path, publication: Publication) -> Path:
    """The file in a snapshot folder of the hub, or another folder with the file under its published name.

    Raises:
        InputError: it is not there.
    """
    for name in publication.files:
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"folder {folder} holds no {' and no '.join(publication.files)}, as {publication.hub} does")


def by_hand(publication: Publication) -> str:
    """What to do where the hub is out of reach."""
    command = f"hf download {publication.hub} {publication.files[0]} --local-dir FOLDER"
    way = f"where it can be reached run `{command}`, and give FOLDER here"
    return f"{_asking(publication)}; or {way}" if publication.gated else way


def _asking(publication: Publication) -> str:
    hub = huggingface_hub.constants.ENDPOINT
    return (
        f"sign in at {hub}/{publication.hub}, accept its terms ({publication.licence}), and set HF_TOKEN to an access "
        f"token of yours ({hub}/settings/tokens)"
    )


def _answered(publication: Publication) -> str:
    """Name of the first file that the hub has, known within `HUB_SECONDS` whatever the network does."""
    hub = huggingface_hub.constants.ENDPOINT
    silent = InputError(f"{publication.hub} is not cached and the hub {hub} does not answer: {by_hand(publication)}")
    if huggingface_hub.constants.HF_HUB_OFFLINE:
        raise silent
    answers: list[str | Exception] = []

    def ask() -> None:
        for name in publication.files:
            try:
                url = huggingface_hub.hf_hub_url(publication.hub, name)
                huggingface_hub.get_hf_file_metadata(url, timeout=HUB_SECONDS)
            except EntryNotFoundError:
                continue
            except Exception as error:  # as above
                answers.append(error)
            else:
                answers.append(name)
            return
        answers.append(InputError(f"the hub {hub} has no {publication.files[0]} of {publication.hub}"))

    thread = threading.Thread(target=ask, daemon=True)  # a stuck name look-up obeys no timeout of its own
    thread.start()
    thread.join(HUB_SECONDS)
    answer = answers[0] if answers else silent
    if isinstance(answer, str):
        return answer
    if isinstance(answer, InputError):
        raise answer
    if isinstance(answer, GatedRepoError) or (publication.gated and isinstance(answer, RepositoryNotFoundError)):
        raise InputError(f"{publication.hub} is given to those who asked: {by_hand(publication)}") from answer
    if isinstance(answer, HfHubHTTPError):
        reason = " ".join(str(answer).split())[:200]
        raise InputError(f"the hub {hub} refuses {publication.hub} ({reason}): {by_hand(publication)}") from answer
    raise silent from answer
