import logging

import pytest
import torch

from monch_monai.ops import high_pass, knn, max_relative, self_check
from monch_monai.ops.choice import choose
from monch_monai.ops.high_pass import reference as high_pass_reference
from monch_monai.ops.high_pass import triton_kernels as high_pass_kernels
from monch_monai.ops.knn import reference as knn_reference
from monch_monai.ops.knn import triton_kernels as knn_kernels
from monch_monai.ops.max_relative import reference as max_relative_reference
from monch_monai.ops.max_relative import triton_kernels as max_relative_kernels
from tests.fakes.network import noise

CPU = torch.device("cpu")
KERNELS = {"knn": knn_kernels, "max_relative": max_relative_kernels, "high_pass": high_pass_kernels}


@pytest.fixture(autouse=True)
def _not_checked_yet():
    self_check.agrees.cache_clear()
    yield
    self_check.agrees.cache_clear()


def use(op):
    """What an op and its definition return, forward and where there is one backward."""
    x = noise(1, 20, 4).relu().requires_grad_()
    neighbours = knn_reference.knn(x.detach(), 3)
    functions = {
        "knn": (lambda m: knn(m, 3), lambda m: knn_reference.knn(m, 3)),
        "max_relative": (
            lambda m: max_relative(m, neighbours), lambda m: max_relative_reference.max_relative(m, neighbours)
        ),
        "high_pass": (lambda m: high_pass(m, 0.3), lambda m: high_pass_reference.high_pass(m, 0.3)),
    }[op]  # fmt: skip
    for function in functions:
        result = function(x)
        yield [result, *(torch.autograd.grad(result.sum(), x) if result.requires_grad else ())]


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("op", KERNELS)
def test_right_kernels_agree_and_are_checked_once(op, caplog, monkeypatch):
    checks, check = [], self_check.CHECKS[op]
    monkeypatch.setitem(self_check.CHECKS, op, lambda device: checks.append(device) or check(device))
    assert [choose(op, CPU) for _ in range(3)] == ["triton"] * 3
    assert checks == [CPU]
    assert warnings(caplog) == []


def wrong(kernel, by):
    return lambda *given: by(kernel(*given))


BROKEN = [
    ("knn", "knn", lambda found: found.flip(-1), "neighbours differ by"),
    ("knn", "knn", lambda found: found + 1000, "nodes that do not exist"),
    ("max_relative", "max_relative", lambda found: found + 1e-3, "differences differ by 0.001"),
    ("max_relative", "max_relative_backward", lambda found: 1.01 * found, "gradients differ by"),
    ("high_pass", "high_pass", lambda found: found.mT.contiguous().reshape(found.shape), "maps differ by"),
    ("high_pass", "high_pass", lambda found: found * float("nan"), "maps differ by nan"),
]


@pytest.mark.parametrize(("op", "name", "by", "problem"), BROKEN)
def test_a_broken_kernel_is_named_in_one_warning_and_the_definition_runs(op, name, by, problem, caplog, monkeypatch):
    monkeypatch.setattr(KERNELS[op], name, wrong(getattr(KERNELS[op], name), by))
    for _ in range(3):
        fast, plain = use(op)
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(fast, plain, strict=True))
    (warning,) = warnings(caplog)
    assert warning.startswith(f"Triton's kernel of {op} is not used on cpu: it")
    assert problem in warning
    assert "\n" not in warning


@pytest.mark.parametrize("op", KERNELS)
def test_a_kernel_that_does_not_compile_is_named_and_the_others_run(op, caplog, monkeypatch):
    def fails(*given):
        raise RuntimeError("ptxas died\non line 3")

    for name in ("knn", "max_relative", "max_relative_backward", "high_pass"):
        if hasattr(KERNELS[op], name):
            monkeypatch.setattr(KERNELS[op], name, fails)
    fast, plain = use(op)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(fast, plain, strict=True))
    (warning,) = warnings(caplog)
    assert "ptxas died" in warning
    assert "\n" not in warning
    if op == "knn":
        assert [choose(other, CPU) for other in KERNELS] == ["reference", "triton", "triton"]


def test_no_check_runs_while_a_graph_is_recorded(monkeypatch):
    monkeypatch.setitem(self_check.CHECKS, "knn", lambda device: 1 / 0)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert choose("knn", CPU) == "triton"
    assert self_check.agrees.cache_info().currsize == 0
