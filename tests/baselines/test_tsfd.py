import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter
from skimage.draw import disk
from skimage.segmentation import find_boundaries

from monch_monai.baselines import TsfdLoss, TsfdNet, TsfdNucleid, TsfdTruthd
from monch_monai.errors import InputError
from monch_monai.predict import NaNError
from monch_monai.tissues import TISSUES
from tests.fakes.labels import SEVERAL, some_classes
from tests.fakes.network import noise


@pytest.fixture(scope="module")
def network() -> TsfdNet:
    return TsfdNet().eval()


def touching() -> np.ndarray:
    """Two nuclei of radius 9 that touch, and a third at the edge."""
    made = np.zeros((64, 64), np.int32)
    for number, centre in {1: (20, 20), 2: (20, 38), 3: (50, 4)}.items():
        made[disk(centre, 9, shape=made.shape)] = number
    return made


def truth_of(instances: np.ndarray, tissue: str = "Colon") -> torch.Tensor:
    """Class map, boundary and tissue, `[1, 3, H, W]`."""
    made = TsfdTruthd("instances")({"instances": instances[None], "tissue": tissue})["instances"]
    classes = torch.from_numpy(np.array([0, 1, 3, 2])[instances]).float()
    return torch.cat([classes[None], made])[None]


def test_it_has_as_many_parameters_as_published(network: TsfdNet) -> None:
    assert sum(p.numel() for p in network.parameters()) == 21_959_455
    assert sum(b.numel() for name, b in network.named_buffers() if "running" in name) == 170_640


@torch.no_grad()
def test_its_maps_have_the_images_size_and_one_tissue_an_image(network: TsfdNet) -> None:
    maps = network(torch.rand(2, 3, 32, 48))
    assert maps.shape == (2, 6 + 1 + 19, 32, 48)
    assert torch.equal(maps[:, 7:], maps[:, 7:, :1, :1].expand(-1, -1, 32, 48))
    assert not torch.equal(maps[0, 7:], maps[1, 7:])


def test_other_sizes_are_refused(network: TsfdNet) -> None:
    with pytest.raises(InputError, match="takes images of multiples of 16 px; this is 72x64"):
        network(torch.rand(1, 3, 64, 72))


def test_stains_are_amounts_by_ruifroks_vectors_stretched_and_inverted(network: TsfdNet) -> None:
    image = torch.rand(2, 3, 8, 9)
    h, e = (np.array(v) / np.linalg.norm(v) for v in ((0.65, 0.70, 0.29), (0.07, 0.99, 0.11)))
    third = np.cross(h, e) / np.linalg.norm(np.cross(h, e))
    for colours, made in zip(image.numpy().astype(float), network.stains(image).numpy(), strict=True):
        density = -np.log(np.maximum(colours, 1 / 255)).reshape(3, -1)
        amounts = np.linalg.solve(np.stack([h, e, third]).T, density).reshape(
            3, 8, 9
        )  # density = sum of amount x stain
        for amount, channel in zip(amounts, made, strict=True):
            assert np.allclose(channel, (amount.max() - amount) / np.ptp(amount), atol=1e-4)


def test_the_truth_has_thick_borders_the_tiles_edge_and_the_tissue() -> None:
    instances = touching()
    target = truth_of(instances)[0]
    borders = find_boundaries(instances, mode="inner") | find_boundaries(instances, mode="outer")
    assert torch.equal(target[1, 2:-2, 2:-2].bool(), torch.from_numpy(borders[2:-2, 2:-2]))
    assert target[1, 46:54, :2].all()  # inside the nucleus, at the edge
    assert not target[1, 20, 20]
    assert target[2].unique().tolist() == [TISSUES.index("Colon")]
    assert truth_of(instances, "Placenta")[0, 2].unique().tolist() == [255]


def by_hand(maps: np.ndarray, target: np.ndarray) -> float:
    """The loss by NumPy, of maps `[B, 26, H, W]`."""
    logits, b = maps[:, :6], 1 / (1 + np.exp(-maps[:, 6]))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = np.stack([target[:, 0] == c for c in range(6)], axis=1).astype(float)

    def focal_tversky(p: np.ndarray, y: np.ndarray) -> float:
        hit, missed, wrong = (p * y).sum(), ((1 - p) * y).sum(), (p * (1 - y)).sum()
        return (1 - (hit + 1) / (hit + 0.7 * missed + 0.3 * wrong + 1)) ** 0.75

    ones = np.ones(truth.shape[2:])
    shares = uniform_filter(ones, 11, mode="constant")
    around = np.stack([[uniform_filter(m, 11, mode="constant") / shares for m in maps_] for maps_ in truth])
    weights = 1 + 2.0 * ((around > 1e-9) & (around < 1 - 1e-9))
    weights /= weights.mean()
    bce = -(weights * (truth * np.log(p) + (1 - truth) * np.log(1 - p))).mean()
    dice = [
        1 - (2 * (weights * p * truth)[:, c].sum() + 1) / ((weights * (p + truth))[:, c].sum() + 1) for c in range(6)
    ]
    of_classes = np.mean([focal_tversky(p[:, c], truth[:, c]) for c in range(6)]) + 0.4 * (bce + np.mean(dice))
    y = target[:, 1]
    focal = -np.where(y > 0, 0.25 * (1 - b) ** 2 * np.log(b), 0.75 * b**2 * np.log(1 - b)).mean()
    of_boundary = focal_tversky(b, y) + 0.4 * focal
    tissue = [np.exp(m[7:, 0, 0]) / np.exp(m[7:, 0, 0]).sum() for m in maps]
    q = np.array([share[int(t[2, 0, 0])] for share, t in zip(tissue, target, strict=True) if t[2, 0, 0] != 255])
    return float(of_classes + of_boundary - (0.3 * (1 - q) ** 5 * np.log(q)).mean())


