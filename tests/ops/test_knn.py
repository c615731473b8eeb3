import math

import numpy as np
import pytest
import torch

from monch_monai.ops import knn
from tests.fakes.network import noise


def on_circle(*angles, dtype=torch.float32):
    a = torch.tensor(angles, dtype=torch.float64)
    return torch.stack([a.cos(), a.sin()], dim=-1)[None].to(dtype)


def by_sorting(features, k, dilation):
    """Float64, one node at a time."""
    x = features.double().numpy()
    x = x / np.linalg.norm(x, axis=-1, keepdims=True)
    answer = []
    for image in x:
        for i, node in enumerate(image):
            distance = ((image - node) ** 2).sum(axis=-1)
            distance[i] = -1
            answer.append(np.argsort(distance, kind="stable")[: k * dilation : dilation])
    return torch.tensor(np.array(answer)).reshape(*features.shape[:2], k)


def test_neighbours_on_a_circle_are_those_with_the_nearest_angles():
    features = on_circle(0, 0.1, 0.3, 0.7, 1.5, 3.1)
    expected = [[0, 1, 2], [1, 0, 2], [2, 1, 0], [3, 2, 1], [4, 3, 2], [5, 4, 3]]
    assert knn(features, k=3).tolist() == [expected]


def test_length_of_a_feature_does_not_matter():
    features = on_circle(0, 0.1, 0.3, 0.7, 1.5, 3.1)
    lengths = torch.tensor([1.0, 64.0, 0.25, 1024.0, 2.0, 0.5])[:, None]
    assert torch.equal(knn(features * lengths, k=4), knn(features, k=4))


def test_ties_go_to_the_lower_index_after_the_node_itself():
    neighbours = knn(torch.eye(6)[None], k=4)  # all others at distance 2
    assert neighbours[0].tolist() == [
        [0, 1, 2, 3],
        [1, 0, 2, 3],
        [2, 0, 1, 3],
        [3, 0, 1, 2],
        [4, 0, 1, 2],
        [5, 0, 1, 2],
    ]


def test_a_node_comes_before_its_own_copies():
    copies = noise(1, 1, 5).expand(1, 7, 5)
    assert knn(copies, k=1)[0, :, 0].tolist() == [0, 1, 2, 3, 4, 5, 6]


def test_dilation_keeps_every_dilation_th_of_the_sorted_neighbours():
    neighbours = knn(torch.eye(8)[None], k=2, dilation=3)
    assert neighbours[0, 5].tolist() == [5, 2]  # sorted: 5, 0, 1, 2, 3, 4, 6, 7
    assert neighbours[0, 0].tolist() == [0, 3]


@pytest.mark.parametrize(("k", "dilation"), [(9, 1), (9, 2), (3, 7), (1, 63)])
def test_dilated_neighbours_are_a_step_through_the_undilated(k, dilation):
    features = noise(2, 63, 5)
    assert torch.equal(knn(features, k, dilation), knn(features, k * dilation)[..., ::dilation])


def test_a_zero_feature_lies_between_the_like_and_the_orthogonal():
    features = torch.tensor([[[-1.0, 0], [0, 1], [0, 0], [2, 0], [1, 0]]])
    neighbours = knn(features, k=5)[0]
    assert neighbours[4].tolist() == [4, 3, 2, 1, 0]
    assert neighbours[2].tolist() == [2, 0, 1, 3, 4]


@pytest.mark.parametrize(
    ("nodes", "dim", "k", "dilation"), [(63, 41, 9, 2), (41, 3, 9, 1), (18, 16, 9, 2), (1, 4, 1, 1)]
)
def test_agrees_with_sorting_one_node_at_a_time(nodes, dim, k, dilation):
    features = noise(2, nodes, dim)
    assert torch.equal(knn(features, k, dilation), by_sorting(features, k, dilation))


def test_images_of_a_batch_do_not_meet():
    features = noise(3, 20, 4)
    assert torch.equal(knn(features, k=5), torch.cat([knn(one[None], k=5) for one in features]))


def test_renumbering_the_nodes_renumbers_the_neighbours():
    features, order = noise(1, 41, 6), torch.randperm(41, generator=torch.Generator().manual_seed(3))
    assert torch.equal(order[knn(features[:, order], k=9)], knn(features, k=9)[:, order])


def test_bfloat16_autocast_still_measures_in_float32():
    features = on_circle(*(0.01 * 1.3**i for i in range(12)))  # bfloat16 cannot tell the first cosines apart
    with torch.autocast("cpu", dtype=torch.bfloat16):
        neighbours = knn(features, k=6)
    assert torch.equal(neighbours, by_sorting(features, 6, 1))


def test_float64_features_are_measured_in_float64():
    features = on_circle(0, 2e-5, 1e-5, dtype=torch.float64)  # float32 cannot tell these cosines apart
    assert knn(features, k=3)[0, 0].tolist() == [0, 2, 1]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_features_are_taken_at_their_value(dtype):
    features = noise(1, 30, 8).to(dtype)
    assert torch.equal(knn(features, k=5), knn(features.float(), k=5))


def test_memory_layout_does_not_matter():
    channels_last = noise(2, 8, 7, 9).to(memory_format=torch.channels_last)
    nodes = channels_last.flatten(2).mT
    every_second = noise(2, 40, 6)[:, ::2]
    for view in (nodes, every_second):
        assert torch.equal(knn(view, k=5), knn(view.clone(memory_format=torch.contiguous_format), k=5))


def test_result_is_int64_and_carries_no_gradient():
    neighbours = knn(noise(2, 20, 4).requires_grad_(), k=5)
    assert (neighbours.dtype, neighbours.shape, neighbours.requires_grad) == (torch.int64, (2, 20, 5), False)


def test_an_empty_batch_gives_an_empty_answer():
    assert knn(torch.empty(0, 20, 4), k=5, dilation=2).shape == (0, 20, 5)


def test_input_is_left_as_it_was():
    features = noise(1, 12, 4)
    before = features.clone()
    knn(features, k=3)
    assert torch.equal(features, before)


@pytest.mark.parametrize(
    ("features", "settings", "message"),
    [
        (torch.zeros(1, 4, 3, 3), {}, r"takes floating features \[B, N, D\]; got \[1, 4, 3, 3\] .*flatten maps first"),
        (torch.zeros(1, 20, 3, dtype=torch.int64), {}, r"got \[1, 20, 3\] of torch.int64"),
        (torch.zeros(1, 20, 3), {"k": 0}, "k >= 1 and dilation >= 1; got k = 0, dilation = 1"),
        (torch.zeros(1, 20, 3), {"dilation": 0}, "got k = 9, dilation = 0"),
        (torch.zeros(1, 17, 3), {"k": 9, "dilation": 2}, r"at least k \* dilation = 18 nodes; got 17: lower k"),
    ],
)
def test_refuses_with_a_reason(features, settings, message):
    with pytest.raises(ValueError, match=message):
        knn(features, **settings)


def test_as_many_nodes_as_needed_are_enough():
    assert knn(noise(1, 18, 3), k=9, dilation=2).shape == (1, 18, 9)


def test_distance_is_that_of_unit_vectors_and_not_of_angles_alone():
    third = 2 * math.pi / 3
    neighbours = knn(on_circle(0, third, third + 0.1, 0.2), k=4)
    assert neighbours[0, 0].tolist() == [0, 3, 1, 2]
