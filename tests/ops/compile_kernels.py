"""Compiles every kernel for an NVIDIA GPU (Ampere), which takes none: what the interpreter lets pass fails here."""

from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from monch_monai.ops.high_pass import triton_kernels as high_pass
from monch_monai.ops.knn import triton_kernels as knn
from monch_monai.ops.max_relative import triton_kernels as max_relative

SHARED_MEMORY = 99 * 2**10
"""Bytes that a block may use on the smaller GPUs from Ampere on."""


def types(arguments: str, **special: str) -> dict[str, str]:
    return {name: special.get(name, "i32") for name in arguments.split()}


def compile_kernel(kernel: object, arguments: dict[str, str], **constants: Any) -> None:
    source = ASTSource(kernel, arguments | dict.fromkeys(constants, "constexpr"), constexprs=constants)
    compiled = triton.compile(source, target=GPUTarget("cuda", 80, 32))
    assert compiled.metadata.shared <= SHARED_MEMORY, f"{kernel}: {compiled.metadata.shared} bytes of shared memory"


KNN = types(
    "nodes squared_norms nearest count dim k dilation steps_per_unit",
    nodes="*fp32", squared_norms="*fp32", nearest="*i64", steps_per_unit="fp32",
)  # fmt: skip
for kept in (16, 32, 128):
    compile_kernel(knn._nearest, KNN, KEPT=kept, ROWS=knn.ROWS, COLUMNS=max(knn.COLUMNS, kept), DEPTH=knn.DEPTH)
for narrow, wide in (("*fp32", "*fp32"), ("*bf16", "*fp32"), ("*fp64", "*fp64")):
    blocks = max_relative._blocks(torch.empty(0, dtype=torch.float64 if wide == "*fp64" else torch.float32))
    special = {"gradient": narrow, "nodes": narrow, "relative": narrow, "sums": wide, "neighbours": "*i64"}
    compile_kernel(max_relative._forward, types("nodes neighbours relative count dim k", **special), **blocks)
    compile_kernel(max_relative._backward, types("gradient nodes neighbours sums count dim k", **special), **blocks)
    maps = types(
        "x low_y low_x filtered height width image_stride channel_stride row_stride column_stride weight",
        x=narrow, low_y=wide, low_x=wide, filtered=narrow, weight="fp32",
    )  # fmt: skip
    for side in (16, 32, 64):
        compile_kernel(high_pass._filter, maps, BLOCK_Y=side, BLOCK_X=side)
