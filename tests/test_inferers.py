import math

import pytest
import torch
from monai.data import MetaTensor
from monai.inferers import SimpleInferer, SlidingWindowInferer
from torch import nn

from monch_monai import inferers
from monch_monai.inferers import FieldInferer, MixedPrecisionInferer, ResolutionInferer, has_fast_bfloat16
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
    monkeypatch.setattr(inferers, "has_fast_bfloat16", lambda device: fast)
    answer = MixedPrecisionInferer(amp=amp)(noise(1, 3, 8, 8), network)
    assert network.seen == [(torch.Tensor, (1, 3, 8, 8), dtype)]
    assert answer.dtype == torch.float32


def test_mixed_precision_rounds_and_no_more(monkeypatch, network):
    image = noise(1, 3, 8, 8)
    monkeypatch.setattr(inferers, "has_fast_bfloat16", lambda device: True)
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


@pytest.mark.parametrize(
    ("mpp", "size", "at_network"),
    [
        (0.25, (40, 70), (40, 70)),
        (0.5, (40, 70), (80, 140)),
        (0.125, (40, 70), (20, 35)),
        (0.23, (63, 41), (58, 38)),
        (0.001, (40, 70), (1, 1)),
    ],
)
def test_the_network_sees_a_quarter_micrometre_a_pixel_and_the_answer_has_the_size_of_the_image(
    network, mpp, size, at_network
):
    answer = ResolutionInferer(SimpleInferer(), mpp=mpp)(noise(2, 3, *size), network)
    assert [shape for _, shape, _ in network.seen] == [(2, 3, *at_network)]
    assert answer.shape == (2, 6, *size)


def test_at_the_resolution_of_the_network_nothing_is_resampled(network):
    image = noise(1, 3, 40, 70)
    assert torch.equal(ResolutionInferer(SimpleInferer())(image, network), network(image))


@pytest.mark.parametrize("mpp", [0.5, 0.4, 0.125])
def test_a_smooth_image_comes_back_in_place(mpp):
    x = torch.arange(64) + 0.5
    image = (2 * math.pi * x / 64).sin().expand(1, 3, 48, 64) + (torch.arange(48) / 48)[:, None]
    answer = ResolutionInferer(SimpleInferer(), mpp=mpp)(image, lambda scaled: scaled)
    inner = (answer - image)[..., 4:-4, 4:-4]
    assert inner.abs().max() < 0.02


@pytest.mark.parametrize("mpp", [0, -0.25, math.nan, 40])
def test_a_resolution_that_is_none_is_refused(mpp):
    with pytest.raises(
        ValueError, match=rf"mpp is {mpp}; give µm per pixel, above 0 and up to 2 \(40x is about 0.25\)"
    ):
        ResolutionInferer(SimpleInferer(), mpp=mpp)


def test_tiles_run_whole_and_fields_through_windows(network):
    inferer = FieldInferer(roi_size=(16, 16), sw_batch_size=4, overlap=0.25, mode="gaussian")
    tiles, field = noise(2, 3, 16, 12), noise(1, 3, 16, 40)
    assert torch.equal(inferer(tiles, network), network.conv(tiles))
    assert [shape for _, shape, _ in network.seen] == [(2, 3, 16, 12)]
    assert torch.allclose(inferer(field, network), network.conv(field), atol=1e-6)
    assert {shape[2:] for _, shape, _ in network.seen[1:]} == {(16, 16)}
