import json
import pickle
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from monch_monai.encoders import RANDOM, Origin
from monch_monai.errors import InputError
from monch_monai.files import sha256
from monch_monai.networks import OnnxNetwork, reference_density
from monch_monai.networks.provenance import Provenance
from monch_monai.predict import NetworkPredictor
from tests.fakes.labels import some_classes
from tests.fakes.network import noise

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
WEIGHTS = noise(6, 3, 1, 1)
MEAN, STD = [0.1, 0.2, 0.3], [0.4, 0.5, 0.6]


def exported(path, batch="batch", height="height", width="width", kind=np.float32, **metadata):
    """A 1x1 convolution as an ONNX file of these sizes, fixed where they are numbers."""
    of = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    images, logits = ([batch, channels, height, width] for channels in (3, 6))
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Conv", ["picture", "weights"], ["map"])], "network",
        [onnx.helper.make_tensor_value_info("picture", of, images)],
        [onnx.helper.make_tensor_value_info("map", of, logits)],
        [onnx.numpy_helper.from_array(WEIGHTS.numpy().astype(kind), "weights")],
    )  # fmt: skip
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    onnx.helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return path


def expected(images):
    return nn.functional.conv2d(images, WEIGHTS)


@pytest.mark.parametrize("batch", ["batch", 1, 2, 4, 5])
def test_any_number_of_images_runs_through_an_export_of_any_batch_size(batch, tmp_path):
    network, images = OnnxNetwork(exported(tmp_path / "network.onnx", batch)), noise(5, 3, 8, 6)
    for count in (1, 2, 5):
        logits = network(images[:count])
        assert (logits.dtype, logits.device) == (torch.float32, images.device)
        torch.testing.assert_close(logits, expected(images[:count]), atol=1e-5, rtol=0)


def test_an_image_of_mixed_precision_gives_logits_in_float32(tmp_path):
    network, images = OnnxNetwork(exported(tmp_path / "network.onnx")), noise(1, 3, 8, 8).bfloat16()
    assert network(images).dtype == torch.float32


def test_an_export_for_tiles_of_another_size_refuses_them_in_one_line(tmp_path):
    path = exported(tmp_path / "network.onnx", 2, 96, 96)
    network = OnnxNetwork(path)
    assert network(noise(1, 3, 96, 96)).shape == (1, 6, 96, 96)
    for height, width in ((64, 64), (96, 64), (128, 96)):
        with pytest.raises(InputError) as caught:
            network(noise(1, 3, height, width))
        assert str(caught.value) == f"onnx {path} takes tiles of [96, 96] px: give --tile_size 96"


def test_a_pickled_network_opens_its_file_anew(tmp_path):
    network = OnnxNetwork(exported(tmp_path / "network.onnx", mean=json.dumps(MEAN)))
    copied = pickle.loads(pickle.dumps(network))
    assert "session" not in vars(copied)
    assert copied.mean == MEAN
    assert torch.equal(copied(noise(2, 3, 8, 8)), network(noise(2, 3, 8, 8)))


def test_what_a_file_does_not_store_is_none(tmp_path):
    network = OnnxNetwork(exported(tmp_path / "network.onnx"))
    assert (network.mean, network.std) == (None, None)
    assert network.provenance.image_weights == Origin("file", "network.onnx", sha256=sha256(network.path))
    assert network.metadata("reference_density") is None
    assert reference_density(onnx=tmp_path / "network.onnx") is None
    half = OnnxNetwork(exported(tmp_path / "half.onnx", std=json.dumps(STD)))
    assert (half.mean, half.std) == (None, STD)


def test_files_of_earlier_versions_run_and_have_a_provenance(tmp_path):
    path = exported(tmp_path / "e.onnx", encoder="sam_b: words of clip_rn50 (random): random", mean=json.dumps(MEAN))
    network = OnnxNetwork(path)
    assert (network.provenance.encoder, network.provenance.text_weights) == ("sam_b", RANDOM)
    assert network(noise(1, 3, 8, 8)).shape == (1, 6, 8, 8)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("mean", "[0.1, 0.2"), ("mean", "[0.1, 0.2]"), ("mean", '["a", "b", "c"]'), ("mean", "[0.1, NaN, 0.2]"),
        ("std", "[0.1, 0.2, 0]"), ("std", "0.1"), ("std", "{}"), ("provenance", "{}"), ("provenance", "[]"),
    ],
)  # fmt: skip
def test_damaged_metadata_is_refused_in_one_line(name, text, tmp_path):
    path = exported(tmp_path / "network.onnx", **{name: text})
    with pytest.raises(InputError, match=rf"{re.escape(str(path))} is damaged: its {name} is .*; export it again"):
        OnnxNetwork(path)


@pytest.mark.parametrize(("content", "problem"), [(None, "does not exist"), (b"not a model", "is no ONNX model")])
@pytest.mark.parametrize("opened", [OnnxNetwork, lambda path: reference_density(onnx=path)])
def test_what_onnx_runtime_cannot_run_is_refused_in_one_line(opened, content, problem, tmp_path):
    if content is not None:
        (tmp_path / "network.onnx").write_bytes(content)
    with pytest.raises(InputError, match=problem) as caught:
        opened(tmp_path / "network.onnx")
    assert "\n" not in str(caught.value)


def test_a_file_of_another_number_of_maps_than_classes_is_refused(tmp_path):
    record = replace(Provenance("clip_rn50"), class_table=some_classes(3))
    path = exported(tmp_path / "network.onnx", provenance=json.dumps(record.to_dict()))
    with pytest.raises(InputError, match="gives 6 maps, for the 3 classes background, class 1, class 2: write it with"):
        OnnxNetwork(path)(noise(1, 3, 8, 8))


def test_an_export_with_a_distance_map_predicts_it_beside_its_classes(tmp_path):
    with_distance = replace(Provenance("clip_rn50"), architecture={"distance": True})
    five = json.dumps(replace(with_distance, class_table=some_classes(5)).to_dict())
    network = OnnxNetwork(exported(tmp_path / "five.onnx", provenance=five))
    tiles = np.random.default_rng(0).integers(0, 256, (2, 8, 6, 3)).astype(np.uint8)
    found = NetworkPredictor(network, MEAN, STD)(tiles)
    assert (found.probs.shape, found.distance.shape) == ((2, 4, 8, 6), (2, 1, 8, 6))
    images = (torch.from_numpy(tiles).permute(0, 3, 1, 2) / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(
        STD
    ).view(3, 1, 1)
    assert np.abs(found.distance - expected(images)[:, 5:].sigmoid().numpy()).max() < 2e-3
    six = json.dumps(with_distance.to_dict())
    with pytest.raises(InputError, match="gives 6 maps, for the 6 classes"):
        OnnxNetwork(exported(tmp_path / "six.onnx", provenance=six))(noise(1, 3, 8, 6))
