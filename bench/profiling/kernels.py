"""What a kernel does, by its name alone: where no operator is known that launched it.

A name that stands for work of several kinds, as a fused one may, is `unattributed`.
"""

from __future__ import annotations

import re

from bench.records import Category

PATTERNS: list[tuple[str, Category]] = [
    (r"depthwise|conv_dw|dgrad_dw|DepthWise", "depthwise or group conv"),
    (r"layer_?norm", "layer norm"),
    (r"batch_?norm|bn_fw", "batch norm"),
    (r"flash|fmha|attention|sdpa", "attention"),
    (r"pool", "pooling"),
    (r"gelu|relu|silu|hardswish|hardsigmoid|softmax|sigmoid", "activation"),
    (r"(?<![a-z])add(?![a-z])|CUDAFunctor_add", "addition"),
    (
        r"Memcpy|permute|transpose|nchwToNhwc|nhwcToNchw|(?<![a-z])(clone|cat|copy)(?![a-z])",
        "dimension transform",
    ),
]
# Products: a matrix product may be a pointwise convolution as well as a linear layer.
UNKNOWABLE = re.compile(r"gemm|cutlass|conv|xmma|sgemm|wgmma|_mm_|matmul", re.IGNORECASE)


def of_kernel(name: str) -> Category:
    """The category of the kernel called `name`, `unattributed` unless just one kind fits."""
    if UNKNOWABLE.search(name) and not re.search(PATTERNS[0][0], name):
        return "unattributed"
    found = {kind for pattern, kind in PATTERNS if re.search(pattern, name)}
    return found.pop() if len(found) == 1 else "unattributed"
