import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from PIL import Image

from monch_monai.data import Fold, Tiles
from monch_monai.report import draw_features
from monch_monai.report import feature_maps as module
from monch_monai.report.feature_maps import feature_maps
from monch_monai.report.figures import draw_feature_maps
from monch_monai.report.word_maps import word_maps
from monch_monai.report.words import maps_by_class
from tests.fakes.network import noise, small_monch
from tests.fakes.tiny import tile, write

MULTI_GRAINED = ["F^h high-pass", "F^v conv", "F^t topology"]
STAGES = ["asks conv (q_h)", "asks topo (q_v)", "asks text (q_t)", "asks blend (q_T)"]
WHOLE = [*MULTI_GRAINED, *STAGES, "merged"]
ABLATIONS = {
    "mgfe": ({"mgfe": False}, ["F^f fine", "F^m middle", "F^c coarse", *STAGES, "merged"]),
    "ppd": ({"ppd": False}, MULTI_GRAINED),
    "high_pass": ({"high_pass": False}, ["F^h conv", *WHOLE[1:]]),
    "topology": ({"topology": False}, [*WHOLE[:2], "F^t conv", *WHOLE[3:]]),
    "q_h": ({"queries": ["conv", "topo", "text"]}, [*MULTI_GRAINED, *STAGES[1:], "merged"]),
    "q_v": ({"queries": ["high", "topo", "text"]}, [*MULTI_GRAINED, STAGES[0], *STAGES[2:], "merged"]),
    "q_t": ({"queries": ["high", "conv", "text"]}, [*MULTI_GRAINED, *STAGES[:2], STAGES[3], "merged"]),
    "q_T": ({"queries": ["high", "conv", "topo"]}, [*MULTI_GRAINED, *STAGES[:3], "merged"]),
}


def small(**settings):
    return small_monch(k=4, dilation=1, **settings)  # takes images from 64 pixels


def hooks(network):
    return [name for name, part in network.named_modules() if part._forward_hooks]


def test_the_whole_network_shows_its_features_its_stages_and_what_they_merge_to():
    maps = feature_maps(small(), noise(1, 3, 64, 96))
    assert list(maps) == WHOLE
    sizes = {name: values.shape for name, values in maps.items()}
    assert (sizes["F^h high-pass"], sizes["F^v conv"], sizes["F^t topology"]) == ((8, 12), (4, 6), (2, 3))
    assert {sizes[name] for name in [*STAGES, "merged"]} == {(8, 12)}
    assert all(np.isfinite(values).all() and values.dtype == np.float32 for values in maps.values())


@pytest.mark.parametrize("part", ABLATIONS)
def test_a_part_that_is_off_is_not_shown_as_if_it_were_on(part):
    settings, names = ABLATIONS[part]
    assert list(feature_maps(small(**settings), noise(1, 3, 64, 64))) == names


def test_a_map_is_the_length_of_the_features_of_each_place():
    network, image = small().eval(), noise(1, 3, 64, 64)
    with torch.inference_mode():
        scales = network.rescale(network.project(network.image_encoder(image)[-1]))
        features = network.features(scales)
        merged = network.decoder(features, network.sentences().flatten(0, 1), network.fusion(scales))
    maps = feature_maps(network, image)
    for name, values in zip([*MULTI_GRAINED, "merged"], [*features, merged], strict=True):
        assert np.allclose(maps[name], values[0].square().sum(dim=0).sqrt(), rtol=1e-4, atol=1e-6)


def test_a_stages_map_is_of_the_rows_and_columns_of_the_image():
    network, image = small(), noise(1, 3, 64, 96)
    seen = {}
    network.decoder.merge.register_forward_pre_hook(lambda _, given: seen.update(q=given[0][0, :32]))
    maps = feature_maps(network, image)
    assert np.allclose(maps["asks blend (q_T)"], seen["q"].square().sum(dim=0).sqrt(), rtol=1e-4)


@pytest.mark.parametrize(("size", "expected"), [((40, 64), (5, 8)), ((33, 17), (5, 3)), ((64, 64), (8, 8))])
def test_the_border_that_the_network_adds_is_not_shown(size, expected):
    assert feature_maps(small(), noise(1, 3, *size))["merged"].shape == expected


