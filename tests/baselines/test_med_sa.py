import numpy as np
import pytest
import torch

from monch_monai.baselines import MedSa, MedSaLoss
from monch_monai.encoders import Sam
from monch_monai.predict import ClassMapd
from tests.fakes.labels import SEVERAL, some_classes
from tests.fakes.network import noise
from tests.fakes.sam import SIZES


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def small(classes: int = 6) -> MedSa:
    torch.manual_seed(0)
    return MedSa(some_classes(classes), image_size=64, **SIZES)


def test_as_many_parameters_are_trained_as_published() -> None:
    with torch.device("meta"):
        network = MedSa(image_size=256)
    assert (count(network.adapters), count(network.decoder)) == (7_100_928, 4_198_661)
    assert count(network) == 7_100_928 + 4_198_661


@torch.no_grad()
def test_a_block_is_timms_with_an_adapter_after_attention_and_half_of_one_beside_the_mlp() -> None:
    network, plain = small(), Sam("b", **SIZES)
    plain.load_state_dict(network.encoder.state_dict())
    block, adapters = plain.trunk.blocks[1], network.adapters[1]  # without windows
    tokens = noise(2, 4, 4, 32)

    def adapted(adapter: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
        down, _, up = adapter
        return torch.nn.functional.gelu(x @ down.weight.T + down.bias) @ up.weight.T + up.bias

    attended = block.attn(block.norm1(tokens))
    middle = tokens + attended + adapted(adapters.attention, attended)
    normed = block.norm2(middle)
    expected = middle + block.mlp(normed) + adapted(adapters.mlp, normed) / 2
    assert torch.allclose(network.encoder.trunk.blocks[1](tokens), expected, atol=1e-5)
    assert adapters.attention[0].out_features == 8  # a quarter


@pytest.mark.parametrize("classes", [2, 3, 6, 9])
@torch.no_grad()
def test_a_pixel_is_background_where_no_class_exceeds_one_half_else_of_the_largest(classes: int) -> None:
    network = small(classes).eval()
    assert len(network.decoder.hypernetworks) == max(4, classes - 1)
    logits = network(noise(1, 3, 64, 64))[0]
    assert logits.shape == (classes, 64, 64)
    logits -= logits[1:].median()
    logits[0] = -logits[1:].amax(dim=0)
    found = ClassMapd("pred", probs_key="probs")({"pred": logits})
    p = 1 / (1 + np.exp(-logits[1:].double().numpy()))
    expected = np.where(p.max(axis=0) > 0.5, p.argmax(axis=0) + 1, 0)
    assert np.array_equal(found["pred"][0].numpy(), expected)
    assert {0, 1} <= set(np.unique(expected))
    assert np.allclose(found["probs"].numpy(), p, atol=1e-3)


@torch.no_grad()
def test_the_backgrounds_map_is_the_negative_of_the_largest_other() -> None:
    logits = small().eval()(noise(2, 3, 64, 64))
    assert torch.equal(logits[:, 0], -logits[:, 1:].amax(dim=1))


def by_hand(logits: np.ndarray, target: np.ndarray) -> float:
    """Pixel by pixel and map by map."""
    terms = []
    sets = {5 + 1 + n: members for n, members in enumerate(SEVERAL.several)}
    for (b, y, x), value in np.ndenumerate(target[:, 0]):
        for c in range(1, 6):
            if value == 255 or c in sets.get(value, ()):
                continue
            p = 1 / (1 + np.exp(-logits[b, c, y, x]))
            terms.append(-2 * np.log(p) if value == c else -np.log(1 - p))
    return float(np.mean(terms))


@pytest.mark.parametrize("values", [6, 8, 9])
def test_the_loss_is_that_of_each_pixel_and_class(values: int) -> None:
    rng = np.random.default_rng(values)
    target = rng.integers(0, values, (2, 1, 7, 9))
    target[target == 8] = 255
    logits = noise(2, 6, 7, 9, dtype=torch.float64)
    found = MedSaLoss(SEVERAL if values > 6 else None)(logits, torch.from_numpy(target))
    assert float(found) == pytest.approx(by_hand(logits.numpy(), target), rel=1e-9)
    plain = torch.nn.functional.binary_cross_entropy_with_logits
    if values == 6:
        truth = torch.from_numpy(target == np.arange(1, 6).reshape(1, 5, 1, 1)).double()
        assert float(found) == pytest.approx(float(plain(logits[:, 1:], truth, pos_weight=torch.tensor(2.0))))


def test_ignored_pixels_alone_have_loss_zero_and_no_gradient() -> None:
    logits = noise(1, 6, 4, 4).requires_grad_()
    loss = MedSaLoss()(logits, torch.full((1, 1, 4, 4), 255))
    loss.backward()
    assert float(loss.detach()) == 0
    assert logits.grad is not None
    assert float(logits.grad.abs().max()) == 0