def test_the_loss_is_that_written_by_hand() -> None:
    maps = noise(3, 26, 64, 64)
    maps[:, 7:] = maps[:, 7:, :1, :1]
    target = torch.cat([truth_of(touching(), tissue) for tissue in ("Colon", "Placenta", "Liver")])
    target[1, :2] = target[1, :2].flip(-1)
    expected = by_hand(maps.numpy().astype(float), target.numpy())
    assert float(TsfdLoss()(maps, target)) == pytest.approx(expected, rel=1e-4)


def test_ignored_pixels_and_unknown_tissues_teach_nothing() -> None:
    target = truth_of(touching(), "Placenta")
    target[:, 0, 30:40] = 255
    maps = noise(1, 26, 64, 64).requires_grad_()
    TsfdLoss()(maps, target).backward()
    assert maps.grad is not None
    assert float(maps.grad[:, :7, 30:40].abs().max()) == 0
    assert float(maps.grad[:, 7:].abs().max()) == 0
    assert float(maps.grad[:, :7, :30].abs().min(dim=1).values.max()) > 0


def test_pixels_of_several_classes_teach_the_boundary_alone() -> None:
    target = truth_of(touching())
    several = target[:, 0] > 0
    target[:, 0][several] = 7.0  # any nucleus
    maps = noise(1, 26, 64, 64).requires_grad_()
    TsfdLoss(SEVERAL)(maps, target).backward()
    assert maps.grad is not None
    gradient = maps.grad[0][:, several[0]]
    assert float(gradient[:6].abs().max()) == 0
    assert float(gradient[6].abs().min()) > 0


def perfect_maps(target: torch.Tensor) -> torch.Tensor:
    """Maps `[26, H, W]` that state the target's classes and boundary."""
    classes = (target[0, :1] == torch.arange(6).reshape(6, 1, 1)) * 20.0
    return torch.cat([classes, target[0, 1:2] * 20 - 10, torch.zeros(19, 64, 64)])


def test_nuclei_that_touch_are_separated_by_their_boundary_and_small_pieces_left_out() -> None:
    instances = touching()
    target = truth_of(np.where(instances == 2, 1, instances))
    target[:, 1] = truth_of(instances)[:, 1]
    target[:, 0, 55:59, 55:60] = 2  # 20 px
    made = TsfdNucleid("pred")({"pred": perfect_maps(target)})
    found = made["instance_map"][0].numpy()
    assert len(np.unique(found[found > 0])) == 3
    for number in (1, 2, 3):
        here = instances == number
        same = found == np.bincount(found[here]).argmax()
        assert (here & same).sum() / (here | same).sum() > 0.8
        assert set(made["pred"][0].numpy()[here & same]) == {2 if number == 3 else 1}
    assert not found[55:59, 55:60].any()
    assert made["probs"].shape == (5, 64, 64)


def test_a_piece_has_its_commonest_class() -> None:
    target = truth_of((touching() == 1).astype(np.int32))
    target[0, 0, 15:20, 15:20] = 3
    target[0, 1] = 0
    made = TsfdNucleid("pred")({"pred": perfect_maps(target)})
    assert made["pred"].unique().tolist() == [0, 1]


def test_nan_is_refused_and_no_nuclei_are_none() -> None:
    empty = TsfdNucleid("pred")({"pred": perfect_maps(truth_of(np.zeros((64, 64), np.int32)))})
    assert not empty["instance_map"].any()
    with pytest.raises(NaNError, match="TSFD-Net's maps: 26 of 26 logits are NaN"):
        TsfdNucleid("pred")({"pred": torch.full((26, 1, 1), torch.nan)})


@torch.no_grad()
def test_another_class_table_has_maps_of_its_classes() -> None:
    maps = TsfdNet(some_classes(4)).eval()(torch.rand(1, 3, 32, 32))
    assert maps.shape[1] == 4 + 1 + 19
    assert TsfdNucleid("pred")({"pred": maps[0]})["probs"].shape == (3, 32, 32)
