from collections import Counter

import numpy as np
import pytest
import torch

from monch_monai.class_table import PANNUKE
from monch_monai.data import Fold, Tile, TileLabels, Tiles, tile_sampler, write_tiles
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


@pytest.fixture(scope="module")
def labels(tiles):
    return TileLabels(tiles, PANNUKE)


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


def test_without_strength_each_tile_is_drawn_once(tiles, labels):
    sampler = tile_sampler(tiles, ["one", "two"], 0, labels)
    orders = [list(sampler) for _ in range(5)]
    assert all(sorted(order) == list(range(6)) for order in orders)
    assert len({tuple(order) for order in orders}) > 1


@pytest.mark.parametrize("strength", [0.5, 1])
def test_tiles_are_drawn_as_often_as_their_weights_say(tiles, labels, strength):
    torch.manual_seed(0)
    sampler = tile_sampler(tiles, ["one", "two"], strength, labels)
    epochs = 3000
    drawn = Counter(i for _ in range(epochs) for i in sampler)
    expected = balance(HAS, TISSUES, strength) / 6
    shares = np.array([drawn[i] for i in range(6)]) / (6 * epochs)
    deviation = np.sqrt(expected * (1 - expected) / (6 * epochs))
    assert np.all(np.abs(shares - expected) < 4 * deviation)


def test_tiles_are_numbered_through_the_folds_in_the_order_given(tiles, labels):
    torch.manual_seed(0)
    drawn = Counter(i for _ in range(500) for i in tile_sampler(tiles, ["two", "one"], 1, labels))
    assert drawn.most_common(1)[0][0] == 0


@pytest.mark.parametrize("strength", [0, 0.5])
def test_an_epoch_has_as_many_draws_as_tiles(tiles, labels, strength):
    sampler = tile_sampler(tiles, ["one"], strength, labels)
    assert len(sampler) == len(list(sampler)) == 4


@pytest.mark.parametrize("strength", [0, 0.5])
def test_the_same_seed_gives_the_same_draws_and_another_seed_others(tiles, labels, strength):
    def draws(seed):
        torch.manual_seed(seed)
        sampler = tile_sampler(tiles, ["one", "two"], strength, labels)
        return [list(sampler) for _ in range(4)]

    assert draws(1) == draws(1)
    assert draws(1) != draws(2)


def test_the_log_says_how_much_more_often_each_class_is_drawn(tiles, labels, caplog):
    caplog.set_level("INFO")
    tile_sampler(tiles, ["one", "two"], 1, labels)
    share = balance(HAS, TISSUES, 1)[4] / 6
    assert len(caplog.records) == len(PANNUKE.nuclei)
    assert f"sampling strength 1: tiles with dead nuclei 16.7 %, drawn {100 * share:.1f} %" in caplog.messages
    assert "sampling strength 1: tiles with epithelial nuclei 0.0 %, drawn 0.0 %" in caplog.messages


@pytest.mark.parametrize("strength", [-0.01, 1.01, float("nan"), float("inf"), True, "0.5", None])
def test_a_strength_outside_0_to_1_is_refused(tiles, labels, strength):
    with pytest.raises(InputError, match=r"sampling_strength is .*; give a number from 0"):
        tile_sampler(tiles, ["one"], strength, labels)
