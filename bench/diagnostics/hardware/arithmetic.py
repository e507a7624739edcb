"""The line on TF32: switched off, products are exact to fp32; switched on, they are not."""

from __future__ import annotations

from collections.abc import Iterator

from bench.diagnostics.hardware.instruments import Instruments
from bench.diagnostics.hardware.line import Line, impossible, judged

# fp32 costs about 1e-6 of a product of 1024 terms, a fast convolution some times more, TF32 3e-4
FP32_ERROR = 2e-5
TF32_ERROR = (5e-5, 1e-2)
TF32 = "TF32 on and off differ"


def lines(instruments: Instruments, missing: str | None) -> Iterator[Line]:
    """Yield the line; `missing` is why the chip lacks TF32."""
    if missing:
        yield impossible(TF32, missing)
        return
    off, on = (instruments.product_errors(name) for name in ("fp32", "tf32"))
    low, high = TF32_ERROR
    yield judged(
        TF32,
        max(off.values()) <= FP32_ERROR and all(low <= error <= high for error in on.values()),
        seen="; ".join(f"{name}: off {off[name]:.1e}, on {on[name]:.1e}" for name in off),
        limit=f"relative error off at most {FP32_ERROR:g}, on {low:g} to {high:g}",
        why="the switch for TF32 does not do what its name says",
        raw={"off": off, "on": on},
    )
