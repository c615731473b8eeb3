"""CLIP RN50 with the weights that `--encoder_weights` names."""

import logging
import threading
import urllib.request
from pathlib import Path
from typing import NamedTuple

import huggingface_hub
import open_clip
import torch
from open_clip.factory import load_checkpoint
from open_clip.model import CLIP

from monch_monai.errors import InputError
from monch_monai.files import sha256

HUB = "timm/resnet50_clip.openai"
HUB_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
OPENAI_ARCHIVE_SHA256 = "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762"
"""Of OpenAI's RN50.pt, from its published address. It is TorchScript, code and all, so no other archive is opened."""
HUB_SECONDS = 10.0
BY_HAND = f"fetch {HUB_FILES[0]} of {HUB} by other means and give --encoder_weights PATH, or --encoder_weights none"

logger = logging.getLogger(__name__)


class Origin(NamedTuple):
    """Where encoder weights came from: a line for the record, and whether they were trained at all."""

    text: str
    pretrained: bool


def load_clip(weights: str | Path = "auto") -> tuple[CLIP, Origin]:
    """CLIP RN50 (with OpenAI's QuickGELU, as all published RN50 weights have) and where its weights came from.

    Args:
        weights: `openai`, through open_clip's own hub and cache; `none`, random; `auto`, `openai` where it is cached
            or the hub answers within 10 s and else random with a warning; or the path of an open_clip state dict
            (`.pt`, `.bin`, `.safetensors`) or of OpenAI's own RN50.pt.

    Raises:
        InputError: the weights are not to be had, are not RN50's, or a file is not safe to open.
    """
    clip = CLIP(**open_clip.get_model_config("RN50-quickgelu"))
    choice = str(weights)
    if choice == "auto":
        choice = "openai" if _cached() or _hub_answers() else "none"
        if choice == "none":
            logger.warning(
                "CLIP's weights are neither cached nor is the hub %s reachable: training from RANDOM weights. "
                "Lay them by hand and give --encoder_weights PATH for the paper's method.",
                huggingface_hub.constants.ENDPOINT,
            )
    elif choice == "openai" and not (_cached() or _hub_answers()):
        hub = huggingface_hub.constants.ENDPOINT
        raise InputError(f"CLIP's weights are not cached and the hub {hub} does not answer: {BY_HAND}")
    if choice == "none":
        return clip, Origin("random", pretrained=False)
    if choice == "openai":
        _load_file(clip, _hub_file())
        return clip, Origin(f"openai RN50 from hub {HUB}", pretrained=True)
    path = Path(choice)
    if not path.is_file():
        raise InputError(f"encoder_weights {choice!r} is neither openai, none nor auto, nor a file: give one of these")
    digest = sha256(path)
    _load_file(clip, path, digest)
    return clip, Origin(f"file {path.name}, SHA-256 {digest}", pretrained=True)


def starting_learning_rate(origin: Origin | None, pretrained: float, random: float) -> float:
    """Learning rate to start from: `pretrained` for trained encoder weights, else `random`; the log says which.

    A resumed training has no origin; its own rate comes with its state.
    """
    if origin is None:
        return pretrained
    rate = pretrained if origin.pretrained else random
    logger.info("learning rate %g, for %s encoder weights", rate, "trained" if origin.pretrained else "random")
    return rate


def _cached() -> Path | None:
    for name in HUB_FILES:
        found = huggingface_hub.try_to_load_from_cache(HUB, name)
        if isinstance(found, str):
            return Path(found)
    return None


def _hub_answers() -> bool:
    """Whether the hub answers for the weights, known within `HUB_SECONDS` whatever the network does."""
    if huggingface_hub.constants.HF_HUB_OFFLINE:
        return False
    answers: list[bool] = []

    def ask() -> None:
        url = huggingface_hub.hf_hub_url(HUB, HUB_FILES[0])
        try:
            request = urllib.request.Request(url, method="HEAD")  # noqa: S310 (the hub client's own address)
            with urllib.request.urlopen(request, timeout=HUB_SECONDS) as reply:  # noqa: S310
                answers.append(reply.status < 400)
        except (OSError, ValueError) as error:
            logger.info("the hub does not answer: %s", error)

    thread = threading.Thread(target=ask, daemon=True)  # a stuck name look-up obeys no timeout of its own
    thread.start()
    thread.join(HUB_SECONDS)
    return any(answers)


def _hub_file() -> Path:
    found = _cached()
    if found is not None:
        return found
    try:
        return Path(open_clip.download_pretrained(open_clip.get_pretrained_cfg("RN50-quickgelu", "openai")))
    except Exception as error:  # whatever the hub client raises, the way on is the same
        raise InputError(f"CLIP's weights could not be downloaded ({_one_line(error)}): {BY_HAND}") from error


def _load_file(clip: CLIP, path: Path, digest: str | None = None) -> None:
    try:
        if digest == OPENAI_ARCHIVE_SHA256:
            state = torch.jit.load(path, map_location="cpu").float().state_dict()
            for name in ("input_resolution", "context_length", "vocab_size"):
                state.pop(name, None)
            clip.load_state_dict(state)
        else:
            load_checkpoint(clip, str(path), strict=True, weights_only=True)
    except Exception as error:  # unpickling, zip, safetensors and shape errors have no common base
        hint = "an open_clip RN50 state dict, a safetensors file, or OpenAI's RN50.pt with its published SHA-256"
        raise InputError(f"{path} is not {hint}: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) < 200 else text[:200] + " …"
