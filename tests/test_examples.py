"""The examples in the docstrings of metrics and ops hold, and every public function has one."""

import doctest
import importlib
import pkgutil

import pytest

import monch_monai.metrics
import monch_monai.ops

ROOMS = (monch_monai.metrics, monch_monai.ops)
MODULES = [
    name
    for room in ROOMS
    for _, name, is_package in pkgutil.walk_packages(room.__path__, f"{room.__name__}.")
    if not is_package and not name.endswith(".triton_kernels")  # which import Triton
]
FUNCTIONS = [(room, name) for room in ROOMS for name in room.__all__ if not isinstance(getattr(room, name), type)]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_hold(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize(("room", "name"), FUNCTIONS, ids=[name for _, name in FUNCTIONS])
def test_every_public_function_has_an_example(room, name):
    assert ">>> " in getattr(room, name).__doc__
