import math
from collections import Counter

import numpy as np
import pytest
import torch

from monch_monai.class_table import PANNUKE
from monch_monai.data import (
    Fold,
    SeveralTiles,
    Tile,
    TileLabels,
    Tiles,
    evaluated_at_once,
    tile_sampler,
    write_tiles,
)  # fmt: skip
from monch_monai.data.sampling import balance
from monch_monai.errors import InputError

HAS = np.array([
    [1, 1, 0, 0, 0],
    [1, 0, 0, 0, 0],
    [1, 0, 1, 0, 0],
    [0, 0, 0, 0, 0],
    [1, 0, 0, 1, 0],
    [0, 0, 0, 0, 0],
], bool)  # fmt: skip
TISSUES = ["Breast", "Breast", "Breast", "Breast", "Colon", "Liver"]


def made_tile(classes_there, tissue):
    classes, instances = np.zeros((8, 8), np.uint8), np.zeros((8, 8), np.uint16)
    for c in np.flatnonzero(classes_there):
        classes[c], instances[c] = c + 1, c + 1
    return Tile(np.zeros((8, 8, 3), np.uint8), classes, instances, tissue, "made")


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sampling") / "dataset"
    made = [made_tile(*pair) for pair in zip(HAS, TISSUES, strict=True)]
    folds = {"one": Fold(4, lambda start: made[start:4], 8), "two": Fold(2, lambda start: made[4 + start :], 8)}
    write_tiles(folder, folds, {})
    return Tiles(folder)


def sampler_of(tiles, folds, strength, weights=None):
    return tile_sampler(tiles, folds, strength, TileLabels(tiles, PANNUKE), weights)


@pytest.mark.parametrize("strength", [0, 0.25, 1])
def test_weights_have_mean_1(strength):
    assert balance(HAS, TISSUES, strength).mean() == pytest.approx(1, abs=1e-12)


def test_without_strength_all_weights_are_equal():
    assert balance(HAS, TISSUES, 0).tolist() == [1] * 6


def test_weights_are_those_of_the_formula():
    breast, colon, liver = 6 / (3 * 4), 6 / 3, 6 / 3
    neoplastic, inflammatory, connective, dead, none = 6 / (5 * 4), 6 / 5, 6 / 5, 6 / 5, 6 / (5 * 2)
    expected = [
        (breast + neoplastic + inflammatory) / 2,
        (breast + neoplastic) / 2,
        (breast + neoplastic + connective) / 2,
        (breast + none) / 2,
        (colon + neoplastic + dead) / 2,
        (liver + none) / 2,
    ]
    assert balance(HAS, TISSUES, 1) == pytest.approx(expected)
    assert balance(HAS, TISSUES, 0.3) == pytest.approx(0.7 + 0.3 * np.array(expected))


def test_at_full_strength_tissues_of_the_same_classes_are_drawn_half_equally():
    """Half of the weight is the tissues' in equal parts, the other half is spread over tiles that are alike."""
    weights = balance(np.ones((10, 5), bool), ["Breast"] * 9 + ["Uterus"], 1)
    assert weights[:9].sum() / 10 == pytest.approx(0.5 * 0.5 + 0.5 * 0.9)
    assert weights[9] / 10 == pytest.approx(0.5 * 0.5 + 0.5 * 0.1)


def test_at_full_strength_classes_of_one_tissue_are_drawn_half_equally():
    has_class = np.zeros((10, 5), bool)
    has_class[:9, 0] = has_class[9, 3] = True
    weights = balance(has_class, ["Breast"] * 10, 1)
    assert weights[:9].sum() / 10 == pytest.approx(0.5 * 0.5 + 0.5 * 0.9)
    assert weights[9] / 10 == pytest.approx(0.5 * 0.5 + 0.5 * 0.1)


def test_empty_tiles_count_as_a_class_of_their_own():
    has_class = np.zeros((4, 5), bool)
    has_class[:3, 0] = True
    assert balance(has_class, ["Breast"] * 4, 1) == pytest.approx([5 / 6, 5 / 6, 5 / 6, 1.5])


def test_tiles_without_any_nucleus_are_drawn_alike():
    assert balance(np.zeros((4, 5), bool), ["Breast"] * 4, 1) == pytest.approx([1] * 4)


def test_a_stronger_setting_draws_the_rarest_class_more_often():
    weights = [balance(HAS, TISSUES, strength)[4] for strength in (0, 0.25, 0.5, 0.75, 1)]
    assert weights == sorted(weights)
    assert weights[0] < weights[-1]


