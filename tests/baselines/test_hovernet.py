import numpy as np
import pytest
import torch
from monai.transforms import ComputeHoVerMaps
from skimage.draw import disk

from monch_monai.baselines import HoVerDistancesd, HoVerNetMaps, HoVerNetMapsLoss, HoVerNetNucleid
from monch_monai.errors import InputError
from tests.fakes.labels import SEVERAL, some_classes
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


def distances_of(instance_map: np.ndarray) -> np.ndarray:
    return HoVerDistancesd("instances")({"instances": instance_map[None]})["instances"].numpy()


def target_of(instance_map: np.ndarray) -> torch.Tensor:
    """Class map and distances, `[1, 3, H, W]`."""
    distances = torch.from_numpy(distances_of(instance_map))
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
    least = float(loss(maps, target))
    # MONAI's Dice of a batch sums over classes; the two that the tile lacks cost their smoothing alone.
    assert least < 0.05
    for branch in (slice(0, 2), slice(2, 4), slice(4, 10)):
        wrong = maps.clone()
        wrong[:, branch] = -wrong[:, branch]
        assert float(loss(wrong, target)) > least + 0.1


def test_a_nucleus_mirrored_at_the_edge_has_two_centres(instance_map: np.ndarray) -> None:
    mirrored = instance_map.copy()
    mirrored[disk((10, 54), 5)] = 3
    distances = distances_of(mirrored)
    for centre, radius in ((CENTRES[3], 9), ((10, 54), 5)):
        here = np.zeros_like(mirrored, dtype=bool)
        here[disk(centre, radius)] = True
        alone = ComputeHoVerMaps()(here[None].astype(np.int32))
        assert np.allclose(distances[:, here], alone[:, here])


def test_other_tiles_are_refused() -> None:
    with pytest.raises(InputError, match="takes tiles of 256x256 px and larger images; these are 96x64"):
        HoVerNetMaps()(noise(1, 3, 64, 96))


def test_ignored_pixels_teach_nothing(instance_map: np.ndarray) -> None:
    target = target_of(instance_map)
    target[:, 0, 30:40] = 255
    maps = noise(1, 10, 64, 64).requires_grad_()
    HoVerNetMapsLoss()(maps, target).backward()
    assert maps.grad is not None
    assert float(maps.grad[:, :, 30:40].abs().max()) == 0
    assert float(maps.grad[:, :, :30].abs().min(dim=1).values.max()) > 0


def test_pixels_of_several_classes_teach_that_there_is_a_nucleus_and_not_which(instance_map: np.ndarray) -> None:
    target = target_of(instance_map)
    there = target[:, 0] > 0
    target[:, 0][there] = torch.where(target[:, 0][there] == 3, 6.0, 7.0)  # neoplastic or epithelial; any
    maps = noise(1, 10, 64, 64).requires_grad_()
    HoVerNetMapsLoss(SEVERAL)(maps, target).backward()
    assert maps.grad is not None
    gradient = maps.grad[0][:, there[0]]
    assert float(gradient[4:].abs().max()) == 0
    assert float(gradient[:2].abs().min()) > 0
    assert float(gradient[1].max()) < 0  # more of a nucleus costs less
    assert float(gradient[2:4].abs().min(dim=1).values.max()) > 0


def test_a_value_beyond_the_labels_is_refused(instance_map: np.ndarray) -> None:
    target = target_of(instance_map)
    target[:, 0, 0, 0] = 7
    HoVerNetMapsLoss(SEVERAL)(noise(1, 10, 64, 64), target)
    with pytest.raises(ValueError, match="7"):
        HoVerNetMapsLoss()(noise(1, 10, 64, 64), target)


def test_another_class_table_has_maps_of_its_classes() -> None:
    network = HoVerNetMaps(some_classes(4)).eval()
    with torch.no_grad():
        maps = network(noise(1, 3, 256, 256))
    assert maps.shape == (1, 4 + 4, 256, 256)
    made = HoVerNetNucleid("pred")({"pred": maps[0]})
    assert made["probs"].shape == (3, 256, 256)
    assert int(made["pred"].max()) <= 3


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
