import pytest
import torch

from monch_monai.errors import InputError
from monch_monai.ops import high_pass
from monch_monai.ops.high_pass import reference
from tests.fakes.network import noise
from tests.ops.memory import amid_nan


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shape", [(63, 41), (64, 64), (33, 17), (1, 7), (5, 6)])
@pytest.mark.parametrize("residual", [False, True])
def test_agrees_with_the_definition_and_keeps_the_layout(shape, layout, residual):
    x = noise(2, 3, *shape).to(memory_format=layout)
    filtered = high_pass(x, 0.3, residual=residual)
    assert (filtered - reference.high_pass(x, 0.3, "box", residual)).abs().max() < 1e-5
    assert filtered.stride() == x.stride()


def test_gradient_is_that_of_finite_differences():
    x = noise(1, 1, 3, 4, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda m: high_pass(m, 0.5, residual=True), (x,))
    assert torch.autograd.gradgradcheck(lambda m: high_pass(m, 0.5), (x,))


def test_gradient_is_that_of_the_definition():
    x, gradient = noise(2, 3, 33, 31).requires_grad_(), noise(2, 3, 33, 31, seed=1)
    fast, plain = (
        torch.autograd.grad(f(x, 0.25, "box", True), x, gradient)[0] for f in (high_pass, reference.high_pass)
    )
    assert (fast - plain).abs().max() < 1e-5


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_rounded_at_the_end(dtype):
    x = noise(2, 3, 33, 31).to(dtype)
    filtered, plain = high_pass(x, 0.25), high_pass(x.float(), 0.25)
    assert filtered.dtype == dtype
    # Triton's interpreter cuts bfloat16 off instead of rounding it.
    assert ((filtered - plain).abs() <= plain.abs() * torch.finfo(dtype).eps + 1e-6).all()


def test_leading_axes_and_strides_do_not_matter():
    x = noise(2, 3, 18, 8)
    for view in (x[1, 2], x[0], x[None], x[:, :, ::2], x.mT, x[:, :1]):
        assert (high_pass(view, 0.3) - reference.high_pass(view, 0.3)).abs().max() < 1e-5


def test_what_lies_around_the_map_is_not_read():
    x = amid_nan(noise(2, 3, 19, 21))
    assert (high_pass(x, 0.3) - reference.high_pass(x, 0.3)).abs().max() < 1e-5


def test_an_empty_batch_gives_an_empty_answer():
    assert high_pass(torch.empty(0, 3, 8, 9), 0.25).shape == (0, 3, 8, 9)


def test_it_is_a_whole_operator():
    for x in (noise(2, 3, 6, 5), noise(2, 3, 6, 5).to(memory_format=torch.channels_last), noise(4, 6).mT):
        torch.library.opcheck(torch.ops.monch.high_pass.default, (x.requires_grad_(), 0.3, "box", True))


@pytest.mark.parametrize(
    ("size", "shape", "message"),
    [
        ((65, 8), "box", "holds maps of up to 64x64; got 65x8; use auto or reference"),
        ((8, 8), "circle", "removes a box; got circle; use auto or reference"),
    ],
)
def test_refuses_what_the_kernel_cannot(size, shape, message):
    with pytest.raises(InputError, match=f"MONCH_OPS=triton cannot run high_pass: the kernel {message}"):
        high_pass(torch.zeros(size), 0.25, shape)
