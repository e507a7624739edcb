"""What the runtimes share whose file is made of the ONNX file of a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import structs

from bench.backends import artifacts, onnx_file
from bench.backends.backend import FP32, Calibration, Call
from bench.backends.integers import in_onnx, literal_onnx
from bench.backends.runtime import PROBE_NODES, Engine, Runtime, RuntimeProfile, probe_image
from bench.devices.precision import is_quantised
from bench.records import Artifact

if TYPE_CHECKING:
    from torch import Tensor, nn

CHAIN_NODES = 100  # of the file that shows what a profiler costs


class OfOnnx(Runtime):
    """A runtime that executes an ONNX file, or a file that is made of one."""

    exporters = (onnx_file.DYNAMO, onnx_file.TORCHSCRIPT)

    def converted(self, of_onnx: bytes) -> bytes:
        """Return the runtime's own file that is made of an ONNX file."""
        return of_onnx

    def stored(self, of_onnx: artifacts.Stored, precision: str) -> artifacts.Stored:
        """Return the runtime's own file that is made of an ONNX file, in the folder of files."""
        return of_onnx

    def versions(self, precision: str = FP32) -> Mapping[str, str]:
        """Return the versions of the runtime, of what exports, and of what quantises."""
        further = in_onnx.versions() if is_quantised(precision) else {}
        return {**super().versions(precision), **further}

    def export(
        self,
        model: nn.Module,
        example: Sequence[Tensor],
        precision: str,
        exporter: str,
        identity: str = "",
        calibration: Calibration | None = None,
    ) -> Artifact:
        """Export the network as ONNX for inputs of these shapes; make the runtime's file of it.

        Files of several precisions are made of one ONNX file, where their weights are the same.
        """
        given = self.given(precision)
        of_onnx = onnx_file.exported(model, example, given, exporter, identity)
        about = None
        if calibration is not None:
            of_onnx = in_onnx.stored(of_onnx, calibration)
            about = in_onnx.described(calibration)
        opset = onnx_file.opset(onnx_file.parse(of_onnx.content))
        made = artifacts.artifact_of(self.stored(of_onnx, precision), exporter)
        return structs.replace(made, onnx=of_onnx.name, opset=opset, quantised=about)

    def literal(self, artifact: Artifact, example: Sequence[Tensor]) -> Call:
        """Execute the ONNX file in integers, of which the runtime's file is made, literally."""
        return literal_onnx.literal(artifacts.named(artifact.onnx), example)

    def profile(self, call: Call, artifact: Artifact) -> RuntimeProfile | None:
        """Let the runtime itself time the nodes, of the network and of a chain of tiny ones."""
        import torch

        assert isinstance(call, Engine)
        content = artifacts.content_of(artifact)
        example = [torch.ones(1, 1, 1, 1)]
        chain = self.converted(onnx_file.chain(CHAIN_NODES, example[0].shape))
        engine = self.engine(chain, example, "fp32")
        return RuntimeProfile(call.profiler(content), engine, engine.profiler(chain))

    def probe(self) -> Engine:
        """Load a chain of pooling operators."""
        image = probe_image()
        content = self.converted(onnx_file.chain(PROBE_NODES, image.shape))
        return self.engine(content, [image], "fp32")
