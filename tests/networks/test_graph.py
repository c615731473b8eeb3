import pytest
import torch

from monch_monai.networks.graph import Topology, max_relative
from monch_monai.ops import knn
from tests.fakes.network import noise


def test_max_relative_is_the_largest_difference_to_a_neighbour():
    nodes = torch.tensor([[[1.0, 5.0], [4.0, 2.0], [0.0, 9.0]]])
    neighbours = torch.tensor([[[0, 1], [1, 2], [2, 0]]])
    assert max_relative(nodes, neighbours).tolist() == [[[3.0, 0.0], [0.0, 7.0], [1.0, 0.0]]]


def test_max_relative_agrees_with_a_loop():
    nodes = noise(2, 21, 5)
    neighbours = torch.randint(21, (2, 21, 4), generator=torch.Generator().manual_seed(0))
    by_loop = torch.empty_like(nodes)
    for b in range(2):
        for i in range(21):
            for d in range(5):
                by_loop[b, i, d] = max(float(nodes[b, j, d] - nodes[b, i, d]) for j in neighbours[b, i].tolist())
    assert (max_relative(nodes, neighbours) - by_loop).abs().max() < 1e-6


def test_max_relative_is_not_negative_where_a_node_is_its_own_neighbour():
    nodes = noise(1, 30, 6)
    assert max_relative(nodes, knn(nodes, k=4)).min() == 0


def test_gradient_of_max_relative_is_that_of_finite_differences():
    nodes = noise(1, 7, 3, dtype=torch.float64).requires_grad_()
    neighbours = knn(nodes, k=3)
    assert torch.autograd.gradcheck(lambda x: max_relative(x, neighbours), (nodes,))


def test_topology_adds_the_graph_to_the_map():
    torch.manual_seed(0)
    topology, coarse = Topology(16, k=4, dilation=2), noise(2, 16, 5, 7)
    reduced = topology.reduce(coarse)
    nodes = reduced.flatten(2).transpose(1, 2)
    relative = max_relative(nodes, knn(nodes, 4, 2)).transpose(1, 2).reshape(2, 8, 5, 7)
    expected = coarse + topology.expand(torch.cat([reduced, relative], dim=1))
    assert (topology(coarse) - expected).abs().max() < 1e-5


def test_topology_refuses_a_map_with_too_few_nodes():
    with pytest.raises(ValueError, match="needs at least k \\* dilation = 18 nodes; got 16"):
        Topology(16)(noise(1, 16, 4, 4))
