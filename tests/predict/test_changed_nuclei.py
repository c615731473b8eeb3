import logging

import torch
from torch import nn

from monch_monai.class_table import PANNUKE
from monch_monai.class_table.words_file import Wording
from monch_monai.networks.rewording import Rewording
from monch_monai.predict import ChangedNuclei, NetworkPredictor, report_words, with_words
from monch_monai.predict.changed_nuclei import TILES

EACH = tuple((name,) for name in PANNUKE.names)
"""Each class is made of itself."""


class Squares(nn.Module):
    """Two nuclei of 12 px a tile, of given classes."""

    class_table = PANNUKE
    mean, std = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)

    def __init__(self, *classes):
        super().__init__()
        self.classes, self.calls = classes, 0

    def forward(self, image):
        self.calls += 1
        logits = torch.full((len(image), 6, *image.shape[-2:]), -9.0)
        logits[:, 0] = 9
        for place, c in enumerate(self.classes):
            here = (slice(None), slice(None), slice(10, 22), slice(10 + 30 * place, 22 + 30 * place))
            logits[here] = -9.0
            logits[:, c, here[2], here[3]] = 9
        return logits


def test_nuclei_that_the_own_words_call_otherwise_are_counted(caplog):
    own, edited = Squares(1, 3), Squares(1, 2)
    network = with_words(Rewording(edited, own, Wording(PANNUKE, PANNUKE, EACH))).eval()
    assert isinstance(network, ChangedNuclei)
    assert torch.equal(network(torch.zeros(3, 3, 64, 64)), edited(torch.zeros(3, 3, 64, 64)))
    assert (network.tiles, network.nuclei, network.changed) == (3, 6, 3)
    with caplog.at_level(logging.INFO):
        report_words(network)
    assert "words: 50.0% of 6 nuclei on 3 tiles changed their class" in caplog.text


def test_images_are_normalised_as_by_the_network_with_its_own_words():
    network = with_words(Rewording(Squares(1), Squares(1), Wording(PANNUKE, PANNUKE, EACH)))
    assert (network.mean, network.std) == (Squares.mean, Squares.std)
    NetworkPredictor(network)


def test_only_the_first_tiles_are_compared():
    own = Squares(1)
    network = with_words(Rewording(Squares(1), own, Wording(PANNUKE, PANNUKE, EACH))).eval()
    for _ in range(TILES):
        network(torch.zeros(2, 3, 64, 64))
    assert own.calls == TILES // 2
    assert network.changed == 0


def test_with_its_own_words_a_network_is_run_alone(caplog):
    network = Squares(1)
    assert with_words(Rewording(network)).network is network
    report_words(network)
    assert not caplog.records


def test_without_a_tile_compared_nothing_is_reported(caplog):
    with caplog.at_level(logging.INFO):
        report_words(with_words(Rewording(Squares(1), Squares(1), Wording(PANNUKE, PANNUKE, EACH))))
    assert not caplog.records


def test_a_compiled_network_is_compared_too():
    network = with_words(Rewording(Squares(1, 2), Squares(1, 3), Wording(PANNUKE, PANNUKE, EACH))).eval()
    with torch.inference_mode():
        torch.compile(network, backend="eager")(torch.zeros(2, 3, 64, 64))
    assert (network.tiles, network.nuclei, network.changed) == (2, 4, 2)
