"""The start of a training: its first weights, and which of them are trained."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from monch_monai.encoders import (
    NORMALISATIONS,
    TEXT_ENCODERS,
    ImageEncoder,
    Origin,
    PublishedStart,
    TextEncoder,
    add_adapters,
    load_published,
    load_start,
    use_normalisation,
)
from monch_monai.errors import InputError
from monch_monai.files import sha256
from monch_monai.networks.checkpoint import load_checkpoint, read_state, text_dim_of
from monch_monai.networks.monch import Monch
from monch_monai.networks.provenance import provenance_of, read_provenance
from monch_monai.networks.recorded import RecordedNetwork
from monch_monai.settings import flag, whole_number, word

PROMPTS = ("attributes", "fixed", "names", "random")


def initialise_weights(
    network: nn.Module,
    encoder_weights: str = "auto",
    text_weights: str | None = None,
    checkpoint: str | Path | None = None,
    resume: bool | str = False,
    freeze: bool | str = False,
    lora_rank: int = 0,
    prompts: str = "attributes",
    normalisation: str = "batch",
    text_encoder: str | None = None,
    may_be_random: bool = True,
) -> Origin | None:
    """Loads published weights into the network's image encoder and computes the text features of its class table.

    The network keeps the features, not the text tower, and takes the dimension that they have. Another network than
    MONCH loads `checkpoint`, or its method `published_start` states which parts start from published weights; without
    one it stays as it is. Settings of words are refused, since it has none, and others that it does not have.

    Args:
        network: changed in place.
        encoder_weights: see `monch_monai.encoders.load_published`.
        text_weights: see `monch_monai.encoders.load_published`.
        checkpoint: weights of a whole MONCH, to train further instead.
        resume: True leaves the weights as they are; an interrupted training's state replaces them later.
        freeze: True excludes the image encoder from training.
        lora_rank: above 0 trains adapters of that rank in the encoder's attention, and nothing else of the encoder.
        prompts: what the text features are of: the `attributes` of each class, its first three sentences (`fixed`), the
            class `names` alone, or `random` directions. A checkpoint keeps its own.
        normalisation: of the image encoder's maps: `batch` as published, `fixed` by the statistics of the weights it
            starts from, or `instance`. Weights that were trained with one of the others keep it where this is `batch`.
        text_encoder: see `monch_monai.encoders.load_published`. A checkpoint keeps its own.
        may_be_random: see `monch_monai.encoders.load_published`.

    Returns:
        Where the weights that training starts from came from; None when resuming, or for another network that has no
        published weights or loads `checkpoint`. The network's provenance records it too.

    Raises:
        InputError: the download failed, weights do not fit, the encoder cannot have adapters or instance normalisation,
            `prompts` is none of the four, or a setting is not the network's.
    """
    resume = flag("resume", resume)
    freeze, lora_rank = flag("freeze", freeze), whole_number("lora_rank", lora_rank, least=0)
    word("normalisation", normalisation, NORMALISATIONS)
    if not isinstance(network, Monch):
        start = _published_start(network)
        given = {
            "encoder_weights": start is None and encoder_weights not in ("auto", "none"),
            "text_weights": text_weights is not None, "freeze": freeze, "lora_rank": lora_rank > 0,
            "prompts": prompts != PROMPTS[0], "normalisation": normalisation != "batch",
            "text_encoder": text_encoder is not None,
        }  # fmt: skip
        for name in (name for name, is_set in given.items() if is_set):
            other = type(network).__name__
            raise InputError(f"{name} is a setting of MONCH, which {other} does not have: leave it out")
        if checkpoint is not None and not resume:
            path = load_checkpoint(network, checkpoint)
            if isinstance(network, RecordedNetwork):
                network.provenance = network.provenance.child(sha256(path))
        elif start is not None and not resume:
            began = load_start(start, encoder_weights, may_be_random)
            network.provenance = replace(provenance_of(network), image_weights=began)  # type: ignore[assignment]
            return began
        return None
    word("prompts", prompts, PROMPTS)
    if checkpoint is not None:
        _refuse_other_words(checkpoint, prompts, text_encoder)
    if resume:
        origin = None
        network.use_text_dim(_resumed_text_dim(network, text_encoder, checkpoint))
    elif checkpoint is not None:
        origin = _load_checkpoint(network, checkpoint)
    else:
        text, origin = load_published(network.image_encoder, encoder_weights, text_weights, text_encoder, may_be_random)
        _use_published(network, text, origin, prompts)
    if normalisation == "fixed" and origin is not None and not origin.pretrained:
        raise InputError(
            "normalisation is fixed, which keeps the statistics of trained weights, but the image encoder's are random:"
            " give --normalisation instance"
        )
    use_normalisation(network.image_encoder, normalisation)
    if freeze:
        network.image_encoder.freeze()
    if lora_rank:
        add_adapters(network.image_encoder, lora_rank)
    return origin


def parameter_groups(network: nn.Module, learning_rate: float, layer_decay: float = 1.0) -> list[dict[str, Any]]:
    """Parameters to train, grouped by learning rate, for an optimiser.

    All have `learning_rate` except the image encoder's: from its last layer down to the image, each layer's rate is
    `layer_decay` times that of the layer above (layer-wise learning-rate decay, as in the fine-tuning of BEiT and MAE).

    Args:
        network: of any class; layers are those of an `ImageEncoder` in its attribute `image_encoder`.
        learning_rate: of all other layers.
        layer_decay: 1 gives all layers one rate.

    Raises:
        InputError: `layer_decay` is not 1 and the network has no such image encoder.
    """
    encoder = getattr(network, "image_encoder", None)
    layers = encoder.layers() if isinstance(encoder, ImageEncoder) else {}
    if not layers and layer_decay != 1:
        other = type(network).__name__
        raise InputError(f"layer_decay is {layer_decay}, but {other} has no image encoder with layers: leave it out")
    top = max(layers.values(), default=0) + 1
    groups: dict[float, list[nn.Parameter]] = {learning_rate: []}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            layer = layers.get(name.removeprefix("image_encoder."), top) if name.startswith("image_encoder.") else top
            groups.setdefault(learning_rate * layer_decay ** (top - layer), []).append(parameter)
    return [{"params": parameters, "lr": rate} for rate, parameters in groups.items()]


def _published_start(network: nn.Module) -> PublishedStart | None:
    """What a network other than MONCH states of its published weights; None where it has none."""
    stated = getattr(network, "published_start", None)
    return None if stated is None else stated()


def _refuse_other_words(checkpoint: str | Path, prompts: str, text_encoder: str | None) -> None:
    """Refuses words that are neither the default nor those that a checkpoint was trained with and keeps."""
    if prompts == PROMPTS[0] and text_encoder is None:
        return
    kept = read_provenance(read_state(checkpoint))
    own = None if kept is None else kept.words.kind
    encoder = None if kept is None else kept.text_encoder
    given = {"prompts": (prompts, PROMPTS[0], own), "text_encoder": (text_encoder, None, encoder)}
    for name, (value, default, trained) in given.items():
        if value not in (default, trained):
            raise InputError(
                f"{name} is {value}, but the checkpoint's is {trained or 'not recorded'}, which it keeps: leave"
                f" --{name} or --checkpoint out"
            )


def _resumed_text_dim(network: Monch, text_encoder: str | None, checkpoint: str | Path | None) -> int:
    """D of the text features that a training began with, by the settings it is resumed with."""
    if checkpoint is not None:
        return text_dim_of(read_state(checkpoint), network)
    if text_encoder is None:
        return network.text_features.shape[1]
    with torch.device("meta"):
        return TEXT_ENCODERS[text_encoder]()[0].dim


def _load_checkpoint(network: Monch, checkpoint: str | Path) -> Origin:
    path = load_checkpoint(network, checkpoint)
    digest = sha256(path)
    network.provenance = network.provenance.child(digest)
    return Origin("checkpoint", path.name, sha256=digest)


def _use_published(network: Monch, text: TextEncoder, origin: Origin, prompts: str) -> None:
    network.provenance = replace(network.provenance, image_weights=origin)
    network.use_text_dim(text.dim)
    if prompts != "random":
        network.describe(network.class_table, text, prompts)
