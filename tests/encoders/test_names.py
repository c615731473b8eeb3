"""Names and shapes of published files, as the publishers' packages tell them, against the full-size encoders."""

import pytest
import torch

from monch_monai.encoders.weights import wanted_by
from monch_monai.errors import InputError
from tests.bundle.conftest import CONFIGS
from tests.bundle.test_encoders import build
from tests.fakes.encoders import published_shapes, shapes_of

OVERLAYS = sorted(path.stem for path in (CONFIGS / "encoders").glob("*.json"))
FILES = [(name, name) for name in ("clip_rn50", *OVERLAYS) if name != "conch"]
FILES[FILES.index(("plip_224", "plip_224"))] = ("plip_224", "plip")  # the same file, at another resolution
FILES += [(f"sam_{size}", f"sam_{size}_transformers") for size in "blh"]


def full_size(name):
    """Encoder of the config's network, and all tensors wanted of a file, without memory."""
    with torch.device("meta"):
        encoder = build(name).image_encoder
        towers = {"image": encoder}
        if encoder.publication.text is not None:
            towers["text"] = encoder.publication.text().tower
    return encoder, wanted_by(towers)


def on_meta(shapes):
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


@pytest.mark.parametrize(("name", "file"), FILES)
def test_the_published_tensors_are_the_full_size_architecture(name, file):
    encoder, wanted = full_size(name)
    shapes = published_shapes(file) if file != name else shapes_of(name)
    converted = encoder.publication.convert(on_meta(shapes), wanted)
    counters = {n for n in wanted if n.endswith("num_batches_tracked")}
    assert set(converted) | counters == set(wanted)
    assert all(converted[n].shape == v.shape for n, v in wanted.items() if n not in counters)


@pytest.mark.parametrize("name", ["clip_rn50", "clip_vit_b_16", "plip", "sam_b", "sam2_tiny", "uni"])
def test_each_tensor_is_missed_by_its_published_name(name):
    encoder, wanted = full_size(name)
    shapes = shapes_of(name)
    publication, whole = encoder.publication, on_meta(shapes)
    needed = [n for f in publication.formats for found in map(f.sources, wanted) for n in found if n in shapes]
    for renamed in [n for n in needed if not n.endswith("num_batches_tracked")][:: max(1, len(needed) // 12)]:
        file = {(f"{n}x" if n == renamed else n): v for n, v in whole.items()}
        with pytest.raises(InputError) as caught:
            publication.convert(file, wanted)
        assert f"1 missing: {renamed}; 1 unexpected: {renamed}x" in str(caught.value)


def test_a_reshaped_tensor_is_refused_with_both_shapes():
    encoder, wanted = full_size("uni")
    shapes = {**shapes_of("uni"), "pos_embed": (1, 257, 1024)}
    with pytest.raises(InputError, match=r"1 of another shape: pos_embed \[1, 257, 1024\] instead of \[1, 197, 1024\]"):
        encoder.publication.convert(on_meta(shapes), wanted)


def test_the_names_of_old_transformers_files_are_known():
    encoder, wanted = full_size("plip")
    positions = {"text_model.embeddings.position_ids": (1, 77), "vision_model.embeddings.position_ids": (1, 50)}
    assert encoder.publication.convert(on_meta({**shapes_of("plip"), **positions}), wanted)
