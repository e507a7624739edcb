"""The processes of a training: one, or those that `torchrun` has started.

Each update has the images of the recipe's batch, whatever the number of processes: each process
computes an equal part of it, and the gradients are averaged (DistributedDataParallel). A BatchNorm
sees the images of one part; the statistics of the first process are those of all. From three
processes on, the order in which torch adds gradients may change when a training is resumed.

Importing this file imports no torch.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from bench.errors import BenchError, UsageError
from bench.harness.worker.template import die_with_parent

if TYPE_CHECKING:
    from torch import nn

GRACE_S = 3.0
LOST = re.compile(r"[Cc]onnection (closed|reset)|gloo/transport|ncclRemoteError")
BACKENDS = {"cpu": "gloo", "cuda": "nccl"}
NOT_STARTED = "Start all processes with torchrun, and give each node the same address of the first."


class Ranks(NamedTuple):
    """This process among `size` processes; `rank` counts from 0."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and lines for the user."""
        return self.rank == 0

    def wrapped(self, net: nn.Module) -> nn.Module:
        """Return a module that averages gradients over the processes; `net` itself for one."""
        if self.size == 1:
            return net
        from torch.nn.parallel import DistributedDataParallel

        return DistributedDataParallel(net)

    def together(self, net: nn.Module, *, last: bool) -> contextlib.AbstractContextManager[object]:
        """A context for a backward pass; gradients are averaged in the `last` one of an update."""
        if self.size == 1 or last:
            return contextlib.nullcontext()
        return net.no_sync()  # type: ignore[operator]

    def part(self, places: Sequence[int]) -> list[int]:
        """The places of a batch that this process computes; sizes differ by one at most."""
        return list(places[self.rank :: self.size])

    def sums(self, *values: float) -> list[float]:
        """The sum of each value over all processes."""
        if self.size == 1:
            return list(values)
        import torch
        from torch import distributed

        on_gpu = distributed.get_backend() == BACKENDS["cuda"]
        found = torch.tensor(values, dtype=torch.float64, device="cuda" if on_gpu else "cpu")
        distributed.all_reduce(found)
        return [float(each) for each in found]

    def check(self, own: Callable[[], object]) -> None:
        """Raise KeyboardInterrupt where `own`, the check of this or of another process, does."""
        if self.size == 1:
            own()
            return
        stopped = 0.0
        try:
            own()
        except KeyboardInterrupt:
            stopped = 1.0
        if any(self.sums(stopped)):
            raise KeyboardInterrupt

    def share_buffers(self, net: nn.Module) -> None:
        """Give all processes the buffers of the first one, such as statistics of BatchNorms."""
        if self.size > 1:
            from torch import distributed

            for buffer in net.buffers():
                distributed.broadcast(buffer, 0)

    def wait(self) -> None:
        """Wait until all processes are here."""
        self.sums(0.0)


def is_lost(error: Exception) -> bool:
    """Whether an error says that another process of the training has ended."""
    return LOST.search(str(error)) is not None


@contextlib.contextmanager
def told_once() -> Iterator[None]:
    """Let the first process tell an error that all processes have; any other one tells it later.

    torchrun ends all processes when one ends, so an error that the others have, too, is told once.
    """
    try:
        yield
    except BenchError:
        if os.environ.get("RANK", "0") != "0":
            time.sleep(GRACE_S)
        raise


@contextlib.contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """Join the processes that `torchrun` has started, by its variables; one process without them.

    On a GPU, each process of a machine takes a GPU of its own. Raises UsageError where they cannot
    be joined.
    """
    if "WORLD_SIZE" not in os.environ:
        yield Ranks()
        return
    import torch
    from torch import distributed

    die_with_parent(os.getppid())  # torchrun, which another program may kill
    try:
        if device == "cuda":
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        distributed.init_process_group(BACKENDS[device])
    except (ValueError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise UsageError(
            f"the processes of the training cannot be joined: {reason}", NOT_STARTED
        ) from error
    try:
        yield Ranks(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()
