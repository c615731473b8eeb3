import pytest
import torch

from monch_monai.encoders import ClipResNet50
from monch_monai.networks import Monch
from tests.fakes.agreement import GRADIENTS, LOGITS, disagreement
from tests.fakes.network import noise, small_monch


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_network_agrees_with_itself_by_the_definitions(layout, seed):
    network, images = small_monch(seed).to(memory_format=layout), noise(2, 3, 160, 192, seed=seed)
    logits, gradients = disagreement(network, images.to(memory_format=layout), "auto")
    assert logits < LOGITS
    assert gradients < GRADIENTS


def test_in_float64_nothing_is_left_to_rounding():
    logits, gradients = disagreement(small_monch().double(), noise(2, 3, 160, 192, dtype=torch.float64), "auto")
    assert logits < 1e-5  # logits are interpolated in float32
    assert gradients < 1e-6


def test_the_real_network_agrees_with_itself_by_the_definitions():
    torch.manual_seed(0)
    logits, gradients = disagreement(Monch(ClipResNet50()), noise(1, 3, 256, 256), "auto")
    assert logits < LOGITS
    assert gradients < GRADIENTS
