import math

import numpy as np
import pytest
import torch

from monch_monai.ops import high_pass
from monch_monai.ops.high_pass import op, reference
from monch_monai.ops.high_pass.separable import by_products, by_products_channels_last, low_projection, low_waves
from tests.fakes.network import noise


def cosine(height, width, fy, fx, phase=0.3):
    """A wave of `fy` periods down and `fx` periods across the map, float64."""
    y, x = torch.arange(height, dtype=torch.float64)[:, None], torch.arange(width, dtype=torch.float64)[None]
    return (2 * math.pi * (fy * y / height + fx * x / width) + phase).cos()[None, None]


def by_full_transform(x, cutoff):
    """By numpy's complex transform."""
    low = [np.abs(np.fft.fftfreq(n)) < cutoff / 2 for n in x.shape[-2:]]
    spectrum = np.fft.fft2(x.double().numpy()) * ~(low[0][:, None] & low[1][None])
    return torch.from_numpy(np.fft.ifft2(spectrum).real)


@pytest.mark.parametrize("cutoff", [1e-6, 0.25, 0.7, 1.0])
def test_a_constant_map_gives_zero(cutoff):
    constant = torch.full((2, 3, 63, 41), 5.0, dtype=torch.float64)
    assert high_pass(constant, cutoff).abs().max() < 1e-12


# Of 64 rows and 40 columns at cutoff 0.25, frequencies below 8 periods down and 5 periods across are low.
@pytest.mark.parametrize(("fy", "fx"), [(7, 0), (0, 4), (7, 4), (3, -2)])
def test_a_wave_below_the_cutoff_is_removed(fy, fx):
    assert high_pass(cosine(64, 40, fy, fx), 0.25).abs().max() < 1e-12


@pytest.mark.parametrize(("fy", "fx"), [(8, 0), (0, 5), (8, 1), (1, 5), (20, -13), (32, 20)])
def test_a_wave_at_or_above_the_cutoff_on_either_axis_is_kept(fy, fx):
    wave = cosine(64, 40, fy, fx)
    assert (high_pass(wave, 0.25) - wave).abs().max() < 1e-12


def test_of_a_sum_of_waves_the_low_one_goes():
    low, high = cosine(63, 41, 2, 1), cosine(63, 41, 20, 11)
    assert (high_pass(3 * low + high, 0.25) - high).abs().max() < 1e-12


def test_cutoff_0_keeps_everything():
    x = noise(2, 3, 12, 9, dtype=torch.float64) + 4
    assert (high_pass(x, 0.0) - x).abs().max() < 1e-12


def test_cutoff_1_keeps_nothing_of_an_odd_map():
    assert high_pass(noise(1, 2, 63, 41, dtype=torch.float64), 1.0).abs().max() < 1e-12


def test_cutoff_1_keeps_the_nyquist_frequency_of_an_even_map():
    checkerboard = cosine(8, 6, 4, 3, phase=0)
    kept = high_pass(checkerboard + cosine(8, 6, 3, 2) + 2, 1.0)
    assert (kept - checkerboard).abs().max() < 1e-12


@pytest.mark.parametrize(
    ("size", "cutoff"), [(32, 0.25), (63, 0.25), (41, 1.0), (8, 1.0), (20, 0.1), (1, 0.5), (7, 0.0)]
)
def test_the_projection_is_that_on_the_low_waves(size, cutoff):
    waves = low_waves(size, cutoff)
    assert (low_projection(size, cutoff) - waves @ waves.mT).abs().max() < 1e-12


@pytest.mark.parametrize("shape", [(63, 41), (64, 64), (1, 7), (8, 1), (5, 6)])
@pytest.mark.parametrize("cutoff", [0.25, 0.6])
def test_agrees_with_the_full_complex_transform(shape, cutoff):
    x = noise(2, 3, *shape, dtype=torch.float64)
    assert (high_pass(x, cutoff) - by_full_transform(x, cutoff)).abs().max() < 1e-12


