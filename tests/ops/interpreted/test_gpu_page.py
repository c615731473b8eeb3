import contextlib
import io

import pytest
import torch
from torch import nn

from benchmarks import gpu
from benchmarks.gpu_operators import Sizes
from monch_monai.ops import self_check
from monch_monai.ops.max_relative import triton_kernels
from tests.fakes.network import small_monch

TINY = Sizes(
    nodes=40, channels=8, side=16, batch=1, slide=64, runs=1,
    builds={"MONCH": small_monch, "encoder": lambda: nn.Conv2d(3, 4, 8, stride=8)},
)  # fmt: skip


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setenv("MONCH_OPS", "auto")
    monkeypatch.setattr(torch, "compile", lambda network: network)
    self_check.agrees.cache_clear()
    yield
    self_check.agrees.cache_clear()


def page(path, minutes=8.0):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        gpu.write_page(path, "cpu", minutes, TINY)
    assert path.read_text() == printed.getvalue()
    first, *sections = path.read_text().split("\n## ")
    return first, dict(section.split("\n", 1) for section in sections)


def test_the_page_has_every_section_and_a_line_for_one_that_fails(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(gpu.SECTIONS, "A slide", lambda device, sizes: 1 / 0)
    forward = triton_kernels.max_relative
    monkeypatch.setattr(triton_kernels, "max_relative", lambda *given: forward(*given) + 1)
    first, sections = page(tmp_path / "gpu.md")
    assert first.startswith("# No GPU")
    assert [*sections] == [*gpu.SECTIONS]
    rows = {
        line.split(" | ")[0].strip("| "): line.split(" | ")[1:]
        for line in sections[next(iter(gpu.SECTIONS))].splitlines()
        if line.startswith("|")
    }
    for op in ("knn", "high_pass"):
        assert rows[op][0] == "agrees"
        assert float(rows[op][1]) < 1e-5
    assert float(rows["high_pass"][2]) < 1e-5
    assert rows["max_relative"][0] == "fails"  # and the reference, which runs in its place, is exact
    assert float(rows["max_relative"][1]) < 1e-5
    for name in ("ops.knn, MONCH_OPS=triton", "torch.cdist + topk", "reference"):
        assert f"| {name} | " in sections["k-NN on a large graph"]
    for way in ("FFT", "products", "fused kernel"):
        assert f"| {way}, forward and backward | " in sections["High-pass filter"]
    assert "| encoder | " in sections["Inference"]
    assert "| the same, compiled | " in sections["Compiled"]
    assert sections["TensorRT"].strip() == "Not measured: TensorRT needs a GPU and the package tensorrt."
    assert "| batch 1, bfloat16 | " in sections["Training"]
    assert "Not measured: division by zero" in sections["A slide"]
    assert "not measured: " not in sections["High-pass filter"].replace("| not measured |", "")


def test_no_section_begins_after_the_minutes(tiny, tmp_path):
    _, sections = page(tmp_path / "gpu.md", minutes=0.0)
    assert all("Not measured: the 0 minutes were over." in text for text in sections.values())
