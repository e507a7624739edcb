"""The CUDA stream on which a runtime computes."""

from __future__ import annotations

from typing import Any


def own_stream() -> Any:
    """Make a CUDA stream the current one of this process, and return it.

    ONNX Runtime takes the handle 0 of torch's default stream for no stream at all, and would then
    compute on a stream that does not wait for torch's copies. TensorRT waits for more than
    necessary on the default stream.
    """
    import torch

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    torch.cuda.set_stream(stream)
    return stream
