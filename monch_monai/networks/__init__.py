"""The network: features, decoder, head; its weights; and its exports."""

from monch_monai.networks.checkpoint import class_table, load_checkpoint, reference_density, refuse_another_encoder
from monch_monai.networks.export import export_network
from monch_monai.networks.monch import Monch
from monch_monai.networks.onnx import OnnxNetwork, network_or_export
from monch_monai.networks.pretrained import initialise_weights, parameter_groups
from monch_monai.networks.rewording import reword

__all__ = [
    "Monch", "OnnxNetwork", "class_table", "export_network", "initialise_weights", "load_checkpoint",
    "network_or_export", "parameter_groups", "reference_density", "refuse_another_encoder", "reword",
]  # fmt: skip
