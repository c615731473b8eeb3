import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose
from skimage.color import rgb_from_hed
from torch.testing import assert_close

from monch_monai.errors import InputError
from monch_monai.stain import RandStainJitterd
from monch_monai.stain.jitter import jitter_stain

SAME, NOTHING = torch.ones(3), torch.zeros(3)
STAINS = torch.as_tensor(rgb_from_hed, dtype=torch.float32)


def noise(seed=0, size=9):
    """Colours of 0 to 1 that 8 bits can hold, black and white among them."""
    image = torch.as_tensor(np.random.default_rng(seed).integers(0, 256, (3, size, size)) / 255, dtype=torch.float32)
    image[:, 0, 0], image[:, 0, 1] = 0, 1
    return image


def stained(amounts):
    """Image of one row whose pixels have the given amounts of haematoxylin, eosin and residual."""
    return torch.exp(-(torch.as_tensor(amounts, dtype=torch.float32) @ STAINS)).T[:, None]


def jittered(image, **settings):
    jitter = RandStainJitterd(["image"], **({"strength": 0.2, "prob": 1.0} | settings))
    jitter.set_random_state(seed=3)
    return jitter({"image": image})["image"]


AMOUNTS = [[0.4, 0.1, 0.0], [0.1, 0.5, 0.05], [0.0, 0.0, 0.0], [0.3, 0.3, 0.1]]


@pytest.mark.parametrize("scale", [(1.2, 1.0, 1.0), (1.0, 0.7, 1.0), (0.9, 1.1, 1.2)])
@pytest.mark.parametrize("shift", [(0.0, 0.0, 0.0), (0.02, 0.01, 0.005)])
def test_amounts_of_stain_are_multiplied_and_raised(scale, shift):
    expected = stained(torch.tensor(AMOUNTS) * torch.tensor(scale) + torch.tensor(shift))
    assert_close(jitter_stain(stained(AMOUNTS), torch.tensor(scale), torch.tensor(shift)), expected)


def test_nothing_changes_without_scale_and_shift():
    image = noise()
    assert_close(jitter_stain(image, SAME, NOTHING), image.clamp(min=1 / 255), atol=1e-5, rtol=0)


@pytest.mark.parametrize("scale", [(0.5, 0.5, 0.5), (1.5, 0.8, 1.2)])
def test_white_stays_white_where_nothing_is_added(scale):
    white = torch.ones(3, 4, 4)
    assert_close(jitter_stain(white, torch.tensor(scale), NOTHING), white)


def test_more_haematoxylin_darkens_where_there_is_haematoxylin():
    image = stained([[0.3, 0.2, 0.0], [0.0, 0.3, 0.0]])
    darker = jitter_stain(image, torch.tensor([1.4, 1.0, 1.0]), NOTHING)
    assert (darker[..., 0] < image[..., 0] - 0.01).all()
    assert_close(darker[..., 1], image[..., 1])


def test_more_haematoxylin_takes_away_more_red_than_blue():
    image = stained([[0.3, 0.0, 0.0]])
    red, _, blue = (image / jitter_stain(image, torch.tensor([1.4, 1.0, 1.0]), NOTHING)).flatten()
    assert red > blue > 1


@pytest.mark.parametrize("seed", range(4))
def test_values_stay_between_0_and_1(seed):
    scale, shift = torch.tensor([2.0, 0.1, 3.0]), torch.tensor([-0.5, 0.5, -0.5])
    changed = jitter_stain(noise(seed), scale, shift)
    assert changed.min() >= 0
    assert changed.max() <= 1


@pytest.mark.parametrize("factor", [2.0, torch.tensor([0.5, 1.5, 0.8])])
def test_optical_density_is_multiplied_after_the_stains(factor):
    scale, shift = torch.tensor([1.2, 0.9, 1.0]), torch.tensor([0.02, 0.0, 0.01])
    before = -jitter_stain(stained(AMOUNTS), scale, shift).log()
    after = -jitter_stain(stained(AMOUNTS), scale, shift, factor).log()
    assert_close(after, before * torch.as_tensor(factor).reshape(-1, 1, 1))


