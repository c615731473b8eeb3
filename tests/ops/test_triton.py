"""The Triton kernels where there is no GPU: their answers, interpreted on the CPU, and whether they compile."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="Triton is for Linux")
ROOT = Path(__file__).parents[2]


def run(*command, **environment):
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done.stdout


def test_interpreted_kernels_are_right():
    """Runs `tests/ops/interpreted`; by hand: `TRITON_INTERPRET=1 MONCH_OPS=triton pytest tests/ops/interpreted`."""
    settings = {"TRITON_INTERPRET": "1", "MONCH_OPS": "triton", "OMP_NUM_THREADS": "1"}
    assert "passed" in run("-m", "pytest", "-p", "no:cacheprovider", "tests/ops/interpreted", **settings)


def test_kernels_compile_for_a_gpu():
    run("tests/ops/compile_kernels.py", TRITON_INTERPRET="0", PYTHONPATH=str(ROOT))
