"""An NVIDIA GPU as NVML sees it: what it is, in what state, and its gauges. Starts no CUDA.

NVML may refuse any one question (no permission in a container, not supported by the chip, a
function newer than the driver) and answer all others. So each is asked on its own, and one that
gets no answer, or one that cannot be true, is None with a reason and never an exception.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from bench.devices.cpu import GIB
from bench.errors import UnavailableError
from bench.records import Gauges

# What holds a clock down: nvmlClocksEventReasons of nvml.h, where older ones say ThrottleReasons.
IDLE = 0x1  # the clock is low because nothing runs: no reason to doubt a measurement
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
# Those that are heat, or a brake that the hardware pulls: not a limit that somebody chose.
THERMAL = frozenset(
    {"hw_slowdown", "sw_thermal_slowdown", "hw_thermal_slowdown", "hw_power_brake_slowdown"}
)

# FP32 cores of a multiprocessor by compute capability: "Arithmetic Instructions" in the CUDA C++
# Programming Guide, and _ConvertSMVer2Cores in helper_cuda.h of the CUDA samples. NVML counts
# cores only.
CORES_PER_SM = {
    **dict.fromkeys(["6.0", "7.0", "7.2", "7.5", "8.0"], 64),
    **dict.fromkeys(["5.0", "5.2", "5.3", "6.1", "6.2", "8.6", "8.7", "8.9", "9.0"], 128),
    **dict.fromkeys(["10.0", "10.1", "10.3", "11.0", "12.0", "12.1"], 128),
}

# Arguments of NVML's functions, as in nvml.h.
CLOCK_SM = 1
CLOCK_MEM = 2
TEMPERATURE_GPU = 0

# Beyond these an answer is no measurement but a driver's way to say "unknown" (0, 2**32 - 1).
HOTTEST_C = 150
FASTEST_MHZ = 100_000
STRONGEST_MW = 10_000_000
LARGEST_BYTES = 2**50
LARGEST_COUNT = 2**62

LACKING = "NVML: Function Not Found"
SHARED = "of a MIG instance it cannot be told"
SWITCH = {0: "off", 1: "on"}
REMEDY = (
    "Run the same command on a machine whose `nvidia-smi` lists a GPU; on this one: --device cpu"
)
REMEDY_VISIBLE = (
    "Unset CUDA_VISIBLE_DEVICES, or begin it with an index or a UUID that `nvidia-smi -L` lists; "
    "without a GPU: --device cpu"
)
REMEDY_MIG = (
    "Make an instance (`nvidia-smi mig -lgip` lists what there can be) or turn MIG off; "
    "without a GPU: --device cpu"
)


class Answer(NamedTuple):
    """What NVML says to one question; `value` is None where it says nothing, and `why` tells."""

    value: Any
    why: str = ""

    def within(self, low: float, high: float) -> Answer:
        """The same, or nothing if the number is outside of what can be."""
        return self.then(lambda number: number if low <= number <= high else None)

    def then(self, change: Callable[[Any], Any]) -> Answer:
        """The value changed; nothing if there is none, or if `change` makes None of it."""
        if self.value is None:
            return self
        changed = change(self.value)
        return Answer(changed, f"NVML: {self.value} cannot be" if changed is None else "")


class Gpu:
    """An open GPU, or a MIG instance of one: a `Sensor`. Only `open_gpu` makes one.

    `chip` is the whole GPU where `device` is an instance of it, None where `device` is whole.
    """

    def __init__(self, nvml: Any, device: Any, chip: Any = None) -> None:
        self._nvml = nvml
        self._device = device
        self._chip = device if chip is None else chip
        self._is_instance = chip is not None
        self._is_open = True
        self.name = self._name()

    def __enter__(self) -> Gpu:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of NVML. A second time does nothing: NVML counts who uses it."""
        if self._is_open:
            self._is_open = False
            ask(self._nvml, "nvmlShutdown")

    def facts(self) -> dict[str, str | int | float | None]:
        """What the GPU is, with those settings of its admin that change how fast it is.

        Always the same keys; what is not known is None. `max_clock_mhz` is of the
        multiprocessors. Of a MIG instance are its memory and multiprocessors, all else is of the
        chip, whose power limit holds down every instance.
        """
        driver = ask(self._nvml, "nvmlSystemGetDriverVersion").then(_text)
        memory = self._memory("total").within(1, LARGEST_BYTES)
        power_limit = self._of_chip("nvmlDeviceGetPowerManagementLimit").within(1, STRONGEST_MW)
        return {
            "driver": driver.value,
            "memory_gib": memory.then(lambda size: round(size / GIB)).value,
            "sm_count": self._sm_count().value,
            "compute_capability": self._capability().value,
            "max_clock_mhz": self._clock_mhz("nvmlDeviceGetMaxClockInfo", CLOCK_SM).value,
            "power_limit_w": power_limit.then(lambda limit: round(limit / 1e3)).value,
            "ecc": self._of_chip("nvmlDeviceGetEccMode").then(_current).value,
            "mig": self._of_chip("nvmlDeviceGetMigMode").then(_current).value,
        }

    def state(self) -> dict[str, str | int | float | None]:
        """What may change from minute to minute; always the same keys, None where unknown.

        Taken before anything of ours runs there, so that power is that of idleness. Memory used
        includes what the driver keeps for itself.
        """
        used = self._memory("used").then(lambda size: round(size / GIB, 1))
        return {
            "persistence": self._of_chip("nvmlDeviceGetPersistenceMode").then(SWITCH.get).value,
            "temperature_c": self._temperature_c().value,
            "idle_power_w": self._power_w().then(lambda watts: round(watts, 1)).value,
            "clock_mhz": self._clock_mhz("nvmlDeviceGetClockInfo", CLOCK_SM).value,
            "memory_used_gib": used.value,
            "foreign_processes": self.foreign_processes(),
        }

    def free_bytes(self) -> int | None:
        """Bytes of its memory that nobody holds; None where that cannot be read."""
        size: int | None = self._memory("free").value
        return size

    def process_bytes(self, pid: int) -> int | None:
        """Bytes of its memory that the process holds, CUDA context included.

        None where NVML does not list the process (in a container it may know it by another
        number), or does not say how much it holds. A process that both computes and draws has
        its total in both lists.
        """
        held = [
            Answer(process.usedGpuMemory).within(1, LARGEST_BYTES).value
            for process in self._processes() or []
            if process.pid == pid
        ]
        return max((size for size in held if size is not None), default=None)

    def foreign_processes(self) -> int | None:
        """How many processes compute or draw there; all are others' while none of ours does.

        None where no list of processes can be read.
        """
        listed = self._processes()
        return None if listed is None else len({process.pid for process in listed})

    def gauges(self) -> Gauges:
        """Its levels now; takes milliseconds. Whatever is None has its reason in `missing`."""
        answers = {
            "utilisation": self._utilisation(),
            "clock_hz": self._clock_hz(CLOCK_SM),
            "memory_clock_hz": self._clock_hz(CLOCK_MEM),
            "temperature_c": self._temperature_c(),
            "power_w": self._power_w(),
            "throttles": self._throttles(),
        }
        levels = {name: answer.value for name, answer in answers.items()}
        missing = {name: answer.why for name, answer in answers.items() if answer.value is None}
        return Gauges(**levels, missing=missing)

    def energy_j(self) -> float | None:
        """Joules since the driver was loaded; None where there is no counter of this GPU alone."""
        energy = self._of_whole("nvmlDeviceGetTotalEnergyConsumption").within(1, LARGEST_COUNT)
        joules: float | None = energy.then(lambda millijoules: millijoules / 1e3).value
        return joules

    def _of_device(self, function: str) -> Answer:
        return ask(self._nvml, function, self._device)

    def _of_chip(self, function: str, *arguments: int) -> Answer:
        """Of what the instances of a chip share, and NVML tells of the chip only."""
        return ask(self._nvml, function, self._chip, *arguments)

    def _of_whole(self, function: str) -> Answer:
        """Of what is summed over the chip, so that other instances would be in it too."""
        return Answer(None, SHARED) if self._is_instance else self._of_chip(function)

    def _name(self) -> str:
        name = self._of_device("nvmlDeviceGetName").then(_text).value
        if name is None and self._is_instance:  # results of a part are not those of the whole
            name = self._of_chip("nvmlDeviceGetName").then(_text).then("{} MIG".format).value
        return name or "unnamed NVIDIA GPU"

    def _capability(self) -> Answer:
        """As "9.0"."""
        pair = self._of_chip("nvmlDeviceGetCudaComputeCapability")
        return pair.then(lambda pair: f"{pair[0]}.{pair[1]}" if pair[0] > 0 else None)

    def _sm_count(self) -> Answer:
        if self._is_instance:
            attributes = self._of_device("nvmlDeviceGetAttributes")
            return attributes.then(lambda found: found.multiprocessorCount).within(1, LARGEST_COUNT)
        each = CORES_PER_SM.get(self._capability().value)
        cores = self._of_chip("nvmlDeviceGetNumGpuCores").within(1, LARGEST_COUNT)
        return cores.then(lambda count: None if not each or count % each else count // each)

    def _memory(self, part: str) -> Answer:
        """In bytes: `total`, `free` or `used`."""
        sizes = self._of_device("nvmlDeviceGetMemoryInfo")
        return sizes.then(lambda found: getattr(found, part)).within(0, LARGEST_BYTES)

    def _clock_mhz(self, function: str, kind: int) -> Answer:
        return self._of_chip(function, kind).within(1, FASTEST_MHZ)

    def _clock_hz(self, kind: int) -> Answer:
        return self._clock_mhz("nvmlDeviceGetClockInfo", kind).then(lambda mhz: mhz * 1e6)

    def _temperature_c(self) -> Answer:
        return self._of_chip("nvmlDeviceGetTemperature", TEMPERATURE_GPU).within(1, HOTTEST_C)

    def _power_w(self) -> Answer:
        power = self._of_whole("nvmlDeviceGetPowerUsage").within(1, STRONGEST_MW)
        return power.then(lambda milliwatts: milliwatts / 1e3)

    def _utilisation(self) -> Answer:
        rates = self._of_whole("nvmlDeviceGetUtilizationRates").then(lambda found: found.gpu)
        return rates.within(0, 100).then(lambda percent: percent / 100)

    def _throttles(self) -> Answer:
        """By the function's new name, or by its old one where driver or pynvml lack the new."""
        mask = self._of_chip("nvmlDeviceGetCurrentClocksEventReasons")
        if mask.why == LACKING:
            mask = self._of_chip("nvmlDeviceGetCurrentClocksThrottleReasons")
        return mask.within(0, LARGEST_COUNT).then(throttles_of)

    def _processes(self) -> list[Any] | None:
        """Those on all lists that can be read; None where none can."""
        lists = [
            self._of_device("nvmlDeviceGetComputeRunningProcesses").value,
            self._of_device("nvmlDeviceGetGraphicsRunningProcesses").value,
            self._of_device("nvmlDeviceGetMPSComputeRunningProcesses").value,
        ]
        known = [processes for processes in lists if processes is not None]
        return [process for processes in known for process in processes] if known else None


def open_gpu() -> Gpu:
    """Open the GPU that torch calls cuda:0, if CUDA counts GPUs in the order of the PCI bus.

    Raises UnavailableError where there is no driver or no GPU, or CUDA_VISIBLE_DEVICES hides it.
    """
    nvml = _start()
    try:
        return Gpu(nvml, *_first_visible(nvml))
    except UnavailableError:
        ask(nvml, "nvmlShutdown")
        raise


def ask(nvml: Any, function: str, *arguments: Any) -> Answer:
    """What the function answers; if it raises anything, nothing, and the error is the reason."""
    try:
        return Answer(getattr(nvml, function)(*arguments))
    except AttributeError:  # this pynvml is older than the function
        return Answer(None, LACKING)
    except nvml.NVMLError as error:
        return Answer(None, f"NVML: {error}")
    except Exception as error:  # of pynvml itself: the driver is older, or a text is no UTF-8
        kind = type(error).__name__
        return Answer(None, LACKING if kind == "NVMLLibraryMismatchError" else f"NVML: {kind}")


def throttles_of(mask: int) -> list[str]:
    """Names of the reasons in a bit mask, without that of an idle GPU: 0x5 is [sw_power_cap]."""
    bits = [1 << place for place in range(mask.bit_length()) if mask >> place & 1]
    return [THROTTLES.get(bit, f"bit_{bit:#x}") for bit in bits if bit != IDLE]


def _start() -> Any:
    try:
        import pynvml
    except ImportError as error:
        raise UnavailableError(
            "no NVIDIA GPU here: pynvml is not installed", "Run: pip install nvidia-ml-py"
        ) from error
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise UnavailableError(f"no NVIDIA GPU here: NVML says {error}", REMEDY) from error
    return pynvml


def _first_visible(nvml: Any) -> tuple[Any, Any]:
    """Handles of the first GPU that CUDA sees, and of the chip if that is an instance of one."""
    if ask(nvml, "nvmlDeviceGetCount").value == 0:
        raise UnavailableError("no NVIDIA GPU here: NVML finds none", REMEDY)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0")
    first = visible.split(",")[0].strip()
    if first.startswith("MIG-"):
        instance = _by_uuid(nvml, first)
        chip = ask(nvml, "nvmlDeviceGetDeviceHandleFromMigDeviceHandle", instance).value
        return instance, instance if chip is None else chip
    if first.startswith("GPU-"):
        return _first_instance(nvml, _by_uuid(nvml, first))
    digits = re.match("[0-9]+", first)  # CUDA takes those that it begins with
    if digits is None:
        raise _hidden(f"{visible!r} hides all")
    return _first_instance(nvml, _by_index(nvml, int(digits.group())))


def _by_index(nvml: Any, index: int) -> Any:
    count = ask(nvml, "nvmlDeviceGetCount").value
    if count is not None and index >= count:
        raise _hidden(f"begins with {index}, and NVML finds {count}")
    handle, why = ask(nvml, "nvmlDeviceGetHandleByIndex", index)
    if handle is None:
        raise UnavailableError(
            f"no NVIDIA GPU here: of GPU {index} NVML says {why.removeprefix('NVML: ')}", REMEDY
        )
    return handle


def _by_uuid(nvml: Any, uuid: str) -> Any:
    """By the whole UUID, or as CUDA does by the beginning of one GPU's only."""
    whole = ask(nvml, "nvmlDeviceGetHandleByUUID", uuid).value
    if whole is not None:
        return whole
    count = ask(nvml, "nvmlDeviceGetCount").value or 0
    handles = [ask(nvml, "nvmlDeviceGetHandleByIndex", index).value for index in range(count)]
    uuids = [ask(nvml, "nvmlDeviceGetUUID", handle).then(_text).value or "" for handle in handles]
    found = [each for each, its in zip(handles, uuids, strict=True) if its.startswith(uuid)]
    if len(found) != 1:
        raise _hidden(f"begins with {uuid}, which is that of {len(found)} GPUs")
    return found[0]


def _first_instance(nvml: Any, chip: Any) -> tuple[Any, Any]:
    """Of a chip with MIG on, CUDA sees the first instance only; of any other the chip itself.

    Source: "CUDA Device Enumeration" in NVIDIA's MIG User Guide.
    """
    if ask(nvml, "nvmlDeviceGetMigMode", chip).then(_current).value != "on":
        return chip, None
    most = ask(nvml, "nvmlDeviceGetMaxMigDeviceCount", chip).value or 1
    for index in range(most):
        instance = ask(nvml, "nvmlDeviceGetMigDeviceHandleByIndex", chip, index).value
        if instance is not None:
            return instance, chip
    raise UnavailableError("no NVIDIA GPU here: MIG is on and there is no instance", REMEDY_MIG)


def _hidden(why: str) -> UnavailableError:
    return UnavailableError(f"no NVIDIA GPU here: CUDA_VISIBLE_DEVICES {why}", REMEDY_VISIBLE)


def _current(modes: list[int]) -> str | None:
    """The first of a mode's current and pending state."""
    return SWITCH.get(modes[0])


def _text(value: str | bytes) -> str | None:
    return (value.decode(errors="replace") if isinstance(value, bytes) else value) or None
