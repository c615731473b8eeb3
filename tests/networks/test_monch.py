from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from monch_monai.class_table import PANNUKE, ClassTable
from monch_monai.encoders import ClipResNet50, Origin
from monch_monai.networks import Monch
from monch_monai.networks.prompt_decoder import QUERIES
from monch_monai.networks.wordings import along
from tests.fakes.labels import some_classes
from tests.fakes.network import TEXT_DIM, SmallText, noise, small_monch
from tests.fakes.words import BagOfWords

SIZES = [(256, 256), (32, 32), (33, 70), (64, 96)]
ABLATIONS = [
    {"mgfe": False},
    {"ppd": False},
    {"mgfe": False, "ppd": False},
    {"high_pass": False},
    {"topology": False},
    *({"queries": [q for q in QUERIES if q != dropped]} for dropped in QUERIES),
    {"queries": []},
    {"middle_stride": 8},
]


def parameter_names(network):
    return {name for name, _ in network.named_parameters()}


def parts_of(names, prefix):
    return {name.removeprefix(prefix).split(".")[0] for name in names if name.startswith(prefix)}


def with_gradient(network):
    """Names of the parameters that the loss reaches."""
    network(noise(1, 3, 160, 160)).square().mean().backward()
    return {name for name, p in network.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}


@pytest.mark.parametrize("size", SIZES)
def test_logits_have_the_size_of_the_image(size):
    with torch.no_grad():
        logits = small_monch()(noise(1, 3, *size))
    assert (logits.shape, logits.dtype) == ((1, 6, *size), torch.float32)


def test_the_real_encoder_fits():
    torch.manual_seed(0)
    network = Monch(ClipResNet50(), channels=32, head_channels=16, num_heads=4, text_dim=TEXT_DIM).eval()
    with torch.no_grad():
        logits = network(noise(1, 3, 64, 64))
    assert logits.shape == (1, 6, 64, 64)
    assert logits.abs().max() < 12


@pytest.mark.parametrize("size", [(64, 96), (33, 70)])
def test_a_batch_of_two_equals_two_of_one(size):
    network, images = small_monch().eval(), noise(2, 3, *size)
    with torch.no_grad():
        together, one_by_one = network(images), torch.cat([network(image[None]) for image in images])
    assert (together - one_by_one).abs().max() < 1e-4
    assert (together[0] - together[1]).abs().max() > 1e-2


def test_channels_last_gives_the_same_logits():
    network, image = small_monch().eval(), noise(1, 3, 64, 96)
    with torch.no_grad():
        plain = network(image)
        turned = network.to(memory_format=torch.channels_last)(image.to(memory_format=torch.channels_last))
    assert (plain - turned).abs().max() < 1e-4


@pytest.mark.parametrize("settings", [{}, *ABLATIONS])
def test_every_ablation_gives_finite_logits_of_every_class(settings):
    with torch.no_grad():
        logits = small_monch(**settings)(noise(2, 3, 64, 96))
    assert logits.shape == (2, 6, 64, 96)
    assert torch.isfinite(logits).all()


def test_a_finer_middle_map_is_made_of_the_encoders_maps_from_there_on():
    network, seen = small_monch(middle_stride=8), {}
    network.project.register_forward_hook(lambda module, inputs, output: seen.update(given=inputs[0], made=output))
    logits = network(noise(1, 3, 64, 128))
    assert (seen["given"].shape, seen["made"].shape) == ((1, 12 + 16, 10, 16), (1, 32, 10, 16))  # 18 nodes of 16 px
    logits.square().mean().backward()
    assert all(p.grad.abs().sum() > 0 for p in network.image_encoder.parameters())
    with pytest.raises(ValueError, match=r"middle_stride must be one of the encoder's \[4, 8, 16\]; got 32"):
        small_monch(middle_stride=32)


