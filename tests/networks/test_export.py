import subprocess
import sys

import numpy as np
import pytest
import torch

from tests.fakes.network import noise, small_monch

IMAGES = noise(2, 3, 160, 192)
LOAD_WITHOUT_THE_PACKAGE = """
import sys, torch
sys.modules["monch_monai"] = None
images = torch.load("images.pt")
exported, traced = torch.export.load("exported.pt2").module(), torch.jit.load("traced.pt")
with torch.no_grad():
    torch.save([exported(images), traced(images)], "logits.pt")
"""


@pytest.fixture(scope="module")
def network():
    return small_monch().eval()


@pytest.fixture(scope="module")
def logits(network):
    with torch.no_grad():
        return network(IMAGES)


@pytest.fixture(scope="module")
def exported(network):
    with torch.no_grad():
        return torch.export.export(network, (IMAGES,), dynamic_shapes=({0: torch.export.Dim("batch")},))


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


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_exported_and_traced_models_run_without_this_package(tmp_path, network, exported, logits):
    torch.export.save(exported, tmp_path / "exported.pt2")
    with torch.no_grad():
        torch.jit.save(torch.jit.trace(network, (IMAGES,)), tmp_path / "traced.pt")
    torch.save(IMAGES, tmp_path / "images.pt")
    subprocess.run([sys.executable, "-c", LOAD_WITHOUT_THE_PACKAGE], cwd=tmp_path, check=True)
    for answer in torch.load(tmp_path / "logits.pt", weights_only=True):
        assert (answer - logits).abs().max() < 1e-4


@pytest.mark.slow
def test_onnx_runtime_gives_the_same_logits_for_any_batch(tmp_path, exported, logits):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    torch.onnx.export(exported, f=tmp_path / "m.onnx", dynamo=True)
    session = runtime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    for images, expected in ((IMAGES, logits), (IMAGES[:1], logits[:1])):
        (answer,) = session.run(None, {name: images.numpy()})
        assert np.abs(answer - expected.numpy()).max() < 1e-4