@pytest.mark.parametrize("shape", [(32, 32), (63, 41), (64, 65), (1, 7), (8, 1)])
@pytest.mark.parametrize("cutoff", [0.0, 0.25, 0.6, 1.0])
@pytest.mark.parametrize("residual", [False, True])
def test_products_agree_with_the_transform(shape, cutoff, residual):
    x = noise(2, 3, *shape, dtype=torch.float64)
    waves = [low_waves(side, cutoff) for side in shape]
    plain = reference.high_pass(x, cutoff, "box", residual)
    for products in (by_products, by_products_channels_last):
        assert (products(x, *waves, residual) - plain).abs().max() < 1e-12


@pytest.mark.parametrize("side", [32, 63, 256])
def test_products_and_transform_agree_to_1e_5_in_float32(side):
    x = noise(1, 4, side, side)
    waves = low_waves(side, 0.25).float()
    assert (by_products(x, waves, waves, True) - reference.high_pass(x, 0.25, "box", True)).abs().max() < 1e-5


@pytest.mark.parametrize(("size", "cutoff", "expected"), [(64, 0.25, 15), (40, 0.25, 9), (20, 0.7, 13), (9, 1.0, 9)])
def test_low_waves_are_orthonormal_and_as_many_as_low_frequencies(size, cutoff, expected):
    waves = low_waves(size, cutoff)
    assert waves.shape == (size, expected)
    assert (waves.mT @ waves - torch.eye(expected)).abs().max() < 1e-12


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shape", ["box", "circle"])
def test_the_route_taken_agrees_with_the_definition_and_keeps_the_layout(layout, shape):
    x = noise(2, 4, 33, 20).to(memory_format=layout)
    filtered = high_pass(x, 0.3, shape, residual=True)
    assert filtered.stride() == x.stride()
    assert (filtered - reference.high_pass(x, 0.3, shape, True)).abs().max() < 1e-5


def test_large_maps_and_large_cutoffs_go_by_the_transform(monkeypatch):
    monkeypatch.setattr(op.separable, "by_products", None)
    for side, cutoff in ((257, 0.25), (32, 0.51)):
        x = noise(1, 1, side, 32)
        assert (high_pass(x, cutoff) - reference.high_pass(x, cutoff)).abs().max() < 1e-5


def test_residual_adds_the_map():
    x = noise(2, 3, 12, 9, dtype=torch.float64)
    assert (high_pass(x, 0.4, residual=True) - (x + high_pass(x, 0.4))).abs().max() < 1e-12


# Of 64 rows and 40 columns at cutoff 0.5, the circle reaches to 16 periods down and 10 across.
@pytest.mark.parametrize(("fy", "fx", "kept"), [(15, 0, 0), (0, 9, 0), (11, 7, 0), (12, 7, 1), (15, 9, 1), (16, 0, 1)])
def test_a_circle_removes_what_is_inside_it(fy, fx, kept):
    wave = cosine(64, 40, fy, fx)
    assert (high_pass(wave, 0.5, "circle") - kept * wave).abs().max() < 1e-12


def test_it_is_a_whole_operator():
    for x in (noise(2, 3, 6, 5), noise(2, 3, 6, 5).to(memory_format=torch.channels_last), noise(4, 6).mT):
        for shape in ("box", "circle"):
            torch.library.opcheck(torch.ops.monch.high_pass.default, (x.requires_grad_(), 0.3, shape, True))


def test_is_linear():
    x, y = noise(1, 2, 31, 20, dtype=torch.float64), noise(1, 2, 31, 20, seed=1, dtype=torch.float64)
    together = high_pass(2 * x - 3 * y, 0.4)
    assert (together - (2 * high_pass(x, 0.4) - 3 * high_pass(y, 0.4))).abs().max() < 1e-12