def test_every_ablation_is_another_network():
    names = [frozenset(parameter_names(small_monch(**settings))) for settings in [{}, *ABLATIONS]]
    assert len(set(names)) == len(names)


def test_without_mgfe_there_are_no_multi_grained_features():
    assert parts_of(parameter_names(small_monch()), "features.") == {"conv", "topo"}
    assert parts_of(parameter_names(small_monch(mgfe=False)), "features.") == set()


def test_without_ppd_there_is_no_decoder():
    assert parts_of(parameter_names(small_monch()), "decoder.") == {"attend", "merge"}
    assert parts_of(parameter_names(small_monch(ppd=False)), "decoder.") == set()


def test_without_high_pass_a_convolution_stands_in():
    added = parameter_names(small_monch(high_pass=False)) - parameter_names(small_monch())
    assert added == {"features.high.0.weight", "features.high.1.weight", "features.high.1.bias"}


def test_without_topology_a_convolution_stands_in():
    assert parts_of(parameter_names(small_monch()), "features.topo.") == {"reduce", "expand"}
    assert parts_of(parameter_names(small_monch(topology=False)), "features.topo.") == {"0", "1"}


@pytest.mark.parametrize("dropped", QUERIES)
def test_a_dropped_query_has_no_attention(dropped):
    network = small_monch(queries=[q for q in QUERIES if q != dropped])
    assert parts_of(parameter_names(network), "decoder.attend.") == set(QUERIES) - {dropped}


def test_an_unknown_query_is_refused():
    with pytest.raises(ValueError, match=r"queries must be of \['high', 'conv', 'topo', 'text'\]; got \['blend'\]"):
        small_monch(queries=["high", "blend"])


# A bias of the keys moves all scores of a query alike, which the softmax does not see.
def without_key_biases(names):
    return {name for name in names if not name.endswith("g_k.bias")}


@pytest.mark.parametrize("settings", [{}, *ABLATIONS[:5]])
def test_every_parameter_takes_part(settings):
    network = small_monch(**settings)
    assert without_key_biases(parameter_names(network) - with_gradient(network)) == set()


@pytest.mark.parametrize(
    ("dropped", "unasked"),
    [("high", {"features.conv"}), ("conv", {"features.topo"}), ("topo", set()), ("text", set())],
)
def test_dropping_a_query_leaves_out_what_it_alone_asks(dropped, unasked):
    network = small_monch(queries=[q for q in QUERIES if q != dropped])
    idle = without_key_biases(parameter_names(network) - with_gradient(network))
    assert {".".join(name.split(".")[:2]) for name in idle} == unasked


def test_other_words_change_the_logits():
    network, image = small_monch().eval(), noise(1, 3, 64, 64)
    with torch.no_grad():
        before = network(image)
        network.describe(PANNUKE, SmallText())
        after = network(image)
    assert (before - after).abs().max() > 1e-2


def words_of(table, number=None):
    return [sentence for c in table.classes for sentence in c.sentences[:number]]


def test_sentences_are_encoded_in_class_order_and_taken_along_their_axes():
    network, text = small_monch().eval(), SmallText()
    network.describe(PANNUKE, text)
    assert text.sentences == words_of(PANNUKE)
    features, counts = text.encode(text.sentences), [len(c.sentences) for c in PANNUKE.classes]
    assert torch.equal(network.text_features[: len(features)], features)
    assert len(network.text_features) % 256 == 0
    assert not network.text_features[len(features) :].any()
    of_class = features.split(counts)
    centred = features - features.mean(dim=0)
    axes = torch.linalg.svd(centred, full_matrices=False)[2][: network.provenance.words.axes]
    assert len(axes) == 16

    def of_axes(sentences):
        return F.normalize((sentences - features.mean(dim=0)) @ axes.T @ axes, dim=-1)

    first = network.sentences()
    torch.testing.assert_close(first, torch.stack([of_axes(own[:3]) for own in of_class]), atol=1e-5, rtol=0)
    means = torch.stack([of_axes(own.mean(dim=0)) for own in of_class])
    torch.testing.assert_close(network.class_features(first), means, atol=1e-5, rtol=0)


