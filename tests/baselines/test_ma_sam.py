import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from monch_monai.baselines import MaSam, MaSamLoss
from monch_monai.baselines.ma_sam import SliceAdapter
from monch_monai.encoders import Sam
from tests.baselines.test_med_sa import count
from tests.fakes.labels import SEVERAL, some_classes
from tests.fakes.network import noise
from tests.fakes.sam import SIZES


def small(classes: int = 6) -> MaSam:
    """With a FacT that changes something."""
    torch.manual_seed(0)
    network = MaSam(some_classes(classes), image_size=64, hidden=16, rank=4, **SIZES)
    torch.nn.init.normal_(network.fact.v.weight)
    return network


def test_as_many_parameters_are_trained_as_published() -> None:
    with torch.device("meta"):
        network = MaSam(image_size=256)
        largest = MaSam(size="h")
    parts = network.adapters, network.fact, network.decoder.prompt, network.decoder
    assert [count(part) for part in parts] == [24_818_688, 73_728, 256, 4_304_654 + 256]
    assert count(network) == 24_818_688 + 73_728 + 4_304_654 + 256
    assert round(count(largest.adapters) / 1e6, 1) == 91.4


@torch.no_grad()
def test_a_block_is_timms_with_adapters_before_both_halves_and_fact_in_queries_and_values() -> None:
    network, plain = small().eval(), Sam("b", **SIZES).eval()
    plain.load_state_dict(network.encoder.state_dict())
    block, adapters, fact = plain.trunk.blocks[1], network.adapters[1], network.fact
    changed = block.attn.qkv.weight
    changed[:32] += fact.v.weight @ fact.queries[1].weight @ fact.u.weight
    changed[64:] += fact.v.weight @ fact.values[1].weight @ fact.u.weight
    tokens = noise(2, 4, 4, 32)
    first = tokens + adapters.attention(tokens)
    middle = first + block.attn(block.norm1(first))
    middle = middle + adapters.mlp(middle)
    expected = middle + block.mlp(block.norm2(middle))
    assert torch.allclose(network.encoder.trunk.blocks[1](tokens), expected, atol=1e-5)
    assert float((expected - first).abs().max()) > 0.1


@torch.no_grad()
def test_an_adapter_convolves_over_slices_of_which_there_is_one() -> None:
    adapter, tokens = SliceAdapter(8, 4), noise(2, 3, 5, 8)
    normed = F.layer_norm(tokens, (8,), adapter.norm.weight, adapter.norm.bias)
    down = (normed @ adapter.down.weight.T).permute(0, 3, 1, 2)[:, :, None]  # one slice
    convolved = F.conv3d(down, adapter.slices.weight[..., None], adapter.slices.bias, padding=(1, 0, 0))
    expected = F.gelu(convolved)[:, :, 0].permute(0, 2, 3, 1) @ adapter.up.weight.T
    assert torch.allclose(adapter(tokens), expected, atol=1e-6)


@torch.no_grad()
def test_dropout_acts_in_training_although_the_encoder_is_frozen() -> None:
    network, image = small(), noise(1, 3, 64, 64)
    assert not torch.equal(network(image), network(image))
    network.eval()
    assert torch.equal(network(image), network(image))


@torch.no_grad()
def test_maps_have_the_encoders_size_before_they_are_resized_and_copies_their_own_adapters() -> None:
    network = small(4).eval()
    image = noise(1, 3, 64, 64)
    maps = network(image)
    assert maps.shape == (1, 4, 64, 64)
    assert torch.equal(maps, network.decoder(network.encoder(image)[0])[0])
    copied = copy.deepcopy(network)
    for module in (network.adapters, network.fact):
        for parameter in module.parameters():
            parameter.add_(1)
    assert torch.equal(copied(image), maps)
    assert not torch.allclose(network(image), maps)


def by_hand(logits: np.ndarray, target: np.ndarray) -> float:
    exponentials = np.exp(logits)
    p = exponentials / exponentials.sum(axis=1, keepdims=True)
    known = target[:, 0] < 6
    b, y, x = np.nonzero(known)
    entropy = -np.log(p[b, target[b, 0, y, x], y, x]).mean()
    dice = []
    for c in range(6):
        truth, here = (target[:, 0] == c)[known], p[:, c][known]
        dice.append(1 - (2 * (truth * here).sum() + 1e-5) / ((here**2).sum() + truth.sum() + 1e-5))
    return 0.2 * float(entropy) + 0.8 * float(np.mean(dice))


@pytest.mark.parametrize("values", [3, 6, 8, 9])
def test_the_loss_is_cross_entropy_and_dice_of_all_classes(values: int) -> None:
    target = np.random.default_rng(values).integers(0, values, (2, 1, 7, 9))
    target[target == 8] = 255
    logits = noise(2, 6, 7, 9)
    found = MaSamLoss(SEVERAL if values > 6 else None)(logits, torch.from_numpy(target))
    assert float(found) == pytest.approx(by_hand(logits.double().numpy(), target), rel=1e-5)


def test_ignored_pixels_have_no_gradient() -> None:
    target = torch.randint(0, 6, (1, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    target[..., :4] = 255
    logits = noise(1, 6, 8, 8).requires_grad_()
    MaSamLoss()(logits, target).backward()
    assert logits.grad is not None
    assert float(logits.grad[..., :4].abs().max()) == 0
    assert float(logits.grad[..., 4:].abs().min()) > 0
