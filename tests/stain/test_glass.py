import numpy as np
import pytest
import torch

from monch_monai.stain import RandGlassd
from monch_monai.stain.glass import glass


def tile():
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (3, 96, 64), generator=generator).float()
    labels = torch.randint(1, 6, (1, 96, 64), generator=generator, dtype=torch.uint8)
    return {"image": image, "label": labels, "instances": labels.int() * 7}


def changed(prob, seed=0, count=200):
    transform = RandGlassd(["image", "label", "instances"], prob=prob)
    transform.set_random_state(seed)
    return [transform(tile()) for _ in range(count)]


def test_a_tile_in_so_many_becomes_a_place_without_nuclei_and_the_others_stay():
    before = tile()
    items = changed(prob=0.25)
    emptied = [not item["label"].any() for item in items]
    assert 0.15 < np.mean(emptied) < 0.35
    for item, empty in zip(items, emptied, strict=True):
        same = [torch.equal(item[key], before[key]) for key in before]
        assert same == [not empty] * 3
        assert [(v.shape, v.dtype) for v in item.values()] == [(v.shape, v.dtype) for v in before.values()]
        assert 0 <= item["image"].min() <= item["image"].max() <= 255


@pytest.mark.parametrize(("prob", "emptied"), [(0.0, 0), (1.0, 20)])
def test_never_and_always_are_kept(prob, emptied):
    assert sum(not item["instances"].any() for item in changed(prob, count=20)) == emptied


def test_a_seed_repeats_the_pictures():
    once, again, other = (changed(prob=1.0, seed=seed, count=5) for seed in (3, 3, 4))
    assert all(torch.equal(a["image"], b["image"]) for a, b in zip(once, again, strict=True))
    assert not any(torch.equal(a["image"], b["image"]) for a, b in zip(once, other, strict=True))


def test_pictures_are_of_ink_of_every_hue_of_glass_and_of_stain():
    random = np.random.RandomState(0)
    pictures = np.stack([glass(64, 64, random) for _ in range(300)]).reshape(300, -1, 3).astype(float)
    spread = pictures.max(axis=2) - pictures.min(axis=2)
    hues = {int(picture[of.argmax()].argmax()) for picture, of in zip(pictures, spread, strict=True) if of.max() > 80}
    assert hues == {0, 1, 2}
    bare = (pictures.std(axis=1).max(axis=1) < 8) & (pictures.mean(axis=(1, 2)) > 180)
    dark = pictures.min(axis=(1, 2)) < 60
    assert 0.1 < bare.mean() < 0.5
    assert dark.mean() > 0.2
