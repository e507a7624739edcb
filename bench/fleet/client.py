"""The client's connection to a fleet: which machines it has, and questions to its workers."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import secrets
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from bench.fleet import dask, task
from bench.fleet.errand import Question, to_json
from bench.fleet.reach import reach

CLOSE_S = 2.0


class LostError(Exception):
    """The connection to the scheduler was lost."""


class Kind(NamedTuple):
    """Machines that are alike: a device in one environment. Their rounds are pooled."""

    device: str
    environment_id: str


class Said(NamedTuple):
    """A message of a worker that answers the question `number`, as JSON."""

    number: int
    text: str


class Ended(NamedTuple):
    """The question `number` has ended: the worker has answered it, or was lost."""

    number: int


class Fate(NamedTuple):
    """How a question ended: whether its worker was lost, and the error of its task, or ""."""

    was_lost: bool
    error: str = ""


class Fleet:
    """A scheduler and its workers, as a client sees them. `arrived` has what comes from them."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._asked: dict[int, tuple[str, Any]] = {}  # the topic and the future of each question
        self.arrived: queue.SimpleQueue[Said | Ended] = queue.SimpleQueue()

    def check_connected(self) -> None:
        """Raise LostError if the scheduler has gone, even if another one is there by now."""
        is_cancelled = any(each.status == "cancelled" for _, each in self._asked.values())
        if self._client.status != "running" or is_cancelled:
            raise LostError

    def kinds(self) -> list[Kind]:
        """Return the kinds of machines that have a worker now. Raises LostError."""
        try:
            workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        except Exception as error:  # of many types, when the connection breaks
            raise LostError(str(error)) from error
        found = [dask.kind_of(name) for worker in workers for name in worker["resources"]]
        return sorted({Kind(*kind) for kind in found if kind})

    def ask(self, number: int, kind: Kind, question: Question) -> None:
        """Give a question to a worker of this kind; the answers of `number` go to `arrived`."""
        topic = f"bench-{secrets.token_hex(8)}"
        self._client.subscribe_topic(topic, lambda event: self._hear(number, event))
        future = self._client.submit(
            task.answer,
            topic,
            to_json(question),
            key=topic,
            resources={dask.resource(*kind): 1},
            pure=False,
            priority=-number,
        )
        self._asked[number] = (topic, future)
        future.add_done_callback(lambda _: self.arrived.put(Ended(number)))

    def _hear(self, number: int, event: tuple[float, object]) -> None:
        self.arrived.put(Said(number, str(event[1])))

    def forget(self, number: int) -> Fate:
        """Let a question go that has ended; return how. Raises LostError."""
        from distributed.scheduler import KilledWorker

        topic, future = self._asked.pop(number)
        try:
            self._client.unsubscribe_topic(topic)
            error = future.exception(timeout=CLOSE_S) if future.status == "error" else None
        except Exception as error:  # of many types, when the connection breaks
            raise LostError(str(error)) from error
        if error is None or isinstance(error, KilledWorker):
            return Fate(was_lost=error is not None)
        return Fate(was_lost=False, error=f"{type(error).__name__}: {error}")


@contextlib.contextmanager
def connected(address: str, folder: Path) -> Iterator[Fleet]:
    """Connect to the scheduler.

    Raises UsageError for a certificate of ours, and BenchError as `reach`.
    """
    import distributed

    connect: Any = distributed.Client
    security = dask.security(folder, "client")
    asyncio.run(reach(address, security, "client"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pythons differ, and a question may be large
        try:
            client = connect(
                address, security=security, timeout=dask.CONNECT_S, set_as_default=False
            )
        except (OSError, asyncio.TimeoutError) as error:
            raise LostError(str(error)) from error
        try:
            yield Fleet(client)
        finally:
            with contextlib.suppress(Exception):  # of a connection that broke
                client.close(timeout=CLOSE_S)
