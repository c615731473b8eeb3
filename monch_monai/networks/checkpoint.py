"""Weights of a network from a file."""

import logging
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from monch_monai.class_table import PANNUKE, ClassTable, find_class_table
from monch_monai.class_table.words_file import read_wording
from monch_monai.encoders import DEFAULT_ENCODER, Origin, merge_adapters
from monch_monai.encoders.normalisation import add_flags
from monch_monai.errors import InputError
from monch_monai.files import existing_file, refuse_damaged_zip, sha256
from monch_monai.networks.monch import Monch
from monch_monai.networks.onnx import OnnxNetwork, refuse_words_of_export
from monch_monai.networks.provenance import DENSITY, EARLIER_DENSITY, KEY, Provenance, convert_earlier, read_provenance
from monch_monai.networks.recorded import RecordedNetwork, add_record
from monch_monai.settings import flag

ENCODER = "image_encoder."
OF_CLASSES = (KEY, "text_features", "head.prior")
"""Tensors of a state dict whose number of rows depends on the classes."""

logger = logging.getLogger(__name__)


def load_checkpoint(network: nn.Module, path: str | Path) -> Path:
    """Loads a flat state dict of tensors, such as `best.pt` or `model.safetensors`, into `network`; returns its path.

    The paper's network becomes that of the file; one with settings of its own has to have the file's. Adapters in the
    file are merged with the weights they adapt, so the network needs none. The network takes text features of the
    dimension that the file has. Files of earlier versions load too.

    Raises:
        InputError: `path` does not exist or is a folder, holds more than tensors, is damaged, holds values that are not
            finite, or is of another network than the config asks for.
    """
    file = existing_file(f"checkpoint {path}", path, "give --checkpoint the file of a trained model")
    state = read_state(file)
    _refuse_infinite(state, file)
    if isinstance(network, Monch) and (stored := _record_of(state, file)) is not None:
        try:
            if network.become_that_of(stored):
                logger.info("the network is that of %s: %s", file, stored.encoder)
        except InputError as error:
            raise InputError(f"checkpoint {file} {error}") from error
    refuse_another_encoder(network.state_dict(), state, file)
    if isinstance(network, Monch):
        network.use_text_dim(text_dim_of(state, network))
    expected = network.state_dict()
    convert_earlier(state)
    if isinstance(network, RecordedNetwork):
        add_record(network, state)
    state = merge_adapters(state)
    for name in expected.keys() & {DENSITY, "text_axes"}:
        state.setdefault(name, torch.zeros_like(expected[name]))  # earlier versions stored none
    add_flags(state, expected, ENCODER)
    wrong = {
        "missing": [name for name in expected if name not in state],
        "unexpected": [name for name in state if name not in expected],
        "of another shape": [n for n, v in expected.items() if n in state and not _fits(n, state[n], v)],
    }
    found = "; ".join(f"{len(names)} {what}, first {names[0]}" for what, names in wrong.items() if names)
    if found:
        raise InputError(f"checkpoint {file} is not of the config's network ({found}): use the config it came from")
    try:
        network.load_state_dict(state)
    except InputError as error:
        raise InputError(f"checkpoint {file}: {error}") from error
    if not isinstance(network, Monch | RecordedNetwork):
        weights = Origin("checkpoint", file.name, sha256=sha256(file))
        network.provenance = Provenance(type(network).__name__, weights)  # type: ignore[assignment]
        return file
    logger.info("weights of %s: %s", file, network.provenance)
    if isinstance(network, Monch) and not network.provenance.image_weights.pretrained:
        logger.warning("%s was trained from random encoder weights: expect poor results on other tissue", file)
    return file


def _fits(name: str, found: Tensor, expected: Tensor) -> bool:
    """Whether the network takes a tensor; of those that depend on the classes it takes any number of rows."""
    first = 1 if name in OF_CLASSES else 0
    return found.dim() == expected.dim() and found.shape[first:] == expected.shape[first:]


def refuse_another_encoder(own: Mapping[str, Tensor], found: Mapping[str, Tensor], file: Path) -> None:
    """Compares the image encoders, or classes of networks without one, that two networks' state dicts record.

    Raises:
        InputError: `found`, from `file`, records another encoder than `own`, or its record is damaged.
    """
    ours, theirs = read_provenance(own), _record_of(found, file)
    if ours is not None and theirs is not None and ours.encoder != theirs.encoder:
        if not (ours.architecture and theirs.architecture):  # one of them is no MONCH
            remedy = "use the overlay that it was trained with, or none for MONCH"
            raise InputError(f"checkpoint {file} is of {theirs.encoder}, the config's network {ours.encoder}: {remedy}")
        overlays = f"{ours.encoder}: use the overlay of that name in configs/encoders/ ({DEFAULT_ENCODER} needs none)"
        raise InputError(f"checkpoint {file} has the encoder {theirs.encoder}, the config's network {overlays}")


def _record_of(state: Mapping[str, Tensor], file: Path) -> Provenance | None:
    try:
        return read_provenance(state)
    except InputError as error:
        raise InputError(f"checkpoint {file} is damaged: {error}") from error


def text_dim_of(state: Mapping[str, Tensor], network: Monch) -> int:
    """D of the text features in a state dict; of those of `network`, where it has none or they are no matrix."""
    found = state.get("text_features")
    return (network.text_features if found is None or found.ndim != 2 else found).shape[1]


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


def class_table(
    choice: str | Path | None = None,
    checkpoint: str | Path | None = None,
    onnx: str | Path | None = None,
    of_data: ClassTable = PANNUKE,
    words: str | Path | None = None,
) -> ClassTable:
    """The classes of a run: those of the weights, by other words where given; else those chosen; else of the data.

    Args:
        choice: name of a table of the package, or a YAML file; with weights that store classes, one of the same names.
        checkpoint: file of weights; those of baselines from versions before 0.3.0 store no classes.
        onnx: file that `export_network` wrote; read in place of `checkpoint` where it is not None.
        of_data: classes of the data.
        words: file, see `read_wording`.

    Raises:
        InputError: a file cannot be read or used, or `choice` has classes of other names than the weights.
    """
    chosen = None if choice is None else find_class_table(choice)
    if onnx is not None:
        refuse_words_of_export(words, onnx)
        return OnnxNetwork(onnx).class_table
    stored = None if checkpoint is None else read_provenance(read_state(checkpoint))
    table = chosen or of_data if stored is None else stored.class_table
    if stored is not None and chosen is not None:
        if chosen.names != table.names:
            found = f"classes {choice} has {', '.join(chosen.names)}; checkpoint {checkpoint} has"
            remedy = "leave --classes out; --words FILE gives weights other words, merges classes and leaves some out"
            raise InputError(f"{found} {', '.join(table.names)}: {remedy}")
        if chosen != table:
            logger.warning("%s keeps its own words and colours of the classes of %s", checkpoint, choice)
    return table if words is None else read_wording(words, table).table


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
