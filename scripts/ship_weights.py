"""A trained network as the bundle's own weights: `python scripts/ship_weights.py CHECKPOINT`."""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from monai.bundle import ConfigParser
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from monch_monai.arguments import run
from monch_monai.datasets.synthetic import synthetic_tile
from monch_monai.encoders import merge_adapters
from monch_monai.files import sha256, write_atomically, write_text_atomically
from monch_monai.networks import load_checkpoint
from monch_monai.networks.checkpoint import read_state
from monch_monai.networks.provenance import read_provenance

REPOSITORY = Path(__file__).resolve().parents[1]
WEIGHTS = REPOSITORY / "bundle" / "models" / "model.pt"
LOGITS = REPOSITORY / "tests" / "bundle" / "shipped_logits.json"
EVERY = 32
"""Pixels from one stored logit to the next."""


def ship(checkpoint: Path, raised: dict[str, float] | None = None) -> None:
    """Writes CHECKPOINT to bundle/models/model.pt, its kernels and matrices in half precision.

    Also stores logits of the shipped network for a generated tile, which a test compares, and prints numbers for the
    card: size, SHA-256, and how far halving moved a probability on that tile.

    Args:
        checkpoint: trained weights.
        raised: by how much the logits of rare classes are raised, such as `{dead: 3}` (logit adjustment, Menon et al.,
            2021): a map learned from few nuclei is hardly ever the largest.
    """
    state = merge_adapters(read_state(checkpoint))
    before, provenance = logits_on_a_tile(checkpoint), read_provenance(state)
    for name, amount in (raised or {}).items():
        assert provenance is not None
        index = provenance.class_table.names.index(name)
        state["head.prior"][index] += amount
        before[index] += amount
    halved = {n: v.half() if v.is_floating_point() and v.ndim > 1 else v for n, v in state.items()}
    WEIGHTS.parent.mkdir(exist_ok=True)
    write_atomically(WEIGHTS, lambda part: torch.save(halved, part))
    after = logits_on_a_tile(WEIGHTS)
    kept = after[:, EVERY // 2 :: EVERY, EVERY // 2 :: EVERY].tolist()
    write_text_atomically(LOGITS, json.dumps([[[round(v, 3) for v in row] for row in of] for of in kept]) + "\n")
    moved = float((before.sigmoid() - after.sigmoid()).abs().max())
    print(f"{WEIGHTS}: {WEIGHTS.stat().st_size / 1e6:.1f} MB, SHA-256 {sha256(WEIGHTS)}")
    print(f"largest change of a probability by halving: {moved:.1e}")


def logits_on_a_tile(weights: Path) -> Tensor:
    """Logits `[T, 256, 256]` that inference.json's network with these weights has for a generated tile, float32."""
    parser = ConfigParser(ConfigParser.load_config_file(REPOSITORY / "bundle" / "configs" / "inference.json"))
    network = parser.get_parsed_content("network_def")
    load_checkpoint(network, weights)
    encoder = network.image_encoder
    image = (synthetic_tile(np.random.default_rng(0)).image / 255 - np.asarray(encoder.mean)) / np.asarray(encoder.std)
    with torch.inference_mode():
        return network.eval()(torch.from_numpy(image).float().permute(2, 0, 1)[None])[0]


if __name__ == "__main__":
    run(ship, "ship_weights.py")
