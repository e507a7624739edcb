"""What the runtimes share whose file is made of a program of `torch.export`. They run on a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from msgspec import structs

from bench.backends import artifacts, program
from bench.backends.backend import Calibration
from bench.backends.runtime import (
    PROBE_NODES,
    Engine,
    Runtime,
    described,
    dtype_of,
    probe_image,
)
from bench.records import Artifact

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.export import ExportedProgram

PROBE = "probe"  # the identity of the network on which threads are counted


class OfProgram(Runtime):
    """A runtime whose file is compiled from what `torch.export` captures of a network."""

    exporters = (program.EXPORT,)

    def compiled(self, captured: ExportedProgram) -> bytes:
        """Return the runtime's file of a program."""
        raise NotImplementedError

    def compiles_for(self) -> list[str]:
        """Return what decides the content of a file besides the network and the packages."""
        return []

    def export(
        self,
        model: nn.Module,
        example: Sequence[Tensor],
        precision: str,
        exporter: str,
        identity: str = "",
        calibration: Calibration | None = None,
    ) -> Artifact:
        """Compile a file of the network, and the one that `probe` loads."""
        assert calibration is None, "lacks_precision says so"
        self.make_probe()
        return artifacts.artifact_of(self._file_of(model, example, precision, identity), exporter)

    def make_probe(self) -> None:
        """Compile the file that `probe` loads, unless it is there."""
        self._file_of(*_probe(), "fp32", PROBE)

    def probe(self) -> Engine | None:
        """Load a chain of pooling operators; None if its file was removed meanwhile."""
        chain, example = _probe()
        known = artifacts.stored(self.key(chain, example, "fp32", PROBE))
        return self.engine(known.content, example, "fp32") if known else None

    def _file_of(
        self, model: nn.Module, example: Sequence[Tensor], precision: str, identity: str
    ) -> artifacts.Stored:
        """Return the file of a network, compiled now unless the same one is there."""

        def compiled(plain: nn.Module, inputs: tuple[Tensor, ...]) -> bytes:
            return self.compiled(program.captured(plain, inputs))

        key = self.key(model, example, precision, identity)
        return artifacts.stored_or_made(key, lambda: program.exported(compiled, model, example))

    def key(
        self,
        model: nn.Module,
        example: Sequence[Tensor],
        precision: str,
        identity: str,
        *further: str,
    ) -> str:
        """Return the key of a network's file; `further` words decide its content, too."""
        words = (artifacts.source_hash(type(self)), precision, *self.compiles_for(), *further)
        made_by = program.made_by(self.oldest, __file__, *words)
        return artifacts.key_of(model, example, identity, made_by)


class ProgramEngine(Engine):
    """A file that is loaded, whose inputs and outputs have no names."""

    def recorded(self, artifact: Artifact, types: Sequence[str], **found: Any) -> Artifact:
        """Return the artifact with types, inputs and outputs, and with what else was `found`.

        Raises WrongEngineError for a type of fewer bits than the precision has.
        """
        outputs = self()
        self.check_types(types, [dtype_of(each) for each in (*self._example, *outputs)])
        return structs.replace(
            artifact,
            types=self.shown(types),
            inputs=_numbered("input", self._example),
            outputs=_numbered("output", outputs),
            session_s=self.load_s,
            **found,
        )


def _numbered(name: str, tensors: Sequence[Tensor]) -> dict[str, str]:
    """Describe tensors that have no names: `input0`, `input1`, ..."""
    return {
        f"{name}{place}": described(dtype_of(each), each.shape)
        for place, each in enumerate(tensors)
    }


def _probe() -> tuple[nn.Module, list[Tensor]]:
    """Return a network without weights, and its image."""
    from torch import nn

    return nn.Sequential(*(nn.MaxPool2d(3, 1, 1) for _ in range(PROBE_NODES))), [probe_image()]
