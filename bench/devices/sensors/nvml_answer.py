"""One question to NVML: the value that it answered, or the reason why it did not.

NVML may refuse one question (no permission in a container, not supported by the chip, a function
newer than the driver) and answer all others. So each question is asked alone. No answer, or an
answer that is impossible, becomes None with a reason and never an exception.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

LACKING = "NVML: Function Not Found"  # as NVML says it where the driver is older than the function
SWITCH = {0: "off", 1: "on"}  # nvmlEnableState_t


class Answer(NamedTuple):
    """The answer to one question; `value` is None where there is no answer, with the `reason`."""

    value: Any
    reason: str = ""

    def within(self, low: float, high: float) -> Answer:
        """The same answer if low <= value <= high, otherwise None with a reason."""
        return self.then(lambda number: number if low <= number <= high else None)

    def then(self, change: Callable[[Any], Any]) -> Answer:
        """The answer change(value). Where `change` returns None, the value was impossible."""
        if self.value is None:
            return self
        changed = change(self.value)
        return Answer(changed, f"NVML: {self.value} cannot be" if changed is None else "")


def ask(nvml: Any, function: str, *arguments: Any) -> Answer:
    """Call one function of the module `pynvml`. An error that it raises becomes the reason."""
    try:
        return Answer(getattr(nvml, function)(*arguments))
    except AttributeError:  # this pynvml is older than the function
        return Answer(None, LACKING)
    except nvml.NVMLError as error:
        return Answer(None, f"NVML: {error}")
    except Exception as error:  # pynvml's own: the driver is too old, or a text is not UTF-8
        kind = type(error).__name__
        return Answer(None, LACKING if kind == "NVMLLibraryMismatchError" else f"NVML: {kind}")


def current_switch(modes: list[int]) -> str | None:
    """The current one of the two states [now, after the next reset]: "on" or "off"."""
    return SWITCH.get(modes[0])


def decoded(text: str | bytes) -> str | None:
    """The text, which old releases of pynvml return as bytes; None for an empty text."""
    return (text.decode(errors="replace") if isinstance(text, bytes) else text) or None
