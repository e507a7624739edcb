"""CUDA graphs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.backends.backend import Backend, Call

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

WARM_CALLS = 3  # the first calls allocate workspaces and choose kernels


class CudaGraph(Backend):
    """A CUDA graph of the whole network: captured once, then replayed with a single launch."""

    replays_graph = True

    def load(self, model: nn.Module, example: Sequence[Tensor], precision: str) -> Call:
        """Warm up on a side stream, as CUDA graphs require, then capture one call on `example`.

        The returned call replays the graph. It always returns the same output tensors, which the
        next call overwrites.
        """
        import torch

        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_CALLS):
                model(*example)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            output: object = model(*example)
        return _Replay(graph, output, model, example)

    def missing(self, torch_device: str) -> str | None:
        """Return None on CUDA; elsewhere the reason."""
        return None if torch_device == "cuda" else "CUDA graphs need an NVIDIA GPU: --device cuda"


class _Replay:
    """A captured graph, and references to the tensors that it reads: the graph keeps none alive."""

    def __init__(
        self,
        graph: torch.cuda.CUDAGraph,
        output: object,
        model: nn.Module,
        example: Sequence[Tensor],
    ) -> None:
        self._graph = graph
        self._output = output
        self._read = (model, example)

    def __call__(self) -> object:
        self._graph.replay()
        return self._output
