import logging

import pytest
import torch
import yaml
from torch import nn

from monch_monai.class_table import PANNUKE
from monch_monai.encoders import clip_vit, load_text_encoder
from monch_monai.errors import InputError
from monch_monai.networks import reword, rewording
from monch_monai.networks.export import Forms
from tests.fakes.encoders import VIT
from tests.fakes.network import SmallText, noise, small_monch
from tests.fakes.words import BagOfWords

DIM = 4096


@pytest.fixture(autouse=True)
def bag(monkeypatch):
    monkeypatch.setattr(rewording, "load_text_encoder", lambda encoder, name, origin, choice: BagOfWords(DIM))


def described(**settings):
    network = small_monch(text_dim=DIM, **settings).eval()
    network.describe(PANNUKE, BagOfWords(DIM))
    return network


def write(tmp_path, *classes):
    path = tmp_path / "words.yaml"
    path.write_text(yaml.safe_dump({"classes": list(classes)}), encoding="utf-8")
    return path


def run(network):
    with torch.no_grad():
        return network(noise(2, 3, 64, 64))


def test_without_words_a_network_stays_as_it_is():
    network = described()
    assert reword(network).network is network
    assert reword(nn.Linear(1, 1)).own is None


def test_the_very_words_change_nothing_and_cost_nothing(tmp_path, caplog):
    network = described()
    before = run(network)
    found = reword(network, words=write(tmp_path, *PANNUKE.names))
    assert torch.equal(run(found.network), before)
    assert {round(cost.cosine, 5) for cost in found.costs} == {1.0}
    assert [cost.of for cost in found.costs] == PANNUKE.names[1:]
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


@pytest.mark.parametrize("copies", [1, 3])
def test_the_very_names_cost_nothing_where_names_were_trained(copies, tmp_path, caplog):
    network = described()
    names = [[c.name] * copies for c in PANNUKE.classes]  # three each is what versions before 0.3.0 made
    network.text_features[: 6 * copies] = BagOfWords(DIM).encode([name for of_class in names for name in of_class])
    network.provenance = network.provenance.with_words(PANNUKE, names, "names", BagOfWords(DIM))
    found = reword(network, words=write(tmp_path, *PANNUKE.names))
    assert {round(cost.cosine, 5) for cost in found.costs} == {1.0}
    assert [cost.of for cost in found.costs] == PANNUKE.names[1:]
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


def test_another_text_encoder_than_the_one_trained_with_is_refused(tmp_path, monkeypatch):
    for other in (SmallText(DIM), SmallText()):
        monkeypatch.setattr(rewording, "load_text_encoder", lambda *_, other=other: other)
        with pytest.raises(InputError, match=r"encoded by bag \(.*, and text_weights \(.*\) encode them otherwise"):
            reword(described(), words=write(tmp_path, *PANNUKE.names))


def test_swapped_words_swap_the_maps(tmp_path):
    network = described(class_shares=[0.5, 0.1, 0.1, 0.1, 0.1, 0.1])
    before = run(network)
    sentences = {c.name: list(c.sentences) for c in PANNUKE.classes}
    swapped = {"neoplastic": sentences["dead"], "dead": sentences["neoplastic"]}
    classes = [{"name": n, **({"sentences": swapped[n]} if n in swapped else {})} for n in PANNUKE.names]
    after = run(reword(network, words=write(tmp_path, *classes)).network)
    # The decoder's attention to all sentences does not depend on their order, the head's kernels go with the words.
    assert (after[:, [0, 4, 2, 3, 1, 5]] - before).abs().max() < 1e-4


def test_a_class_left_out_leaves_the_others_heads_as_they_were(tmp_path):
    network = described(ppd=False)
    before = run(network)
    found = reword(network, words=write(tmp_path, "neoplastic", "dead"))
    assert found.class_table.names == ["background", "neoplastic", "dead"]
    assert (run(found.network) - before[:, [0, 1, 4]]).abs().max() < 1e-5