def test_density_of_each_channel_lies_in_its_range_and_channels_stay_near_each_other():
    image, jitter = stained(AMOUNTS[:1]), RandStainJitterd(["image"], strength=0, prob=1.0, density_range=(0.5, 4))
    jitter.set_random_state(seed=0)
    factors = torch.stack([jitter({"image": image})["image"].log() / image.log() for _ in range(2000)]).flatten(1)
    assert 0.5 <= factors.min() < 0.6
    assert 3.3 < factors.max() <= 4 + 1e-4
    assert_close(factors.log().mean().exp(), torch.tensor(2**0.5), atol=0.03, rtol=0)
    apart = factors.amax(dim=1) / factors.amin(dim=1)
    assert 1.5 < apart.max() <= 8**0.25 + 1e-4


def test_density_as_it_is_draws_no_numbers():
    """So that trainings without it stay, by their seed, what they were."""
    image = noise()
    jitter = RandStainJitterd(["image"], strength=0.2, prob=1.0).set_random_state(seed=3)
    changed = [jitter({"image": image})["image"] for _ in range(2)]
    random = np.random.RandomState(3)
    for one in changed:
        random.rand()  # whether
        scale, shift = (torch.as_tensor(random.uniform(-1, 1, 3) * 0.2, dtype=torch.float32) for _ in range(2))
        assert_close(one, jitter_stain(image, 1 + scale, shift / 10))


def test_a_range_of_density_that_is_none_is_refused():
    with pytest.raises(InputError, match=r"density_range is \(2, 1\); give two numbers above 0, the smaller first"):
        RandStainJitterd(["image"], density_range=(2, 1))


def test_strength_0_and_density_as_it_is_leave_the_very_image():
    image = noise()
    assert jittered(image, strength=0) is image


def test_probability_0_leaves_the_very_image():
    image = noise()
    assert jittered(image, prob=0.0) is image


def test_an_image_is_changed_and_the_given_one_is_not():
    image = noise()
    before = image.clone()
    assert (jittered(image) - image).abs().mean() > 0.005
    assert torch.equal(image, before)


def test_stronger_jitter_changes_more():
    image = noise()
    weak, strong = ((jittered(image, strength=s) - image).abs().mean() for s in (0.05, 0.4))
    assert weak < strong


def test_the_same_seed_gives_the_same_image_and_the_next_call_another():
    image = noise()
    jitter = RandStainJitterd(["image"], prob=1.0)
    series = []
    for _ in range(2):
        jitter.set_random_state(seed=5)
        series.append([jitter({"image": image})["image"] for _ in range(3)])
    assert all(torch.equal(one, other) for one, other in zip(*series, strict=True))
    assert not torch.equal(series[0][0], series[0][1])


def test_images_of_one_item_are_changed_alike_and_the_rest_is_left():
    image, label = noise(), torch.zeros(1, 9, 9)
    jitter = RandStainJitterd(["image", "again"], prob=1.0)
    item = jitter({"image": image, "again": image.clone(), "label": label})
    assert torch.equal(item["image"], item["again"])
    assert item["label"] is label


def test_jitter_happens_as_often_as_asked():
    image = noise(size=2)
    jitter = RandStainJitterd(["image"], prob=0.3)
    jitter.set_random_state(seed=0)
    changed = sum(jitter({"image": image})["image"] is not image for _ in range(1000))
    assert abs(changed - 300) < 4 * np.sqrt(1000 * 0.3 * 0.7)


def test_a_chain_of_transforms_keeps_the_kind_of_image_and_its_metadata():
    image = MetaTensor(noise(), meta={"filename_or_obj": "images.npy#3"})
    chain = Compose([RandStainJitterd(["image"], prob=1.0)]).set_random_state(seed=1)
    changed = chain({"image": image})["image"]
    assert type(changed) is MetaTensor
    assert (changed.dtype, changed.shape) == (torch.float32, image.shape)
    assert changed.meta["filename_or_obj"] == "images.npy#3"


def test_a_missing_image_is_refused_by_its_key():
    with pytest.raises(KeyError, match="image"):
        RandStainJitterd(["image"], prob=1.0)({"label": noise()})
