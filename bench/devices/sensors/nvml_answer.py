"""A call of one NVML function: its value, or the reason why there is none.

One function may fail (no permission in a container, not supported by the chip, newer than the
driver) while all others work. So each function is called separately. A missing or impossible value
becomes None with a reason, and never an exception.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

# NVML's message if the function is newer than the driver.
FUNCTION_NOT_FOUND = "NVML: Function Not Found"
SWITCH = {0: "off", 1: "on"}  # nvmlEnableState_t
# nvmlComputeMode_t: how many processes may use the GPU at once
COMPUTE_MODES = {0: "default", 1: "exclusive_thread", 2: "prohibited", 3: "exclusive_process"}


class Answer(NamedTuple):
    """The result of one call. If `value` is None, `reason` says why."""

    value: Any
    reason: str = ""

    def within(self, low: float, high: float) -> Answer:
        """Return the same answer if low <= value <= high, otherwise None with a reason."""
        return self.then(lambda number: number if low <= number <= high else None)

    def then(self, change: Callable[[Any], Any]) -> Answer:
        """Return the answer change(value). If `change` returns None, the value is impossible."""
        if self.value is None:
            return self
        changed = change(self.value)
        return Answer(changed, f"NVML: {self.value} cannot be" if changed is None else "")


def ask(nvml: Any, function: str, *arguments: Any) -> Answer:
    """Call one function of the module `pynvml`. An exception becomes the reason."""
    try:
        return Answer(getattr(nvml, function)(*arguments))
    except AttributeError:  # this pynvml is older than the function
        return Answer(None, FUNCTION_NOT_FOUND)
    except nvml.NVMLError as error:
        return Answer(None, f"NVML: {error}")
    except Exception as error:  # of pynvml: the driver is too old, or a text is not UTF-8
        kind = type(error).__name__
        return Answer(
            None, FUNCTION_NOT_FOUND if kind == "NVMLLibraryMismatchError" else f"NVML: {kind}"
        )


def current_switch(modes: list[int]) -> str | None:
    """Return the first of the two states [now, after the next reset]: "on" or "off"."""
    return SWITCH.get(modes[0])


def decoded(text: str | bytes) -> str | None:
    """Return text as str: old releases of pynvml return bytes. None for an empty text."""
    return (text.decode(errors="replace") if isinstance(text, bytes) else text) or None
