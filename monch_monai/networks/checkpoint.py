"""Weights of a network from a file."""

import logging
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from monch_monai.encoders import Origin, merge_adapters
from monch_monai.encoders.instance_norm import INSTANCE_NORM, forget_statistics
from monch_monai.errors import InputError
from monch_monai.files import existing_file, refuse_damaged_zip, sha256
from monch_monai.networks.monch import Monch
from monch_monai.networks.onnx import OnnxNetwork
from monch_monai.networks.provenance import DENSITY, EARLIER_DENSITY, KEY, Provenance, convert_earlier, read_provenance
from monch_monai.settings import flag

ENCODER = "image_encoder."

logger = logging.getLogger(__name__)


def load_checkpoint(network: nn.Module, path: str | Path) -> Path:
    """Loads a flat state dict of tensors, such as `best.pt` or `model.safetensors`, into `network`; returns its path.

    Adapters in the file are merged with the weights they adapt, so the network needs none. Files of earlier versions
    load too.

    Raises:
        InputError: `path` does not exist or is a folder, holds more than tensors, is damaged, holds values that are not
            finite, or is of another network.
    """
    file = existing_file(f"checkpoint {path}", path, "give --checkpoint the file of a trained model")
    state, expected = read_state(file), network.state_dict()
    _refuse_infinite(state, file)
    refuse_another_encoder(expected, state, file)
    convert_earlier(state)
    state = merge_adapters(state)
    if DENSITY in expected:
        state.setdefault(DENSITY, torch.zeros(3))  # earlier versions stored none
    flag_of_norm = ENCODER + INSTANCE_NORM
    if flag_of_norm in expected and state.setdefault(flag_of_norm, torch.tensor(False)).any():
        forget_statistics(expected, ENCODER)
    wrong = {
        "missing": [name for name in expected if name not in state],
        "unexpected": [name for name in state if name not in expected],
        "of another shape": [n for n, v in expected.items() if n != KEY and n in state and state[n].shape != v.shape],
    }
    found = "; ".join(f"{len(names)} {what}, first {names[0]}" for what, names in wrong.items() if names)
    if found:
        raise InputError(f"checkpoint {file} is not of the config's network ({found}): use the config it came from")
    network.load_state_dict(state)
    if not isinstance(network, Monch):
        weights = Origin("checkpoint", file.name, sha256=sha256(file))
        network.provenance = Provenance(type(network).__name__, weights)  # type: ignore[assignment]
        return file
    logger.info("weights of %s: %s", file, network.provenance)
    if not network.provenance.image_weights.pretrained:
        logger.warning("%s was trained from random encoder weights: expect poor results on other tissue", file)
    return file


def refuse_another_encoder(own: Mapping[str, Tensor], found: Mapping[str, Tensor], file: Path) -> None:
    """Compares the image encoders that two networks' state dicts record, where both do.

    Raises:
        InputError: `found`, from `file`, records another encoder than `own`, or its record is damaged.
    """
    try:
        ours, theirs = read_provenance(own), read_provenance(found)
    except InputError as error:
        raise InputError(f"checkpoint {file} is damaged: {error}") from error
    if ours is not None and theirs is not None and ours.encoder != theirs.encoder:
        overlays = f"{ours.encoder}: use the overlay of that name in configs/encoders/ (clip_rn50 needs none)"
        raise InputError(f"checkpoint {file} has the encoder {theirs.encoder}, the config's network {overlays}")


def _refuse_infinite(state: Mapping[str, Tensor], file: Path) -> None:
    names = [name for name, value in state.items() if value.is_floating_point() and not value.isfinite().all()]
    if names:
        found = f"{len(names)} tensors with NaN or infinite values, first {names[0]}"
        raise InputError(f"checkpoint {file} holds {found}: give another, or train again with a lower learning rate")


def read_state(path: str | Path) -> dict[str, Tensor]:
    """Flat state dict of tensors in a file of PyTorch or of safetensors, on the CPU. No code in the file is run.

    Raises:
        InputError: `path` cannot be read as one of these, holds more than tensors, or a file of PyTorch was changed
            after it was written, as its checksums state.
    """
    try:
        if Path(path).suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling, zip and safetensors errors have no common base
        raise InputError(f"checkpoint {path} cannot be read as a file of tensors: give a best.pt or last.pt") from error
    refuse_damaged_zip(f"checkpoint {path}", path)
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"checkpoint {path} is not a flat state dict of tensors: give a best.pt or last.pt")
    return state


def reference_density(
    checkpoint: str | Path | None = None, onnx: str | Path | None = None, lighten: bool | str = True
) -> list[float] | None:
    """Mean optical density `[3]`, by channel, of the tissue that a network was trained on; darker images are lightened.

    Args:
        checkpoint: file of the network's weights.
        onnx: file that `export_network` wrote; read in place of `checkpoint` where it is not None.
        lighten: whether images are lightened.

    Returns:
        The density that `monch_monai.data.record_reference_density` stored. None where the file stores none, no file
        is given, or `lighten` is False.

    Raises:
        InputError: the file cannot be read, or `lighten` is neither true nor false.
    """
    file = checkpoint if onnx is None else onnx
    if not flag("lighten", lighten) or file is None:
        return None
    read = read_state(file).get if onnx is None else OnnxNetwork(file).metadata
    stored = [density for density in map(read, (DENSITY, EARLIER_DENSITY)) if density is not None]
    values = [float(value) for value in stored[0]] if stored else []
    if not any(values):
        logger.info("%s does not state how dark its training tissue was: images stay unchanged", file)
        return None
    logger.info("images darker than the tissue that %s was trained on are lightened to it", file)
    return values


def save_safetensors(state: Mapping[str, Tensor], path: str | Path, about: dict[str, str] | None = None) -> None:
    """Writes a state dict to `path` as safetensors, with `about` in the header."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    safetensors.torch.save_file(tensors, path, {"format": "pt", **(about or {})})
