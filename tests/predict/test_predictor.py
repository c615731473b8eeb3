import pickle

import numpy as np
import pytest
import torch
from torch import nn

from monch_monai.class_table import PANNUKE
from monch_monai.datasets.synthetic import synthetic_tile
from monch_monai.errors import InputError
from monch_monai.losses import PerClassBCE
from monch_monai.predict import NetworkPredictor, class_map
from tests.cohort.reading_back import segment
from tests.fakes.labels import some_classes
from tests.fakes.network import small_monch
from tests.fakes.slides import write_slide

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


def in_float32(network):
    return NetworkPredictor(network, MEAN, STD, amp=False)


@pytest.fixture
def tiles():
    return np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3)).astype(np.uint8)


def test_the_network_sees_normalised_tiles_and_answers_by_the_one_rule(tiles):
    network = small_monch(class_shares=(0.3, 0.2, 0.2, 0.1, 0.1, 0.1)).eval()
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    images = (torch.from_numpy(tiles).permute(0, 3, 1, 2) / 255 - mean) / std
    with torch.no_grad():
        logits = network(images)
    found = in_float32(network)(tiles)
    assert (found.class_map == class_map(logits)[:, 0].numpy()).mean() > 0.999  # ties of rounding
    assert np.abs(found.probs - logits[:, 1:].sigmoid().numpy()).max() < 2e-3
    assert (found.class_map > 0).any()
    again = pickle.loads(pickle.dumps(in_float32(network)))(tiles)
    assert np.array_equal(again.class_map, found.class_map)


def test_settings_record_what_files_of_weights_do_not():
    recorded = [
        NetworkPredictor(small_monch(**switch), MEAN, STD).settings
        for switch in ({}, {"cutoff": 0.5}, {"k": 4}, {"num_heads": 2})
    ]
    assert len({settings["network"] for settings in recorded}) == 4
    assert NetworkPredictor(small_monch(), MEAN, STD).settings == recorded[0]
    assert in_float32(small_monch()).settings == {**recorded[0], "amp": False}


def test_logits_that_are_no_numbers_are_refused(tiles):
    class Broken(nn.Module):
        def forward(self, image):
            return torch.full((len(image), 6, *image.shape[2:]), float("nan"))

    with pytest.raises(InputError, match="logits are NaN"):
        NetworkPredictor(Broken(), MEAN, STD)(tiles)


def test_the_classes_are_the_networks(tiles):
    class_table = some_classes(3)
    predictor = in_float32(small_monch(class_table=class_table, class_shares=(0.3, 0.2, 0.5)))
    found = predictor(tiles)
    assert found.probs.shape == (2, 2, 96, 96)
    assert 0 < found.class_map.max() <= 2
    assert predictor.class_table == pickle.loads(pickle.dumps(predictor)).class_table == class_table
    assert NetworkPredictor(nn.Identity(), MEAN, STD).class_table == PANNUKE


def test_a_network_of_other_maps_than_its_classes_is_refused(tiles):
    with pytest.raises(InputError, match="has 3 maps, and class table pannuke 6 classes: export the network again"):
        NetworkPredictor(nn.Identity(), MEAN, STD)(tiles)


@pytest.mark.slow
def test_a_trained_network_finds_the_same_nuclei_with_other_tiles(tmp_path, record_property):
    """The network looks at its whole tile, so that answers depend a little on where tiles lie: 9 of 10 nuclei agree."""
    network = small_monch()
    optimizer, rng = torch.optim.Adam(network.parameters(), 5e-3), np.random.default_rng(0)
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    for _ in range(80):
        made = [synthetic_tile(rng, 96, 4) for _ in range(4)]
        images = torch.stack([torch.from_numpy(t.image.copy()).permute(2, 0, 1) for t in made])
        truth = torch.stack([torch.from_numpy(t.classes.astype(np.int64))[None] for t in made])
        loss = PerClassBCE()(network((images / 255 - mean) / std), truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    slide = write_slide(tmp_path / "s.tif", synthetic_tile(rng, 900, 220).image)
    answers = in_float32(network)
    places = {}
    for tile_size in (192, 256, 320):
        found = segment(slide, tmp_path / str(tile_size), answers, tile_size=tile_size)
        places[tile_size] = np.stack([found["x"].to_numpy(), found["y"].to_numpy()], axis=1)
    assert all(100 < len(found) < 300 for found in places.values())
    for one, other in ((192, 256), (256, 320), (192, 320)):
        distance = np.linalg.norm(places[one][:, None] - places[other][None], axis=-1)
        agreed = (distance.min(axis=1) < 3).sum() + (distance.min(axis=0) < 3).sum()
        share = agreed / (len(places[one]) + len(places[other]))
        record_property(f"{one} and {other}", float(share))
        print(f"tiles of {one} and {other} px: {share:.3f} of {len(places[one])} and {len(places[other])} nuclei agree")
        assert share > 0.9