def test_a_merged_class_has_the_largest_logit_of_its_parts_in_every_form_and_the_distance_stays(tmp_path):
    network = described(ppd=False, distance=True)
    before = run(network)
    merged = {"name": "tumour or gland", "of": ["neoplastic", "epithelial"], "color": [9, 9, 9]}
    found = reword(network, words=write(tmp_path, merged, "dead"))
    expected = torch.stack([before[:, 0], before[:, [1, 5]].amax(dim=1), before[:, 4], before[:, 6]], dim=1)
    assert found.network.distance_maps == 1
    assert (found.network.mean, found.network.std) == (network.mean, network.std)
    assert (run(found.network) - expected).abs().max() < 1e-5
    assert found.network.provenance.class_table.names == ["background", "tumour or gland", "dead"]
    images = noise(1, 3, 256, 256)
    with torch.no_grad():
        assert (Forms(found.network).traced(images) - found.network(images)).abs().max() < 1e-3


def test_a_renamed_class_keeps_its_map(tmp_path):
    network = described()
    before = run(network)
    immune = {"name": "immune", "of": ["inflammatory"], "color": [9, 9, 9]}
    found = reword(network, words=write(tmp_path, "neoplastic", immune, "connective", "dead", "epithelial"))
    assert found.class_table.names[2] == "immune"
    assert (run(found.network) - before).abs().max() < 1e-4


def test_words_like_none_trained_draw_a_warning_that_names_the_class(tmp_path, caplog):
    nonsense = {"name": "quux", "color": [1, 2, 3], "sentences": ["blorfa zindleb", "quuxc frobd", "qazze wibblef"]}
    with caplog.at_level(logging.INFO):
        found = reword(described(), words=write(tmp_path, *PANNUKE.names, nonsense))
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "no wording like those of quux was trained" in warnings[0]
    assert found.costs[-1].cosine < min(cost.cosine for cost in found.costs[:-1])
    assert warnings[0].endswith(": it finds nothing")
    assert not (run(found.network)[:, -1] > -40).any()
    read = found.network.class_features(found.network.sentences()).norm(dim=-1)
    torch.testing.assert_close(read, torch.tensor([1.0] * 6 + [0.0]), atol=1e-5, rtol=0)


def test_where_all_words_are_like_none_trained_nothing_is_found(tmp_path, caplog):
    nonsense = ["blorf", "quux", "qaz"]
    classes = [{"name": n, "sentences": [f"{word}{n[::-1]} {word}xyz{n}" for word in nonsense]} for n in PANNUKE.names]
    network = described(class_shares=[0.5, 0.1, 0.1, 0.1, 0.1, 0.1])
    with torch.no_grad():
        network.head.text.weight.mul_(50)
    assert (run(network).argmax(dim=1) > 0).any()
    with caplog.at_level(logging.INFO):
        found = reword(network, words=write(tmp_path, *classes)).network
    assert not run(found).argmax(dim=1).any()
    assert len([r for r in caplog.records if r.levelno == logging.WARNING]) == 6


def test_words_are_refused_where_they_would_mean_nothing(tmp_path, monkeypatch):
    words = write(tmp_path, *PANNUKE.names)
    with pytest.raises(InputError, match="trained with random directions, not words"):
        reword(small_monch(), words=words)
    with pytest.raises(InputError, match=r"onnx a.onnx has the words it was exported with"):
        reword(described(), words=words, onnx="a.onnx")
    with pytest.raises(InputError, match="words is a setting of MONCH, which Linear does not have"):
        reword(nn.Linear(1, 1), words=words)
    monkeypatch.setattr(rewording, "load_text_encoder", load_text_encoder)
    network = small_monch()
    network.describe(PANNUKE, SmallText())
    with pytest.raises(InputError, match="encoded by small_text with random weights: other words mean nothing to them"):
        reword(network, words=words)


def test_an_unknown_text_encoder_is_refused():
    with pytest.raises(InputError, match="the text encoder bag of these weights is not known"):
        load_text_encoder(clip_vit("ViT-B-16", **VIT), "bag", BagOfWords().origin)
