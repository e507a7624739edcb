"""An NVIDIA GPU through NVML: facts, state and gauges. Does not start CUDA."""

from __future__ import annotations

from typing import Any

from bench.devices.sensors.nvml_answer import (
    COMPUTE_MODES,
    FUNCTION_NOT_FOUND,
    SWITCH,
    Answer,
    ask,
    current_switch,
    decoded,
)
from bench.devices.sensors.nvml_handle import first_visible, started_nvml
from bench.devices.sensors.throttles import throttles_of
from bench.errors import UnavailableError
from bench.records import Gauges
from bench.text import GIB

# FP32 cores of a multiprocessor by compute capability: "Arithmetic Instructions" in the CUDA C++
# Programming Guide, and _ConvertSMVer2Cores in helper_cuda.h of the CUDA samples. NVML counts
# cores, not multiprocessors.
CORES_PER_SM = {
    **dict.fromkeys(["6.0", "7.0", "7.2", "7.5", "8.0"], 64),
    **dict.fromkeys(["5.0", "5.2", "5.3", "6.1", "6.2", "8.6", "8.7", "8.9", "9.0"], 128),
    **dict.fromkeys(["10.0", "10.1", "10.3", "11.0", "12.0", "12.1"], 128),
}

# Arguments of NVML's functions: nvmlClockType_t and nvmlTemperatureSensors_t in nvml.h.
CLOCK_SM = 1
CLOCK_MEM = 2
TEMPERATURE_GPU = 0

# A larger answer is a driver's way to say "unknown" (2**32 - 1, 2**64 - 1), and so is 0.
MAX_TEMPERATURE_C = 150
MAX_CLOCK_MHZ = 100_000
MAX_POWER_MW = 10_000_000
MAX_MEMORY_BYTES = 2**50
MAX_COUNT = 2**62

UNKNOWN_FOR_INSTANCE = "of a MIG instance it cannot be told"