def test_without_strength_each_tile_is_drawn_once(tiles):
    sampler = sampler_of(tiles, ["one", "two"], 0)
    orders = [list(sampler) for _ in range(5)]
    assert all(sorted(order) == list(range(6)) for order in orders)
    assert len({tuple(order) for order in orders}) > 1


@pytest.mark.parametrize("strength", [0.5, 1])
def test_tiles_are_drawn_as_often_as_their_weights_say(tiles, strength):
    torch.manual_seed(0)
    sampler = sampler_of(tiles, ["one", "two"], strength)
    epochs = 3000
    drawn = Counter(i for _ in range(epochs) for i in sampler)
    expected = balance(HAS, TISSUES, strength) / 6
    shares = np.array([drawn[i] for i in range(6)]) / (6 * epochs)
    deviation = np.sqrt(expected * (1 - expected) / (6 * epochs))
    assert np.all(np.abs(shares - expected) < 4 * deviation)


def test_tiles_are_numbered_through_the_folds_in_the_order_given(tiles):
    torch.manual_seed(0)
    drawn = Counter(i for _ in range(500) for i in sampler_of(tiles, ["two", "one"], 1))
    assert drawn.most_common(1)[0][0] == 0


@pytest.mark.parametrize("strength", [0, 0.5])
def test_an_epoch_has_as_many_draws_as_tiles(tiles, strength):
    sampler = sampler_of(tiles, ["one"], strength)
    assert len(sampler) == len(list(sampler)) == 4


@pytest.mark.parametrize("strength", [0, 0.5])
def test_the_same_seed_gives_the_same_draws_and_another_seed_others(tiles, strength):
    def draws(seed):
        torch.manual_seed(seed)
        sampler = sampler_of(tiles, ["one", "two"], strength)
        return [list(sampler) for _ in range(4)]

    assert draws(1) == draws(1)
    assert draws(1) != draws(2)


def test_the_log_says_how_much_more_often_each_class_is_drawn(tiles, caplog):
    caplog.set_level("INFO")
    sampler_of(tiles, ["one", "two"], 1)
    share = balance(HAS, TISSUES, 1)[4] / 6
    assert len(caplog.records) == len(PANNUKE.nuclei)
    assert f"sampling strength 1: tiles with dead 16.7 %, drawn {100 * share:.1f} %" in caplog.messages
    assert "sampling strength 1: tiles with epithelial 0.0 %, drawn 0.0 %" in caplog.messages


@pytest.mark.parametrize("strength", [-0.01, 1.01, float("nan"), float("inf"), True, "0.5", None])
def test_a_strength_outside_0_to_1_is_refused(tiles, strength):
    with pytest.raises(InputError, match=r"sampling_strength is .*; give a number from 0"):
        sampler_of(tiles, ["one"], strength)


def test_datasets_have_the_shares_of_an_epoch_that_they_are_given(tiles, tmp_path):
    made = [made_tile(HAS[0], "Skin")] * 3
    write_tiles(tmp_path / "other", {"one": Fold(3, lambda start: made[start:], 8)}, {})
    several = SeveralTiles([tiles, Tiles(tmp_path / "other")])
    folds = ["dataset/one", "dataset/two", "other/one"]
    weights = list(sampler_of(several, folds, 0.5, [3, 1]).weights)
    assert sum(weights) == pytest.approx(9)
    assert sum(weights[6:]) == pytest.approx(9 / 4)
    assert list(sampler_of(several, folds, 0, [2, 1]).weights) == pytest.approx([1] * 9)
    for wrong in ([1], [1, 0], [1, "a"], 2, [1, math.inf]):
        with pytest.raises(InputError, match=r"dataset_weights is .* give 2 numbers above 0"):
            sampler_of(several, folds, 0, wrong)


def test_training_tiles_of_several_sizes_are_refused(tiles, tmp_path):
    larger = Tile(*(np.zeros((16, 16, *a.shape[2:]), a.dtype) for a in made_tile(HAS[0], "Skin")[:3]), "Skin", "made")
    write_tiles(tmp_path / "larger", {"one": Fold(1, lambda start: [larger], 16)}, {})
    several = SeveralTiles([tiles, Tiles(tmp_path / "larger")])
    with pytest.raises(InputError, match="training tiles of 8, 16 px: all must be of one size"):
        sampler_of(several, ["dataset/one", "larger/one"], 0)
    assert evaluated_at_once(several, ["dataset/one", "larger/one"], 4) == 1
    assert evaluated_at_once(several, ["dataset/one", "dataset/two"], 4) == 4
