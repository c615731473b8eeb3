import pickle

import pytest
import torch
from torch import nn

from monch_monai.encoders.efficientnet_lite import EfficientNetLite
from monch_monai.errors import InputError
from monch_monai.networks import Monch
from monch_monai.networks.fused import PointwiseConv2d, fused
from monch_monai.predict import EngineNetwork, engine_network, engines
from monch_monai.predict.engines import chosen_engine
from tests.fakes.network import noise, small_monch


def trained(network):
    """A network whose normalisation has statistics, scales and shifts of its own."""
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.running_mean, -0.3, 0.3)
            nn.init.uniform_(norm.running_var, 0.5, 2)
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.uniform_(norm.bias, -0.3, 0.3)
    return network.eval()


@pytest.fixture(scope="module")
def network():
    return trained(small_monch(class_shares=(0.3, 0.2, 0.2, 0.1, 0.1, 0.1)))


@pytest.mark.parametrize("make", [small_monch, lambda: Monch(EfficientNetLite(0), channels=16, head_channels=8)])
def test_a_fused_network_has_the_same_logits_and_no_batch_normalisation(make):
    network, images = trained(make()), noise(2, 3, 96, 160)
    made = fused(network)
    with torch.no_grad():
        torch.testing.assert_close(made(images), network(images), atol=1e-4, rtol=1e-4)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in made.modules())
    assert any(isinstance(module, PointwiseConv2d) for module in made.modules())
    assert any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def test_a_network_that_runs_its_layers_in_another_order_keeps_its_normalisation():
    class Turned(nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution, self.normalisation = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)

        def forward(self, image):
            return self.convolution(self.normalisation(image))

    network, images = trained(Turned()), noise(1, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(fused(network)(images), network(images))


def test_the_logits_of_a_tile_depend_neither_on_its_batch_nor_on_the_number_of_threads(network):
    images, before = noise(5, 3, 96, 96), torch.get_num_threads()
    try:
        found = []
        for threads in (1, 3):
            torch.set_num_threads(threads)
            of_engine = EngineNetwork(network)
            found.append(of_engine(images))
            assert of_engine.count == threads
        alone = torch.cat([of_engine(image[None]) for image in images])
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], alone)
    with torch.no_grad():
        torch.testing.assert_close(found[0], network(images), atol=1e-4, rtol=1e-4)


def test_threads_of_pytorch_are_as_before_also_for_a_second_network(network):
    before, images = torch.get_num_threads(), noise(2, 3, 64, 64)
    try:
        torch.set_num_threads(3)
        counts = []
        for _ in range(2):
            of_engine = EngineNetwork(network)
            of_engine(images)
            counts.append((of_engine.count, torch.get_num_threads()))
    finally:
        torch.set_num_threads(before)
    assert counts == [(3, 3), (3, 3)]


def test_networks_are_fused_under_mixed_precision_too(network, monkeypatch):
    made = []
    monkeypatch.setattr(engines, "fused", lambda *given: made.append(fused(*given)) or made[-1])
    of_engine = EngineNetwork(network)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = of_engine(noise(1, 3, 64, 64))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in made[0].modules())
    assert found.dtype == torch.float32


def test_a_network_with_other_words_expects_tiles_within(network):
    class Around(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = EngineNetwork(network, "auto")

    around = Around()
    engine_network.expect(around, engine_network.LEAST_TILES)
    assert around.network.runs_engine
    engine_network.expect(around, engine_network.LEAST_TILES - 1)
    assert not around.network.runs_engine


def test_a_network_of_one_size_is_fused_at_that_size():
    class Fixed(nn.Module):
        def forward(self, image):
            if image.shape[-2:] != (96, 96):
                raise ValueError("takes tiles of 96x96")
            return image

    images = noise(2, 3, 96, 96)
    assert torch.equal(EngineNetwork(Fixed())(images), images)


def test_a_tile_that_fills_up_a_batch_is_computed_once(network):
    of_engine, seen = EngineNetwork(network), []
    images = noise(3, 3, 96, 96)[[0, 1, 2, 2, 2]]
    expected = of_engine(images)
    run = next(iter(of_engine.ready.values()))
    of_engine.ready = dict.fromkeys(of_engine.ready, lambda image: (seen.append(image), run(image))[1])
    assert torch.equal(of_engine(images), expected)
    assert len(seen) == 3


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_an_engine_agrees_with_pytorch_and_says_so_by_its_name(engine, network, caplog):
    for package in engines.PACKAGES[engine]:
        pytest.importorskip(package)
    of_engine, images = EngineNetwork(network, engine), noise(3, 3, 96, 96)
    found = of_engine(images)
    with torch.no_grad():
        assert (found.sigmoid() - network(images).sigmoid()).abs().max() < 1e-3
    assert of_engine.engine == engine
    assert not [record for record in caplog.records if "monch" in record.name and record.levelname == "WARNING"]
    assert f"engine='{engine}'" in repr(of_engine)  # which a slide's work folder is recognised by


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda image: torch.zeros(1, 6, 96, 96), "differs from PyTorch by"),
        (lambda image: torch.full((1, 6, 96, 96), float("nan")), "differs from PyTorch by nan"),
        (lambda image: 1 / 0, "cannot run this network"),
    ],
)
def test_where_an_engine_disagrees_pytorch_runs_with_one_warning(run, message, network, monkeypatch, caplog):
    monkeypatch.setattr(engine_network, "chosen_engine", lambda name: name)
    monkeypatch.setattr(engine_network, "by_openvino", lambda *_: run)
    of_engine, images = EngineNetwork(network, "openvino"), noise(2, 3, 96, 96)
    for _ in range(2):
        assert torch.equal(of_engine(images), EngineNetwork(network)(images))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert message in caplog.text


def test_auto_exports_for_many_tiles_alone(network, monkeypatch):
    monkeypatch.setattr(engines, "_lacking", lambda engine: [])
    monkeypatch.setattr(engine_network, "by_openvino", lambda *_: lambda image: network(image).detach() + 1e-4)
    of_engine, images = EngineNetwork(network, "auto"), noise(1, 3, 96, 96)
    by_pytorch = EngineNetwork(network)(images)
    assert of_engine.engine == "openvino"
    for tiles, is_same in ((None, True), (999, True), (1000, False), (2, True)):
        if tiles is not None:
            of_engine.expect(tiles)
        assert torch.equal(of_engine(images), by_pytorch) == is_same


def test_engines_that_are_unknown_or_not_installed_are_refused(monkeypatch):
    with pytest.raises(InputError, match="engine is 'tensorrt'; give auto, openvino, onnxruntime or torch"):
        chosen_engine("tensorrt")
    monkeypatch.setattr(engines, "find_spec", lambda package: None)
    with pytest.raises(InputError, match="engine openvino needs openvino: pip install openvino, or --engine auto"):
        chosen_engine("openvino")
    assert chosen_engine("auto") == "torch"


def test_other_weights_and_another_process_prepare_the_engine_anew(network):
    of_engine, images = EngineNetwork(small_monch(seed=5).eval()), noise(1, 3, 96, 96)
    of_engine(images)
    of_engine.load_state_dict(network.state_dict())
    assert of_engine.state_dict().keys() == network.state_dict().keys()
    expected = EngineNetwork(network)(images)
    assert torch.equal(of_engine(images), expected)
    assert torch.equal(pickle.loads(pickle.dumps(of_engine))(images), expected)
    assert of_engine.class_table == network.class_table
    assert (of_engine.mean, of_engine.provenance) == (network.mean, network.provenance)
