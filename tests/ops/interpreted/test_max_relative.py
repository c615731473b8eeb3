import pytest
import torch

from monch_monai.errors import InputError
from monch_monai.ops import knn, max_relative
from monch_monai.ops.max_relative import reference
from tests.fakes.network import noise
from tests.ops.memory import amid_nan


def neighbours_of(nodes, k, seed=0):
    return torch.randint(nodes.shape[1], (*nodes.shape[:2], k), generator=torch.Generator().manual_seed(seed))


def gradients(function, nodes, neighbours, gradient):
    leaf = nodes.detach().requires_grad_()
    return torch.autograd.grad(function(leaf, neighbours), leaf, gradient)[0]


# Half of the nodes are at zero, as after a ReLU, so many neighbours are largest together.
@pytest.mark.parametrize(("nodes", "dim", "k"), [(63, 41, 9), (64, 5, 32), (65, 130, 2), (341, 3, 9), (1, 1, 1)])
def test_agrees_with_the_definition(nodes, dim, k):
    x, gradient = noise(1, nodes, dim).relu(), noise(1, nodes, dim, seed=1)
    neighbours = neighbours_of(x, k)
    assert torch.equal(max_relative(x, neighbours), reference.max_relative(x, neighbours))
    fast, plain = (gradients(f, x, neighbours, gradient) for f in (max_relative, reference.max_relative))
    assert (fast - plain).abs().max() < 1e-5


def test_its_gradient_is_that_of_finite_differences():
    nodes = noise(2, 3, 2, dtype=torch.float64).requires_grad_()
    neighbours = neighbours_of(nodes, 3)
    assert torch.autograd.gradcheck(lambda x: max_relative(x, neighbours), (nodes,))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_sums_its_gradient_in_float32(dtype):
    x, gradient = noise(1, 40, 8).to(dtype), noise(1, 40, 8, seed=1).to(dtype)
    neighbours = neighbours_of(x, 9)
    plain = reference.max_relative(x, neighbours)
    # Triton's interpreter cuts bfloat16 off instead of rounding it.
    assert ((max_relative(x, neighbours) - plain).abs() <= plain.abs() * torch.finfo(dtype).eps).all()
    fast = gradients(max_relative, x, neighbours, gradient)
    plain = gradients(reference.max_relative, x.float(), neighbours, gradient.float())
    assert fast.dtype == dtype
    assert (fast - plain).abs().max() <= plain.abs().max() * torch.finfo(dtype).eps


def test_memory_layout_does_not_matter():
    for x in (noise(2, 6, 40).mT, noise(2, 80, 6)[:, ::2]):
        neighbours = neighbours_of(x, 8)[..., ::2]
        assert torch.equal(max_relative(x, neighbours), reference.max_relative(x, neighbours))


def test_what_lies_around_is_neither_read_nor_written():
    x, gradient = amid_nan(noise(2, 19, 37)), amid_nan(noise(2, 19, 37, seed=1))
    neighbours = neighbours_of(x, 3)
    assert torch.equal(max_relative(x, neighbours), reference.max_relative(x, neighbours))
    fast, plain = (gradients(f, x, neighbours, gradient) for f in (max_relative, reference.max_relative))
    assert (fast - plain).abs().max() < 1e-5


def test_what_is_not_a_number_stays_so():
    nodes = torch.tensor([[[1.0], [float("nan")], [2.0]]])
    relative = max_relative(nodes, torch.tensor([[[1, 2], [1, 0], [0, 2]]]))
    assert relative.isnan().flatten().tolist() == [True, True, False]


def test_an_empty_batch_gives_an_empty_answer():
    assert max_relative(torch.empty(0, 20, 4), torch.empty(0, 20, 3, dtype=torch.int64)).shape == (0, 20, 4)


def test_it_is_a_whole_operator():
    nodes, gradient = noise(1, 3, 2), noise(1, 3, 2, seed=1)
    neighbours = knn(nodes, k=2)
    torch.library.opcheck(torch.ops.monch.max_relative_backward.default, (gradient, nodes, neighbours))
    torch.library.opcheck(torch.ops.monch.max_relative.default, (nodes.requires_grad_(), neighbours))


def test_a_sum_in_no_fixed_order_is_refused_where_order_matters():
    nodes = noise(1, 5, 3).requires_grad_()
    torch.use_deterministic_algorithms(True)
    try:
        with pytest.raises(InputError, match="max_relative's backward: deterministic algorithms are on; use auto or"):
            max_relative(nodes, knn(nodes, k=2)).sum().backward()
    finally:
        torch.use_deterministic_algorithms(False)
