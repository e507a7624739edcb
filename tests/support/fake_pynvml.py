"""A fake of the module `pynvml`. Each simulated GPU is a table: function -> answer.

A GPU does not support a function that its table lacks. The attribute `errors` of the module is a
table function -> error; it takes precedence and may be changed at any time.
"""

import ast
import types
from dataclasses import dataclass, field
from pathlib import Path

from bench.devices.sensors import nvml, nvml_answer, nvml_handle

MIB = 2**20
ERRORS = {
    "Uninitialized": (1, "Uninitialized"),
    "InvalidArgument": (2, "Invalid Argument"),
    "NotSupported": (3, "Not Supported"),
    "NoPermission": (4, "Insufficient Permissions"),
    "NotFound": (6, "Not Found"),
    "DriverNotLoaded": (9, "Driver Not Loaded"),
    "LibraryNotFound": (12, "NVML Shared Library Not Found"),
    "FunctionNotFound": (13, "Function Not Found"),
    "GpuIsLost": (15, "GPU is lost"),
    "Unknown": (999, "Unknown Error"),
}
CONSTANTS = {"NVML_CLOCK_SM": 1, "NVML_CLOCK_MEM": 2, "NVML_TEMPERATURE_GPU": 0}
SM, MEM = CONSTANTS["NVML_CLOCK_SM"], CONSTANTS["NVML_CLOCK_MEM"]
PROCESSES = (  # where the driver lacks one of these, pynvml raises an error class of its own
    "nvmlDeviceGetComputeRunningProcesses",
    "nvmlDeviceGetGraphicsRunningProcesses",
    "nvmlDeviceGetMPSComputeRunningProcesses",
)
ARGUMENTS = {  # the number of arguments; the first of a function with "Device" is a GPU's handle
    "nvmlInit": 0,
    "nvmlShutdown": 0,
    "nvmlSystemGetDriverVersion": 0,
    "nvmlDeviceGetCount": 0,
    "nvmlDeviceGetHandleByIndex": 1,
    "nvmlDeviceGetHandleByUUID": 1,
    "nvmlDeviceGetMaxMigDeviceCount": 1,
    "nvmlDeviceGetMigDeviceHandleByIndex": 2,
    "nvmlDeviceGetDeviceHandleFromMigDeviceHandle": 1,
    "nvmlDeviceGetName": 1,
    "nvmlDeviceGetUUID": 1,
    "nvmlDeviceGetMemoryInfo": 1,
    "nvmlDeviceGetCudaComputeCapability": 1,
    "nvmlDeviceGetNumGpuCores": 1,
    "nvmlDeviceGetAttributes": 1,
    "nvmlDeviceGetMaxClockInfo": 2,
    "nvmlDeviceGetClockInfo": 2,
    "nvmlDeviceGetPowerManagementLimit": 1,
    "nvmlDeviceGetPowerUsage": 1,
    "nvmlDeviceGetTotalEnergyConsumption": 1,
    "nvmlDeviceGetTemperature": 2,
    "nvmlDeviceGetEccMode": 1,
    "nvmlDeviceGetMigMode": 1,
    "nvmlDeviceGetPersistenceMode": 1,
    "nvmlDeviceGetComputeMode": 1,
    "nvmlDeviceGetUtilizationRates": 1,
    "nvmlDeviceGetCurrentClocksEventReasons": 1,
    "nvmlDeviceGetCurrentClocksThrottleReasons": 1,
    **dict.fromkeys(PROCESSES, 1),
}


@dataclass(eq=False)
class Board:
    """A GPU or a MIG instance; the object is its own handle.

    An answer that depends on the function's second argument is a dict.
    """

    answers: dict
    instances: list["Board"] = field(default_factory=list)


def sizes(total, used):
    return types.SimpleNamespace(total=total, used=used, free=total - used)


def process(pid, used):
    return types.SimpleNamespace(pid=pid, usedGpuMemory=used)


