"""The start of a training: encoder weights and text features from CLIP, or all weights from a checkpoint."""

from pathlib import Path

from monch_monai.encoders import ClipText, Origin, load_clip
from monch_monai.networks.checkpoint import load_checkpoint
from monch_monai.networks.monch import Monch
from monch_monai.prompts import ATTRIBUTES
from monch_monai.settings import flag


def initialise_weights(
    network: Monch, encoder_weights: str = "auto", checkpoint: str | Path | None = None, resume: bool | str = False
) -> Origin | None:
    """Gives `network` CLIP's image encoder weights and the text features of the cell attributes.

    The text tower is dropped when its features are taken.

    Args:
        network: changed in place.
        encoder_weights: see `monch_monai.encoders.load_clip`.
        checkpoint: weights of a whole MONCH, to go on from instead.
        resume: True leaves the network as it is, for an interrupted training's state to fill.

    Returns:
        Where the encoder weights came from, which the network keeps too; None when resuming.

    Raises:
        InputError: weights are not to be had or not usable.
    """
    if flag("resume", resume):
        return None
    if checkpoint is not None:
        path = load_checkpoint(network, checkpoint)
        return Origin(f"checkpoint {path.name}: {network.encoder_origin}", pretrained=True)
    clip, origin = load_clip(encoder_weights)
    network.image_encoder.load_clip(clip)
    network.set_prompts(ATTRIBUTES, ClipText(clip))
    network.encoder_origin = origin.text
    return origin