def test_two_classes_whose_words_are_swapped_swap_their_logits():
    network, image = small_monch(class_shares=[0.7, 0.1, 0.1, 0.05, 0.01, 0.04]).eval(), noise(1, 3, 64, 64)
    network.describe(PANNUKE, BagOfWords(TEXT_DIM))
    _, one, two, *_ = own = PANNUKE.classes
    swapped = (replace(one, sentences=two.sentences), replace(two, sentences=one.sentences))
    with torch.no_grad():
        before = network(image)
        network.describe(ClassTable("swapped", (own[0], *swapped, *own[3:])), BagOfWords(TEXT_DIM), trained=True)
        after = network(image)
    torch.testing.assert_close(after, before[:, [0, 2, 1, 3, 4, 5]], atol=1e-4, rtol=0)


def test_other_words_are_taken_along_the_axes_of_those_trained_on():
    network, other = small_monch().eval(), some_classes(4)
    network.describe(PANNUKE, SmallText())
    axes = network.text_axes.clone()
    network.describe(other, SmallText(), trained=True)
    assert torch.equal(network.text_axes, axes)
    assert network.provenance.words.axes == 16
    network.describe(other, SmallText())
    assert not torch.equal(network.text_axes, axes)
    assert network.provenance.words.axes == 11  # one fewer than sentences
    assert not network.text_axes[12:].any()


def test_each_step_of_training_draws_three_sentences_a_class():
    network = small_monch().train()
    network.describe(PANNUKE, SmallText())
    counts = network.provenance.words.counts
    torch.manual_seed(0)
    drawn = [network.sentences() for _ in range(40)]
    for step in drawn:
        middle = step.sum(dim=1)
        torch.testing.assert_close(network.class_features(step), middle / middle.norm(dim=1, keepdim=True))
    for c, count in enumerate(counts):
        own = along(network.text_axes, network.text_features[sum(counts[:c]) : sum(counts[:c]) + count])
        places = [[int((own - row).abs().sum(dim=1).argmin()) for row in step[c]] for step in drawn]
        assert all(len(set(three)) == 3 for three in places)
        assert {place for three in places for place in three} == set(range(count))
        assert all((own[three] - step[c]).abs().max() < 1e-5 for three, step in zip(places, drawn, strict=True))
    torch.manual_seed(0)
    assert all(torch.equal(network.sentences(), step) for step in drawn)


@pytest.mark.parametrize(("words", "number"), [("fixed", 3), ("names", 1)])
def test_words_may_be_the_first_three_sentences_or_the_names(words, number):
    network, text = small_monch().train(), SmallText()
    network.describe(PANNUKE, text, words)
    assert text.sentences == (words_of(PANNUKE, 3) if words == "fixed" else PANNUKE.names)
    assert network.sentences().shape == (6, number, 24)
    assert network.provenance.words.kind == words


@pytest.mark.parametrize("classes", [2, 3, 9])
def test_no_parameter_depends_on_the_classes(classes):
    table, image = some_classes(classes), noise(1, 3, 64, 64)
    one, other = small_monch(class_table=table).eval(), small_monch(seed=2).eval()
    one.describe(table, SmallText())
    assert one(image).shape[1] == classes
    other.load_state_dict(one.state_dict())
    assert other.class_table == table
    with torch.no_grad():
        assert torch.equal(one(image), other(image))
    shapes = [{name: v.shape for name, v in made.state_dict().items()} for made in (one, small_monch())]
    assert shapes[0] == shapes[1]


