"""The settings of this process that decide what is measured, and that a network's code may change.

A factory or a `forward` may call `torch.set_num_threads(1)`: a record of two threads would then be
wrong. So the worker reads these settings before it runs the code, and sets them back afterwards.
Another process may change the CPUs, too (`taskset -p`, a cpuset), so nobody is named for that.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch.backends import cuda, cudnn, mkldnn

from bench.devices import precision
from bench.devices.host import thread_ids
from bench.devices.variables import late_variables

# These calls fail where the setting was used already, where the system refuses, or off the main
# thread.
REFUSALS = (OSError, RuntimeError, TypeError, ValueError)


class Setting(NamedTuple):
    """How to read a setting and how to set it; `write` is None where it cannot be set again.

    `counts`: it may change the speed or the output of a network. `is_open`: other processes may
    change it, too. `usual` returns what torch answers until the setting is set.
    """

    read: Callable[[], Any]
    write: Callable[[Any], object] | None
    counts: bool = True
    is_open: bool = False
    usual: Callable[[], Any] | None = None


class Change(NamedTuple):
    """A setting that changed while the code of a network ran.

    `values` are `from 2 to 1`; "" where they say nothing. `is_open`: another process may have
    changed it.
    """

    name: str
    values: str
    is_restored: bool
    counts: bool
    is_open: bool

    @property
    def note(self) -> str:
        """A sentence for the user."""
        by_network = f"the code of the network changed {self.name} {self.values}".rstrip()
        change = f"{self.name} changed {self.values}" if self.is_open else by_network
        return change + ("; bench set it back" if self.is_restored else "; it cannot be set back")


class ProcessState:
    """The settings of the process when this object was made, and what was changed since then."""

    def __init__(self) -> None:
        self._known = {name: _read(setting) for name, setting in SETTINGS.items()}
        self.changes: list[Change] = []

    def restore(self) -> list[Change]:
        """Set back each setting that differs; return the changes, and add them to `changes`."""
        found: list[Change] = []
        for name, setting in SETTINGS.items():
            before, after = self._known[name], _read(setting)
            if before == after:
                continue
            is_restored = False
            with contextlib.suppress(*REFUSALS):
                if setting.write is not None:
                    setting.write(before)
                    is_restored = True
            self._known[name] = _read(setting)
            if _was_set(setting, before, after):
                values = _values(before, after)
                found.append(Change(name, values, is_restored, setting.counts, setting.is_open))
        self.changes += found
        return found

    @property
    def notes(self) -> list[str]:
        """A sentence for each different change."""
        return list(dict.fromkeys(change.note for change in self.changes))


def _read(setting: Setting) -> Any:
    """Return the value of a setting; None where the code of the network made it unreadable."""
    with contextlib.suppress(*REFUSALS):
        return setting.read()
    return None


def _was_set(setting: Setting, before: Any, after: Any) -> bool:
    """Whether code set it. Else torch's own answer changed, even if for the moment of a reading."""
    return setting.usual is None or (after != setting.usual() and _read(setting) != before)


def _values(before: Any, after: Any) -> str:
    """Return the values as text, of CPUs their number.

    Returns "" for an unreadable value, and for what may hold a path of the user.
    """
    if before is None or after is None or isinstance(before, (tuple, Mapping)):
        return ""
    if isinstance(before, frozenset):
        same = len(before) == len(after)
        return "to others" if same else f"from {len(before)} to {len(after)}"
    return f"from {before} to {after}"


def _deterministic() -> tuple[bool, bool]:
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    return torch.are_deterministic_algorithms_enabled(), warns


def _set_deterministic(before: tuple[bool, bool]) -> None:
    torch.use_deterministic_algorithms(before[0], warn_only=before[1])


def _default_device() -> str:
    """Return the device of `torch.set_default_device`; "none" where it was never called.

    With any default device, even `cpu`, each call of torch takes a detour through Python.
    """
    mode = getattr(getattr(torch, "_GLOBAL_DEVICE_CONTEXT", None), "device_context", None)
    return "none" if mode is None else str(mode.device)


def _set_default_device(before: str) -> None:
    torch.set_default_device(None if before == "none" else before)


def _attention() -> tuple[bool, ...]:
    return (
        cuda.flash_sdp_enabled(),
        cuda.mem_efficient_sdp_enabled(),
        cuda.math_sdp_enabled(),
        cuda.cudnn_sdp_enabled(),
    )


def _set_attention(before: tuple[bool, ...]) -> None:
    cuda.enable_flash_sdp(before[0])
    cuda.enable_mem_efficient_sdp(before[1])
    cuda.enable_math_sdp(before[2])
    cuda.enable_cudnn_sdp(before[3])


def _convolutions() -> tuple[bool, ...]:
    return cudnn.enabled, cudnn.benchmark, cudnn.deterministic, bool(mkldnn.enabled)


def _set_convolutions(before: tuple[bool, ...]) -> None:
    cudnn.enabled, cudnn.benchmark, cudnn.deterministic = before[:3]
    mkldnn.set_flags(before[3])


def _cpus() -> frozenset[int]:
    can = hasattr(os, "sched_getaffinity")
    return frozenset(os.sched_getaffinity(0)) if can else frozenset()


def _set_cpus(before: frozenset[int]) -> None:
    """Set the CPUs of all threads: those that started meanwhile have the changed ones.

    Raises OSError where a cpuset leaves the process fewer CPUs.
    """
    for thread in [0, *thread_ids()]:
        with contextlib.suppress(ProcessLookupError):  # it has ended
            os.sched_setaffinity(thread, before)
    if _cpus() != before:
        raise OSError("a cpuset takes some CPUs away")


def _folder() -> tuple[str, ...]:
    with contextlib.suppress(OSError):  # it may have been removed
        return (os.getcwd(),)
    return ()


def _set_folder(before: tuple[str, ...]) -> None:
    for folder in before:
        os.chdir(folder)


def _handlers() -> dict[int, Any]:
    return {number: signal.getsignal(number) for number in signal.valid_signals()}


def _set_handlers(before: Mapping[int, Any]) -> None:
    for number, handler in before.items():
        if handler is not None and signal.getsignal(number) != handler:
            signal.signal(number, handler)


SETTINGS: dict[str, Setting] = {
    "the number of threads": Setting(torch.get_num_threads, torch.set_num_threads),
    "the CPUs of the process": Setting(_cpus, _set_cpus, is_open=True),
    "the number of interop threads": Setting(
        torch.get_num_interop_threads, None, usual=lambda: len(_cpus())
    ),
    "the variables of MKL and oneDNN": Setting(late_variables, None),
    "the default dtype": Setting(torch.get_default_dtype, torch.set_default_dtype),
    "the default device": Setting(_default_device, _set_default_device),
    "the grad mode": Setting(torch.is_grad_enabled, torch.set_grad_enabled),
    "the inference mode": Setting(torch.is_inference_mode_enabled, None),
    "the use of deterministic algorithms": Setting(_deterministic, _set_deterministic),
    "the switches of TF32": Setting(precision.modes, precision.set_modes),
    "the switches of cuDNN and oneDNN": Setting(_convolutions, _set_convolutions),
    "the switches of attention": Setting(_attention, _set_attention),
    "the working folder": Setting(_folder, _set_folder, counts=False),
    "the signal handlers": Setting(_handlers, _set_handlers, counts=False),
}
