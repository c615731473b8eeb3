import copy
import json
import subprocess
import sys

import pytest
import torch

from monch_monai.errors import InputError
from monch_monai.networks import Monch, OnnxNetwork, export_network, reference_density
from monch_monai.networks.export import Forms
from monch_monai.networks.provenance import Provenance
from tests.fakes.encoders import SMALL
from tests.fakes.network import noise, small_monch

IMAGES = noise(2, 3, 160, 192)
SIZES = [(2, 160, 192), (1, 256, 256), (3, 200, 333), (1, 40, 300)]
"""Batch, height and width; the last is below the least that the graph needs."""
RUN_WITHOUT_THE_PACKAGE = """
import json, sys, torch
from pathlib import Path
sys.modules["monch_monai"] = None
folder, networks, about = Path(sys.argv[1]), {}, {}
if (folder / "model.ts").exists():
    networks["model.ts"] = torch.jit.load(folder / "model.ts", _extra_files=(extra := {"about.json": ""}))
    about["model.ts"] = json.loads(extra["about.json"])
if (folder / "model.pt2").exists():
    networks["model.pt2"] = torch.export.load(folder / "model.pt2", extra_files=(extra := {"about.json": ""})).module()
    about["model.pt2"] = json.loads(extra["about.json"])
if (folder / "model.onnx").exists():
    import onnxruntime
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    networks["model.onnx"] = lambda image: torch.from_numpy(session.run(["logits"], {"image": image.numpy()})[0])
    about["model.onnx"] = session.get_modelmeta().custom_metadata_map
with torch.no_grad():
    images = torch.load("images.pt")
    torch.save({name: [net(image) for image in images] for name, net in networks.items()}, "logits.pt")
print(json.dumps(about))
"""


def run_without_the_package(folder, images, cwd):
    """Logits of the exported files by name, from a process that cannot import this package, and what they say."""
    torch.save(images, cwd / "images.pt")
    command = [sys.executable, "-W", "ignore", "-c", RUN_WITHOUT_THE_PACKAGE, str(folder)]
    done = subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True)
    return torch.load(cwd / "logits.pt", weights_only=True), json.loads(done.stdout)


@pytest.fixture(scope="module")
def network():
    return small_monch().eval()


@pytest.fixture(scope="module")
def logits(network):
    with torch.no_grad():
        return network(IMAGES)


@pytest.fixture(scope="module")
def exported(network):
    return Forms(network).program


def test_compiled_each_op_is_one_node_and_no_graph_breaks(network, logits):
    nodes = []

    def collect(graph, inputs):
        nodes.extend(str(n.target) for n in graph.graph.nodes if str(n.target).startswith("monch."))
        return graph.forward

    with torch.no_grad():
        assert torch.equal(torch.compile(network, backend=collect, fullgraph=True)(IMAGES), logits)
    assert sorted(nodes) == ["monch.high_pass.default", "monch.knn.default", "monch.max_relative.default"]


@pytest.mark.slow
def test_compiled_training_gives_the_same_gradients():
    eager, compiled = small_monch(), small_monch()
    for run, parameters in ((eager, eager), (torch.compile(compiled, backend="aot_eager", fullgraph=True), compiled)):
        run(IMAGES).square().mean().backward()
        assert all(p.grad is not None for p in parameters.parameters())
    for a, b in zip(eager.parameters(), compiled.parameters(), strict=True):
        assert (a.grad - b.grad).abs().max() < 1e-4


def test_exported_there_are_plain_operators_only(exported, logits):
    assert {str(n.target) for n in exported.graph.nodes if "monch" in str(n.target)} == set()
    with torch.no_grad():
        assert (exported.module()(IMAGES[:1]) - logits[:1]).abs().max() < 1e-4


@pytest.mark.slow
def test_strictly_exported_there_are_plain_operators_only(network, logits):
    with torch.no_grad():
        exported = torch.export.export(network, (IMAGES,), strict=True)
        assert (exported.module()(IMAGES) - logits).abs().max() < 1e-4
    assert {str(n.target) for n in exported.graph.nodes if "monch" in str(n.target)} == set()


@pytest.mark.parametrize("formats", [["torchscript", "program"], pytest.param(["onnx"], marks=pytest.mark.slow)])
def test_exported_files_give_the_same_logits_at_any_batch_and_size_without_this_package(tmp_path, network, formats):
    paths = export_network(network, tmp_path / "models", formats, {"mpp": 0.25})
    images = [noise(batch, 3, height, width) for batch, height, width in SIZES]
    answers, about = run_without_the_package(tmp_path / "models", images, tmp_path)
    assert set(answers) == {path.name for path in paths}
    with torch.no_grad():
        expected = [network(image) for image in images]
    for name, logits in answers.items():
        for answer, right in zip(logits, expected, strict=True):
            assert answer.shape == right.shape, name
            assert (answer - right).abs().max() < 1e-4, name
    assert {json.loads(str(a["mpp"])) for a in about.values()} == {0.25}
    records = [a["provenance"] for a in about.values()]
    records = [json.loads(record) if isinstance(record, str) else record for record in records]
    assert all(Provenance.from_dict(record) == network.provenance for record in records)


# TorchScript keeps the branch that it was traced along, and torch.export refuses sizes that code asks for.
OF_ONE_SIZE = {("clip_vit", "traced"), ("sam", "traced"), ("sam", "program"), ("sam2", "program")}


@pytest.mark.slow
@pytest.mark.parametrize("form", ["traced", "program"])
@pytest.mark.parametrize("family", SMALL)
def test_with_each_family_of_encoders_a_form_answers_for_any_size_or_is_refused(family, form):
    torch.manual_seed(0)
    network = Monch(SMALL[family](), channels=32, head_channels=16, num_heads=4).eval()
    forms = Forms(network)
    if (family, form) in OF_ONE_SIZE:
        with pytest.raises(InputError, match="one size of image only: leave it out of formats"):
            getattr(forms, form)
        return
    made = getattr(forms, form)
    answer_of = made if form == "traced" else made.module()
    for batch, height, width in SIZES[1:]:
        images = noise(batch, 3, height, width)
        with torch.no_grad():
            assert ((answer_of(images) - network(images)).abs() > 1e-4).float().mean() < 1e-3


def test_an_unknown_format_is_refused_and_nothing_written(tmp_path, network):
    with pytest.raises(InputError, match="formats has 'coreml'; give some of torchscript, program, onnx"):
        export_network(network, tmp_path / "models", ["onnx", "coreml"])
    assert not (tmp_path / "models").exists()


@pytest.mark.slow
def test_an_onnx_file_knows_how_its_images_are_prepared(tmp_path, network):
    pytest.importorskip("onnxruntime")
    mean, std = [0.1, 0.2, 0.3], [0.4, 0.5, 0.6]
    network = copy.deepcopy(network)
    network.reference_density.copy_(torch.tensor([0.25, 0.5, 0.125]))
    (path,) = export_network(network, tmp_path, "onnx", {"mean": mean, "std": std})
    read = OnnxNetwork(path)
    assert (read.mean, read.std, read.provenance) == (mean, std, network.provenance)
    assert reference_density(onnx=path) == [0.25, 0.5, 0.125]
