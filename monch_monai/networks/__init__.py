"""The network: features, decoder, head; and its weights."""

from monch_monai.networks.checkpoint import load_checkpoint, refuse_another_encoder
from monch_monai.networks.monch import Monch
from monch_monai.networks.pretrained import initialise_weights, parameter_groups

__all__ = ["Monch", "initialise_weights", "load_checkpoint", "parameter_groups", "refuse_another_encoder"]
