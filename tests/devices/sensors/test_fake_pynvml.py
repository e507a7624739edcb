"""The fake pynvml, and the numbers that our sensor copied, agree with the real pynvml."""

import inspect

import pynvml as real_pynvml
import pytest
from support import fake_pynvml
from support.fake_pynvml import names_asked

from bench.devices.sensors import nvml
from bench.devices.sensors.nvml_answer import SWITCH
from bench.devices.sensors.throttles import IDLE, THERMAL, THROTTLES

EITHER_OR = {
    "nvmlDeviceGetCurrentClocksEventReasons",
    "nvmlDeviceGetCurrentClocksThrottleReasons",
}


def test_the_real_pynvml_has_every_used_name():
    names = names_asked()
    assert {"NVMLError", "NVMLLibraryMismatchError"} <= names
    lacking = {name for name in names if not hasattr(real_pynvml, name)}
    lacking -= {"NVMLLibraryMismatchError"}  # older releases do not raise it
    assert lacking < EITHER_OR


@pytest.mark.parametrize("function", sorted(fake_pynvml.ARGUMENTS))
def test_the_fake_accepts_the_arguments_of_the_real_pynvml(function):
    if function in EITHER_OR and not hasattr(real_pynvml, function):
        (function,) = EITHER_OR - {function}
    signature = inspect.signature(getattr(real_pynvml, function))
    signature.bind(*range(fake_pynvml.ARGUMENTS[function]))


@pytest.mark.parametrize("name", fake_pynvml.ERRORS)
def test_the_fake_raises_the_errors_of_the_real_pynvml(name):
    value, text = fake_pynvml.ERRORS[name]
    error = getattr(real_pynvml, f"NVMLError_{name}")()
    assert (error.value, str(error)) == (value, text)
    assert isinstance(error, real_pynvml.NVMLError)


def test_constants_equal_the_real_pynvml():
    for name, value in fake_pynvml.CONSTANTS.items():
        assert getattr(nvml, name.removeprefix("NVML_")) == value == getattr(real_pynvml, name)
    mode = (real_pynvml.NVML_FEATURE_DISABLED, real_pynvml.NVML_FEATURE_ENABLED)
    assert [SWITCH[state] for state in mode] == ["off", "on"]


def test_bits_of_throttles_equal_the_real_pynvml():
    kinds = ("nvmlClocksEventReason", "nvmlClocksThrottleReason")
    kind = next(each for each in kinds if hasattr(real_pynvml, f"{each}SwPowerCap"))
    for bit, name in {IDLE: "gpu_idle", **THROTTLES}.items():
        assert getattr(real_pynvml, kind + name.title().replace("_", "")) == bit


def test_limits_by_an_administrator_are_not_thermal():
    assert set(THROTTLES.values()) - THERMAL == {
        "applications_clocks_setting",
        "sw_power_cap",
        "sync_boost",
        "display_clock_setting",
    }
