"""ExecuTorch with XNNPACK: what phones and boards with an Arm CPU run. `--backend executorch`.

Source: docs.pytorch.org/executorch, "XNNPACK Backend" and "Runtime Python API Reference".
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from msgspec import structs

from bench.backends import artifacts, program, pte_file
from bench.backends.backend import FP32, Calibration, Call
from bench.backends.integers import in_program
from bench.backends.of_program import OfProgram, ProgramEngine
from bench.backends.runtime import Engine, check_shapes
from bench.devices import clocks
from bench.devices.precision import is_quantised
from bench.records import Artifact, Gelus

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.export import ExportedProgram

METHOD = "forward"


class ExecuTorch(OfProgram):
    """ExecuTorch on a CPU: XNNPACK executes what it can, ExecuTorch's own kernels the rest."""

    file_kind = "pte"
    file_ends = (".pte",)
    on_cpu = "executorch"
    precisions = (FP32, "int8")
    oldest: ClassVar[Mapping[str, str]] = {"executorch": "1.5", "torch": "2.14"}

    def engine(self, content: bytes, example: Sequence[Tensor], precision: str) -> Engine:
        """Load the program, and let ExecuTorch have as many threads as torch."""
        return Method(content, example, precision)

    def compiled(self, captured: ExportedProgram) -> bytes:
        """Lower the program for XNNPACK."""
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        lowered = to_edge_transform_and_lower(captured, partitioner=[XnnpackPartitioner()])
        return bytes(lowered.to_executorch().buffer)

    def export(
        self,
        model: nn.Module,
        example: Sequence[Tensor],
        precision: str,
        exporter: str,
        identity: str = "",
        calibration: Calibration | None = None,
    ) -> Artifact:
        """Lower the network, or for integers the program that is quantised first."""
        if calibration is None:
            return super().export(model, example, precision, exporter, identity)
        self.make_probe()
        of_integers = self._quantised(model, example, precision, identity, calibration)
        made = artifacts.artifact_of(self._lowered(of_integers), exporter)
        about = in_program.described(calibration)
        return structs.replace(made, program=of_integers.name, quantised=about)

    def _quantised(
        self,
        model: nn.Module,
        example: Sequence[Tensor],
        precision: str,
        identity: str,
        calibration: Calibration,
    ) -> artifacts.Stored:
        """Return the program of a network in integers, made now unless the same one is there."""

        def made(plain: nn.Module, inputs: tuple[Tensor, ...]) -> bytes:
            return in_program.quantised(plain, inputs, calibration.calls)

        made_by = (*in_program.versions().values(), *in_program.code(), calibration.digest)
        key = self.key(model, example, precision, identity, *made_by)
        return artifacts.stored_or_made(key, lambda: program.exported(made, model, example))

    def _lowered(self, of_integers: artifacts.Stored) -> artifacts.Stored:
        """Return the file of a program in integers, made now unless the same one is there."""

        def lowered() -> bytes:
            with program.exporting():
                return self.compiled(in_program.load(of_integers.content))

        key = artifacts.key_of_converted(of_integers, [self.file_kind])
        return artifacts.stored_or_made(key, lowered)

    def literal(self, artifact: Artifact, example: Sequence[Tensor]) -> Call:
        """Execute the program in integers, of which the file is made, literally."""
        return in_program.literal(artifacts.named(artifact.program), example)

    def versions(self, precision: str = FP32) -> Mapping[str, str]:
        """Return the versions of ExecuTorch, and of what quantises."""
        further = in_program.versions() if is_quantised(precision) else {}
        return {**super().versions(precision), **further}

    def lacks_precision(self, precision: str, torch_device: str) -> str | None:
        """Check for what quantises, where integers are asked for."""
        lack = super().lacks_precision(precision, torch_device)
        return lack or (in_program.lacking() if is_quantised(precision) else None)

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
        artifact = self.check_integers(artifact, sum(each.is_of_integers for each in nodes))
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
