import subprocess
import sys

import pytest
import torch

from monch_monai.errors import InputError
from monch_monai.ops import high_pass, knn, max_relative
from monch_monai.ops.choice import choose
from tests.fakes.network import noise

CPU = torch.device("cpu")


def call(op):
    nodes = noise(1, 20, 4)
    calls = {
        "knn": lambda: knn(nodes, k=3),
        "max_relative": lambda: max_relative(nodes, torch.zeros(1, 20, 3, dtype=torch.int64)),
        "high_pass": lambda: high_pass(noise(1, 2, 9, 9)),
    }
    return calls[op]()


@pytest.mark.parametrize("op", ["knn", "max_relative", "high_pass"])
def test_triton_named_where_it_cannot_run_is_refused_with_what_runs(monkeypatch, op):
    monkeypatch.setenv("MONCH_OPS", "triton")
    with pytest.raises(InputError, match=rf"MONCH_OPS=triton cannot run {op}: .*; use auto or reference$"):
        call(op)


@pytest.mark.parametrize("op", ["knn", "max_relative", "high_pass"])
def test_an_unknown_choice_is_refused_with_the_known(monkeypatch, op):
    monkeypatch.setenv("MONCH_OPS", "cuda")
    with pytest.raises(InputError, match="MONCH_OPS is 'cuda'; give one of auto, reference, triton"):
        call(op)


@pytest.mark.parametrize("op", ["knn", "max_relative", "high_pass"])
def test_auto_and_reference_agree(monkeypatch, op):
    answers = []
    for choice in ("auto", "reference"):
        monkeypatch.setenv("MONCH_OPS", choice)
        answers.append(call(op))
    assert (answers[0] - answers[1]).abs().max() < 1e-5


def test_auto_runs_without_triton_on_a_cpu(monkeypatch):
    monkeypatch.delenv("MONCH_OPS", raising=False)
    assert choose("knn", CPU) == "auto"


def test_the_ops_work_where_triton_is_not_installed():
    without = "import sys; sys.modules['triton'] = None; import importlib.util as u; find = u.find_spec\n"
    without += "u.find_spec = lambda name, *a: None if name == 'triton' else find(name, *a)\n"
    use = "import torch, os; from monch_monai.ops import knn\nassert knn(torch.eye(4)[None], k=2).shape == (1, 4, 2)\n"
    name_it = "os.environ['MONCH_OPS'] = 'triton'; knn(torch.eye(4)[None], k=2)"
    done = subprocess.run([sys.executable, "-c", without + use + name_it], capture_output=True, text=True)
    assert (
        done.stderr.strip()
        .splitlines()[-1]
        .endswith("MONCH_OPS=triton cannot run knn: Triton is not installed; use auto or reference")
    )
