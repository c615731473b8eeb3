import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from skimage.draw import disk

from monch_monai.baselines import CppNet, CppNetLoss, CppNetNucleid, CppNetTruthd
from monch_monai.baselines.cppnet.network import Refinement, proposals
from monch_monai.baselines.cppnet.nuclei import joined
from monch_monai.errors import InputError
from monch_monai.networks import initialise_weights
from monch_monai.predict import NaNError
from tests.fakes.labels import SEVERAL, some_classes
from tests.fakes.network import noise

DISCS = {1: ((30, 30), 12), 2: ((63, 52), 14), 3: ((80, 18), 11)}
CLASS_OF = np.array([0, 1, 3, 2])
SMALL = {"model": "resnet18", "widths": (32, 16, 8), "ray_channels": 8}


@pytest.fixture
def discs() -> np.ndarray:
    made = np.zeros((96, 80), np.int32)
    for number, (centre, radius) in DISCS.items():
        made[disk(centre, radius)] = number
    return made


def truth_of(instances: np.ndarray) -> torch.Tensor:
    """Class map, probability and distances, `[1, 34, H, W]`."""
    pytest.importorskip("stardist")
    made = CppNetTruthd("instances")({"instances": instances[None]})["instances"]
    return torch.cat([torch.from_numpy(CLASS_OF[instances])[None].float(), made])[None]


def perfect_maps(target: torch.Tensor) -> torch.Tensor:
    """The maps `[71, H, W]` that state what the target does."""
    centre = target[0, 1:2].clamp(1e-4, 1 - 1e-4).logit()
    classes = (target[0, :1] == torch.arange(6).reshape(6, 1, 1)) * 20.0
    return torch.cat([centre, target[0, 2:], target[0, 2:], classes])


def overlap(found: np.ndarray, true: np.ndarray) -> float:
    """Intersection over union of a nucleus and the found one that covers most of it."""
    same = found == np.bincount(found[true])[1:].argmax() + 1
    return float((same & true).sum() / (same | true).sum())


def test_it_has_as_many_parameters_as_published() -> None:
    with torch.device("meta"):
        network = CppNet()
    assert sum(p.numel() for p in network.parameters()) == 123_228_351


@torch.no_grad()
def test_its_maps_have_the_images_size_whatever_the_stain() -> None:
    network, image = CppNet(some_classes(4), **SMALL).eval(), torch.rand(2, 3, 32, 48)
    maps = network(image)
    assert maps.shape == (2, 1 + 32 + 32 + 4, 32, 48)
    assert float(maps[:, 33:65].min()) >= 0
    assert torch.allclose(network(image * 0.5 + 0.1), maps, atol=1e-3)
    with pytest.raises(InputError, match="takes images of multiples of 16 px; this is 40x32"):
        network(torch.rand(1, 3, 32, 40))


def test_polygons_of_true_distances_are_the_discs(discs: np.ndarray) -> None:
    made = CppNetNucleid("pred")({"pred": perfect_maps(truth_of(discs))})
    found = made["instance_map"][0].numpy()
    assert len(np.unique(found)) == 1 + len(DISCS)
    for number in DISCS:
        assert overlap(found, discs == number) >= 0.94
        assert set(made["pred"][0].numpy()[(discs == number) & (found > 0)]) == {CLASS_OF[number]}
    assert made["probs"].shape == (5, 96, 80)


def test_proposals_from_true_distances_are_off_by_half_a_pixel_at_most_on_average(discs: np.ndarray) -> None:
    distances = truth_of(discs)[:, 2:]
    proposed, _ = proposals(distances, distances)
    wrong = (proposed.unflatten(0, (1, 32))[0] - distances[0][:, None]).abs()[:, :, torch.from_numpy(discs > 0)]
    assert float(wrong.mean(dim=(0, 2)).max()) <= 0.5
    refined = Refinement()(distances, torch.zeros_like(distances))
    assert float((refined - distances).abs()[..., torch.from_numpy(discs > 0)].mean()) <= 0.5


def test_the_refinement_is_that_of_a_loop() -> None:
    torch.manual_seed(0)
    refinement = Refinement()
    distances, confidences = 1 + 5 * torch.rand(2, 32, 7, 9), noise(2, 32, 7, 9)
    with torch.no_grad():
        made = refinement(distances, confidences)
    weight, bias = refinement.weigh.weight[:, :, 0, 0].detach().numpy(), refinement.weigh.bias.detach().numpy()
    for b, k, y, x in ((0, 0, 0, 0), (1, 5, 3, 4), (0, 8, 6, 2), (1, 17, 2, 8), (0, 31, 5, 5)):
        d, c = distances[b, k].numpy(), confidences[b, k].numpy()
        lengths, trusts = [d[y, x]], [c[y, x]]
        for n in range(1, 7):
            gone = (d[y, x] - 1) * n / 6
            row = round(min(max(y + gone * math.sin(2 * math.pi * k / 32), 0), 6))
            column = round(min(max(x + gone * math.cos(2 * math.pi * k / 32), 0), 8))
            lengths.append(d[row, column] + gone)
            trusts.append(c[row, column])
        shares = np.exp(weight @ np.array(trusts) + bias)
        assert float(made[b, k, y, x]) == pytest.approx(shares @ np.array(lengths) / shares.sum(), rel=1e-4)


