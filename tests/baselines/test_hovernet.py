import numpy as np
import pytest
import torch
from monai.transforms import ComputeHoVerMaps
from skimage.draw import disk

from monch_monai.baselines import HoVerNetMapsLoss, HoVerNetNucleid
from tests.fakes.network import noise

CENTRES = {1: (20, 20), 2: (20, 37), 3: (48, 40)}
"""Of three nuclei of radius 9, of which the first two touch."""
CLASS_OF = np.array([0, 1, 3, 2])


@pytest.fixture
def instance_map() -> np.ndarray:
    made = np.zeros((64, 64), np.int32)
    for number, centre in CENTRES.items():
        made[disk(centre, 9)] = number
    return made


def target_of(instance_map: np.ndarray) -> torch.Tensor:
    """Class map and distances, `[1, 3, H, W]`."""
    distances = torch.as_tensor(ComputeHoVerMaps()(instance_map[None]))
    return torch.cat([torch.from_numpy(CLASS_OF[instance_map])[None].float(), distances])[None]


def perfect_maps(target: torch.Tensor) -> torch.Tensor:
    """The maps `[1, 10, H, W]` that say what the target does."""
    classes = target[:, :1]
    nucleus = torch.cat([classes == 0, classes > 0], dim=1) * 20.0
    types = (classes == torch.arange(6).reshape(1, 6, 1, 1)) * 20.0
    return torch.cat([nucleus, target[:, 1:], types], dim=1)


def test_perfect_maps_cost_nothing_and_others_do(instance_map: np.ndarray) -> None:
    target = target_of(instance_map)
    loss, maps = HoVerNetMapsLoss(), perfect_maps(target)
    # A class that the tile lacks costs MONAI's soft Dice nearly 1 each: classes 4 and 5 here.
    least = float(loss(maps, target))
    for branch in (slice(0, 2), slice(2, 4), slice(4, 10)):
        wrong = maps.clone()
        wrong[:, branch] = -wrong[:, branch]
        assert float(loss(wrong, target)) > least + 0.1


def test_ignored_pixels_teach_nothing(instance_map: np.ndarray) -> None:
    target = target_of(instance_map)
    target[:, 0, 30:40] = 255
    maps = noise(1, 10, 64, 64).requires_grad_()
    HoVerNetMapsLoss()(maps, target).backward()
    assert maps.grad is not None
    assert float(maps.grad[:, :, 30:40].abs().max()) == 0
    assert float(maps.grad[:, :, :30].abs().min(dim=1).values.max()) > 0


def test_nuclei_that_touch_come_apart_with_their_classes(instance_map: np.ndarray) -> None:
    made = HoVerNetNucleid("pred")({"pred": perfect_maps(target_of(instance_map))[0]})
    found, classes = made["instance_map"][0].numpy(), made["pred"][0].numpy()
    assert made["probs"].shape == (5, 64, 64)
    assert len(np.unique(found)) == 4
    for number, centre in CENTRES.items():
        place = found == found[centre]
        truth = instance_map == number
        assert (place & truth).sum() / (place | truth).sum() > 0.8
        assert set(np.unique(classes[place])) == {CLASS_OF[number]}
    assert ((found > 0) == (classes > 0)).all()


def test_an_image_without_a_nucleus_has_none() -> None:
    maps = perfect_maps(torch.zeros(1, 3, 64, 64))[0]
    maps[2:4] = noise(2, 64, 64)  # MONAI takes no flat ones, and no network makes them
    made = HoVerNetNucleid("pred")({"pred": maps})
    assert int(made["instance_map"].max()) == int(made["pred"].max()) == 0
