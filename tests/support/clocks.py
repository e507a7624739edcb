"""Replace the clocks of this process, as packages do that freeze time in tests."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

CLOCKS = ("time", "monotonic", "perf_counter", "time_ns", "monotonic_ns", "perf_counter_ns")
REAL = {name: getattr(time, name) for name in (*CLOCKS, "clock_gettime")}
LEFT_ALONE = ("threading", "queue", "multiprocessing")  # as freezegun does


def slowed(by: float) -> dict[str, Callable]:
    """Return clocks that start at the present time and run `by` times as slowly; inf: frozen."""

    def slow(real: Callable) -> Callable:
        began: dict[tuple, float] = {}

        def fake(*arguments):
            now = real(*arguments)
            start = began.setdefault(arguments, now)
            return start + type(now)((now - start) / by)

        return fake

    return {name: slow(real) for name, real in REAL.items()}


def replace(fakes: dict[str, Callable]) -> None:
    """Put `fakes` in place of the clocks, in the module `time` and in every module that holds one.

    freezegun does the same: it goes through the attributes of all modules, and neither into default
    arguments and closures of functions nor into partial functions.
    """
    by_id = {id(real): fakes[name] for name, real in REAL.items()}
    for module, name, value in _holders():
        setattr(module, name, by_id[id(value)])


@contextlib.contextmanager
def put_back() -> Iterator[None]:
    """Put the clocks back at the end, wherever they were replaced."""
    held = list(_holders())
    try:
        yield
    finally:
        for module, name, value in held:
            setattr(module, name, value)


def _holders() -> Iterator[tuple[object, str, Callable]]:
    """Yield each attribute of a module that is a clock: the module, the name and the clock."""
    real = {id(clock) for clock in REAL.values()}
    for module in list(sys.modules.values()):
        attributes = dict(getattr(module, "__dict__", {}))
        if not str(attributes.get("__name__")).startswith(LEFT_ALONE):
            yield from ((module, n, value) for n, value in attributes.items() if id(value) in real)
