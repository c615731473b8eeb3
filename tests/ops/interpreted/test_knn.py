import pytest
import torch

from monch_monai.errors import InputError
from monch_monai.ops import knn
from monch_monai.ops.knn import reference, triton_kernels
from tests.fakes.network import noise
from tests.ops.memory import amid_nan
from tests.ops.nearness import farther_than_need_be


def agrees(features, k, dilation=1):
    neighbours = knn(features, k, dilation)
    assert (neighbours.shape, neighbours.dtype) == ((*features.shape[:2], k), torch.int64)
    assert farther_than_need_be(features, neighbours, dilation) < 1e-6
    assert (neighbours != reference.knn(features, k, dilation)).float().mean() < 0.01


@pytest.mark.parametrize(("nodes", "dim", "k", "dilation"), [(63, 41, 9, 2), (64, 128, 9, 1), (65, 33, 3, 7)])
def test_agrees_with_the_definition(nodes, dim, k, dilation):
    agrees(noise(2, nodes, dim), k, dilation)


def test_agrees_with_the_definition_over_many_blocks(monkeypatch):
    monkeypatch.setattr(triton_kernels, "ROWS", 128)  # fewer programs, each of which the interpreter is slow to start
    agrees(noise(1, 341, 5), 8, 4)


@pytest.mark.parametrize(("nodes", "kept"), [(1, 1), (18, 18), (33, 32), (40, 33)])
def test_as_many_nodes_as_needed_are_enough(nodes, kept):
    agrees(noise(1, nodes, 6), kept)


def test_ties_go_to_the_lower_index_after_the_node_itself():
    for features in (torch.eye(66)[None], noise(1, 1, 5).expand(1, 66, 5), torch.zeros(1, 66, 3)):
        assert torch.equal(knn(features, k=4), reference.knn(features, k=4))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_features_are_taken_at_their_value(dtype):
    features = noise(1, 30, 8).to(dtype)
    assert torch.equal(knn(features, k=5), knn(features.float(), k=5))


def test_bfloat16_autocast_still_measures_in_float32():
    features = noise(1, 30, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(knn(features, k=5), reference.knn(features, k=5))


def test_memory_layout_does_not_matter():
    for features in (noise(2, 8, 40).mT, noise(2, 80, 6)[:, ::2], noise(1, 6, 5, 8).flatten(2).mT):
        assert torch.equal(knn(features, k=5), reference.knn(features, k=5))


def test_what_lies_around_the_features_is_not_read(monkeypatch):
    features = noise(2, 35, 37)
    monkeypatch.setattr(triton_kernels, "unit_nodes", lambda *args: amid_nan(reference.unit_nodes(*args)))
    assert torch.equal(knn(features, k=5), reference.knn(features, k=5))


def test_what_is_not_a_number_comes_last():
    features = noise(1, 12, 3)
    features[0, 4] = float("nan")
    assert knn(features, k=12)[0, :, -1].tolist() == [4, 4, 4, 4, 11, 4, 4, 4, 4, 4, 4, 4]


def test_an_empty_batch_gives_an_empty_answer():
    assert knn(torch.empty(0, 20, 4), k=5, dilation=2).shape == (0, 20, 5)


def test_it_is_a_whole_operator():
    torch.library.opcheck(torch.ops.monch.knn.default, (noise(1, 5, 3).requires_grad_(), 2, 1))


@pytest.mark.parametrize(
    ("features", "k", "message"),
    [
        (
            torch.zeros(1, 20, 3, dtype=torch.float64),
            2,
            "computes in float32, and features are float64",
        ),
        (
            torch.zeros(1, 200, 3),
            129,
            r"keeps at most 128 neighbours; got k \* dilation = 129",
        ),
    ],
)
def test_refuses_what_the_kernel_cannot(features, k, message):
    with pytest.raises(InputError, match=f"MONCH_OPS=triton cannot run knn: the kernel {message}; use auto"):
        knn(features, k)
