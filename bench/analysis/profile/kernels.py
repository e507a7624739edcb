"""What a kernel does, by its name alone: where no operator is known that launched it.

A name that stands for work of several kinds, as a fused one may, is `unattributed`.
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
FIRST = PATTERNS[:2]  # which products may be part of
# A matrix product may be a pointwise convolution as well as a linear layer.
UNKNOWABLE = re.compile(r"gemm|cutlass|conv|xmma|wgmma|_mm_|matmul", re.IGNORECASE)
# Inductor names a kernel after the operators that it fused.
FUSED = re.compile(r"(?:triton|cpp)_(?:\w+_)?fused_(\w+?)_\d+$")
FUSED_KINDS: dict[str, Category] = {
    **dict.fromkeys(["gelu", "relu", "silu", "hardswish", "sigmoid"], "activation"),
    "add": "addition",
    "clone": "dimension transform",
}


def of_kernel(name: str) -> Category:
    """The category of the kernel called `name`, `unattributed` unless just one kind fits."""
    if fused := FUSED.search(name):
        kinds = {FUSED_KINDS.get(part, "unattributed") for part in fused[1].split("_")}
        return kinds.pop() if len(kinds) == 1 else "unattributed"
    patterns = FIRST if UNKNOWABLE.search(name) else PATTERNS
    found = {kind for pattern, kind in patterns if re.search(pattern, name, re.IGNORECASE)}
    return found.pop() if len(found) == 1 else "unattributed"
