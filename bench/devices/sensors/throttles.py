"""Throttle reasons: why an NVIDIA GPU lowers its clock.

Source: `nvmlClocksEventReasons` in nvml.h; older headers call them `nvmlClocksThrottleReasons`.
"""

from __future__ import annotations

IDLE = 0x1  # the clock is low because nothing runs; this is no reason to doubt a measurement
THROTTLES = {
    0x2: "applications_clocks_setting",
    0x4: "sw_power_cap",
    0x8: "hw_slowdown",
    0x10: "sync_boost",
    0x20: "sw_thermal_slowdown",
    0x40: "hw_thermal_slowdown",
    0x80: "hw_power_brake_slowdown",
    0x100: "display_clock_setting",
}
# Heat, or a slowdown by the hardware. The other reasons are limits that an administrator chose.
THERMAL = frozenset(
    {"hw_slowdown", "sw_thermal_slowdown", "hw_thermal_slowdown", "hw_power_brake_slowdown"}
)


def throttles_of(mask: int) -> list[str]:
    """Return the names of the reasons in a bit mask, without IDLE: 0x5 gives ["sw_power_cap"]."""
    bits = [1 << place for place in range(mask.bit_length()) if mask >> place & 1]
    return [THROTTLES.get(bit, f"bit_{bit:#x}") for bit in bits if bit != IDLE]