def h200(**answers):
    """An idle H200 with four processes: 11 and 12 compute, 12 and 13 draw, 14 uses MPS."""
    return Board(
        {
            "nvmlDeviceGetName": "NVIDIA H200",
            "nvmlDeviceGetUUID": "GPU-1f2e3d4c-0000-0000-0000-000000000200",
            "nvmlDeviceGetMemoryInfo": sizes(143771 * MIB, 1843 * MIB),
            "nvmlDeviceGetCudaComputeCapability": (9, 0),
            "nvmlDeviceGetNumGpuCores": 16896,
            "nvmlDeviceGetMaxClockInfo": {SM: 1980, MEM: 3201},
            "nvmlDeviceGetClockInfo": {SM: 345, MEM: 3201},
            "nvmlDeviceGetPowerManagementLimit": 699_600,
            "nvmlDeviceGetPowerUsage": 76_543,
            "nvmlDeviceGetTotalEnergyConsumption": 123_456_789,
            "nvmlDeviceGetTemperature": {0: 34},
            "nvmlDeviceGetEccMode": [1, 0],
            "nvmlDeviceGetMigMode": [0, 1],
            "nvmlDeviceGetPersistenceMode": 1,
            "nvmlDeviceGetComputeMode": 0,
            "nvmlDeviceGetUtilizationRates": types.SimpleNamespace(gpu=37, memory=12),
            "nvmlDeviceGetCurrentClocksEventReasons": 0x1 | 0x4 | 0x20,
            "nvmlDeviceGetCurrentClocksThrottleReasons": 0x1 | 0x4 | 0x20,
            "nvmlDeviceGetMaxMigDeviceCount": 7,
            "nvmlDeviceGetComputeRunningProcesses": [process(11, 500 * MIB), process(12, None)],
            "nvmlDeviceGetGraphicsRunningProcesses": [process(12, None), process(13, 20 * MIB)],
            "nvmlDeviceGetMPSComputeRunningProcesses": [process(14, 30 * MIB)],
            **answers,
        }
    )


def a100(**answers):
    """An A100 with 80 GB and no process."""
    return h200(
        **{
            "nvmlDeviceGetName": "NVIDIA A100-SXM4-80GB",
            "nvmlDeviceGetUUID": "GPU-1f2e9999-0000-0000-0000-000000000100",
            "nvmlDeviceGetMemoryInfo": sizes(81920 * MIB, 600 * MIB),
            "nvmlDeviceGetCudaComputeCapability": (8, 0),
            "nvmlDeviceGetNumGpuCores": 6912,
            "nvmlDeviceGetMaxClockInfo": {SM: 1410, MEM: 1593},
            "nvmlDeviceGetClockInfo": {SM: 1410, MEM: 1593},
            "nvmlDeviceGetPowerManagementLimit": 400_000,
            **{name: [] for name in PROCESSES},
            **answers,
        }
    )


def instance(number, **answers):
    """A MIG instance, one seventh of an A100; NVML answers few questions about it."""
    return Board(
        {
            "nvmlDeviceGetName": "NVIDIA A100-SXM4-80GB MIG 1g.10gb",
            "nvmlDeviceGetUUID": f"MIG-aaaaaaaa-0000-0000-0000-00000000000{number}",
            "nvmlDeviceGetMemoryInfo": sizes(9728 * MIB, 12 * MIB),
            "nvmlDeviceGetAttributes": types.SimpleNamespace(multiprocessorCount=14),
            "nvmlDeviceGetComputeRunningProcesses": [process(20 + number, 300 * MIB)],
            **answers,
        }
    )


def mig_a100(*instances):
    """An A100 with MIG on, by default with two instances. As on real ones, no utilisation."""
    chip = a100(nvmlDeviceGetMigMode=[1, 1])
    del chip.answers["nvmlDeviceGetUtilizationRates"]
    chip.instances = list(instances or (instance(1), instance(2)))
    return chip