def test_a_network_takes_other_classes_and_keeps_what_it_knew_of_those_it_had():
    network = small_monch(class_shares=[0.7, 0.1, 0.1, 0.05, 0.01, 0.04])
    before = dict(zip(PANNUKE.names, network.head.prior.tolist(), strict=False))
    table = ClassTable("mine", (*PANNUKE.classes[:2], replace(some_classes(3).classes[2], parent="connective")))
    network.describe(table, SmallText())
    assert network.class_table.names == ["background", "neoplastic", "class 2"]
    kept = [before["background"], before["neoplastic"], before["connective"]]
    assert network.head.prior.tolist() == [*kept, *[0.0] * 61]


def test_text_features_of_another_dimension_are_refused():
    with pytest.raises(ValueError, match="text features have 23 numbers; the network takes 24"):
        small_monch().describe(PANNUKE, SmallText(dim=23))


def test_stand_in_text_features_are_the_same_unit_vectors_whatever_the_seed():
    one, other = small_monch(seed=1), small_monch(seed=2)
    assert torch.equal(one.sentences(), other.sentences())
    assert (one.sentences().norm(dim=-1) - 1).abs().max() < 1e-6


def test_the_state_dict_carries_text_features_and_provenance():
    trained, fresh = small_monch(seed=1).eval(), small_monch(seed=2).eval()
    trained.describe(PANNUKE, SmallText())
    trained.provenance = replace(trained.provenance, image_weights=Origin("file", "µ.pt", sha256="0123"))
    fresh.load_state_dict(trained.state_dict())
    assert torch.equal(fresh.text_features, trained.text_features)
    assert fresh.provenance == trained.provenance
    assert (fresh.provenance.encoder, fresh.provenance.words.kind) == ("small", "attributes")
    assert str(fresh.provenance.image_weights) == "file µ.pt, SHA-256 0123"
    image = noise(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(fresh(image), trained(image))


def test_the_state_dict_holds_tensors_alone():
    assert {type(value) for value in small_monch().state_dict().values()} == {torch.Tensor}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_first_logits_are_near_the_shares_of_the_classes(training, seed):
    shares = [0.8332, 0.0864, 0.0177, 0.0373, 0.0007, 0.0247]
    network = small_monch(seed=seed, class_shares=shares).train(training)
    shares = [shares[0], *[sum(shares[1:]) / 5] * 5]
    with torch.no_grad():
        logits = network(noise(2, 3, 96, 96, seed=seed))
    priors = torch.logit(torch.tensor(shares))
    assert logits.abs().max() < 12
    assert (logits.mean(dim=(0, 2, 3)) - priors).abs().max() < 1.5


def test_padding_repeats_the_border_up_to_whole_strides_and_enough_nodes():
    network, image = small_monch(), noise(1, 3, 161, 170)
    assert network.min_size == 160  # stride 32, and 5 x 5 nodes hold 9 x 2 neighbours
    padded = network.pad(image)
    assert padded.shape == (1, 3, 192, 192)
    assert torch.equal(padded[..., :161, :170], image)
    assert torch.equal(padded[..., 161:, :170], image[..., -1:, :].expand(-1, -1, 31, -1))
    assert torch.equal(padded[..., :161, 170:], image[..., -1:].expand(-1, -1, -1, 22))
    assert network.pad(noise(1, 3, 32, 200)).shape == (1, 3, 160, 224)


def test_folded_the_head_is_a_plain_convolution_with_the_same_logits():
    network, image = small_monch().eval(), noise(2, 3, 96, 64)
    folded = network.folded()
    with torch.no_grad():
        assert (folded(image) - network(image)).abs().max() < 1e-5
    assert parts_of(parameter_names(folded), "head.") - parts_of(parameter_names(network), "head.") == {"folded"}
    assert "head.text.weight" not in parameter_names(folded)
    assert "head.text.weight" in parameter_names(network)


def test_folded_the_network_takes_no_other_words():
    with pytest.raises(ValueError, match="folded to the words it has; describe the one it was folded from"):
        small_monch().folded().describe(PANNUKE, SmallText())
