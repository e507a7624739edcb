"""The client's connection to a fleet: which devices it has, and questions to its workers."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from bench.errors import UnavailableError, UsageError
from bench.fleet import dask, task
from bench.fleet.errand import ANSWERS, Question, Refused, to_json

ANSWERS_S = 20.0  # after which the user is told that workers are busy
T = TypeVar("T")


class LostError(Exception):
    """The connection to the scheduler was lost, or it has forgotten what it was asked."""


class RefusedError(UsageError):
    """A worker refused; the exit code is the one that it would have had."""

    def __init__(self, device: str, refused: Refused) -> None:
        version = f" (bench {refused.bench})" if refused.bench else ""
        super().__init__(f"worker with {device}{version}: {refused.message}", refused.remedy)
        self.exit_code = refused.exit_code


@contextlib.contextmanager
def connected(address: str, folder: Path, wait_s: float = 10.0) -> Iterator[Fleet]:
    """Connect to the scheduler. Raises UnavailableError if none answers, and LostError later."""
    import distributed

    connect: Any = distributed.Client
    dask.check_address(address)
    security = dask.security(folder, "client")
    try:
        client = connect(
            address, security=security, timeout=f"{wait_s}s", set_as_default=False, name="bench"
        )
    except (OSError, asyncio.TimeoutError) as error:
        raise _unreachable(address, error) from None
    try:
        with _lost():
            fleet = Fleet(client)
            fleet.check_versions()
        yield fleet
    finally:
        with contextlib.suppress(Exception):
            client.close(timeout=2)


def _unreachable(address: str, error: BaseException) -> UnavailableError:
    causes = [str(each) for each in (error, error.__cause__, error.__context__) if each]
    if any("certificate" in text.lower() or "ssl" in text.lower() for text in causes):
        return UnavailableError(
            f"the scheduler at {address} and this client do not accept each other's certificates",
            "Use certificates that one `bench fleet certs` made for all machines, and look whether "
            "they have expired there.",
        )
    return UnavailableError(
        f"no scheduler answers at {address}",
        "Start `bench fleet scheduler --certs DIR` there, and look at the address, its port and "
        "the firewall.",
    )


class Fleet:
    """A scheduler and its workers, as a client sees them."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def check_versions(self) -> None:
        """Raise UnavailableError where a machine has another version of Dask than this one."""
        found = self._client.get_versions()
        parts = {"scheduler": found["scheduler"], **found["workers"]}
        for name, each in parts.items():
            packages = each["packages"] if each else {}
            if (version := packages.get("distributed")) != dask.VERSION:
                raise UnavailableError(
                    f"{name} has distributed {version}, and this client {dask.VERSION}",
                    f"Install it there: pip install distributed=={dask.VERSION}",
                )

    def devices(self) -> list[str]:
        """Return the devices that a worker has now."""
        with _lost():
            workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        prefix = dask.resource("")
        names = [name for worker in workers for name in worker.get("resources", {})]
        return sorted({name[len(prefix) :] for name in names if name.startswith(prefix)})

    def ask(self, device: str, question: Question) -> Any:
        """Give a question to a worker with this device; return Dask's future."""
        with _lost():
            return self._client.submit(
                task.answer,
                to_json(question),
                key=f"bench-{device}-{secrets.token_hex(8)}",
                resources={dask.resource(device): 1},
                pure=False,
            )

    def subscribe(self, topic: str, handle: Callable[[str], None]) -> None:
        """Call `handle` in a thread of Dask with each text that a worker sends to `topic`."""
        self._client.subscribe_topic(topic, lambda event: handle(event[1]))

    @property
    def is_connected(self) -> bool:
        """Whether the scheduler is there."""
        return self._client.status == "running"


def wait_for(device: str, future: Any, kind: type[T], on_wait: Callable[[str], None]) -> T:
    """Return the answer of a worker; `on_wait` is told where that takes long.

    Raises RefusedError for a refusal, and LostError where the scheduler is gone.
    """
    with _lost():
        try:
            text = future.result(timeout=ANSWERS_S)
        except asyncio.TimeoutError:  # not the built-in one before Python 3.11
            on_wait(f"every worker with {device} is busy: waiting for one")
            text = future.result()
    return answer_of(device, text, kind)


def answer_of(device: str, text: object, kind: type[T]) -> T:
    """Return the answer in a text. Raises RefusedError, also for what is no answer."""
    try:
        found = ANSWERS.decode(str(text))
    except msgspec.DecodeError as error:
        found = Refused(f"its answer is not understood: {error}", "Update bench there or here.", 2)
    if isinstance(found, Refused):
        raise RefusedError(device, found)
    assert isinstance(found, kind)
    return found


def names_of(devices: Sequence[str]) -> str:
    """Return the devices in words."""
    return ", ".join(devices) or "none"


@contextlib.contextmanager
def _lost() -> Iterator[None]:
    """Turn errors of a lost connection into LostError."""
    from concurrent.futures import CancelledError

    try:
        yield
    except (OSError, CancelledError) as error:  # a timeout is an OSError, too
        raise LostError(str(error)) from error
    except Exception as error:
        if type(error).__module__.startswith(("distributed", "tornado")):
            raise LostError(str(error)) from error
        raise
