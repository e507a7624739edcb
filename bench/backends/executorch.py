"""ExecuTorch with XNNPACK: what phones and boards with an Arm CPU run. `--backend executorch`.

Source: docs.pytorch.org/executorch, "XNNPACK Backend" and "Runtime Python API Reference".
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from bench.backends import artifacts, program, pte_file
from bench.backends.of_program import OfProgram, ProgramEngine
from bench.backends.runtime import Engine, check_shapes
from bench.devices import clocks
from bench.records import Artifact, Gelus

if TYPE_CHECKING:
    from torch import Tensor, nn

METHOD = "forward"


class ExecuTorch(OfProgram):
    """ExecuTorch on a CPU: XNNPACK executes what it can, ExecuTorch's own kernels the rest."""

    file_kind = "pte"
    file_ends = (".pte",)
    on_cpu = "executorch"
    oldest: ClassVar[Mapping[str, str]] = {"executorch": "1.5", "torch": "2.14"}

    def engine(self, content: bytes, example: Sequence[Tensor], precision: str) -> Engine:
        """Load the program, and let ExecuTorch have as many threads as torch."""
        return Method(content, example, precision)

    def compiled(self, model: nn.Module, inputs: tuple[Tensor, ...]) -> bytes:
        """Lower the network for XNNPACK."""
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        captured = program.captured(model, inputs)
        lowered = to_edge_transform_and_lower(captured, partitioner=[XnnpackPartitioner()])
        return bytes(lowered.to_executorch().buffer)

    def with_passport(self, content: bytes, passport: Mapping[str, object]) -> list[bytes]:
        """Return the program with a method that returns the passport."""
        return [pte_file.with_passport(content, passport)]

    def preload(self) -> None:
        """Import the runtime, which starts no thread; one that cannot be loaded fails later."""
        with contextlib.suppress(ImportError):
            _bindings()


class Method(ProgramEngine):
    """A program that ExecuTorch has loaded, called with the tensors of the example."""

    def __init__(self, content: bytes, example: Sequence[Tensor], precision: str) -> None:
        import torch

        super().__init__(example, precision)
        threads = torch.get_num_threads()
        if _bindings()._threadpool_get_thread_count() != threads:
            # A method that was loaded before could not be called any more. A child has none.
            _bindings()._unsafe_reset_threadpool(threads)
        began = clocks.monotonic()
        self._content = content  # the program reads its constants from there
        self._program = _bindings()._load_program_from_buffer(content)
        self._method = self._program.load_method(METHOD)
        self.load_s = clocks.monotonic() - began
        meta = self._method.method_meta()
        metas = [meta.input_tensor_meta(place) for place in range(meta.num_inputs())]
        check_shapes([each.sizes() for each in metas], example)

    def __call__(self) -> list[Tensor]:
        """Execute the network; return its output tensors, which are in the memory of the method.

        The next call overwrites them. Copies of large ones would be made in threads of torch,
        besides those of ExecuTorch.
        """
        return list(self._method.call(list(self._example), clone_outputs=False))

    def executed(self, artifact: Artifact, gelus: Gelus | None) -> Artifact:
        """Return the artifact with the nodes of the program, which is executed as it is.

        Raises WrongEngineError where a node computes in fewer bits than asked, or where a GELU has
        another formula than the network's.
        """
        nodes, types = pte_file.read(artifacts.content_of(artifact))
        found = pte_file.gelus(nodes)
        made = self.recorded(
            artifact,
            types,
            operators=dict(Counter(each.operator for each in nodes).most_common()),
            providers=dict(Counter(each.provider for each in nodes)),
            gelus=found,
        )
        self.check_gelus([found], gelus)
        return made


def _bindings() -> Any:
    """Return the runtime. Its public module also imports ExecuTorch's compiler, for 8 seconds."""
    import torch  # noqa: F401  # it loads the libraries that the runtime needs
    from executorch.extension.pybindings import _C

    return _C