class Gpu:
    """A `Sensor` of an open GPU, or of an open MIG instance. `open_gpu` creates it.

    `device` is the handle of the GPU or instance that CUDA uses. If `device` is an instance, `chip`
    is the handle of the whole GPU, otherwise None.
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
        """Call nvmlShutdown, once only: NVML counts the calls of nvmlInit and nvmlShutdown."""
        if self._is_open:
            self._is_open = False
            ask(self._nvml, "nvmlShutdown")

    def facts(self) -> dict[str, str | int | float | None]:
        """Return properties of the GPU, and settings of its administrator that change its speed.

        The keys are always the same; an unknown value is None. `max_clock_mhz` is the highest
        clock of the multiprocessors. For a MIG instance, memory and multiprocessors are of the
        instance. Other values are of the GPU: its power limit, for example, is for all instances.
        """
        driver = ask(self._nvml, "nvmlSystemGetDriverVersion").then(decoded)
        memory = self._memory("total").within(1, MAX_MEMORY_BYTES)
        power_limit = self._of_chip("nvmlDeviceGetPowerManagementLimit").within(1, MAX_POWER_MW)
        return {
            "driver": driver.value,
            "memory_gib": memory.then(lambda size: round(size / GIB)).value,
            "sm_count": self._sm_count().value,
            "compute_capability": self._capability().value,
            "max_clock_mhz": self._clock_mhz("nvmlDeviceGetMaxClockInfo", CLOCK_SM).value,
            "power_limit_w": power_limit.then(lambda limit: round(limit / 1e3)).value,
            "ecc": self._of_chip("nvmlDeviceGetEccMode").then(current_switch).value,
            "mig": self._of_chip("nvmlDeviceGetMigMode").then(current_switch).value,
        }

    def state(self) -> dict[str, str | int | float | None]:
        """Return the current state. The keys are always the same; an unknown value is None.

        The caller reads it before `bench` runs anything on the GPU, so the power is the idle power.
        The used memory includes the memory that the driver reserves.
        """
        used = self._memory("used").then(lambda size: round(size / GIB, 1))
        return {
            "persistence": self._of_chip("nvmlDeviceGetPersistenceMode").then(SWITCH.get).value,
            "compute_mode": self.compute_mode(),
            "temperature_c": self._temperature_c().value,
            "idle_power_w": self._power_w().then(lambda watts: round(watts, 1)).value,
            "clock_mhz": self._clock_mhz("nvmlDeviceGetClockInfo", CLOCK_SM).value,
            "memory_used_gib": used.value,
            "foreign_processes": self.foreign_processes(),
        }

    def compute_mode(self) -> str | None:
        """Return who may compute on the GPU: a name of COMPUTE_MODES; None if unreadable."""
        mode: str | None = self._of_chip("nvmlDeviceGetComputeMode").then(COMPUTE_MODES.get).value
        return mode

    def free_bytes(self) -> int | None:
        """Return the free bytes of GPU memory; None if unknown."""
        size: int | None = self._memory("free").value
        return size

    def process_bytes(self, pid: int) -> int | None:
        """Return the bytes of GPU memory of a process, including its CUDA context.

        None if NVML does not list the process or its size; in a container, the process may have
        another number in NVML. A process that computes and draws is in two lists with the same
        total. So the result is the maximum over the lists, and not the sum.
        """
        held = [
            Answer(process.usedGpuMemory).within(1, MAX_MEMORY_BYTES).value
            for process in self._processes() or []
            if process.pid == pid
        ]
        return max((size for size in held if size is not None), default=None)

    def foreign_processes(self) -> int | None:
        """Return the number of processes that compute or draw on the GPU; None if unreadable.

        While `bench` runs nothing on the GPU, none of these processes belongs to `bench`.
        """
        listed = self._processes()
        return None if listed is None else len({process.pid for process in listed})

    def gauges(self) -> Gauges:
        """Return the current levels, in milliseconds. `missing` has a reason for each None."""
        answers = {
            "utilisation": self._utilisation(),
            "clock_hz": self._clock_hz(CLOCK_SM),
            "memory_clock_hz": self._clock_hz(CLOCK_MEM),
            "temperature_c": self._temperature_c(),
            "power_w": self._power_w(),
            "throttles": self._throttles(),
        }
        levels = {name: answer.value for name, answer in answers.items()}
        missing = {name: answer.reason for name, answer in answers.items() if answer.value is None}
        return Gauges(**levels, missing=missing)

    def energy_j(self) -> float | None:
        """Return the joules since the driver was loaded; None if the GPU has no energy counter."""
        energy = self._of_whole_chip("nvmlDeviceGetTotalEnergyConsumption").within(1, MAX_COUNT)
        joules: float | None = energy.then(lambda millijoules: millijoules / 1e3).value
        return joules

    def _of_device(self, function: str) -> Answer:
        return ask(self._nvml, function, self._device)

    def _of_chip(self, function: str, *arguments: int) -> Answer:
        """Ask for a value that all instances share: NVML has it only for the whole GPU."""
        return ask(self._nvml, function, self._chip, *arguments)

    def _of_whole_chip(self, function: str) -> Answer:
        """Ask for a sum over the whole GPU, which is unknown for a single MIG instance."""
        return Answer(None, UNKNOWN_FOR_INSTANCE) if self._is_instance else self._of_chip(function)

    def _name(self) -> str:
        name = self._of_device("nvmlDeviceGetName").then(decoded).value
        if name is None and self._is_instance:  # never mix results of an instance and a whole GPU
            name = self._of_chip("nvmlDeviceGetName").then(decoded).then("{} MIG".format).value
        return name or "unnamed NVIDIA GPU"

    def _capability(self) -> Answer:
        """Return the compute capability as text, such as "9.0"."""
        pair = self._of_chip("nvmlDeviceGetCudaComputeCapability")
        return pair.then(lambda pair: f"{pair[0]}.{pair[1]}" if pair[0] > 0 else None)

    def _sm_count(self) -> Answer:
        """Return the number of multiprocessors: for a whole GPU, cores / cores per SM."""
        if self._is_instance:
            attributes = self._of_device("nvmlDeviceGetAttributes")
            return attributes.then(lambda found: found.multiprocessorCount).within(1, MAX_COUNT)
        per_sm = CORES_PER_SM.get(self._capability().value)
        cores = self._of_chip("nvmlDeviceGetNumGpuCores").within(1, MAX_COUNT)
        return cores.then(lambda count: None if not per_sm or count % per_sm else count // per_sm)

    def _memory(self, part: str) -> Answer:
        """Return bytes of GPU memory; `part` is `total`, `free` or `used`."""
        sizes = self._of_device("nvmlDeviceGetMemoryInfo")
        return sizes.then(lambda found: getattr(found, part)).within(0, MAX_MEMORY_BYTES)

    def _clock_mhz(self, function: str, kind: int) -> Answer:
        return self._of_chip(function, kind).within(1, MAX_CLOCK_MHZ)

    def _clock_hz(self, kind: int) -> Answer:
        return self._clock_mhz("nvmlDeviceGetClockInfo", kind).then(lambda mhz: mhz * 1e6)

    def _temperature_c(self) -> Answer:
        temperature = self._of_chip("nvmlDeviceGetTemperature", TEMPERATURE_GPU)
        return temperature.within(1, MAX_TEMPERATURE_C)

    def _power_w(self) -> Answer:
        power = self._of_whole_chip("nvmlDeviceGetPowerUsage").within(1, MAX_POWER_MW)
        return power.then(lambda milliwatts: milliwatts / 1e3)

    def _utilisation(self) -> Answer:
        rates = self._of_whole_chip("nvmlDeviceGetUtilizationRates").then(lambda found: found.gpu)
        return rates.within(0, 100).then(lambda percent: percent / 100)

    def _throttles(self) -> Answer:
        """Call the function by its new name, or by its old name if the new one does not exist."""
        mask = self._of_chip("nvmlDeviceGetCurrentClocksEventReasons")
        if mask.reason == FUNCTION_NOT_FOUND:
            mask = self._of_chip("nvmlDeviceGetCurrentClocksThrottleReasons")
        return mask.within(0, MAX_COUNT).then(throttles_of)

    def _processes(self) -> list[Any] | None:
        """Return the processes in all readable lists; None if no list is readable."""
        lists = [
            self._of_device("nvmlDeviceGetComputeRunningProcesses").value,
            self._of_device("nvmlDeviceGetGraphicsRunningProcesses").value,
            self._of_device("nvmlDeviceGetMPSComputeRunningProcesses").value,
        ]
        known = [processes for processes in lists if processes is not None]
        return [process for processes in known for process in processes] if known else None


def open_gpu() -> Gpu:
    """Open the GPU that torch calls `cuda:0`.

    CUDA must number GPUs by PCI bus, like NVML (CUDA_DEVICE_ORDER=PCI_BUS_ID). Raises
    UnavailableError if there is no driver or no GPU, or if CUDA_VISIBLE_DEVICES hides all GPUs.
    """
    nvml = started_nvml()
    try:
        return Gpu(nvml, *first_visible(nvml))
    except UnavailableError:
        ask(nvml, "nvmlShutdown")
        raise
