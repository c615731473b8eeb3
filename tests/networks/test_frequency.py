import math

import torch

from monch_monai.networks.features import HighFrequency
from monch_monai.ops import high_pass
from tests.fakes.network import noise


def test_a_constant_map_stays_as_it_is():
    constant = torch.full((1, 2, 20, 31), 3.0)
    assert (HighFrequency(0.25)(constant) - constant).abs().max() < 1e-5


def test_a_high_wave_is_doubled_and_a_low_one_is_not():
    x = torch.arange(64, dtype=torch.float64).expand(1, 1, 64, 64)
    high, low = (2 * math.pi * 20 * x / 64).cos(), (2 * math.pi * 3 * x / 64).cos()
    assert (HighFrequency(0.25)(high + low) - (2 * high + low)).abs().max() < 1e-12


def test_the_high_part_is_added_to_the_map():
    fine = noise(2, 3, 63, 41)
    assert (HighFrequency(0.4)(fine) - (fine + high_pass(fine, 0.4))).abs().max() < 1e-6


def test_it_has_no_parameters():
    assert list(HighFrequency().parameters()) == []