@pytest.mark.parametrize("settings", [{}, {"ppd": False}, {"mgfe": False}])
def test_the_network_is_left_without_hooks(settings):
    network = small(**settings)
    feature_maps(network, noise(1, 3, 64, 64))
    assert hooks(network) == []


def test_a_network_that_fails_is_left_without_hooks():
    network = small()
    network.head.forward = lambda *_: 1 / 0
    with pytest.raises(ZeroDivisionError):
        feature_maps(network, noise(1, 3, 64, 64))
    assert hooks(network) == []


def test_looking_changes_no_prediction():
    network, image = small().eval(), noise(1, 3, 64, 64)
    with torch.inference_mode():
        before = network(image)
        feature_maps(network, image)
        assert torch.equal(network(image), before)


def dull(seed, classes):
    """A tile with one nucleus of each of the classes; beside class 5 others were hidden, which do not count."""
    made = tile(seed)
    class_map, ids = np.zeros((2, 16, 16), np.uint8)
    for i, c in enumerate(classes, start=1):
        class_map[i, :4], ids[i, :4] = c, i
    return made._replace(
        classes=class_map, instances=ids.astype(np.uint16), remarks={"hidden_nuclei": 9 * (5 in classes)}
    )


@pytest.fixture
def rich(tmp_path):
    """Two folds whose tile 3, the second of the second fold, has most classes and of these the most nuclei."""
    contents = {"a": [[1, 1, 1, 1, 1, 1], [1, 2]], "b": [[], [3, 4, 4], [5, 1]]}
    folds = {
        name: Fold(len(tiles), lambda start, tiles=tiles: (dull(i, c) for i, c in enumerate(tiles[start:])), 16)
        for name, tiles in contents.items()
    }
    return Tiles(write(tmp_path / "tiles", folds=folds))


def test_the_tile_with_most_classes_and_nuclei_is_drawn(rich, tmp_path, monkeypatch):
    shown = []
    draw = module.draw_feature_maps
    monkeypatch.setattr(module, "draw_feature_maps", lambda image, maps: shown.append(image) or draw(image, maps))
    items = rich.items(["a", "b"])
    dataset = [{"image": MetaTensor(torch.zeros(3, 16, 16), meta={"filename_or_obj": item["image"]})} for item in items]
    path = draw_features(tmp_path / "out", small(), dataset, rich, ["a", "b"])
    assert path == tmp_path / "out" / "figures" / "feature_maps.png"
    assert np.array_equal(shown[0], tile(1).image)
    with Image.open(path) as picture:
        assert picture.width > 500


def test_maps_by_class_stand_below_the_stages_by_their_names():
    image, maps = np.zeros((8, 8, 3), np.uint8), {f"stage {n}": np.full((2, 2), n, np.float32) for n in range(3)}
    kinds = {
        kind: {f"class {n}": np.full((4, 4), n, np.float32) for n in range(5)} for kind in ("attention", "probability")
    }
    figure = draw_feature_maps(image, maps, kinds)
    titles = {axes.get_title(): axes.images[0].get_array() for axes in figure.axes if axes.images}
    assert set(titles) == {"image", *maps, *(f"{kind}: {name}" for kind, of in kinds.items() for name in of)}
    assert (titles["probability: class 4"] == 4).all()


def test_the_maps_by_class_are_the_attention_to_its_words_and_its_probability():
    network = small()
    found = word_maps(network, noise(1, 3, 64, 64))
    by_class = maps_by_class(found, network.class_table)
    assert [*by_class] == ["attention", "probability"]
    assert [*by_class["probability"]] == network.class_table.names
    assert np.allclose(sum(by_class["attention"].values()), 1, atol=1e-5)
    assert np.allclose(by_class["probability"]["dead"], torch.from_numpy(found.logits[4]).sigmoid(), atol=1e-6)
    without = small(queries=["high", "conv", "text"])
    assert [*maps_by_class(word_maps(without, noise(1, 3, 64, 64)), without.class_table)] == ["probability"]