def orin(**answers):
    """A Jetson Orin: NVML starts and finds a GPU, and then supports no other function."""
    return Board(answers)


def pynvml(*boards, driver="570.86.15", errors=None, lacking=()):
    """The fake module with these GPUs; `users` is the calls of nvmlInit minus nvmlShutdown."""
    module = types.ModuleType("pynvml")
    module.errors, module.users = dict(errors or {}), 0
    _add_errors(module)
    for name, value in CONSTANTS.items():
        setattr(module, name, value)
    special = _functions_of_the_system(module, boards, driver)
    for name in set(ARGUMENTS) - set(lacking):
        setattr(module, name, _function(module, name, special.get(name)))
    return module


def _add_errors(module):
    class NVMLError(Exception):
        code = None

        def __init__(self, value=None):
            super().__init__(value)
            self.value = self.code if value is None else value

        def __str__(self):
            return next(text for value, text in ERRORS.values() if value == self.value)

    module.NVMLError = NVMLError
    module.NVMLLibraryMismatchError = type("NVMLLibraryMismatchError", (Exception,), {})
    for name, (value, _) in ERRORS.items():
        kind = type(f"NVMLError_{name}", (NVMLError,), {"code": value})
        setattr(module, kind.__name__, kind)


def _failure(module, function, error):
    if error == "FunctionNotFound" and function in PROCESSES:
        return module.NVMLLibraryMismatchError("Unversioned function called")
    return getattr(module, f"NVMLError_{error}")()


def _function(module, name, special):
    def function(*arguments):
        if len(arguments) != ARGUMENTS[name]:
            raise TypeError(f"{name} takes {ARGUMENTS[name]} arguments, got {arguments}")
        if name in module.errors:
            raise _failure(module, name, module.errors[name])
        if module.users == 0 and name != "nvmlInit":
            raise module.NVMLError_Uninitialized()
        return special(*arguments) if special else _looked_up(module, name, *arguments)

    return function


def _looked_up(module, name, board, *key):
    if name not in board.answers:
        raise module.NVMLError_NotSupported()
    answer = board.answers[name]
    if not key:
        return answer
    if key[0] not in answer:
        raise module.NVMLError_InvalidArgument()
    return answer[key[0]]


def _functions_of_the_system(module, boards, driver):
    everything = [each for board in boards for each in (board, *board.instances)]

    def count_users(change):
        module.users += change

    def by_uuid(uuid):
        for board in everything:
            if board.answers.get("nvmlDeviceGetUUID") == uuid:
                return board
        raise module.NVMLError_NotFound()

    def at(boards, index, error):
        if index >= len(boards):
            raise error()
        return boards[index]

    def chip_of(part):
        for board in boards:
            if part in board.instances:
                return board
        raise module.NVMLError_InvalidArgument()

    return {
        "nvmlInit": lambda: count_users(1),
        "nvmlShutdown": lambda: count_users(-1),
        "nvmlSystemGetDriverVersion": lambda: driver,
        "nvmlDeviceGetCount": lambda: len(boards),
        "nvmlDeviceGetHandleByIndex": lambda i: at(boards, i, module.NVMLError_InvalidArgument),
        "nvmlDeviceGetHandleByUUID": by_uuid,
        "nvmlDeviceGetMigDeviceHandleByIndex": lambda board, i: at(
            board.instances, i, module.NVMLError_NotFound
        ),
        "nvmlDeviceGetDeviceHandleFromMigDeviceHandle": chip_of,
    }


def names_asked():
    """Return the names of pynvml in the source of the NVML sensor."""
    asked = set()
    for module in (nvml, nvml_answer, nvml_handle):
        tree = ast.parse(Path(module.__file__).read_text())
        texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        asked |= {text for text in texts if isinstance(text, str) and text.isidentifier()}
        asked |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return {name for name in asked if name.lower().startswith("nvml")}