def by_hand(maps: np.ndarray, target: np.ndarray) -> float:
    """The loss by NumPy, of maps `[B, 71, H, W]`."""
    centre, coarse, refined, logits = maps[:, 0], maps[:, 1:33], maps[:, 33:65], maps[:, 65:]
    y, distances = target[:, 1], target[:, 2:]
    off = [(y[:, None] * np.abs(d - distances)).sum() / (32 * y.sum()) for d in (coarse, refined)]
    q = 1 / (1 + np.exp(-centre))
    bce = -(y * np.log(q) + (1 - y) * np.log(1 - q)).mean()
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = np.stack([target[:, 0] == c for c in range(6)], axis=1)
    ce = -np.log(p[truth.nonzero()]).mean()
    dice = [(2 * p[:, c][truth[:, c]].sum() + 1) / (p[:, c].sum() + truth[:, c].sum() + 1) for c in range(6)]
    return float(sum(off) + bce + ce + 1 - np.mean(dice))


def test_the_loss_is_that_written_by_hand(discs: np.ndarray) -> None:
    target = torch.cat([truth_of(discs), truth_of(np.ascontiguousarray(discs[::-1]))])
    maps = noise(2, 71, 96, 80)
    expected = by_hand(maps.numpy().astype(float), target.numpy())
    assert float(CppNetLoss()(maps, target)) == pytest.approx(expected, rel=1e-4)


def test_ignored_pixels_teach_nothing_and_those_of_several_classes_the_shape_alone(discs: np.ndarray) -> None:
    target = truth_of(discs)
    target[:, 0, :20] = 255
    there = (target[:, 0] == 1)[0]
    target[:, 0][there[None]] = 7.0  # any nucleus
    maps = noise(1, 71, 96, 80).requires_grad_()
    CppNetLoss(SEVERAL)(maps, target).backward()
    assert maps.grad is not None
    assert float(maps.grad[:, :, :20].abs().max()) == 0
    gradient = maps.grad[0][:, there]
    assert float(gradient[65:].abs().max()) == 0
    assert float(gradient[:65].abs().min()) > 0


def test_a_batch_without_nuclei_has_a_finite_loss() -> None:
    assert torch.isfinite(CppNetLoss()(noise(1, 71, 16, 16), torch.zeros(1, 34, 16, 16)))


def test_a_nucleus_mirrored_at_the_edge_is_two(discs: np.ndarray) -> None:
    mirrored = discs.copy()
    mirrored[disk((10, 60), 6)] = 1
    distances = truth_of(mirrored)[0, 2:]
    assert float(distances[:, 10, 60].max()) < 8


def test_a_polygon_over_background_is_left_out_and_pixels_beside_one_join_it(discs: np.ndarray) -> None:
    maps = perfect_maps(truth_of(discs))
    maps[65:, :, :][:, torch.from_numpy(discs == 2)] = torch.tensor([20.0, 0, 0, 0, 0, 0])[:, None]
    found = CppNetNucleid("pred")({"pred": maps})["instance_map"][0].numpy()
    assert not found[discs == 2].any()
    instances = np.where(disk_at((96, 80), (30, 30), 9), 4, 0).astype(np.int32)
    distances = truth_of(discs)[0, 2:].numpy()
    grown = joined(instances, discs > 0, distances)
    assert (grown[discs == 1] == 4).mean() > 0.99
    assert not grown[discs > 1].any()
    assert np.array_equal(grown[instances > 0], instances[instances > 0])


def disk_at(shape: tuple[int, int], centre: tuple[int, int], radius: float) -> np.ndarray:
    """Mask of a disc."""
    mask = np.zeros(shape, bool)
    mask[disk(centre, radius)] = True
    return mask


def test_nan_is_refused_and_no_nuclei_are_none() -> None:
    pytest.importorskip("stardist")
    maps = torch.zeros(71, 16, 16)
    maps[0] = -9
    assert not CppNetNucleid("pred")({"pred": maps})["instance_map"].any()
    with pytest.raises(NaNError, match="CPP-Net's maps"):
        CppNetNucleid("pred")({"pred": maps * torch.nan})


@pytest.mark.parametrize("own", [True, False])
def test_its_resnet_starts_from_a_file_of_torchvision_or_timm(own: bool, tmp_path: Path) -> None:
    published = timm.create_model("resnet18").state_dict()  # with its classifier
    if not own:  # as older files, which have no counters
        published = {name: value for name, value in published.items() if "num_batches" not in name}
    torch.save(published, tmp_path / "pytorch_model.bin")
    network = CppNet(**SMALL)
    origin = initialise_weights(network, str(tmp_path))
    assert (origin.kind, origin.source) == ("file", "pytorch_model.bin")
    assert torch.equal(network.trunk.layer4[1].conv2.weight, published["layer4.1.conv2.weight"])
    with pytest.raises(InputError, match=r"of another shape|missing"):
        initialise_weights(CppNet(**(SMALL | {"model": "resnet34"})), str(tmp_path))


def test_without_stardist_the_way_to_install_it_is_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for transform in (CppNetTruthd, CppNetNucleid):
        with pytest.raises(InputError, match="pip install stardist"):
            transform("pred")
