import pytest
import torch
import torch.nn.functional as F

from monch_monai.networks.head import TextHead
from tests.fakes.network import noise

PRIORS = (0.7, 0.2, 0.06, 0.04)


def head(skip_channels=(), text_dim=10, head_channels=8):
    torch.manual_seed(0)
    made = TextHead(12, skip_channels, text_dim, head_channels)
    made.prior[: len(PRIORS)] = torch.logit(torch.tensor(PRIORS))
    torch.nn.init.normal_(made.text.bias)
    return made


def test_convolution_is_the_grouped_one_of_equation_8():
    made, merged, text = head(), noise(3, 12, 9, 7), noise(4, 10, seed=1)
    visual = made.visual[0](made.enter(merged))  # [B, c, H, W]
    projected = F.linear(text, made.text.weight, made.text.bias) * made.text_scale  # [T, 9 c + 1]
    by_class = []
    for t in range(4):
        kernel = projected[t, :-1].reshape(1, 8, 3, 3).repeat(3, 1, 1, 1)  # one for each image
        bias = (projected[t, -1] + torch.logit(torch.tensor(PRIORS[t]))).repeat(3)
        grouped = F.conv2d(visual.reshape(1, 3 * 8, 9, 7), kernel, bias, padding=1, groups=3)
        by_class.append(grouped.reshape(3, 9, 7))
    assert (made(merged, [], text) - torch.stack(by_class, dim=1)).abs().max() < 1e-5


def test_without_words_logits_are_the_priors():
    made = head()
    torch.nn.init.zeros_(made.text.bias)
    probs = made(noise(2, 12, 5, 6), [], torch.zeros(4, 10)).sigmoid()
    assert (probs - torch.tensor(PRIORS)[:, None, None]).abs().max() < 1e-6


def test_each_class_follows_its_own_words_alone():
    made, merged, text = head(), noise(1, 12, 5, 6), noise(4, 10, seed=1)
    other = text.clone()
    other[2] = -other[2]
    moved = (made(merged, [], text) - made(merged, [], other)).abs().amax(dim=(0, 2, 3))
    assert moved[[0, 1, 3]].max() == 0
    assert moved[2] > 1e-2


def test_logits_have_the_resolution_of_the_finest_map():
    made = head(skip_channels=(5, 6))
    logits = made(noise(2, 12, 8, 12), [noise(2, 5, 16, 24), noise(2, 6, 8, 12)], noise(4, 10))
    assert logits.shape == (2, 4, 16, 24)


@pytest.mark.parametrize("index", [0, 1])
def test_every_finer_map_is_seen(index):
    made = head(skip_channels=(5, 6))
    merged, skips, text = noise(1, 12, 8, 12), [noise(1, 5, 16, 24), noise(1, 6, 8, 12)], noise(4, 10)
    changed = list(skips)
    changed[index] = noise(*skips[index].shape, seed=5)
    assert (made(merged, skips, text) - made(merged, changed, text)).abs().max() > 1e-2


def test_the_distance_map_comes_last_needs_no_words_and_is_folded_too():
    torch.manual_seed(0)
    made = TextHead(12, [], 10, 8, distance=True)
    merged, text = noise(1, 12, 5, 6), noise(4, 10, seed=1)
    maps, others = made(merged, [], text), made(merged, [], -text)
    assert maps.shape == (1, 5, 5, 6)
    assert torch.equal(maps[:, 4], others[:, 4])
    assert (maps[:, :4] - others[:, :4]).abs().amax(dim=(2, 3)).min() > 1e-2
    made.fold(text)
    torch.testing.assert_close(made(merged, [], text), maps)
