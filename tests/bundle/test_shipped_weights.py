"""The weights in the bundle are those that its card names."""

import json
import re
from pathlib import Path

import torch

from monch_monai.files import sha256
from scripts.ship_weights import EVERY, LOGITS, WEIGHTS, logits_on_a_tile

CARD = WEIGHTS.with_name("card.md")


def test_the_file_holds_tensors_alone_and_is_small() -> None:
    state = torch.load(WEIGHTS, map_location="cpu", weights_only=True)
    assert {type(value) for value in state.values()} == {torch.Tensor}
    assert {value.dtype for value in state.values() if value.is_floating_point() and value.ndim > 1} == {torch.float16}
    assert WEIGHTS.stat().st_size <= 40e6


def test_the_card_names_the_file_by_its_hash() -> None:
    assert re.findall(r"\b[0-9a-f]{64}\b", CARD.read_text(encoding="utf-8")) == [sha256(Path(WEIGHTS))]


def test_a_generated_tile_has_the_stored_logits() -> None:
    logits = logits_on_a_tile(WEIGHTS)[:, EVERY // 2 :: EVERY, EVERY // 2 :: EVERY]
    stored = torch.tensor(json.loads(LOGITS.read_text(encoding="utf-8")))
    assert stored.shape == logits.shape == (7, 8, 8)  # six classes and the distance
    assert stored.std() > 1
    assert torch.allclose(logits, stored, rtol=0, atol=0.02)
