"""A runtime executes a network from the file of an exporter. What all runtimes share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from msgspec import structs

from bench.backends import artifacts, packages
from bench.backends.backend import FP32, Backend, Call, WrongEngineError
from bench.devices.threads import computing_threads
from bench.records import Artifact, Gelus

if TYPE_CHECKING:
    from torch import Tensor, nn

# By ONNX's names: the types of indices, and those of floating-point values that are exact; a type
# that is not here has fewer bits. What may occur besides in a precision.
OF_INDICES = ("bool", "int16", "int32", "int64", "uint16", "uint32", "uint64")
FULL = ("float", "double", "complex64", "complex128")
WANTED_TYPES: dict[str, Sequence[str]] = {
    **{"fp32": (), "tf32": (), "fp16": ("float16",), "bf16": ("bfloat16",)},
    "int8": ("int8", "uint8"),
}
EXACT = ("fp32", "tf32")  # precisions in which a GELU of another formula is a wrong one
OLDEST_TORCH = "2.6"  # its `torch.export` covers the networks of the paper
PROBE_NODES, PROBE_SIDE = 4, 56  # of the file that shows which threads compute; pixels each way
PROBE_CHANNELS = 64  # at least, and 16 for each thread: they are divided among the threads


class NodeTime(NamedTuple):
    """A node that a runtime executes: its name, its operator, and its seconds in a call."""

    name: str
    operator: str
    seconds: float


class Profiler:
    """Calls a network in a runtime that times each node."""

    def __call__(self) -> object:
        """Execute the network once."""
        raise NotImplementedError

    def count(self, *, on: bool) -> None:
        """Let the calls from now on count, or not; at first they do not."""
        raise NotImplementedError

    def end(self) -> list[NodeTime]:
        """Return the nodes in the order of a call, with their mean seconds in calls that count.

        Raises WrongEngineError if the calls differ. The profiler cannot be called any more.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Remove the files of the profiler; it may be called twice."""


class RuntimeProfile(NamedTuple):
    """Profiles a network; `chain` is one of tiny nodes, which shows what this costs per node."""

    profiler: Profiler
    chain: Call
    chain_profiler: Profiler


class Engine:
    """A file that is loaded: its inputs are the tensors of `example`, its outputs tensors, too.

    `load_s` are the seconds to read the file and to optimise it.
    """

    load_s: float

    def __init__(self, example: Sequence[Tensor], precision: str) -> None:
        self._example = example
        self._precision = precision
        self.device = example[0].device.type if example else "cpu"

    def __call__(self) -> list[Tensor]:
        """Execute the network; return the output tensors, which the next call may overwrite."""
        raise NotImplementedError

    def executed(self, artifact: Artifact, gelus: Gelus | None) -> Artifact:
        """Return the artifact with what is executed. Raises WrongEngineError, as `Backend` says."""
        raise NotImplementedError

    def profiler(self, content: bytes) -> Profiler:
        """Return a profiler of the same file, whose `content` is given, with the same settings."""
        raise NotImplementedError

    def check_types(self, found: Sequence[str], own: Sequence[str]) -> None:
        """Raise WrongEngineError for a type of fewer bits than the precision has, or of none.

        `found` are ONNX's names; `own` torch's names of the network's inputs and outputs.
        """
        wanted = WANTED_TYPES[self._precision]
        allowed = {*OF_INDICES, *FULL, *wanted, *own}
        if strange := [each for each in found if each not in allowed]:
            raise WrongEngineError(
                f"{self._precision} was asked for, and the runtime computes in {', '.join(strange)}"
            )
        if wanted and not {*wanted} & {*found}:
            raise WrongEngineError(
                f"{self._precision} was asked for, and the runtime computes in {', '.join(found)}"
            )

    @staticmethod
    def shown(types: Sequence[str]) -> list[str]:
        """Return the types that a record shows: not those of indices."""
        return [each for each in types if each not in OF_INDICES]

    def check_integers(self, artifact: Artifact, nodes: int) -> Artifact:
        """Return the artifact with the number of nodes that are products of integers.

        Raises WrongEngineError if integers were asked for, and there are none.
        """
        if artifact.quantised is None:
            return artifact
        if not nodes:
            raise WrongEngineError(
                f"{self._precision} was asked for, and no node computes in integers"
            )
        return structs.replace(artifact, quantised=structs.replace(artifact.quantised, nodes=nodes))

    def check_gelus(self, found: Sequence[Gelus], of_network: Gelus | None) -> None:
        """Raise WrongEngineError where more GELUs have a formula than in the network."""
        if of_network is None or self._precision not in EXACT:
            return
        for formula in ("erf", "tanh"):
            count, own = max(getattr(each, formula) for each in found), getattr(of_network, formula)
            if count > own:
                what = f"{count} GELUs by {formula}"
                raise WrongEngineError(
                    f"the runtime computes {what}, and the network {own} of them"
                )


class Runtime(Backend):
    """A backend that executes a file of its own kind.

    A subclass has `oldest`, the oldest version of each package that it needs, and `engine`.
    `on_cpu` is the name of a backend that bench measures on a CPU only, in its `precisions`.
    """

    keeps_threads = True
    first_s = 15.0
    oldest: ClassVar[Mapping[str, str]]
    on_cpu = ""
    precisions: tuple[str, ...] = (FP32,)

    def engine(self, content: bytes, example: Sequence[Tensor], precision: str) -> Engine:
        """Load a file with as many threads as torch has, bound to the tensors of `example`.

        Its threads do not wait actively for long when a call has ended.
        """
        raise NotImplementedError

    def probe(self) -> Engine | None:
        """Load a small network that the runtime divides among all its threads, to count them.

        None if there is no such file.
        """
        raise NotImplementedError

    def load(self, model: nn.Module, example: Sequence[Tensor], precision: str) -> Call:
        """Export the network anew and load its file."""
        made = self.export(model, example, precision, self.exporters[0])
        return self.open(made, example, precision)

    def open(self, artifact: Artifact, example: Sequence[Tensor], precision: str) -> Call:
        """Load the file."""
        return self.engine(artifacts.content_of(artifact), example, precision)

    def executed(self, call: Call, artifact: Artifact, gelus: Gelus | None) -> Artifact:
        """Ask the runtime for the nodes that it executes, and for their types."""
        assert isinstance(call, Engine)
        return call.executed(artifact, gelus)

    def settings(self, call: Call) -> Mapping[str, str | int]:
        """Return the versions, and on a CPU how many threads of the runtime compute.

        A runtime cannot be asked: one whose threads were lost in a fork says that it has them.
        """
        assert isinstance(call, Engine)
        probe = self.probe() if call.device == "cpu" else None
        threads = computing_threads(probe) if probe else 0
        return {**self.versions(), **({"runtime_threads": threads} if threads else {})}

    def versions(self, precision: str = FP32) -> Mapping[str, str]:
        """Return the versions of the runtime and of the packages that export."""
        return {name: found for name in self.oldest if (found := packages.version(name))}

    def missing(self, torch_device: str) -> str | None:
        """Check for the packages, and for a torch that exports."""
        lack = packages.lacking({"torch": OLDEST_TORCH, **self.oldest})
        if lack or not self.on_cpu or torch_device == "cpu":
            return lack
        return f"bench measures {self.on_cpu} with --device cpu only"

    def lacks_precision(self, precision: str, torch_device: str) -> str | None:
        """Some runtimes are measured in few precisions only."""
        if not self.on_cpu or precision in self.precisions:
            return None
        has = " and ".join(self.precisions)
        return f"bench measures {self.on_cpu} in {has} only, not in {precision}"


def probe_image() -> Tensor:
    """Return the image of a probe (1, C, H, W), which has channels for all threads of torch."""
    import torch

    channels = max(PROBE_CHANNELS, 16 * torch.get_num_threads())
    return torch.ones(1, channels, PROBE_SIDE, PROBE_SIDE)


def empty(name: str, shape: Sequence[object], dtype: str, device: str) -> Tensor:
    """Return a tensor for an output. Raises WrongEngineError if its shape is not known."""
    import torch

    sizes = [size for size in shape if isinstance(size, int)]
    if len(sizes) != len(shape):
        raise WrongEngineError(f"the shape of the output {name} depends on the image")
    return torch.empty(sizes, dtype=getattr(torch, dtype), device=device)


def check_bindable(name: str, tensor: Tensor, dtype: str) -> None:
    """Raise WrongEngineError if a runtime would read the memory of a tensor as something else."""
    if str(tensor.dtype) != f"torch.{dtype}" or not tensor.is_contiguous():
        raise WrongEngineError(f"{name} must be {dtype} without gaps between its rows")


def check_shapes(found: Sequence[Sequence[object]], example: Sequence[Tensor]) -> None:
    """Raise WrongEngineError if the inputs of the file do not have the shapes of the example."""
    shapes = [tuple(each) for each in found]
    if shapes != [tuple(each.shape) for each in example]:
        raise WrongEngineError(f"the exported network takes inputs of shape {shapes}")


def dtype_of(tensor: Tensor) -> str:
    """Return torch's name of the type of a tensor: `float32`."""
    return str(tensor.dtype).removeprefix("torch.")


def described(dtype: str, shape: Sequence[object]) -> str:
    """Return type and shape of an input or output: `float32 1x3x224x224`."""
    return f"{dtype} {'x'.join(map(str, shape))}"
