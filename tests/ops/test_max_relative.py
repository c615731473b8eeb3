import pytest
import torch

from monch_monai.ops import knn, max_relative
from monch_monai.ops.max_relative import reference
from tests.fakes.network import noise


def neighbours_of(nodes, k, seed=0):
    return torch.randint(nodes.shape[1], (*nodes.shape[:2], k), generator=torch.Generator().manual_seed(seed))


def test_it_is_the_largest_difference_to_a_neighbour():
    nodes = torch.tensor([[[1.0, 5.0], [4.0, 2.0], [0.0, 9.0]]])
    neighbours = torch.tensor([[[0, 1], [1, 2], [2, 0]]])
    assert max_relative(nodes, neighbours).tolist() == [[[3.0, 0.0], [0.0, 7.0], [1.0, 0.0]]]


def test_it_agrees_with_a_loop():
    nodes = noise(2, 21, 5)
    neighbours = neighbours_of(nodes, 4)
    by_loop = torch.empty_like(nodes)
    for b in range(2):
        for i in range(21):
            for d in range(5):
                by_loop[b, i, d] = max(float(nodes[b, j, d] - nodes[b, i, d]) for j in neighbours[b, i].tolist())
    assert (max_relative(nodes, neighbours) - by_loop).abs().max() < 1e-6


def test_it_is_not_negative_where_a_node_is_its_own_neighbour():
    nodes = noise(1, 30, 6)
    assert max_relative(nodes, knn(nodes, k=4)).min() == 0


def test_its_gradient_is_that_of_finite_differences():
    nodes = noise(1, 7, 3, dtype=torch.float64).requires_grad_()
    neighbours = knn(nodes, k=3)
    assert torch.autograd.gradcheck(lambda x: max_relative(x, neighbours), (nodes,))


def test_the_largest_neighbours_share_the_gradient():
    nodes = torch.tensor([[[2.0], [2.0], [1.0], [0.0]]], requires_grad=True)
    neighbours = torch.tensor([[[0, 1], [1, 2], [2, 3], [0, 1]]])
    max_relative(nodes, neighbours).backward(torch.tensor([[[1.0], [10.0], [100.0], [1000.0]]]))
    assert nodes.grad.flatten().tolist() == [0.5 + 500 - 1, 0.5 + 10 + 500 - 10, 100 - 100, -1000]


def test_its_gradient_is_that_of_the_definition():
    nodes, gradient = noise(2, 63, 41).relu().requires_grad_(), noise(2, 63, 41, seed=1)
    neighbours = neighbours_of(nodes, 9)
    (fast,) = torch.autograd.grad(max_relative(nodes, neighbours), nodes, gradient)
    (plain,) = torch.autograd.grad(reference.max_relative(nodes, neighbours), nodes, gradient)
    assert (fast - plain).abs().max() < 1e-5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_type_stays(dtype):
    nodes = noise(1, 20, 8).to(dtype)
    relative = max_relative(nodes, neighbours_of(nodes, 3))
    assert relative.dtype == dtype
    assert torch.equal(relative, reference.max_relative(nodes, neighbours_of(nodes, 3)))


def test_memory_layout_does_not_matter():
    for nodes in (noise(2, 6, 40).mT, noise(2, 80, 6)[:, ::2], noise(2, 6, 8, 5).flatten(2).mT):
        neighbours = neighbours_of(nodes, 4)
        assert torch.equal(max_relative(nodes, neighbours), max_relative(nodes.contiguous(), neighbours))


def test_an_empty_batch_gives_an_empty_answer():
    assert max_relative(torch.empty(0, 20, 4), torch.empty(0, 20, 3, dtype=torch.int64)).shape == (0, 20, 4)


def test_what_is_not_a_number_stays_so():
    nodes = torch.tensor([[[1.0], [float("nan")], [2.0]]])
    relative = max_relative(nodes, torch.tensor([[[1, 2], [1, 0], [0, 2]]]))
    assert relative.isnan().flatten().tolist() == [True, True, False]


def test_it_is_a_whole_operator():
    nodes, gradient = noise(2, 9, 5), noise(2, 9, 5, seed=1)
    neighbours = neighbours_of(nodes, 3)
    torch.library.opcheck(torch.ops.monch.max_relative_backward.default, (gradient, nodes, neighbours))
    torch.library.opcheck(torch.ops.monch.max_relative.default, (nodes.requires_grad_(), neighbours))


@pytest.mark.parametrize(
    ("nodes", "neighbours", "message"),
    [
        (
            torch.zeros(1, 4, 3, 3),
            torch.zeros(1, 4, 2).long(),
            r"floating nodes \[B, N, D\]; got \[1, 4, 3, 3\] .*: fl",
        ),
        (torch.zeros(1, 4, 3).long(), torch.zeros(1, 4, 2).long(), "of torch.int64: flatten maps first"),
        (
            torch.zeros(1, 4, 3),
            torch.zeros(1, 4, 2),
            r"int64 neighbours \[1, 4, K\] of these nodes; got .*float32: give",
        ),
        (torch.zeros(1, 4, 3), torch.zeros(1, 5, 2).long(), r"got \[1, 5, 2\] of torch.int64: give what knn returns"),
        (torch.zeros(1, 4, 3), torch.zeros(1, 4, 0).long(), r"got \[1, 4, 0\]"),
        (torch.zeros(1, 4, 3), torch.zeros(1, 4).long(), r"got \[1, 4\]"),
    ],
)
def test_refuses_with_a_reason(nodes, neighbours, message):
    with pytest.raises(ValueError, match=message):
        max_relative(nodes, neighbours)