def test_high_and_low_part_add_up_and_do_not_overlap():
    x = noise(1, 2, 31, 20, dtype=torch.float64)
    high = high_pass(x, 0.4)
    low = x - high
    assert (high_pass(high, 0.4) - high).abs().max() < 1e-12
    assert high_pass(low, 0.4).abs().max() < 1e-12
    assert (x.square().sum() - high.square().sum() - low.square().sum()).abs() < 1e-9


def test_shifting_the_map_around_shifts_the_answer():
    x = noise(1, 1, 15, 22, dtype=torch.float64)
    shifted = high_pass(x.roll((4, -7), dims=(-2, -1)), 0.3)
    assert (shifted - high_pass(x, 0.3).roll((4, -7), dims=(-2, -1))).abs().max() < 1e-12


def test_gradient_is_that_of_finite_differences():
    x = noise(1, 2, 5, 6, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda m: high_pass(m, 0.5), (x,))
    assert torch.autograd.gradgradcheck(lambda m: high_pass(m, 0.5), (x,))


def test_an_answer_found_without_gradients_serves_training_as_well():
    with torch.inference_mode():
        high_pass(noise(1, 1, 13, 17), 0.21)
    x = noise(1, 1, 13, 17).requires_grad_()
    high_pass(x, 0.21).square().sum().backward()
    assert (x.grad - 2 * high_pass(x.detach(), 0.21)).abs().max() < 1e-5  # a projection


def test_bfloat16_autocast_still_computes_in_float32():
    x = noise(2, 3, 63, 41)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        answer = high_pass(x, 0.25)
    assert answer.dtype == torch.float32
    assert torch.equal(answer, high_pass(x, 0.25))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_rounded_once_at_the_end(dtype):
    x = noise(2, 3, 63, 41).to(dtype)
    answer = high_pass(x, 0.25)
    assert answer.dtype == dtype
    assert torch.equal(answer, high_pass(x.float(), 0.25).to(dtype))


def test_memory_layout_does_not_matter():
    x = noise(2, 4, 15, 22, dtype=torch.float64)
    plain = high_pass(x, 0.3)
    assert (high_pass(x.to(memory_format=torch.channels_last), 0.3) - plain).abs().max() < 1e-12
    assert (high_pass(x.mT.contiguous().mT, 0.3) - plain).abs().max() < 1e-12
    assert (high_pass(x[..., ::2], 0.3) - high_pass(x[..., ::2].contiguous(), 0.3)).abs().max() < 1e-12


def test_leading_axes_do_not_matter():
    x = noise(2, 3, 9, 8, dtype=torch.float64)
    assert (high_pass(x[1, 2], 0.3) - high_pass(x, 0.3)[1, 2]).abs().max() < 1e-12


def test_an_empty_batch_gives_an_empty_answer():
    assert high_pass(torch.empty(0, 3, 8, 9), 0.25).shape == (0, 3, 8, 9)


@pytest.mark.parametrize(
    ("x", "cutoff", "message"),
    [
        (torch.zeros(5), 0.25, r"takes floating maps \[..., H, W\]; got \[5\]"),
        (torch.zeros(5, 5, dtype=torch.int32), 0.25, r"got \[5, 5\] of torch.int32"),
        (torch.zeros(5, 5), -0.1, r"cutoff in \[0, 1\], a share of the spectrum; got -0.1"),
        (torch.zeros(5, 5), 1.01, "got 1.01"),
        (torch.zeros(5, 5), math.nan, "got nan"),
    ],
)
def test_refuses_with_a_reason(x, cutoff, message):
    with pytest.raises(ValueError, match=message):
        high_pass(x, cutoff)


def test_refuses_an_unknown_shape():
    with pytest.raises(ValueError, match=r"high_pass takes a shape of \['box', 'circle'\]; got 'disc'"):
        high_pass(torch.zeros(5, 5), shape="disc")


def test_bfloat16_maps_stay_so_under_autocast():
    x = noise(2, 3, 16, 16).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        filtered = high_pass(x, 0.25, residual=True)
    assert torch.equal(filtered, high_pass(x, 0.25, residual=True))
    assert filtered.dtype == torch.bfloat16
