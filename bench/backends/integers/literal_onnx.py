"""Executes an ONNX file operator by operator, as it is written, with ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from bench.backends.backend import Call

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


def literal(content: bytes, example: Sequence[Tensor]) -> Call:
    """Return a call that executes each operator of the file by itself: products in float32.

    It reads the tensors of `example`, and shows what the file computes, whatever a runtime does.
    """
    import torch

    opened = session(content)

    def call() -> list[Tensor]:
        inputs = by_name(opened.get_inputs(), example)
        return [torch.from_numpy(each) for each in opened.run(None, inputs)]

    return call


def session(content: bytes) -> Any:
    """Return a session of ONNX Runtime that optimises nothing, on the CPU."""
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def by_name(ports: Iterable[Any], inputs: Sequence[Tensor]) -> dict[str, np.ndarray]:
    """Map the names of a file's or a session's inputs to values."""
    return {port.name: each.numpy() for port, each in zip(ports, inputs, strict=True)}
