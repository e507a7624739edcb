"""The category of a kernel from its name, for kernels whose operator is not known.

A kernel whose name fits several categories, as a fused kernel's may, is `unattributed`.
"""

from __future__ import annotations

import re

from bench.records import Category

PATTERNS: list[tuple[str, Category]] = [
    (r"depthwise|conv_dw|dgrad_dw", "depthwise or group conv"),
    (r"flash|fmha|attention|sdpa", "attention"),
    (r"layer_?norm", "layer norm"),
    (r"batch_?norm|bn_fw", "batch norm"),
    (r"pool", "pooling"),
    (r"gelu|relu|silu|hardswish|hardsigmoid|softmax|sigmoid", "activation"),
    (r"CUDAFunctor_add|AddFunctor", "addition"),
    (
        r"memcpy|permute|transpose|nchwToNhwc|nhwcToNchw|CatArray|(?<![a-z])(clone|cat|copy)(?![a-z])",
        "dimension transform",
    ),
]
PRODUCT_PATTERNS = PATTERNS[:2]  # the patterns that may match a matrix product
# A matrix product may belong to a pointwise convolution or to a linear layer.
AMBIGUOUS = re.compile(r"gemm|cutlass|conv|xmma|wgmma|_mm_|matmul", re.IGNORECASE)
# Inductor names a kernel after the operators that it fused: `triton_poi_fused_add_gelu_3`.
FUSED = re.compile(r"(?:triton|cpp)_(?:\w+_)?fused_(\w+?)_\d+$")
FUSED_KINDS: dict[str, Category] = {
    **dict.fromkeys(["gelu", "relu", "silu", "hardswish", "sigmoid"], "activation"),
    "add": "addition",
    "clone": "dimension transform",
}


def kernel_category(name: str) -> Category:
    """The category of the kernel `name`; `unattributed` unless exactly one category fits."""
    if fused := FUSED.search(name):
        kinds = {FUSED_KINDS.get(part, "unattributed") for part in fused[1].split("_")}
        return kinds.pop() if len(kinds) == 1 else "unattributed"
    patterns = PRODUCT_PATTERNS if AMBIGUOUS.search(name) else PATTERNS
    found = {kind for pattern, kind in patterns if re.search(pattern, name, re.IGNORECASE)}
    return found.pop() if len(found) == 1 else "unattributed"
