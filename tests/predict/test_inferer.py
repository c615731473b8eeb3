import pytest
import torch
from monai.data import MetaTensor
from monai.inferers import SlidingWindowInferer
from torch import nn

from monch_monai.errors import InputError
from monch_monai.predict import LatticeInferer, MixedPrecisionInferer, has_fast_bfloat16, precision
from tests.fakes.network import noise


class Watched(nn.Module):
    """A convolution that keeps the types and sizes it meets."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 1)
        self.seen = []

    def forward(self, image):
        logits = self.conv(image)
        self.seen.append((type(image), tuple(image.shape), logits.dtype))
        return logits


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Watched().requires_grad_(False)


@pytest.mark.parametrize(
    ("amp", "fast", "dtype"),
    [
        (True, True, torch.bfloat16),
        (True, False, torch.float32),
        (False, True, torch.float32),
        (False, False, torch.float32),
    ],
)
def test_the_network_runs_in_bfloat16_where_asked_for_and_fast_and_the_answer_is_float32(
    monkeypatch, network, amp, fast, dtype
):
    monkeypatch.setattr(precision, "has_fast_bfloat16", lambda device: fast)
    answer = MixedPrecisionInferer(amp=amp)(noise(1, 3, 8, 8), network)
    assert network.seen == [(torch.Tensor, (1, 3, 8, 8), dtype)]
    assert answer.dtype == torch.float32


def test_mixed_precision_rounds_and_no_more(monkeypatch, network):
    image = noise(1, 3, 8, 8)
    monkeypatch.setattr(precision, "has_fast_bfloat16", lambda device: True)
    mixed, exact = MixedPrecisionInferer()(image, network), network(image)
    assert 0 < (mixed - exact).abs().max() < 0.05


def test_float32_is_exact(network):
    image = noise(1, 3, 8, 8)
    assert torch.equal(MixedPrecisionInferer(amp=False)(image, network), network(image))


def test_a_meta_tensor_reaches_the_network_as_a_plain_one(network):
    MixedPrecisionInferer(amp=False)(MetaTensor(noise(1, 3, 8, 8)), network)
    assert network.seen[0][0] is torch.Tensor


def test_another_inferer_is_run_with_its_own_settings(network):
    windows = SlidingWindowInferer(roi_size=(8, 8), sw_batch_size=1, overlap=0)
    image = noise(1, 3, 16, 24)
    answer = MixedPrecisionInferer(windows, amp=False)(image, network)
    assert [shape for _, shape, _ in network.seen] == [(1, 3, 8, 8)] * 6
    assert (answer - network(image)).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"architecture": "x86_64", "avx512_bf16": True}, True),
        ({"architecture": "x86_64", "amx_bf16": True, "avx512_bf16": False}, True),
        ({"architecture": "aarch64", "bf16": True}, True),
        ({"architecture": "x86_64", "avx2": True, "avx512_bf16": False, "amx_bf16": False}, False),
        ({}, False),
    ],
)
def test_a_cpu_is_asked_for_its_bfloat16_instructions(monkeypatch, capabilities, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert has_fast_bfloat16("cpu") is expected


@pytest.mark.parametrize("able", [True, False])
def test_a_gpu_is_asked_for_bfloat16_without_emulation(monkeypatch, able):
    asked = []
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation: asked.append(including_emulation) or able
    )
    assert has_fast_bfloat16(torch.device("cuda:0")) is able
    assert asked == [False]


def test_other_devices_stay_in_float32():
    assert has_fast_bfloat16("meta") is False


def test_images_no_larger_than_a_tile_run_as_they_are_and_larger_ones_tile_by_tile(network):
    inferer = LatticeInferer(tile_size=32, amp=False)
    tiles, field = noise(2, 3, 32, 24), noise(2, 3, 32, 100)
    assert torch.equal(inferer(tiles, network), network.conv(tiles))
    assert [shape for _, shape, _ in network.seen] == [(2, 3, 32, 24)]
    assert torch.allclose(inferer(field, network), network.conv(field), atol=1e-6)
    assert {shape for _, shape, _ in network.seen[1:]} == {(4, 3, 32, 32)}


def test_rgb_is_normalised_where_mean_and_deviation_are_given(network):
    image = (255 * noise(1, 3, 40, 60).sigmoid()).round()
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
    small = LatticeInferer(tile_size=64, amp=False, normalise=True, mean=mean, std=std)
    assert small(image, network).shape == (1, 6, 40, 60)
    assert network.seen.pop()[1] == (1, 3, 64, 64)  # as slides show it to the network
    by_hand = (image / 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    found = LatticeInferer(tile_size=32, amp=False, normalise=True, mean=mean, std=std)(image, network)
    assert torch.allclose(found, network.conv(by_hand), atol=1e-5)
    network.mean, network.std = mean, std
    assert torch.equal(LatticeInferer(tile_size=32, amp=False, normalise=True)(image, network), found)
    for bad in ([0.5, 0.4], [0.5, 0.4, 0], 0.3, [0.5, float("nan"), 1], "none"):
        with pytest.raises(
            InputError, match=r"std is .*; give a finite number above 0 for each of red, green and blue"
        ):
            LatticeInferer(normalise=True, mean=mean, std=bad)(image, network)
    network.std = None
    with pytest.raises(InputError, match="states no mean and std of its images: give --mean and --std"):
        LatticeInferer(normalise=True, mean=mean)(image, network)


def test_each_pixel_is_predicted_by_the_tile_around_it(network):
    field = noise(1, 3, 50, 70)

    def marks_its_middle(tiles):
        marked = torch.zeros(len(tiles), 1, *tiles.shape[2:])
        marked[..., 4:-4, 4:-4] = 1
        return marked

    found = LatticeInferer(tile_size=32, overlap=0.25, amp=False)(field, marks_its_middle)
    assert (found[..., 4:-4, 4:-4] == 1).all()


def test_further_arguments_reach_the_network():
    image = noise(1, 3, 8, 8)
    assert torch.equal(
        LatticeInferer(amp=False)(image, lambda x, factor, plus: x * factor + plus, 2, plus=1), image * 2 + 1
    )
