import math

import numpy as np
import pytest
import torch

from monch_monai.ops import knn
from monch_monai.ops.knn import reference
from monch_monai.ops.knn.op import by_rows
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


@pytest.mark.parametrize(("k", "dilation"), [(9, 1), (9, 2), (8, 4), (1, 32)])
@pytest.mark.parametrize("nodes", [63, 64, 65, 341])
def test_agrees_with_the_definition(nodes, k, dilation):
    features = noise(2, nodes, 41)
    assert torch.equal(knn(features, k, dilation), reference.knn(features, k, dilation))


@pytest.mark.parametrize("chunk", [1, 7 * 341, 170 * 341, 341 * 341, 2 * 341 * 341, 3 * 341 * 341])
def test_rows_taken_at_once_do_not_matter(chunk):
    features = noise(3, 341, 41)
    assert torch.equal(by_rows(features, 9, 2, chunk), reference.knn(features, 9, 2))


@pytest.mark.parametrize("chunk", [1, 63 * 63])
def test_copies_tie_wherever_they_are(chunk):
    features = noise(1, 21, 41).repeat(1, 3, 1)  # float32 sums of products would tell some copies apart
    neighbours = by_rows(features, 3, 1, chunk)[0]
    for i in range(63):
        assert neighbours[i].tolist() == [i, *sorted({i % 21, i % 21 + 21, i % 21 + 42} - {i})]


def test_memory_grows_with_nodes_and_not_with_their_square():
    features, largest = noise(1, 3000, 4), []

    class Largest(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            largest.extend(t.numel() for t in torch.utils._pytree.tree_leaves(result) if isinstance(t, torch.Tensor))
            return result

    with Largest():
        by_rows(features, 9, 2, chunk=2**16)
    assert 3000 * 9 < max(largest) <= 2**16


def test_what_is_not_a_number_comes_last():
    features = noise(1, 12, 3)
    features[0, 4] = math.nan
    neighbours = knn(features, k=12)[0]
    assert neighbours[torch.arange(12) != 4, -1].tolist() == [4] * 11
    assert neighbours[4].tolist() == [4, 0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11]


def test_it_is_a_whole_operator():
    torch.library.opcheck(torch.ops.monch.knn.default, (noise(2, 21, 5).requires_grad_(), 3, 2))


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
