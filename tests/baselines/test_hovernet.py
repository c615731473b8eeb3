import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.networks.nets import HoVerNet
from monai.transforms import ComputeHoVerMaps
from skimage.draw import disk

from monch_monai.baselines import HoVerDistancesd, HoVerNetMaps, HoVerNetMapsLoss, HoVerNetNucleid
from monch_monai.baselines.hovernet import PREACT
from monch_monai.encoders.hub import download
from monch_monai.errors import InputError
from monch_monai.networks import initialise_weights
from tests.fakes.labels import SEVERAL, some_classes
from tests.fakes.network import noise
from tests.fakes.served import served

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


@pytest.fixture(scope="module")
def preact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as HoVer-Net's authors publish it: its names under `desc`, and beside them what the encoder has not."""
    names = {
        name: value for name, value in HoVerNet(mode="fast").state_dict().items() if name[:5] in ("conv0", "res_b")
    }
    published = {"conv_bot.weight": torch.zeros(1), "upsample2x.unpool_mat": torch.ones(2, 2)}
    for name, value in names.items():
        if name.endswith("num_batches_tracked"):
            continue
        place = re.fullmatch(r"res_blocks\.(d\d)\.layers\.denselayer_(\d+)\.layers\.(.*)", name)
        if place:
            published["{}.units.{}.{}".format(*place.groups())] = value
        else:
            name = name.replace("conv0.conv.", "conv0./.").replace(".bna_block.", ".blk_bna.")
            published[name.removeprefix("res_blocks.")] = value
    file = tmp_path_factory.mktemp("preact") / "ImageNet-ResNet50-Preact_pytorch.tar"
    torch.save({"desc": published}, file, _use_new_zipfile_serialization=False)  # as in 2020
    return file


def test_its_published_weights_are_loaded_as_monai_loads_them(preact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = HoVerNetMaps()
    before = network.hovernet.bottleneck.conv_bottleneck.weight.clone()
    origin = initialise_weights(network, str(preact))
    assert (origin.kind, origin.source) == ("file", preact.name)
    monkeypatch.setattr("monai.networks.nets.hovernet.download_url", lambda url, filepath, progress: None)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(preact.parent))
    (preact.parent / "preact-resnet50.pth").write_bytes(preact.read_bytes())
    theirs, mine = HoVerNet(mode="fast", pretrained_url="given").state_dict(), network.hovernet.state_dict()
    loaded = [n for n in mine if n[:5] in ("conv0", "res_b") and not n.endswith("num_batches_tracked")]
    assert len(loaded) > 200
    assert [name for name in loaded if not torch.equal(mine[name], theirs[name])] == []
    assert torch.equal(network.hovernet.bottleneck.conv_bottleneck.weight, before)


def test_its_published_weights_are_fetched_once_and_a_page_in_their_place_is_refused(
    preact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("time.sleep", waits.append)
    (tmp_path / "page").write_text("<html>Too large to scan for viruses</html>", encoding="utf-8")
    with served(tmp_path) as pages, served(preact.parent) as files:
        page, file = (replace(PREACT, url=f"{place}/{n}") for place, n in ((pages, "page"), (files, preact.name)))
        with pytest.raises(InputError, match=r"gave no file of PyTorch.*fetch http://.*/page, and give the file here"):
            download(page)
        fetched = download(file)
        assert fetched.read_bytes() == preact.read_bytes()
    assert download(file) == fetched  # with no server
    fetched.unlink()
    with pytest.raises(InputError, match=r"could not be fetched .*refused.*or fetch http.* and lay it in .*monch"):
        download(file)
    assert waits == [1, 2]
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        InputError, match=r"encoder_weights: .* is not cached and HF_HUB_OFFLINE is set: .*weights none"
    ):
        initialise_weights(HoVerNetMaps(), "published")
