"""Instance normalisation, exchanged for batch normalisation where asked for, and where weights were trained with it."""

import copy
import re

import pytest
import torch
from monai.networks.utils import copy_model_state
from torch import nn

from monch_monai.encoders import use_normalisation
from monch_monai.encoders.normalisation import InstanceNorm
from monch_monai.errors import InputError
from monch_monai.networks import export_network, initialise_weights, load_checkpoint
from tests.encoders.test_encoders import moved, small_network, step
from tests.fakes.network import noise
from tests.networks.test_export import run_without_the_package

IMAGES = noise(3, 3, 96, 64)


def exchanged():
    network = small_network("clip_resnet", text_dim=1024)
    initialise_weights(network, "none", normalisation="instance")
    return network


def logits(network):
    with torch.no_grad():
        return network.eval()(IMAGES)


def test_it_is_pytorchs_own():
    ours, theirs = InstanceNorm(8), nn.InstanceNorm2d(8, affine=True)
    theirs.load_state_dict(ours.state_dict() | {"weight": noise(8), "bias": noise(8, seed=1)})
    ours.load_state_dict(theirs.state_dict())
    images = [noise(3, 8, 6, 5).to(memory_format=torch.channels_last).requires_grad_() for _ in range(2)]
    answers = [norm(image) for norm, image in zip((ours, theirs), images, strict=True)]
    for answer in answers:
        (answer**3).sum().backward()
    torch.testing.assert_close(*answers)
    assert answers[0].is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(images[0].grad, images[1].grad, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad, rtol=1e-4, atol=1e-4)


def test_the_encoder_sees_each_image_by_itself_and_whatever_its_contrast():
    encoder = exchanged().image_encoder
    with torch.no_grad():
        together = encoder.train()(IMAGES)
        alone = encoder.eval()(0.5 * IMAGES[:1])
    for a, b in zip(together, alone, strict=True):
        assert (a[:1] - b).abs().max() < 0.02 * a.abs().max()


def test_it_is_trained_and_no_running_statistics_are_left():
    network = exchanged()
    assert not [name for name in network.image_encoder.state_dict() if "running" in name]
    assert "image_encoder.trunk.bn1.weight" in moved(network, step(network))


def test_a_checkpoint_brings_its_normalisation_along(tmp_path):
    network, plain = exchanged(), small_network("clip_resnet", text_dim=1024)
    average = copy.deepcopy(plain)  # as a moving average of weights is
    torch.save(network.state_dict(), tmp_path / "best.pt")
    load_checkpoint(plain, tmp_path / "best.pt")
    assert torch.equal(logits(plain), logits(network))
    average.load_state_dict(network.state_dict())  # as a training that goes on does
    assert torch.equal(logits(average), logits(network))


def test_monais_own_loading_brings_it_along():
    network, plain = exchanged(), small_network("clip_resnet", text_dim=1024)
    state, _, _ = copy_model_state(plain, network.state_dict())
    plain.load_state_dict(state)
    assert torch.equal(logits(plain), logits(network))


def test_an_optimiser_goes_on_with_the_parameters_it_has():
    network = small_network("clip_resnet", text_dim=1024)
    before = dict(network.named_parameters())
    network.load_state_dict(exchanged().state_dict())
    assert all(parameter is before[name] for name, parameter in network.named_parameters())


def test_a_checkpoint_of_before_is_of_batch_normalisation(tmp_path):
    network, other = small_network("clip_resnet"), small_network("clip_resnet")
    step(network)
    state = {name: value for name, value in network.state_dict().items() if not name.endswith("instance_norm")}
    torch.save(state, tmp_path / "best.pt")
    load_checkpoint(other, tmp_path / "best.pt")
    assert torch.equal(logits(other), logits(network))
    resumed = small_network("clip_resnet")
    resumed.load_state_dict(state)
    assert torch.equal(logits(resumed), logits(network))


def test_part_of_a_state_leaves_the_normalisation_as_it_is():
    network = exchanged()
    network.load_state_dict({"reference_density": torch.ones(3)}, strict=False)
    assert network.image_encoder.instance_norm


@pytest.mark.parametrize("strict", [True, False])
def test_weights_of_batch_normalisation_are_no_state_of_an_exchanged_network(strict):
    state = small_network("clip_resnet", text_dim=1024).state_dict()
    with pytest.raises(RuntimeError, match="these weights are of batch normalisation: give --normalisation batch"):
        exchanged().load_state_dict(state, strict=strict)


def test_batch_normalisation_does_not_come_back(tmp_path):
    torch.save(small_network("clip_resnet", text_dim=1024).state_dict(), tmp_path / "best.pt")
    with pytest.raises(InputError, match=r"unexpected, first image_encoder\.trunk\.bn1\.running_mean"):
        load_checkpoint(exchanged(), tmp_path / "best.pt")


def test_an_encoder_without_batch_normalisation_is_refused():
    expected = re.escape("clip_vit_l_14 has no batch normalisation to change: give --normalisation batch")
    with pytest.raises(InputError, match=expected):
        initialise_weights(small_network("clip_vit"), "none", resume=True, normalisation="instance")


@pytest.mark.slow
@pytest.mark.parametrize("form", ["torchscript", "program", "onnx"])
def test_exported_files_give_the_same_logits_at_any_batch_and_size(form, tmp_path):
    network = exchanged().eval()
    export_network(network, tmp_path / "models", [form], {})
    images = [noise(batch, 3, height, width) for batch, height, width in [(2, 160, 192), (1, 256, 224)]]
    answers, _ = run_without_the_package(tmp_path / "models", images, tmp_path)
    with torch.no_grad():
        expected = [network(image) for image in images]
    for answer, right in zip(*answers.values(), expected, strict=True):
        assert ((answer - right).abs() > 1e-3).float().mean() < 1e-3  # near-ties of the graph may fall otherwise


@pytest.mark.parametrize("family", ["clip_resnet", "efficientnet_lite"])
def test_fixed_statistics_stay_in_training_and_are_kept_by_a_checkpoint(family, tmp_path):
    network = small_network(family, text_dim=1024)
    use_normalisation(network.image_encoder, "fixed")
    before = step(network)
    torch.save(network.state_dict(), tmp_path / "best.pt")
    other = small_network(family, text_dim=1024)
    load_checkpoint(other, tmp_path / "best.pt")
    assert other.provenance.normalisation == network.provenance.normalisation == "fixed"
    later = step(other)
    for changed in (moved(network, before), moved(other, later)):
        of_encoder = {name for name in changed if name.startswith("image_encoder.")}
        assert of_encoder
        assert not [name for name in of_encoder if name.endswith(("running_mean", "running_var"))]
        assert "project.1.running_mean" in changed


def test_instance_norm_keeps_the_activation_that_timms_layers_include():
    network = small_network("efficientnet_lite", text_dim=1024)
    use_normalisation(network.image_encoder, "instance")
    with torch.no_grad():
        after_stem = network.image_encoder.trunk.bn1(noise(2, 32, 16, 16))
    assert after_stem.min() == 0
    assert 1 < after_stem.max() <= 6
    assert "image_encoder.trunk.bn1.weight" in moved(network, step(network))


@pytest.mark.usefixtures("small_words")
def test_statistics_of_random_weights_are_not_fixed():
    expected = re.escape("the image encoder's are random: give --normalisation instance")
    with pytest.raises(InputError, match=expected):
        initialise_weights(small_network("efficientnet_lite", text_dim=1024), "none", normalisation="fixed")
