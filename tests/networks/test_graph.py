import pytest
import torch

from monch_monai.networks.features import Topology
from monch_monai.ops import knn, max_relative
from tests.fakes.network import noise


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
